import asyncio
import contextlib
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.endpoint import Safety
from paystar_async.errors import (
    BY_STATUS,
    ConfigurationError,
    InvalidResponse,
    InvalidValue,
    NoResponse,
    NotSent,
    PaystarError,
    StatusError,
    StorageError,
    TrackIdConflict,
    status_class,
)
from paystar_async.middleware.retry import RetryBudget, RetryMiddleware, may_retry
from tests.support import (
    MATCH,
    RESPONSE,
    SETTLE,
    Engine,
    EventRecorder,
    Next,
    QuickClock,
    RunningClock,
    client,
    html_page,
    in_turn,
    ok,
    refused,
    request,
    transfer,
    wait_all_tasks_blocked,
)

TRANSIENT: list[PaystarError] = [
    NoResponse("gone"),
    InvalidResponse("$", "an HTML page", http_status=502),
    InvalidResponse("$", "truncated", http_status=200),
    status_class(0)(0),
    status_class(11)(11),
    *[status_class(8)(8, http_status=http) for http in (408, 429, 500, 502, 503, 504)],
]
REFUSALS: list[PaystarError] = [
    *[kind(code) for code, kind in BY_STATUS.items() if code not in (0, 11)],
    StatusError(77),
    InvalidValue("amount", expected="Rial", got="x"),
    ConfigurationError("missing"),
    TrackIdConflict("another"),
    StorageError("down"),
]


def ring(clock: QuickClock, **options: Any) -> RetryMiddleware:
    return RetryMiddleware(
        clock, options.pop("retries", 3), options.pop("notify", EventRecorder()), random=Random(1), **options
    )


def named(error: PaystarError) -> str:
    return f"{type(error).__name__}-{getattr(error, 'http_status', '')}"


@pytest.mark.parametrize("error", TRANSIENT, ids=named)
async def test_what_only_reads_is_repeated_on_anything_that_may_pass(error: PaystarError) -> None:
    rest = Next(error, error, RESPONSE)

    assert await ring(QuickClock())(request(MATCH), rest) is RESPONSE

    assert [one.attempt for one in rest.requests] == [1, 2, 3]


@pytest.mark.parametrize("error", TRANSIENT, ids=named)
async def test_retry_once_call_maybe_sent_is_not_repeated(error: PaystarError) -> None:
    rest = Next(error, RESPONSE)

    with pytest.raises(type(error)):
        await ring(QuickClock())(request(SETTLE), rest)

    assert len(rest.requests) == 1


@pytest.mark.parametrize("error", REFUSALS, ids=named)
@pytest.mark.parametrize("value", [MATCH, SETTLE])
async def test_a_refusal_is_never_repeated(error: PaystarError, value: Any) -> None:
    rest = Next(error, RESPONSE)

    with pytest.raises(type(error)):
        await ring(QuickClock())(request(value), rest)

    assert len(rest.requests) == 1


@pytest.mark.parametrize("value", [MATCH, SETTLE])
async def test_what_never_left_is_repeated_whatever_it_does(value: Any) -> None:
    rest = Next(NotSent("no connection"), RESPONSE)

    assert await ring(QuickClock())(request(value), rest) is RESPONSE

    assert [one.attempt for one in rest.requests] == [1, 2]


async def test_retry_not_sent_then_maybe_sent_stops() -> None:
    rest = Next(NotSent("no connection"), NoResponse("reset"), RESPONSE)

    with pytest.raises(NoResponse) as error:
        await ring(QuickClock())(request(SETTLE), rest)

    assert len(rest.requests) == 2
    assert error.value.executed == "maybe"


@pytest.mark.parametrize("safety", Safety)
def test_only_what_never_left_may_always_be_repeated(safety: Safety) -> None:
    assert may_retry(NotSent("x"), safety)
    assert may_retry(NoResponse("x"), safety) is (safety is Safety.READ)


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_retry_max_retries_raises_last_error(retries: int) -> None:
    rest = Next(*[NoResponse(f"number {n}") for n in range(1, 20)])

    with pytest.raises(NoResponse, match=f"number {retries + 1}"):
        await ring(QuickClock(), retries=retries)(request(), rest)

    assert [one.attempt for one in rest.requests] == list(range(1, retries + 2))


@given(seed=st.integers(), attempt=st.integers(1, 40))
def test_each_pause_is_anything_from_nothing_to_its_bound(seed: int, attempt: int) -> None:
    bound = min(8.0, 0.25 * 2 ** (attempt - 1))

    assert 0 <= pauses(seed, attempt)[-1] <= bound


def test_pauses_spread_over_the_whole_range() -> None:
    late = pauses(1, 300)[6:]

    assert min(late) < 0.4
    assert max(late) > 7.6


