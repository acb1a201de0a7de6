"""Canaries: secrets and personal numbers sent through every endpoint to servers that echo them, and searched for.

Searched are the log records of every logger, the texts and reprs of errors, requests, responses and events, pickled
errors, and tracebacks with the variables of every frame of the package.
"""

import asyncio
import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from paystar_async.client import Paystar
from paystar_async.credentials import Application, Gateway, Wallet
from paystar_async.endpoint import Endpoint, Request, Send
from paystar_async.errors import BY_STATUS, NoResponse, PaystarError
from paystar_async.response import Response
from paystar_async.runtime.clock import SystemClock
from paystar_async.runtime.events import Event
from paystar_async.storage.encryption import Crypto
from paystar_async.table import TABLE
from tests.describe.endpoints import example_values
from tests.support import Engine, client, in_turn
from tests.transport.endpoint_requests import CALLS
from tests.transport.tcp import ScriptedServer, TcpPeer, run_server

HARD = 'kanari/pass "word" &=%é+'
SECRETS = {
    "access_password": f"{HARD}1",
    "api_key": "kanari-app-key/+=2",
    "refresh_token": f"{HARD}3",
    "gateway_id": "kanari-gateway-4",
    "gateway_sign": "kanari-gateway-sign-5",
    "password": f"{HARD}6",
    "wallet_sign": "kanari-wallet-sign-7",
    "wallet_key": "kanari-wallet-key-8",
    "wallet_refresh": "kanari-wallet-refresh-9",
    "inquiry_key": "kanari-inquiry-key-10",
    "inquiry_refresh": "kanari-inquiry-refresh-11",
}
CARD, IBAN, NATIONAL_ID = "6037991899752346", "IR820540102680020817909002", "0084575948"
PERSONAL = {
    "card number": CARD,
    "masked card number": "603799******2346",
    "IBAN": IBAN,
    "destination account": IBAN,
    "national id": NATIONAL_ID,
}


def spellings(text: str) -> set[str]:
    """Return a text as foreign code may write it: escaped, quoted or as a repr."""
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return {text, *escaped, quote(text), quote(text, safe=""), quote_plus(text), repr(text)[1:-1], repr(escaped)}


# "kanari" is part of every spelling of every secret; a signature is recognised by its length.
SECRET = re.compile("kanari|[0-9a-f]{128}", re.IGNORECASE)
UNMASKED = re.compile("|".join(map(re.escape, {CARD, IBAN, IBAN[2:], NATIONAL_ID})))


class SkippingClock(SystemClock):
    """A system clock whose sleeps return at once and move it ahead."""

    skipped_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_seconds

    async def sleep(self, seconds: float) -> None:
        self.skipped_seconds += seconds


