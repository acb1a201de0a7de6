"""Secrets and personal numbers, sent through every row to servers that send them back, and looked for everywhere.

Looked at are log records of every logger there is, the texts and reprs of errors, requests, answers and events,
pickled errors, and tracebacks with the variables of every frame of the package.
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
from paystar_async.endpoint import Endpoint, Request, Response, Send
from paystar_async.errors import BY_STATUS, NoResponse, PaystarError
from paystar_async.runtime.clock import SystemClock
from paystar_async.runtime.events import Event
from paystar_async.storage.encryption import Crypto
from paystar_async.table import TABLE
from tests.describe.endpoints import example_values
from tests.support import Engine, in_turn
from tests.transport.asking import CALLS
from tests.transport.tcp import Server, TcpPeer, serving

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
    """How a text looks where it was not written by us."""
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return {text, *escaped, quote(text), quote(text, safe=""), quote_plus(text), repr(text)[1:-1], repr(escaped)}


# "kanari" stands in every spelling of every secret; a signature is found by its looks.
SECRET = re.compile("kanari|[0-9a-f]{128}", re.IGNORECASE)
WHOLE = re.compile("|".join(map(re.escape, {CARD, IBAN, IBAN[2:], NATIONAL_ID})))


class Hurried(SystemClock):
    """A clock on which nobody waits."""

    slept = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds


def client(server: Server, seen: list[object], **more: Any) -> Paystar:
    async def ring(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        seen.append(request)
        response = await next(request)
        seen.append(response)
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
        clock=Hurried(),
        middleware=[ring],
        on_event=seen.append,
        **more,
    )


def personal(model: type) -> dict[str, Any]:
    """Values for a model's fields, with real people's in the fields that hold people's."""
    values = example_values(model)
    from paystar_async.models.base import fields_of

    for one in fields_of(model):
        if one.item is not None:
            values[one.name] = [personal(one.item)]
        elif one.field_type is not None and one.field_type.name in PERSONAL:
            values[one.name] = PERSONAL[one.field_type.name]
    return values


async def call(paystar: Paystar, row: Endpoint) -> object:
    return await getattr(getattr(paystar, row.service), row.name)(**personal(row.request))


# --- what the servers say: each takes the whole request as it came ---


def _json(status: object, message: object, data: object) -> bytes:
    return json.dumps({"status": status, "message": message, "data": data}, ensure_ascii=False).encode()


def _fields(request: str) -> dict[str, Any]:
    """The body's own fields as they were sent, as a framework that lists its input has them."""
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
    "no JSON": lambda request: request.encode(),
    "half the JSON": lambda request: _json(10, request, None)[:-9],
    "an unsuitable status": lambda request: json.dumps({"status": [request]}).encode(),
}


def echoing(echo: Callable[[str], bytes]) -> Callable[[TcpPeer], Any]:
    async def play(talk: TcpPeer) -> None:
        while request := await talk.request():
            await talk.answer(echo(request.decode()), status=b"400 Bad Request")

    return play


