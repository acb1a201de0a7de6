"""``paystar doctor``: check the configuration, the keys and the connection, and suggest fixes."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, TypeVar

import httpx
from attrs import evolve, frozen
from cyclopts import Parameter
from rich.text import Text

from paystar_async.cli.console import EXIT_FAILED, make_table, print_json, stdout_console
from paystar_async.cli.environment import (
    Variable,
    environment_table,
    find_unknown_variables,
    list_set_variables,
    read_variables,
)
from paystar_async.cli.json_output import JSON_OPTION, JsonObject
from paystar_async.client import Paystar
from paystar_async.config import (
    read_application,
    read_crypto,
    read_gateway,
    read_setting,
    read_wallet,
    require_base_url,
)
from paystar_async.credentials import BASE_URL, Credentials, Gateway, Realm, without_refresh_tokens
from paystar_async.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidResponse,
    InvalidToken,
    PaystarError,
    StatusError,
    UnknownRefNum,
)
from paystar_async.errors.text import visible
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.read_only import ReadOnlyKeyStore
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.runtime.clock import SystemClock
from paystar_async.values.dates import TEHRAN
from paystar_async.values.masking import mask_addresses

T = TypeVar("T")

_CONNECT_TIMEOUT_SECONDS = 10.0
_BASE_URL_CHECK = "base URL"
_NOT_CONFIGURED = "not configured"
_UNKNOWN_PATH_STATUSES = (404, 405)


class Mark(Enum):
    """The result of a check: passed, failed, or information only."""

    OK = Text("ok", "green")
    BAD = Text("bad", "bold red")
    INFO = Text("–", "dim")


@frozen
class CheckResult:
    """The result of one check.

    Attributes:
        name: what was checked.
        mark: whether the check passed.
        message: what was found, and what to do.
        is_unknown_path: whether the server does not know the path, as a wrong base URL causes.
    """

    name: str
    mark: Mark
    message: str
    is_unknown_path: bool = False

    @property
    def shown_message(self) -> str:
        """Return the message without passwords and control characters."""
        return visible(mask_addresses(self.message))


def doctor(
    *,
    offline: Annotated[bool, Parameter(help="check the configuration only, without requests", negative=())] = False,
    refresh: Annotated[
        bool, Parameter(help="refresh a key that is missing or refused, as the client would", negative=())
    ] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Check the configuration, the keys and the connection; no money moves.

    One read-only request is made with each configured account. No key is refreshed without `--refresh`: if refresh
    tokens rotate, a refresh here would invalidate the token of a running service.

    Exit status: 0 all checks passed; 1 a problem was found.
    """
    variables = read_variables()
    if not as_json:
        stdout_console().print(environment_table(variables))
    results = asyncio.run(_run_checks(offline=offline, refresh=refresh))
    ok = not any(result.mark is Mark.BAD for result in results)
    if as_json:
        print_json(_to_json(variables, results, ok=ok))
    else:
        table = make_table("Check", "", "Result")
        for result in results:
            table.add_row(visible(result.name), result.mark.value, result.shown_message)
        stdout_console().print(table)
    return 0 if ok else EXIT_FAILED


def _to_json(variables: Sequence[Variable], results: Sequence[CheckResult], *, ok: bool) -> JsonObject:
    """Return the variables and the results of the checks, without secrets."""
    return {
        "ok": ok,
        "variables": [
            {
                "name": variable.name,
                "is_set": variable.is_set,
                "value": variable.value,
                "source": variable.source,
                "file": variable.file,
            }
            for variable in variables
        ],
        "checks": [
            {"name": visible(result.name), "result": result.mark.name.lower(), "message": result.shown_message}
            for result in results
        ],
    }


