"""``paystar doctor``: what is configured, whether it works, and what to do where it does not."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import httpx
from attrs import evolve, frozen
from cyclopts import Parameter
from rich.text import Text

from paystar_async.cli.configuration import environment_table
from paystar_async.cli.show import grid, output
from paystar_async.client import Paystar
from paystar_async.endpoint import Realm
from paystar_async.errors import ConfigurationError, ExpiredToken, InvalidToken, PaystarError, UnknownRefNum
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.record import KeyId, KeyRecord
from paystar_async.settings import BASE_URL, application_from, checked_base_url, gateway_from, setting, wallet_from
from paystar_async.values.dates import TEHRAN

_CONNECT_SECONDS = 10.0


class Mark(Enum):
    """How a finding is meant."""

    FINE = Text("ok", "green")
    BAD = Text("bad", "bold red")
    NOTE = Text("–", "dim")


@frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        what: what it was.
        mark: whether it is as it should be.
        told: what was found, and what to do about it.
    """

    what: str
    mark: Mark
    told: str


def doctor(
    *,
    offline: Annotated[bool, Parameter(help="look at the configuration alone", negative=())] = False,
    renew: Annotated[
        bool, Parameter(help="renew a key that is missing or refused, as the client would", negative=())
    ] = False,
) -> int:
    """Look at configuration, keys and connection; no money moves.

    Each account that is configured is asked one thing that changes nothing. No key is renewed unless `--renew` says
    so: where refresh tokens rotate, that would take them from a service that runs beside.

    The exit status is 0 if all is fine, 1 if something is to be mended.
    """
    console = output()
    console.print(environment_table())
    findings = asyncio.run(_examine(offline=offline, renew=renew))
    table = grid("Checked", "", "Found")
    for one in findings:
        table.add_row(one.what, one.mark.value, one.told)
    console.print(table)
    return 1 if any(one.mark is Mark.BAD for one in findings) else 0


async def _examine(*, offline: bool, renew: bool) -> list[Finding]:
    try:
        patient = _Patient(renew=renew)
    except PaystarError as error:
        return [Finding("configuration", Mark.BAD, str(error))]
    findings = list(patient.configured())
    if not offline:
        findings.append(await patient.reach())
        findings += [one async for one in patient.asked()]
        findings += [one async for one in patient.ages()]
    return findings


class _Patient:
    """The configuration under examination; raises ConfigurationError where it is none."""

    def __init__(self, *, renew: bool) -> None:
        self.base_url = checked_base_url(setting("PAYSTAR_BASE_URL") or BASE_URL)
        self.application, self.gateway, self.wallet = application_from(), gateway_from(), wallet_from()
        self.store = MemoryKeyStore()
        application, wallet = self.application, self.wallet
        if not renew:
            # Without its refresh token a key cannot be renewed.
            application = application and evolve(application, refresh_token=None)
            wallet = wallet and evolve(wallet, refresh_token=None, refresh_inquiry_key=None)
        overrides: Any = {} if setting("PAYSTAR_KEYS") else {"keys": self.store}
        self.client = Paystar.from_env(application=application, gateway=self.gateway, wallet=wallet, **overrides)

    def configured(self) -> Iterator[Finding]:
        """Where calls go, and for whom."""
        live = "" if self.base_url == BASE_URL else f"; the live service is {BASE_URL}"
        yield Finding("base URL", Mark.FINE, self.base_url + live)
        accounts = {"application": self.application, "gateway": self.gateway, "wallet": self.wallet}
        for name, account in accounts.items():
            if account is None:
                yield Finding(name, Mark.NOTE, "not configured")
        if not any(accounts.values()):
            yield Finding("accounts", Mark.BAD, "none is configured; begin with PAYSTAR_APPLICATION_ID …")
        if self.gateway and self.gateway.sign_key is None:
            yield Finding("gateway", Mark.NOTE, "no sign key: right only for a gateway that was set up unsigned")

    async def reach(self) -> Finding:
        """Whether anybody answers at the base URL; nothing of ours is said there."""
        try:
            async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=_CONNECT_SECONDS) as browser:
                began = time.monotonic()
                answer = await browser.get(self.base_url)
        except httpx.HTTPError as problem:
            reason = f"{type(problem).__name__}: {problem}".removesuffix(": ")
            return Finding(
                "reachable", Mark.BAD, f"no: {reason} – check the network, its firewall and PAYSTAR_BASE_URL"
            )
        spent = (time.monotonic() - began) * 1000
        return Finding("reachable", Mark.FINE, f"yes, HTTP {answer.status_code} in {spent:.0f} ms")

    async def asked(self) -> AsyncIterator[Finding]:
        """What each account is answered, asked something harmless."""
        async with self.client as paystar:
            if self.application:
                renews = self.application.refresh_token is not None
                yield await _try("application", lambda: paystar.transfers.find(limit=1), renews=renews)
            if self.wallet:
                renews = self.wallet.refresh_inquiry_key is not None
                yield await _try("wallet, reading", paystar.wallet.balance, renews=renews)
                yield Finding("wallet, paying", Mark.NOTE, "not tried: this key does nothing but pay")
            if self.gateway:
                yield await _gateway(paystar)

    async def ages(self) -> AsyncIterator[Finding]:
        """How old the keys are, as far as anybody knows."""
        application, wallet = self.application and self.application.id, self.wallet and self.wallet.hashid
        for realm, owner in ((Realm.APPLICATION, application), (Realm.WALLET, wallet), (Realm.INQUIRY, wallet)):
            record = await self.store.load(KeyId(realm.value, owner)) if owner else None
            if record is not None and record.token is not None:
                yield Finding(f"{realm} key", Mark.NOTE, _age(record))


async def _try(what: str, read: Callable[[], Awaitable[object]], *, renews: bool) -> Finding:
    try:
        await read()
    except (ExpiredToken, InvalidToken) as error:
        told = f"its key is refused ({error.message})"
        if renews:
            return Finding(what, Mark.BAD, f"{told}: the first call renews it; doctor --renew tries that now")
        return Finding(what, Mark.BAD, f"{told} – {error.hint}")
    except ConfigurationError as error:
        if renews:
            return Finding(what, Mark.NOTE, "no key yet: the first call fetches one; doctor --renew tries that now")
        return Finding(what, Mark.BAD, str(error))
    except PaystarError as error:
        return Finding(what, Mark.BAD, str(error))
    return Finding(what, Mark.FINE, "its credentials are accepted")


async def _gateway(paystar: Paystar) -> Finding:
    try:
        await paystar.gateway.inquiry(ref_num=f"doctor-{uuid.uuid4().hex[:12]}")
    except UnknownRefNum:
        return Finding(
            "gateway", Mark.FINE, "its id is accepted; a wrong sign key shows only when a payment is created"
        )
    except PaystarError as error:
        return Finding("gateway", Mark.BAD, str(error))
    return Finding("gateway", Mark.BAD, "it knows a payment that was never made: is this Paystar?")


def _age(record: KeyRecord) -> str:
    if record.expires_at is None:
        return "of unknown age: used until it is refused"
    hours = (record.expires_at - time.time()) / 3600
    return f"good until {datetime.fromtimestamp(record.expires_at, TEHRAN):%Y-%m-%d %H:%M} Tehran ({hours:.1f} h)"