async def raw_echo(talk: TcpPeer) -> None:
    await talk.say(await talk.request())


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """Every record of every logger, from DEBUG up."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in ("httpx", "httpcore", "paystar_async"))]
    handler, levels = Keep(), [one.level for one in loggers]
    loggers[0].addHandler(handler)
    for one in loggers:
        one.setLevel(logging.DEBUG)
    yield records
    loggers[0].removeHandler(handler)
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)


def frames(error: BaseException) -> Iterator[tuple[str, str]]:
    """Where a frame of the package is, and what its variables show; through all causes and contexts."""
    told: traceback.TracebackException | None
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    while told is not None:
        for frame in told.stack:
            if "paystar_async" in frame.filename or frame.filename.startswith("<attrs"):
                yield frame.filename, str(frame.locals)
        told = told.__cause__ or told.__context__


def look(name: str, text: str, *, people: bool = True) -> None:
    found = SECRET.search(text) or (WHOLE.search(text) if people else None)
    assert found is None, f"{name} shows {found and found[0]!r}: {text[:2000]}"


def look_at_error(error: PaystarError) -> None:
    look("an error's text", str(error))
    look("an error's repr", repr(error))
    look("an error's fields", repr(vars(error)))
    look("a traceback", "".join(traceback.format_exception(error)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        look("a pickled error", pickle.dumps(error, protocol).decode("latin-1"))
    for filename, variables in frames(error):
        look(f"a frame of {filename}", variables)


def look_at_logs(records: list[logging.LogRecord]) -> None:
    for record in records:
        if record.name == "httpcore.http11" and ".failed exception=" in record.getMessage():
            continue  # httpcore quotes, at DEBUG, what a server sent instead of HTTP
        look(f"a log line of {record.name}", record.getMessage() + repr(record.args) + repr(record.exc_text))


async def outcome(paystar: Paystar, row: Endpoint, seen: list[object]) -> PaystarError | None:
    try:
        seen.append(await call(paystar, row))
    except PaystarError as error:
        return error
    return None


def its_own(server: Server, seen: list[object]) -> Paystar:
    return client(server, seen)


async def through_every_row(
    play: Callable[[TcpPeer], Any],
    make: Callable[[Server, list[object]], Paystar],
    logged: list[logging.LogRecord],
    rows: Sequence[Endpoint] = CALLS,
) -> list[PaystarError]:
    seen: list[object] = []
    async with serving(play) as server:
        async with make(server, seen) as paystar:
            ended = [await outcome(paystar, row, seen) for row in rows]
        errors = [one for one in ended if one is not None]
        assert SECRET.search(server.heard.decode("latin-1")), "the canaries were never sent"
    for error in errors:
        look_at_error(error)
    for one in seen:
        look(f"a {type(one).__name__}", repr(one) + str(one))
    look_at_logs(logged)
    assert [one for one in seen if isinstance(one, Request)]
    return errors


@pytest.mark.parametrize("name", ECHOES)
async def test_an_echo_tells_nothing(name: str, logged: list[logging.LogRecord]) -> None:
    await through_every_row(echoing(ECHOES[name]), its_own, logged)


@pytest.mark.parametrize("name", ["message", "no JSON"])
async def test_an_echo_through_a_client_of_the_callers_tells_nothing(
    name: str, logged: list[logging.LogRecord]
) -> None:
    async with httpx.AsyncClient() as given:

        def make(server: Server, seen: list[object]) -> Paystar:
            return client(server, seen, engine=given)

        await through_every_row(echoing(ECHOES[name]), make, logged)


async def test_an_echo_with_any_status_tells_nothing(logged: list[logging.LogRecord]) -> None:
    statuses = cycle(BY_STATUS)

    def echo(request: str) -> bytes:
        return _json(next(statuses), request, {"a": [request]})

    await through_every_row(echoing(echo), its_own, logged, CALLS * 2)


async def test_an_echo_that_is_no_http_tells_nothing(logged: list[logging.LogRecord]) -> None:
    assert len(await through_every_row(raw_echo, its_own, logged)) == len(CALLS)


async def test_what_was_refused_with_its_key_tells_of_it_in_an_event(logged: list[logging.LogRecord]) -> None:
    seen: list[object] = []
    async with serving(echoing(lambda request: _json(4, request, None))) as server:
        paystar = client(server, seen)
        assert await outcome(paystar, CALLS[0], seen) is not None
        await paystar.aclose()

    events = [one for one in seen if isinstance(one, Event)]
    assert [one.name for one in events] == ["key_refresh_failed"]
    for one in events:
        look("an event", repr(one) + repr(pickle.dumps(one)))


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.id)
async def test_a_callers_own_timeout_shows_no_secret(row: Endpoint) -> None:
    limit = asyncio.timeout(None)

    async def time_out(talk: TcpPeer) -> None:
        await talk.request()
        limit.reschedule(0)
        await asyncio.sleep(30)

    async with serving(time_out) as server:
        paystar = client(server, [])
        with pytest.raises(TimeoutError) as caught:
            async with limit:
                await call(paystar, row)
        found = list(frames(caught.value))
    await paystar.aclose()

    assert len(found) > 3, "the frames of the package are there to be looked at"
    for filename, variables in found:
        look(f"a frame of {filename}", variables)


def test_the_canaries_would_be_found() -> None:
    for secret in SECRETS.values():
        assert all(SECRET.search(one) for one in spellings(secret))
    for row in CALLS:
        personal(row.request)
    with pytest.raises(AssertionError, match="shows 'kanari'"):
        look("a test", f"x {SECRETS['gateway_id']}")
    with pytest.raises(AssertionError, match="shows '6037"):
        look("a test", f"x {CARD}")


WRONG: dict[str, Callable[[], object]] = {
    "an application without an id": lambda: Application(id="", access_password=SECRETS["access_password"]),
    "a key with a line break": lambda: Application(id="77", access_password=HARD, api_key=f"{SECRETS['api_key']}\n"),
    "a gateway of two lines": lambda: Gateway(id=f"{SECRETS['gateway_id']}\n", sign_key=SECRETS["gateway_sign"]),
    "a wallet without a hashid": lambda: Wallet(hashid="", password=HARD, sign_key=SECRETS["wallet_sign"]),
    "a misspelt argument": lambda: Gateway(id=HARD, singkey=SECRETS["gateway_sign"]),  # type: ignore[call-arg]  # pyright: ignore
    "a timeout beside an address": lambda: Paystar(timeout=0, keys=f"redis://:{SECRETS['password']}@host/0"),
    "an address of keys": lambda: Paystar(keys=f"redis://:{SECRETS['password']}@host:port/0"),
    "an address of a database": lambda: Paystar(database=f"mysql://kanari:{SECRETS['password']}@host/name"),
    "a key to seal with": lambda: Crypto([SECRETS["api_key"]]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrongly_set_up_is_not_shown_by_the_frames_that_say_so(name: str) -> None:
    with pytest.raises((PaystarError, TypeError)) as caught:
        WRONG[name]()

    found = list(frames(caught.value))
    assert found, "the lines of the package are kept"
    for filename, variables in found:
        look(f"a frame of {filename}", variables)


def test_an_address_in_the_environment_is_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_DATABASE", "postgresql://kanari:kanari@host/name")
    monkeypatch.setenv("PAYSTAR_KEYS", "redis://:kanari@host:port/0")
    with pytest.raises(PaystarError) as caught:
        Paystar.from_env()

    for filename, variables in frames(caught.value):
        look(f"a frame of {filename}", variables)


@pytest.mark.parametrize("realm", ["application", "gateway", "nobody"])
async def test_a_key_that_cannot_be_put_in_place_is_not_shown_either(realm: Any) -> None:
    paystar = Paystar(application=Application(id="77", access_password=HARD))
    with pytest.raises(PaystarError) as caught:
        await paystar.keys.replace(realm, token=f"{SECRETS['api_key']}\n", refresh_token=SECRETS["refresh_token"])
    await paystar.aclose()

    for filename, variables in frames(caught.value):
        look(f"a frame of {filename}", variables)


def _wrong_fields(row: Endpoint) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field of a row that can be wrong, and arguments with a canary in it."""
    from paystar_async.models.base import fields_of

    for one in fields_of(row.request):
        if one.item is None and one.field_type is not None:
            yield one.name, {**personal(row.request), one.name: f"{CARD}\nkanari"}
        elif one.item is not None:
            for inner in fields_of(one.item):
                entry = {**personal(one.item), inner.name: f"{CARD}\nkanari"}
                yield f"{one.name}.{inner.name}", {**personal(row.request), one.name: [entry]}


