"""The innermost step: what a failure is known to mean, and what of it may be seen."""

import asyncio
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import define, evolve, field

from paystar_async.endpoint import Endpoint, Request, Response, Safety
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
from paystar_async.runtime.clock import ManualClock
from paystar_async.table import BY_ID
from paystar_async.transport.decoder import ResponseDecoder
from paystar_async.transport.encoder import MAX_SMALL_ITEMS, RequestEncoder
from paystar_async.transport.engine import Engine, Headers
from paystar_async.transport.sender import MIN_LARGE_BYTES, Sender
from tests.support import Turns, entries, settled, transfer
from tests.transport.asking import ACCOUNTS, BASE, CALLS, envelope, example_of, request_of

MAYBE_STATUSES = {0, 11, -99}


@define
class Canned:
    """An engine that answers what it was made with, or raises it."""

    answer: tuple[int, Mapping[str, str], bytes] | BaseException
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
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def aclose(self) -> None:
        pass


def carrier(engine: Engine, clock: ManualClock | None = None) -> Sender:
    return Sender(RequestEncoder(ACCOUNTS, BASE), ResponseDecoder(ACCOUNTS.secrets()), engine, clock or ManualClock())


async def failure(row: Endpoint | str, answer: tuple[int, bytes] | BaseException) -> PaystarError:
    canned = Canned(answer if isinstance(answer, BaseException) else (answer[0], {}, answer[1]))
    with pytest.raises(PaystarError) as caught:
        await carrier(canned)(request_of(example_of(row)))
    return caught.value


each_call = pytest.mark.parametrize("row", CALLS, ids=lambda row: row.id)


@each_call
async def test_what_is_known_of_a_call_depends_on_its_row(row: Endpoint) -> None:
    maybe = "no" if row.safety is Safety.READ else "maybe"

    assert (await failure(row, NoResponse("x"))).executed == maybe
    assert (await failure(row, (502, b"<html>"))).executed == maybe
    assert (await failure(row, (500, envelope(10)))).executed == maybe
    assert (await failure(row, (200, envelope("nobody knows this")))).executed == maybe
    assert (await failure(row, NotSent("x"))).executed == "no"
    for status in BY_STATUS:
        error = await failure(row, (400, envelope(status)))
        assert error.executed == (maybe if status in MAYBE_STATUSES else "no"), status


async def test_the_hint_names_whom_to_ask() -> None:
    ask = "it may have been carried out: ask transfers.find before you repeat it"

    assert (await failure("transfers.settle", NoResponse("x"))).hint == ask
    assert (await failure("transfers.settle", (502, b"<html>"))).hint == ask
    assert (await failure("gateway.create", NoResponse("x"))).hint == "it may have been carried out"
    assert (await failure("gateway.verify", NoResponse("x"))).hint.count("gateway.inquiry") == 1
    assert (await failure("inquiry.iban", NoResponse("x"))).hint == "it only reads: call again"
    assert (await failure("inquiry.iban", (400, envelope(0)))).hint == "it only reads: call again"


async def test_a_hint_never_says_call_again_of_what_may_have_happened() -> None:
    error = await failure("transfers.settle", (502, envelope(10)))

    assert type(error) is InvalidInput
    assert "call again" not in error.hint
    assert "ask transfers.find" in error.hint
    assert (await failure("inquiry.iban", (502, envelope(10)))).hint == InvalidInput.hint


@pytest.mark.parametrize("status", BY_STATUS)
async def test_a_refusal_keeps_its_own_hint(status: int | str) -> None:
    assert (await failure("transfers.settle", (400, envelope(status)))).hint == BY_STATUS[status].hint


