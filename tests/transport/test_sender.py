"""The sender: outcome and hint of an error, and tracebacks without secrets."""

import asyncio
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import define, evolve, field

from paystar_async.endpoint import Endpoint, Request, Safety
from paystar_async.errors import (
    BY_STATUS,
    ConfigurationError,
    InvalidInput,
    InvalidResponse,
    NoResponse,
    NotSent,
    PaystarError,
    StatusError,
)
from paystar_async.models.transfers import Settle
from paystar_async.response import Response
from paystar_async.runtime.clock import ManualClock
from paystar_async.table import BY_ID
from paystar_async.transport.decoder import ResponseDecoder
from paystar_async.transport.encoder import MAX_SMALL_ITEMS, RequestEncoder
from paystar_async.transport.engine import Engine, Headers
from paystar_async.transport.sender import MIN_LARGE_BYTES, Sender
from tests.support import LoopTurns, entries, transfer, wait_all_tasks_blocked
from tests.transport.endpoint_requests import BASE, CALLS, CREDENTIALS, envelope, example_request, make_request

MAYBE_STATUSES = {0, 11, -99}


@define
class FixedEngine:
    """An engine that returns a fixed response, or raises a fixed error."""

    response: tuple[int, Mapping[str, str], bytes] | BaseException
    supports_before_send: bool = True
    timeouts: list[float] = field(factory=list[float])

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.timeouts.append(timeout)
        if before_send is not None:
            before_send()
        if isinstance(self.response, BaseException):
            raise self.response
        return self.response

    async def aclose(self) -> None:
        pass


def sender(engine: Engine, clock: ManualClock | None = None) -> Sender:
    return Sender(
        RequestEncoder(CREDENTIALS, BASE), ResponseDecoder(CREDENTIALS.secrets()), engine, clock or ManualClock()
    )


async def failure(endpoint: Endpoint | str, response: tuple[int, bytes] | BaseException) -> PaystarError:
    engine = FixedEngine(response if isinstance(response, BaseException) else (response[0], {}, response[1]))
    with pytest.raises(PaystarError) as caught:
        await sender(engine)(make_request(example_request(endpoint)))
    return caught.value


each_call = pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.id)


@each_call
async def test_sender_executed_depends_on_endpoint(endpoint: Endpoint) -> None:
    maybe = "no" if endpoint.safety is Safety.READ else "maybe"

    assert (await failure(endpoint, NoResponse("x"))).executed == maybe
    assert (await failure(endpoint, (502, b"<html>"))).executed == maybe
    assert (await failure(endpoint, (500, envelope(10)))).executed == maybe
    assert (await failure(endpoint, (200, envelope("unknown status")))).executed == maybe
    assert (await failure(endpoint, NotSent("x"))).executed == "no"
    for status in BY_STATUS:
        error = await failure(endpoint, (400, envelope(status)))
        assert error.executed == (maybe if status in MAYBE_STATUSES else "no"), status


async def test_sender_hint_names_lookup_endpoint() -> None:
    hint = "the call may have been executed: check its status with transfers.find before you repeat it"

    assert (await failure("transfers.settle", NoResponse("x"))).hint == hint
    assert (await failure("transfers.settle", (502, b"<html>"))).hint == hint
    assert (await failure("gateway.create", NoResponse("x"))).hint == "the call may have been executed"
    assert (await failure("gateway.verify", NoResponse("x"))).hint.count("gateway.inquiry") == 1
    assert (await failure("inquiry.iban", NoResponse("x"))).hint == "the call only reads: repeat it"
    assert (await failure("inquiry.iban", (400, envelope(0)))).hint == "the call only reads: repeat it"


async def test_sender_hint_of_maybe_executed_is_not_call_again() -> None:
    error = await failure("transfers.settle", (502, envelope(10)))

    assert type(error) is InvalidInput
    assert "call again" not in error.hint
    assert "check its status with transfers.find" in error.hint
    assert (await failure("inquiry.iban", (502, envelope(10)))).hint == InvalidInput.hint


@pytest.mark.parametrize("status", BY_STATUS)
async def test_sender_refusal_keeps_its_hint(status: int | str) -> None:
    assert (await failure("transfers.settle", (400, envelope(status)))).hint == BY_STATUS[status].hint


def format_traceback(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize("response", [(200, b"<html>"), (400, envelope(10)), NoResponse("x"), NotSent("x")])
async def test_sender_traceback_has_no_inner_frames(response: tuple[int, bytes] | PaystarError) -> None:
    error = await failure("transfers.find", response)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    assert names == ["failure", "__call__"]
    assert error.__context__ is None
    assert error.__cause__ is None


async def test_sender_drops_cause_of_paystar_error() -> None:
    cause = NoResponse("x")
    cause.__cause__ = ValueError("holds a body")

    error = await failure("transfers.find", cause)
    assert "holds a body" not in format_traceback(error)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), AssertionError("no route"), KeyError("bug")])