def pauses(seed: int, attempts: int) -> list[float]:
    """Return the pauses after each of ``count`` failed attempts."""
    clock = QuickClock()
    retry = RetryMiddleware(
        clock, attempts, EventRecorder(), random=Random(seed), budget=RetryBudget(capacity=1e9, tokens=1e9)
    )
    with contextlib.suppress(NoResponse):
        asyncio.run(retry(request(timeout=1e6), Next(NoResponse("x"))))
    return clock.slept


@pytest.mark.parametrize("error", [status_class(0)(0, retry_after=7), InvalidResponse("$", "busy", retry_after=7)])
async def test_the_pause_a_server_asks_for_is_kept(error: PaystarError) -> None:
    clock, rest = QuickClock(), Next(error, RESPONSE)

    await ring(clock)(request(timeout=60), rest)

    assert clock.slept == [7.0]


async def test_a_pause_beyond_the_deadline_ends_in_the_error_at_once() -> None:
    clock, rest = QuickClock(), Next(status_class(0)(0, retry_after=31), RESPONSE)

    with pytest.raises(StatusError):
        await ring(clock)(request(deadline=30.0), rest)

    assert clock.slept == []
    assert len(rest.requests) == 1


async def test_retry_budget_bounds_attempts_until_recovery() -> None:
    clock = QuickClock()
    retry = ring(clock, budget=RetryBudget())
    dead = Next(NoResponse("dead"))
    for _ in range(200):
        with pytest.raises(NoResponse):
            await retry(request(), dead)
    assert len(dead.requests) <= 1.1 * 200

    for _ in range(20):
        await retry(request(), Next(RESPONSE))
    shaky = Next(NoResponse("a hiccup"), NoResponse("another"), RESPONSE)
    assert await retry(request(), shaky) is RESPONSE


async def test_retry_emits_event_for_each_repetition() -> None:
    told = EventRecorder()

    await ring(QuickClock(), notify=told)(request(), Next(NoResponse("x"), NotSent("y"), RESPONSE))

    assert told.names == ["request_retried", "request_retried"]
    assert [one.detail for one in told.events] == [
        "identity.match_mobile: NoResponse",
        "identity.match_mobile: NotSent",
    ]


async def test_a_call_cancelled_in_its_pause_is_not_repeated() -> None:
    clock, rest = RunningClock(), Next(NoResponse("x"), RESPONSE)
    task = asyncio.create_task(RetryMiddleware(clock, 3, EventRecorder())(request(), rest))
    await wait_all_tasks_blocked()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(rest.requests) == 1
    assert clock.sleepers == 0


async def test_retry_is_one_layer_for_the_whole_client() -> None:
    engine = Engine(lambda _: html_page(503))
    paystar = client(engine, clock=QuickClock(), max_retries=2)

    with pytest.raises(InvalidResponse):
        await paystar.wallet.balance()

    assert len(engine.sent) == 3


async def test_settle_is_sent_once_whatever_the_response() -> None:
    for reply in (
        html_page(503),
        refused(0),
        refused(11),
        refused(9),
        NoResponse("reset"),
        refused(8, http=429),
        html_page(302),
    ):
        engine = Engine(in_turn(reply))
        paystar = client(engine, clock=QuickClock())

        with pytest.raises(PaystarError):
            await paystar.transfers.settle(transfers=[transfer("t-1")])

        assert len(engine.sent) == 1


async def test_a_transfer_that_never_left_is_sent_again_by_the_client() -> None:
    engine = Engine(
        in_turn(NotSent("refused"), NotSent("refused"), ok({"track_id": "t-1", "status": "pending"}, status="ok"))
    )
    paystar = client(engine, clock=QuickClock())

    (settlement,) = await paystar.transfers.settle(transfers=[transfer("t-1")])

    assert settlement.status == "pending"
    assert len(engine.sent) == 3


async def test_a_call_that_sleeps_between_attempts_holds_no_slot() -> None:
    clock = RunningClock()
    replies = {"match": [html_page(503), ok({"is_matched": True})]}
    engine = Engine(lambda sent: replies["match"].pop(0) if "matching" in sent.path else ok({"balance": 5}))
    paystar = client(engine, clock=clock, concurrency=1)
    sleeping = asyncio.create_task(paystar.send(MATCH))
    await wait_all_tasks_blocked()
    assert clock.sleepers == 1

    balance = await paystar.transfers.balance(account_number="0100000000001")

    assert balance.balance == 5
    assert not sleeping.done()
    async with clock.running():
        assert (await sleeping).value.is_matched