def frames(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize("answer", [(200, b"<html>"), (400, envelope(10)), NoResponse("x"), NotSent("x")])
async def test_no_frame_below_is_in_the_traceback(answer: tuple[int, bytes] | PaystarError) -> None:
    error = await failure("transfers.find", answer)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    assert names == ["failure", "__call__"]
    assert error.__context__ is None
    assert error.__cause__ is None


async def test_an_error_raised_while_another_is_handled_keeps_no_frame_either() -> None:
    cause = NoResponse("x")
    cause.__cause__ = ValueError("holds a body")

    error = await failure("transfers.find", cause)
    assert "holds a body" not in frames(error)


@pytest.mark.parametrize("stray", [asyncio.CancelledError(), AssertionError("no route"), KeyError("bug")])
async def test_what_is_not_ours_goes_on_as_it_is_without_its_variables(stray: BaseException) -> None:
    with pytest.raises(type(stray)) as caught:
        await carrier(Canned(stray))(request_of(example_of("transfers.find")))

    assert caught.value is stray
    names = [frame.name for frame in traceback.extract_tb(stray.__traceback__)]
    told = frames(stray)  # before the words below become variables of this frame
    assert names[-2:] == ["_send", "send"]
    assert "p%26ss" not in told
    assert "the-key" not in told


async def test_an_error_that_was_handled_outside_keeps_its_variables() -> None:
    def fail(kept: str) -> None:
        raise LookupError(kept)

    async def call_while_handling() -> None:
        try:
            fail("kept")
        except LookupError:
            await carrier(Canned(AssertionError("no route")))(request_of(example_of("transfers.find")))

    with pytest.raises(AssertionError) as caught:
        await call_while_handling()

    assert "kept = 'kept'" in frames(caught.value)


async def test_a_fence_needs_an_engine_that_has_one() -> None:
    request = evolve(request_of(example_of("transfers.settle")), before_send=lambda: None)
    engine = Canned((200, {}, envelope("ok", [])), supports_before_send=False)

    with pytest.raises(ConfigurationError, match="cannot report when"):
        await carrier(engine)(request)
    assert engine.timeouts == []


async def test_a_fence_is_handed_down() -> None:
    called: list[int] = []
    request = evolve(request_of(example_of("transfers.settle")), before_send=lambda: called.append(1))

    await carrier(Canned((200, {}, envelope("ok", []))))(request)
    assert called == [1]


async def test_the_engine_has_the_time_that_is_left() -> None:
    clock = ManualClock()
    engine = Canned((200, {}, envelope("ok", [])))
    request = request_of(example_of("transfers.find"))
    await carrier(engine, clock)(request)
    await carrier(engine, clock)(evolve(request, deadline=clock.monotonic() + 2))
    clock.advance(10)
    await carrier(engine, clock)(evolve(request, deadline=clock.monotonic() - 1))

    assert engine.timeouts == [5, 2, 0]


async def test_a_bad_answer_is_a_bad_answer_and_a_refusal_a_refusal() -> None:
    assert type(await failure("transfers.settle", (200, b"{}"))) is InvalidResponse
    assert isinstance(await failure("transfers.settle", (200, envelope(9))), StatusError)


@each_call
async def test_an_answer_arrives_whole(row: Endpoint) -> None:
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
    response = await carrier(Canned((200, {"date": "x"}, envelope("ok", data))))(request_of(example_of(row)))

    assert response.headers == {"date": "x"}
    assert response.body == envelope("ok", data)
    assert BY_ID[row.id] is row


class Answering:
    """An engine whose answers come all at once."""

    supports_before_send = False

    def __init__(self, answer: bytes) -> None:
        self.answer, self.asked, self.go = answer, 0, asyncio.Event()

    async def send(self, *_: Any) -> tuple[int, Mapping[str, str], bytes]:
        self.asked += 1
        await self.go.wait()
        return 200, {}, self.answer

    async def aclose(self) -> None: ...


def settling(count: int) -> Request[Any]:
    return request_of(Settle(transfers=[transfer(f"t-{number}") for number in range(count)]))


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the encoding and decoding methods, as they are called."""
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


async def at_once(count: int, padding: int, heavy: list[str]) -> list[list[str]]:
    """What was done in each turn of the loop that three calls took, which were made and answered at once."""
    body = envelope("ok", entries([f"t-{number}" for number in range(count)])) + b" " * padding
    engine: Any = Answering(body)
    call = carrier(engine)
    async with Turns() as turns:
        done = turns.watch(heavy)
        calls = [asyncio.create_task(call(settling(count))) for _ in range(3)]
        await settled()
        engine.go.set()
        for response in await asyncio.gather(*calls):
            assert len(response.value) == count
    return [one for one in done if one]


async def test_of_long_requests_and_answers_one_is_written_or_read_in_a_turn_of_the_loop(heavy: list[str]) -> None:
    done = await at_once(MAX_SMALL_ITEMS + 1, MIN_LARGE_BYTES, heavy)

    assert sorted(done) == sorted([["encode"], ["envelope"], ["decode"]] * 3)


async def test_short_ones_wait_for_nobody(heavy: list[str]) -> None:
    assert await at_once(1, 0, heavy) == [["encode"] * 3, ["decode"] * 3]


async def test_who_is_called_off_in_line_has_sent_nothing_and_holds_nobody_up() -> None:
    engine: Any = Answering(envelope("ok", []))
    engine.go.set()
    call = carrier(engine)
    calls = [asyncio.create_task(call(settling(MAX_SMALL_ITEMS + 1))) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()

    ends = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in ends] == [Response, asyncio.CancelledError, Response]
    assert engine.asked == 2


async def test_what_had_no_time_left_when_its_turn_came_was_not_sent() -> None:
    clock = ManualClock()
    engine: Any = Answering(envelope("ok", []))
    engine.go.set()
    long = asyncio.create_task(
        carrier(engine, clock)(settling(MAX_SMALL_ITEMS + 1).replace(deadline=clock.monotonic() + 1))
    )
    await asyncio.sleep(0)
    clock.advance(1)

    with pytest.raises(NotSent):
        await long
    assert engine.asked == 0


@pytest.mark.parametrize("body", [b"<html>", b"{", b"[]", envelope(9, []), envelope("ok", 5)])
async def test_a_large_answer_that_says_no_is_the_error_that_a_small_one_is(body: bytes) -> None:
    small, large = [await failure("transfers.settle", (502, body + b" " * size)) for size in (0, MIN_LARGE_BYTES)]

    assert type(small) is type(large)
    assert (str(small), small.executed, vars(small)) == (str(large), large.executed, vars(large))
