"""``paystar doctor``: what is configured, whether it works, and what to do where it does not."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, TypeVar

import httpx
from attrs import evolve, frozen
from cyclopts import Parameter
from rich.text import Text

from paystar_async.accounts import Gateway
from paystar_async.cli.console import grid, output
from paystar_async.cli.environment import environment_table, misspelt, settings_of
from paystar_async.client import Paystar
from paystar_async.endpoint import Realm
from paystar_async.errors import (
    BadAnswer,
    ConfigurationError,
    ExpiredToken,
    InvalidToken,
    PaystarError,
    StatusError,
    UnknownRefNum,
)
from paystar_async.errors.text import visible
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.record import KeyId, KeyRecord
from paystar_async.settings import BASE_URL, application_from, checked_base_url, gateway_from, setting, wallet_from
from paystar_async.values.dates import TEHRAN
from paystar_async.values.mask import mask_addresses

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_URL = "base URL"
_ABSENT = "not configured"
_NO_SUCH_PATH = (404, 405)


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
        astray: whether the answer was that of somebody who does not know the call.
    """

    what: str
    mark: Mark
    told: str
    astray: bool = False


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
        table.add_row(visible(one.what), one.mark.value, visible(mask_addresses(one.told)))
    console.print(table)
    return 1 if any(one.mark is Mark.BAD for one in findings) else 0


async def _examine(*, offline: bool, renew: bool) -> list[Finding]:
    patient = _Patient(renew=renew)
    if offline or patient.client is None:
        return patient.configured
    reached = await patient.reach()
    asked = [one async for one in patient.asked(patient.client)]
    ages = [one async for one in patient.ages()]
    tried = [one for one in asked if one.mark is not Mark.NOTE]
    if tried and all(one.astray for one in tried):
        told = f"{patient.base_url} is not where Paystar's calls are; base_url should end in /api, as in {BASE_URL}"
        configured = [evolve(one, mark=Mark.BAD, told=told) if one.what == _URL else one for one in patient.configured]
        reached = evolve(reached, mark=Mark.NOTE, told=reached.told.replace("yes", "by somebody", 1))
        return [*configured, reached, *(one for one in asked if not one.astray), *ages]
    return [*patient.configured, reached, *asked, *ages]


class _Patient:
    """The configuration under examination.

    Attributes:
        configured: what was found by looking at it.
        client: a client of it; None where it makes none.
    """

    def __init__(self, *, renew: bool) -> None:
        self.configured: list[Finding] = []
        self.base_url = self._read(_URL, lambda: checked_base_url(setting("PAYSTAR_BASE_URL") or BASE_URL)) or ""
        if self.base_url:
            live = "" if self.base_url == BASE_URL else f"; the live service is {BASE_URL}"
            self.configured.append(Finding(_URL, Mark.FINE, self.base_url + live))
        self.application = self._account("application", application_from)
        self.gateway = self._account("gateway", gateway_from)
        self.wallet = self._account("wallet", wallet_from)
        if all(one.told == _ABSENT for one in self.configured[-3:]):
            self.configured.append(
                Finding("accounts", Mark.BAD, "none is configured; begin with PAYSTAR_APPLICATION_ID …")
            )
        self.configured += [
            Finding(name, Mark.BAD, f"is not read: did you mean {meant}?") for name, meant in misspelt()
        ]
        self.store = MemoryKeyStore()
        self.client = self._read("settings", lambda: self._client(renew=renew)) if self.base_url else None

    def _read(self, what: str, read: Callable[[], T]) -> T | None:
        """What is configured; None, and a finding, where it is wrong."""
        try:
            return read()
        except PaystarError as error:
            self.configured.append(Finding(what, Mark.BAD, str(error)))
        return None

    def _account(self, name: str, read: Callable[[], T | None]) -> T | None:
        account, found = None, settings_of(name)
        try:
            account = read()
        except PaystarError as error:
            how = "incomplete" if str(error).startswith("not set") else "wrong"
            mark, told = Mark.BAD, f"{how}: {error}; set: {found}"
        else:
            mark, told = (Mark.FINE, f"complete; set: {found}") if account else (Mark.NOTE, _ABSENT)
            if isinstance(account, Gateway) and account.sign_key is None:
                mark = Mark.NOTE
                told = f"complete, with no sign key: right only for a gateway set up unsigned; set: {found}"
        self.configured.append(Finding(f"{name} account", mark, told))
        return account

    def _client(self, *, renew: bool) -> Paystar:
        application, wallet = self.application, self.wallet
        if not renew:
            # Without its refresh token a key cannot be renewed.
            application = application and evolve(application, refresh_token=None)
            wallet = wallet and evolve(wallet, refresh_token=None, refresh_inquiry_key=None)
        overrides: Any = {} if setting("PAYSTAR_KEYS") else {"keys": self.store}
        return Paystar.from_env(application=application, gateway=self.gateway, wallet=wallet, **overrides)

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

    async def asked(self, client: Paystar) -> AsyncIterator[Finding]:
        """What each account is answered, asked something harmless."""
        async with client as paystar:
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
        return _failed(what, error)
    return Finding(what, Mark.FINE, "its credentials are accepted")


async def _gateway(paystar: Paystar) -> Finding:
    try:
        await paystar.gateway.inquiry(ref_num=f"doctor-{uuid.uuid4().hex[:12]}")
    except UnknownRefNum:
        return Finding(
            "gateway", Mark.FINE, "its id is accepted; a wrong sign key shows only when a payment is created"
        )
    except PaystarError as error:
        return _failed("gateway", error)
    return Finding("gateway", Mark.BAD, "it knows a payment that was never made: is this Paystar?")


def _failed(what: str, error: PaystarError) -> Finding:
    astray = isinstance(error, BadAnswer | StatusError) and error.http_status in _NO_SUCH_PATH
    return Finding(what, Mark.BAD, str(error), astray=astray)


def _age(record: KeyRecord) -> str:
    if record.expires_at is None:
        return "of unknown age: used until it is refused"
    hours = (record.expires_at - time.time()) / 3600
    return f"good until {datetime.fromtimestamp(record.expires_at, TEHRAN):%Y-%m-%d %H:%M} Tehran ({hours:.1f} h)"