async def _run_checks(*, offline: bool, refresh: bool) -> list[CheckResult]:
    checkup = _Checkup(refresh=refresh)
    if offline or checkup.client is None:
        return checkup.configuration
    reachable = await checkup.check_reachable()
    requests = [result async for result in checkup.check_requests(checkup.client)]
    keys = [result async for result in checkup.check_keys()]
    await checkup.store.aclose()
    attempted = [result for result in requests if result.mark is not Mark.INFO]
    if attempted and all(result.is_unknown_path for result in attempted):
        message = f"{checkup.base_url} does not serve Paystar's paths; base_url should end in /api, as in {BASE_URL}"
        configuration = [
            evolve(result, mark=Mark.BAD, message=message) if result.name == _BASE_URL_CHECK else result
            for result in checkup.configuration
        ]
        reachable = evolve(reachable, mark=Mark.INFO, message=reachable.message.replace("yes", "a server responds", 1))
        return [*configuration, reachable, *(result for result in requests if not result.is_unknown_path), *keys]
    return [*checkup.configuration, reachable, *requests, *keys]


class _Checkup:
    """The checks of the current configuration.

    Attributes:
        configuration: the results of the checks that need no request.
        client: a client with the configuration; None if the configuration is invalid.
    """

    def __init__(self, *, refresh: bool) -> None:
        self.configuration: list[CheckResult] = []
        self.application = self._check_credentials("application", read_application)
        self.gateway = self._check_credentials("gateway", read_gateway)
        self.wallet = self._check_credentials("wallet", read_wallet)
        if all(result.message == _NOT_CONFIGURED for result in self.configuration[-3:]):
            self.configuration.append(
                CheckResult("credentials", Mark.BAD, "none are configured; start with PAYSTAR_APPLICATION_ID …")
            )
        base_url = self._try_read(_BASE_URL_CHECK, self._read_base_url)
        self.base_url = base_url or ""
        if self.base_url:
            note = "" if self.base_url == BASE_URL else f"; the live service is {BASE_URL}"
            self.configuration.append(CheckResult(_BASE_URL_CHECK, Mark.OK, self.base_url + note))
        self.configuration += [
            CheckResult(name, Mark.BAD, f"is not read: did you mean {nearest}?")
            if is_misspelling
            else CheckResult(name, Mark.INFO, f"is not read; the nearest name that is: {nearest}")
            for name, nearest, is_misspelling in find_unknown_variables()
        ]
        self.store: KeyStore = MemoryKeyStore()
        self.client = self._try_read("settings", lambda: self._make_client(refresh=refresh)) if self.base_url else None

    def _read_base_url(self) -> str:
        credentials = Credentials(application=self.application, gateway=self.gateway, wallet=self.wallet)
        return require_base_url(read_setting("PAYSTAR_BASE_URL") or BASE_URL, credentials)

    def _try_read(self, name: str, read: Callable[[], T]) -> T | None:
        """Return what ``read`` returns; on an error, add a failed check and return None."""
        try:
            return read()
        except PaystarError as error:
            self.configuration.append(CheckResult(name, Mark.BAD, str(error)))
        return None

    def _check_credentials(self, name: str, read: Callable[[], T | None]) -> T | None:
        credentials, variables = None, list_set_variables(name)
        try:
            credentials = read()
        except PaystarError as error:
            problem = "incomplete" if str(error).startswith("not set") else "invalid"
            mark, message = Mark.BAD, f"{problem}: {error}; set: {variables}"
        else:
            if not credentials:
                mark, message = Mark.INFO, _NOT_CONFIGURED
            elif isinstance(credentials, Gateway) and credentials.sign_key is None:
                mark = Mark.INFO
                message = f"complete, without a sign key: valid only for an unsigned gateway; set: {variables}"
            else:
                mark, message = Mark.OK, f"complete; set: {variables}"
        self.configuration.append(CheckResult(f"{name} credentials", mark, message))
        return credentials

    def _make_client(self, *, refresh: bool) -> Paystar:
        application, wallet = self.application, self.wallet
        if not refresh:
            application, wallet = without_refresh_tokens(application, wallet)
        store = make_key_store(read_setting("PAYSTAR_KEYS"), SystemClock(), read_crypto())
        self.store = store if refresh else ReadOnlyKeyStore(store)
        return Paystar.from_env(application=application, gateway=self.gateway, wallet=wallet, keys=self.store)

    async def check_reachable(self) -> CheckResult:
        """Check that a server responds at the base URL; no credentials are sent."""
        try:
            async with httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=_CONNECT_TIMEOUT_SECONDS
            ) as http:
                started_at = time.monotonic()
                response = await http.get(self.base_url)
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            return CheckResult(
                "reachable", Mark.BAD, f"no: {reason} – check the network, its firewall and PAYSTAR_BASE_URL"
            )
        elapsed_ms = (time.monotonic() - started_at) * 1000
        return CheckResult("reachable", Mark.OK, f"yes, HTTP {response.status_code} in {elapsed_ms:.0f} ms")

    async def check_requests(self, client: Paystar) -> AsyncIterator[CheckResult]:
        """Make one read-only request with each configured account and yield the results."""
        async with client as paystar:
            if self.application:
                can_refresh = self.application.refresh_token is not None
                yield await _check_request(
                    "application", lambda: paystar.transfers.find(limit=1), can_refresh=can_refresh
                )
            if self.wallet:
                can_refresh = self.wallet.refresh_inquiry_key is not None
                yield await _check_request("wallet, reading", paystar.wallet.balance, can_refresh=can_refresh)
                yield CheckResult("wallet, paying", Mark.INFO, "not checked: this key can only pay")
            if self.gateway:
                yield await _check_gateway(paystar)

    async def check_keys(self) -> AsyncIterator[CheckResult]:
        """Yield the expiry of each key in the key store."""
        application_id, wallet_id = self.application and self.application.id, self.wallet and self.wallet.hashid
        for realm, account_id in (
            (Realm.APPLICATION, application_id),
            (Realm.WALLET, wallet_id),
            (Realm.INQUIRY, wallet_id),
        ):
            try:
                record = await self.store.load(KeyId(realm.value, account_id)) if account_id else None
            except PaystarError as error:
                yield CheckResult(f"{realm} key", Mark.BAD, str(error))
                continue
            if record is not None and record.token is not None:
                yield CheckResult(f"{realm} key", Mark.INFO, _expiry_text(record))