async def test_sender_other_error_loses_frame_variables(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await sender(FixedEngine(error))(make_request(example_request("transfers.find")))

    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    text = format_traceback(error)  # before the texts below become variables of this frame
    assert names[-2:] == ["_send", "send"]
    assert "p%26ss" not in text
    assert "the-key" not in text


async def test_sender_outer_error_keeps_frame_variables() -> None:
    def fail(argument: str) -> None:
        raise LookupError(argument)

    async def call_while_handling() -> None:
        try:
            fail("argument")
        except LookupError:
            await sender(FixedEngine(AssertionError("no route")))(make_request(example_request("transfers.find")))

    with pytest.raises(AssertionError) as caught:
        await call_while_handling()

    assert "argument = 'argument'" in format_traceback(caught.value)


async def test_sender_before_send_needs_engine_support() -> None:
    request = evolve(make_request(example_request("transfers.settle")), before_send=lambda: None)
    engine = FixedEngine((200, {}, envelope("ok", [])), supports_before_send=False)

    with pytest.raises(ConfigurationError, match="cannot report when"):
        await sender(engine)(request)
    assert engine.timeouts == []


async def test_sender_passes_before_send_to_engine() -> None:
    called: list[int] = []
    request = evolve(make_request(example_request("transfers.settle")), before_send=lambda: called.append(1))

    await sender(FixedEngine((200, {}, envelope("ok", []))))(request)
    assert called == [1]


async def test_sender_passes_time_left_to_engine() -> None:
    clock = ManualClock()
    engine = FixedEngine((200, {}, envelope("ok", [])))
    request = make_request(example_request("transfers.find"))
    await sender(engine, clock)(request)
    await sender(engine, clock)(evolve(request, deadline=clock.monotonic() + 2))
    clock.advance(10)
    await sender(engine, clock)(evolve(request, deadline=clock.monotonic() - 1))

    assert engine.timeouts == [5, 2, 0]


async def test_sender_invalid_response_and_refusal_differ() -> None:
    assert type(await failure("transfers.settle", (200, b"{}"))) is InvalidResponse
    assert isinstance(await failure("transfers.settle", (200, envelope(9))), StatusError)


@each_call
async def test_sender_returns_headers_and_body(endpoint: Endpoint) -> None:
    data: dict[str, Any] = {
        "is_matched": True,
        "status": "success",
        "price": 1,
        "token": "t",
        "ref_num": "r",
        "balance": 1,
        "total_amount": 1,
        "available_amount": 1,
        "api_key": "k",
        "inquiry_key": "k",
    }
    response = await sender(FixedEngine((200, {"date": "x"}, envelope("ok", data))))(
        make_request(example_request(endpoint))
    )

    assert response.headers == {"date": "x"}
    assert response.body == envelope("ok", data)
    assert BY_ID[endpoint.id] is endpoint


class ReleasedEngine:
    """An engine that returns all responses at once, when released."""

    supports_before_send = False

    def __init__(self, response: bytes) -> None:
        self.response, self.calls, self.release = response, 0, asyncio.Event()

    async def send(self, *_: Any) -> tuple[int, Mapping[str, str], bytes]:
        self.calls += 1
        await self.release.wait()
        return 200, {}, self.response

    async def aclose(self) -> None: ...


def settle_request(count: int) -> Request[Any]:
    return make_request(Settle(transfers=[transfer(f"t-{number}") for number in range(count)]))


@pytest.fixture
def codec_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the encoding and decoding methods as they are called."""
    calls: list[str] = []

    def record(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def recording(*arguments: Any) -> Any:
            calls.append(name)
            return method(*arguments)

        monkeypatch.setattr(owner, name, recording)

    record(RequestEncoder, "encode")
    record(ResponseDecoder, "envelope")
    record(ResponseDecoder, "decode")
    return calls


async def calls_by_turn(count: int, padding: int, codec_calls: list[str]) -> list[list[str]]:
    """Return the codec calls in each loop turn of three concurrent calls with concurrent responses."""
    body = envelope("ok", entries([f"t-{number}" for number in range(count)])) + b" " * padding
    engine: Any = ReleasedEngine(body)
    call = sender(engine)
    async with LoopTurns() as turns:
        done = turns.watch(codec_calls)
        calls = [asyncio.create_task(call(settle_request(count))) for _ in range(3)]
        await wait_all_tasks_blocked()
        engine.release.set()
        for response in await asyncio.gather(*calls):
            assert len(response.value) == count
    return [turn for turn in done if turn]


async def test_sender_large_bodies_take_one_loop_turn_each(codec_calls: list[str]) -> None:
    done = await calls_by_turn(MAX_SMALL_ITEMS + 1, MIN_LARGE_BYTES, codec_calls)

    assert sorted(done) == sorted([["encode"], ["envelope"], ["decode"]] * 3)


async def test_sender_small_bodies_share_a_loop_turn(codec_calls: list[str]) -> None:
    assert await calls_by_turn(1, 0, codec_calls) == [["encode"] * 3, ["decode"] * 3]


async def test_sender_cancelled_in_queue_sends_nothing() -> None:
    engine: Any = ReleasedEngine(envelope("ok", []))
    engine.release.set()
    call = sender(engine)
    calls = [asyncio.create_task(call(settle_request(MAX_SMALL_ITEMS + 1))) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()

    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in results] == [Response, asyncio.CancelledError, Response]
    assert engine.calls == 2


async def test_sender_deadline_passed_in_queue_is_not_sent() -> None:
    clock = ManualClock()
    engine: Any = ReleasedEngine(envelope("ok", []))
    engine.release.set()
    call_task = asyncio.create_task(
        sender(engine, clock)(settle_request(MAX_SMALL_ITEMS + 1).replace(deadline=clock.monotonic() + 1))
    )
    await asyncio.sleep(0)
    clock.advance(1)

    with pytest.raises(NotSent):
        await call_task
    assert engine.calls == 0


@pytest.mark.parametrize("body", [b"<html>", b"{", b"[]", envelope(9, []), envelope("ok", 5)])
async def test_sender_large_and_small_refusals_are_equal(body: bytes) -> None:
    small, large = [await failure("transfers.settle", (502, body + b" " * size)) for size in (0, MIN_LARGE_BYTES)]

    assert type(small) is type(large)
    assert (str(small), small.executed, vars(small)) == (str(large), large.executed, vars(large))