def canary_client(server: ScriptedServer, records: list[object], **options: Any) -> Paystar:
    async def recorder(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        records.append(request)
        response = await next(request)
        records.append(response)
        return response

    return Paystar(
        application=Application(
            id="77",
            access_password=SECRETS["access_password"],
            api_key=SECRETS["api_key"],
            refresh_token=SECRETS["refresh_token"],
        ),
        gateway=Gateway(id=SECRETS["gateway_id"], sign_key=SECRETS["gateway_sign"]),
        wallet=Wallet(
            hashid="w123",
            password=SECRETS["password"],
            sign_key=SECRETS["wallet_sign"],
            api_key=SECRETS["wallet_key"],
            refresh_token=SECRETS["wallet_refresh"],
            inquiry_key=SECRETS["inquiry_key"],
            refresh_inquiry_key=SECRETS["inquiry_refresh"],
        ),
        base_url=f"http://127.0.0.1:{server.port}/api",
        max_retries=0,
        timeout=5,
        clock=SkippingClock(),
        middleware=[recorder],
        on_event=records.append,
        **options,
    )


def personal_values(model: type) -> dict[str, Any]:
    """Return values for a model's fields, personal numbers where a field takes them."""
    values = example_values(model)
    from paystar_async.models.base import fields_of

    for field in fields_of(model):
        if field.item is not None:
            values[field.name] = [personal_values(field.item)]
        elif field.field_type is not None and field.field_type.name in PERSONAL:
            values[field.name] = PERSONAL[field.field_type.name]
    return values


async def call(paystar: Paystar, endpoint: Endpoint) -> object:
    method = getattr(getattr(paystar, endpoint.service), endpoint.name)
    return await method(**personal_values(endpoint.request))


# --- responses that echo the whole request ---


def _json(status: object, message: object, data: object) -> bytes:
    return json.dumps({"status": status, "message": message, "data": data}, ensure_ascii=False).encode()


def _fields(request: str) -> dict[str, Any]:
    """Return the fields of the body as a web framework lists rejected input."""
    body = request.partition("\r\n\r\n")[2]
    return {name: [str(value)] for name, value in json.loads(body).items()} if body else {"query": [request]}


ECHOES: dict[str, Callable[[str], bytes]] = {
    "message": lambda request: _json(10, request, None),
    "message, escaped once more": lambda request: _json(10, json.dumps(request), None),
    "message of an unknown status": lambda request: _json("odd", request, None),
    "message of a fault": lambda request: _json(0, request, None),
    "message of a gateway's refusal": lambda request: _json(-1, request, None),
    "status": lambda request: _json(request, "", None),
    "fields": lambda request: _json(10, "invalid", _fields(request)),
    "names of fields": lambda request: _json(10, "invalid", {request: ["unknown"]}),
    "message of success": lambda request: _json(1, request, {"is_matched": True, "status": "x", "price": 1}),
    "unknown fields of success": lambda request: _json("ok", "", {request: request, "status": "x", "is_matched": True}),
    "data of success": lambda request: _json(1, "", request),
    "list of success": lambda request: _json(1, "", [request]),
    "every field of success": lambda request: _json(
        1, "", {name: {"x": request} for name in ("is_matched", "status", "price", "balance", "api_key", "token")}
    ),
    "an HTML page": lambda request: f"<html>{request}</html>".encode(),
    "not JSON": lambda request: request.encode(),
    "half the JSON": lambda request: _json(10, request, None)[:-9],
    "a status of another type": lambda request: json.dumps({"status": [request]}).encode(),
}


def echo_server(echo: Callable[[str], bytes]) -> Callable[[TcpPeer], Any]:
    async def play(peer: TcpPeer) -> None:
        while request := await peer.read_request():
            await peer.respond(echo(request.decode()), status=b"400 Bad Request")

    return play


async def raw_echo(peer: TcpPeer) -> None:
    await peer.write(await peer.read_request())


@pytest.fixture
def log_records() -> Iterator[list[logging.LogRecord]]:
    """Collect every record of every logger, from DEBUG up."""
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in ("httpx", "httpcore", "paystar_async"))]
    handler, levels = Collector(), [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield records
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def frames(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield the file and the variables of each frame of the package, through all causes and contexts."""
    summary: traceback.TracebackException | None
    summary = traceback.TracebackException.from_exception(error, capture_locals=True)
    while summary is not None:
        for frame in summary.stack:
            if "paystar_async" in frame.filename or frame.filename.startswith("<attrs"):
                yield frame.filename, str(frame.locals)
        summary = summary.__cause__ or summary.__context__


def assert_clean(name: str, text: str) -> None:
    match = SECRET.search(text) or UNMASKED.search(text)
    assert match is None, f"{name} shows {match and match[0]!r}: {text[:2000]}"


def assert_error_clean(error: PaystarError) -> None:
    assert_clean("an error's text", str(error))
    assert_clean("an error's repr", repr(error))
    assert_clean("an error's fields", repr(vars(error)))
    assert_clean("a traceback", "".join(traceback.format_exception(error)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert_clean("a pickled error", pickle.dumps(error, protocol).decode("latin-1"))
    for filename, variables in frames(error):
        assert_clean(f"a frame of {filename}", variables)


def assert_logs_clean(records: list[logging.LogRecord]) -> None:
    for record in records:
        if record.name == "httpcore.http11" and ".failed exception=" in record.getMessage():
            continue  # httpcore quotes, at DEBUG, what a server sent instead of HTTP
        assert_clean(f"a log line of {record.name}", record.getMessage() + repr(record.args) + repr(record.exc_text))


async def call_error(paystar: Paystar, endpoint: Endpoint, records: list[object]) -> PaystarError | None:
    """Call an endpoint; record its result, or return its error."""
    try:
        records.append(await call(paystar, endpoint))
    except PaystarError as error:
        return error
    return None


async def errors_of_every_endpoint(
    play: Callable[[TcpPeer], Any],
    make_client: Callable[[ScriptedServer, list[object]], Paystar],
    log_records: list[logging.LogRecord],
    endpoints: Sequence[Endpoint] = CALLS,
) -> list[PaystarError]:
    records: list[object] = []
    async with run_server(play) as server:
        async with make_client(server, records) as paystar:
            results = [await call_error(paystar, endpoint, records) for endpoint in endpoints]
        errors = [error for error in results if error is not None]
        assert SECRET.search(server.received.decode("latin-1")), "the canaries were never sent"
    for error in errors:
        assert_error_clean(error)
    for value in records:
        assert_clean(f"a {type(value).__name__}", repr(value) + str(value))
    assert_logs_clean(log_records)
    assert [value for value in records if isinstance(value, Request)]
    return errors


@pytest.mark.parametrize("name", ECHOES)
async def test_echoed_request_is_shown_nowhere(name: str, log_records: list[logging.LogRecord]) -> None:
    await errors_of_every_endpoint(echo_server(ECHOES[name]), canary_client, log_records)


@pytest.mark.parametrize("name", ["message", "not JSON"])
async def test_echoed_request_with_httpx_client_is_shown_nowhere(
    name: str, log_records: list[logging.LogRecord]
) -> None:
    async with httpx.AsyncClient() as httpx_client:

        def make_client(server: ScriptedServer, records: list[object]) -> Paystar:
            return canary_client(server, records, engine=httpx_client)

        await errors_of_every_endpoint(echo_server(ECHOES[name]), make_client, log_records)


async def test_echoed_request_with_any_status_is_shown_nowhere(log_records: list[logging.LogRecord]) -> None:
    statuses = cycle(BY_STATUS)

    def echo(request: str) -> bytes:
        return _json(next(statuses), request, {"a": [request]})

    await errors_of_every_endpoint(echo_server(echo), canary_client, log_records, CALLS * 2)


async def test_raw_echo_without_http_is_shown_nowhere(log_records: list[logging.LogRecord]) -> None:
    assert len(await errors_of_every_endpoint(raw_echo, canary_client, log_records)) == len(CALLS)


async def test_key_refresh_failed_event_shows_no_secret(log_records: list[logging.LogRecord]) -> None:
    records: list[object] = []
    async with run_server(echo_server(lambda request: _json(4, request, None))) as server:
        paystar = canary_client(server, records)
        assert await call_error(paystar, CALLS[0], records) is not None
        await paystar.aclose()

    events = [value for value in records if isinstance(value, Event)]
    assert [event.name for event in events] == ["key_refresh_failed"]
    for event in events:
        assert_clean("an event", repr(event) + repr(pickle.dumps(event)))


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.id)
async def test_call_cancelled_by_timeout_shows_no_secret(endpoint: Endpoint) -> None:
    limit = asyncio.timeout(None)

    async def time_out(peer: TcpPeer) -> None:
        await peer.read_request()
        limit.reschedule(0)
        await asyncio.sleep(30)

    async with run_server(time_out) as server:
        paystar = canary_client(server, [])
        with pytest.raises(TimeoutError) as caught:
            async with limit:
                await call(paystar, endpoint)
        package_frames = list(frames(caught.value))
    await paystar.aclose()

    assert len(package_frames) > 3, "the traceback has lost the frames of the package"
    for filename, variables in package_frames:
        assert_clean(f"a frame of {filename}", variables)


def test_assert_clean_finds_every_canary() -> None:
    for secret in SECRETS.values():
        assert all(SECRET.search(spelling) for spelling in spellings(secret))
    for endpoint in CALLS:
        personal_values(endpoint.request)
    with pytest.raises(AssertionError, match="shows 'kanari'"):
        assert_clean("a test", f"x {SECRETS['gateway_id']}")
    with pytest.raises(AssertionError, match="shows '6037"):
        assert_clean("a test", f"x {CARD}")


INVALID_SETUPS: dict[str, Callable[[], object]] = {
    "an application without an id": lambda: Application(id="", access_password=SECRETS["access_password"]),
    "a key with a line break": lambda: Application(id="77", access_password=HARD, api_key=f"{SECRETS['api_key']}\n"),
    "a gateway of two lines": lambda: Gateway(id=f"{SECRETS['gateway_id']}\n", sign_key=SECRETS["gateway_sign"]),
    "a wallet without a hashid": lambda: Wallet(hashid="", password=HARD, sign_key=SECRETS["wallet_sign"]),
    "a misspelt argument": lambda: Gateway(id=HARD, singkey=SECRETS["gateway_sign"]),  # type: ignore[call-arg]  # pyright: ignore
    "a timeout beside an address": lambda: Paystar(timeout=0, keys=f"redis://:{SECRETS['password']}@host/0"),
    "an address of keys": lambda: Paystar(keys=f"redis://:{SECRETS['password']}@host:port/0"),
    "an address of a database": lambda: Paystar(database=f"mysql://kanari:{SECRETS['password']}@host/name"),
    "an encryption key": lambda: Crypto([SECRETS["api_key"]]),
}


@pytest.mark.parametrize("name", INVALID_SETUPS)
def test_configuration_error_frames_show_no_secret(name: str) -> None:
    with pytest.raises((PaystarError, TypeError)) as caught:
        INVALID_SETUPS[name]()

    package_frames = list(frames(caught.value))
    assert package_frames, "the traceback has lost the frames of the package"
    for filename, variables in package_frames:
        assert_clean(f"a frame of {filename}", variables)


def test_from_env_error_shows_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_DATABASE", "postgresql://kanari:kanari@host/name")
    monkeypatch.setenv("PAYSTAR_KEYS", "redis://:kanari@host:port/0")
    with pytest.raises(PaystarError) as caught:
        Paystar.from_env()

    for filename, variables in frames(caught.value):
        assert_clean(f"a frame of {filename}", variables)


@pytest.mark.parametrize("realm", ["application", "gateway", "nobody"])
async def test_keys_replace_error_shows_no_key(realm: Any) -> None:
    paystar = Paystar(application=Application(id="77", access_password=HARD))
    with pytest.raises(PaystarError) as caught:
        await paystar.keys.replace(realm, token=f"{SECRETS['api_key']}\n", refresh_token=SECRETS["refresh_token"])
    await paystar.aclose()

    for filename, variables in frames(caught.value):
        assert_clean(f"a frame of {filename}", variables)


def _invalid_arguments(endpoint: Endpoint) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each field that can be invalid, and arguments with a canary in that field."""
    from paystar_async.models.base import fields_of

    arguments = personal_values(endpoint.request)
    for field in fields_of(endpoint.request):
        if field.item is None and field.field_type is not None:
            yield field.name, {**arguments, field.name: f"{CARD}\nkanari"}
        elif field.item is not None:
            for inner in fields_of(field.item):
                item = {**personal_values(field.item), inner.name: f"{CARD}\nkanari"}
                yield f"{field.name}.{inner.name}", {**arguments, field.name: [item]}


REJECTED = [(endpoint, name, arguments) for endpoint in TABLE for name, arguments in _invalid_arguments(endpoint)]


@pytest.mark.parametrize(
    ("endpoint", "name", "arguments"), REJECTED, ids=[f"{endpoint.id} {name}" for endpoint, name, _ in REJECTED]
)
async def test_invalid_argument_is_in_no_frame(endpoint: Endpoint, name: str, arguments: dict[str, Any]) -> None:
    paystar = Paystar(
        application=Application(id="77", access_password="x", api_key="y"),
        gateway=Gateway(id="g", sign_key="s"),
        wallet=Wallet(hashid="w", password="p", sign_key="s", api_key="k"),
    )
    method = getattr(getattr(paystar, endpoint.service), endpoint.name)
    with pytest.raises(PaystarError) as caught:
        _ = method(**arguments) if endpoint.kind == "page" else await method(**arguments)

    package_frames = list(frames(caught.value))
    assert package_frames, "the traceback has lost the frames of the package"
    for filename, variables in package_frames:
        assert_clean(f"a frame of {filename}", variables)


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.id)
def test_invalid_request_value_is_in_no_frame(endpoint: Endpoint) -> None:
    with pytest.raises((PaystarError, TypeError)) as caught:
        endpoint.request(**{**personal_values(endpoint.request), "kanari": CARD})
    for name, arguments in _invalid_arguments(endpoint):
        with pytest.raises(PaystarError) as caught:
            endpoint.request(**arguments)
        for filename, variables in frames(caught.value):
            assert_clean(f"a frame of {filename} ({name})", variables)


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.id)
async def test_cancelled_call_shows_no_personal_data(endpoint: Endpoint) -> None:
    class StalledEngine:
        supports_before_send = True

        async def send(self, *_: object, **__: object) -> Any:
            await asyncio.Event().wait()

        async def aclose(self) -> None: ...

    task = asyncio.ensure_future(call(client(StalledEngine()), endpoint))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task

    for filename, variables in frames(caught.value):
        assert_clean(f"a frame of {filename}", variables)


@pytest.mark.parametrize("field", ["phone", "national_code", "card_number", "mail", "name", "amount"])
@pytest.mark.parametrize("invalid", [False, True], ids=["no response", "invalid value"])
async def test_payments_start_error_shows_no_personal_data(field: str, invalid: bool, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "phone": "09123456789",
        "national_code": NATIONAL_ID,
        "card_number": CARD,
        "amount": 50_000,
    }
    if invalid:
        values[field] = f"{CARD}\nkanari"
    paystar = Paystar(
        gateway=Gateway(id="g", sign_key="s"),
        engine=Engine(in_turn(NoResponse("lost"))),
        database=tmp_path / "orders.db",
    )
    with pytest.raises(PaystarError) as caught:
        await paystar.payments.start(order_id="o-1", callback="https://shop.example/back", **values)
    await paystar.aclose()

    for filename, variables in frames(caught.value):
        assert_clean(f"a frame of {filename}", variables)
        assert "09123456789" not in variables