async def _check_request(name: str, request: Callable[[], Awaitable[object]], *, can_refresh: bool) -> CheckResult:
    try:
        await request()
    except (ExpiredToken, InvalidToken) as error:
        message = f"the key is refused ({error.message})"
        if can_refresh:
            return CheckResult(
                name, Mark.BAD, f"{message}: the first call refreshes it; doctor --refresh tries that now"
            )
        return CheckResult(name, Mark.BAD, f"{message} – {error.hint}")
    except ConfigurationError as error:
        if can_refresh:
            return CheckResult(
                name, Mark.INFO, "no key yet: the first call fetches one; doctor --refresh tries that now"
            )
        return CheckResult(name, Mark.BAD, str(error))
    except PaystarError as error:
        return _failed_check(name, error)
    return CheckResult(name, Mark.OK, "the credentials are accepted")


async def _check_gateway(paystar: Paystar) -> CheckResult:
    try:
        await paystar.gateway.inquiry(ref_num=f"doctor-{uuid.uuid4().hex[:12]}")
    except UnknownRefNum:
        return CheckResult(
            "gateway", Mark.OK, "the id is accepted; a wrong sign key shows only when a payment is created"
        )
    except PaystarError as error:
        return _failed_check("gateway", error)
    return CheckResult("gateway", Mark.BAD, "it returns a payment that was never created: is this Paystar?")


def _failed_check(name: str, error: PaystarError) -> CheckResult:
    is_unknown_path = isinstance(error, InvalidResponse | StatusError) and error.http_status in _UNKNOWN_PATH_STATUSES
    return CheckResult(name, Mark.BAD, str(error), is_unknown_path=is_unknown_path)


def _expiry_text(record: KeyRecord) -> str:
    if record.expires_at is None:
        return "of unknown age: used until it is refused"
    hours = (record.expires_at - time.time()) / 3600
    return f"valid until {datetime.fromtimestamp(record.expires_at, TEHRAN):%Y-%m-%d %H:%M} Tehran ({hours:.1f} h)"