REFUSED = [(row, name, values) for row in TABLE for name, values in _wrong_fields(row)]


@pytest.mark.parametrize(("row", "name", "values"), REFUSED, ids=[f"{row.id} {name}" for row, name, _ in REFUSED])
async def test_a_refused_value_is_in_no_frame(row: Endpoint, name: str, values: dict[str, Any]) -> None:
    paystar = Paystar(
        application=Application(id="77", access_password="x", api_key="y"),
        gateway=Gateway(id="g", sign_key="s"),
        wallet=Wallet(hashid="w", password="p", sign_key="s", api_key="k"),
    )
    method = getattr(getattr(paystar, row.service), row.name)
    with pytest.raises(PaystarError) as caught:
        _ = method(**values) if row.kind == "page" else await method(**values)

    found = list(frames(caught.value))
    assert found, "the lines of the package are kept"
    for filename, variables in found:
        look(f"a frame of {filename}", variables)


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.id)
def test_a_refused_request_value_is_in_no_frame(row: Endpoint) -> None:
    with pytest.raises((PaystarError, TypeError)) as caught:
        row.request(**{**personal(row.request), "kanari": CARD})
    for name, values in _wrong_fields(row):
        with pytest.raises(PaystarError) as caught:
            row.request(**values)
        for filename, variables in frames(caught.value):
            look(f"a frame of {filename} ({name})", variables)


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.id)
async def test_a_cancelled_call_shows_no_person(row: Endpoint) -> None:
    class Never:
        supports_before_send = True

        async def send(self, *_: object, **__: object) -> Any:
            await asyncio.Event().wait()

        async def aclose(self) -> None: ...

    paystar = Paystar(
        application=Application(id="77", access_password="x", api_key="y", refresh_token="r"),
        gateway=Gateway(id="g", sign_key="s"),
        wallet=Wallet(
            hashid="w",
            password="p",
            sign_key="s",
            api_key="k",
            inquiry_key="i",
            refresh_token="r",
            refresh_inquiry_key="q",
        ),
        engine=Never(),
    )
    task = asyncio.ensure_future(call(paystar, row))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task

    for filename, variables in frames(caught.value):
        look(f"a frame of {filename}", variables)


@pytest.mark.parametrize("field", ["phone", "national_code", "card_number", "mail", "name", "amount"])
@pytest.mark.parametrize("wrong", [False, True], ids=["unanswered", "refused value"])
async def test_payments_start_failure_shows_no_person(field: str, wrong: bool, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "phone": "09123456789",
        "national_code": NATIONAL_ID,
        "card_number": CARD,
        "amount": 50_000,
    }
    if wrong:
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
        look(f"a frame of {filename}", variables)
        assert "09123456789" not in variables
