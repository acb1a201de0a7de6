"""The retry middleware: retried errors, backoff, budget and events."""

import asyncio
import contextlib
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.endpoint import Safety
from paystar_async.errors import (
    InvalidResponse,
    NoResponse,
    NotSent,
    PaystarError,
    StatusError,
    status_class,
)
from paystar_async.middleware.retry import RetryBudget, RetryMiddleware, may_retry
from tests.errors.examples import NOT_TRANSIENT, TRANSIENT, error_id
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


def retry_middleware(clock: QuickClock, **options: Any) -> RetryMiddleware:
    return RetryMiddleware(
        clock, options.pop("retries", 3), options.pop("notify", EventRecorder()), random=Random(1), **options
    )


@pytest.mark.parametrize("error", TRANSIENT, ids=error_id)
async def test_retry_read_after_transient_error_is_retried(error: PaystarError) -> None:
    inner = Next(error, error, RESPONSE)

    assert await retry_middleware(QuickClock())(request(MATCH), inner) is RESPONSE

    assert [sent.attempt for sent in inner.requests] == [1, 2, 3]


@pytest.mark.parametrize("error", TRANSIENT, ids=error_id)
async def test_retry_write_maybe_sent_is_not_retried(error: PaystarError) -> None:
    inner = Next(error, RESPONSE)

    with pytest.raises(type(error)):
        await retry_middleware(QuickClock())(request(SETTLE), inner)

    assert len(inner.requests) == 1


@pytest.mark.parametrize("error", NOT_TRANSIENT, ids=error_id)
@pytest.mark.parametrize("value", [MATCH, SETTLE])
async def test_retry_rejected_call_is_not_retried(error: PaystarError, value: Any) -> None:
    inner = Next(error, RESPONSE)

    with pytest.raises(type(error)):
        await retry_middleware(QuickClock())(request(value), inner)

    assert len(inner.requests) == 1


@pytest.mark.parametrize("value", [MATCH, SETTLE])
async def test_retry_call_not_sent_is_retried(value: Any) -> None:
    inner = Next(NotSent("no connection"), RESPONSE)

    assert await retry_middleware(QuickClock())(request(value), inner) is RESPONSE

    assert [sent.attempt for sent in inner.requests] == [1, 2]


async def test_retry_not_sent_then_maybe_sent_stops() -> None:
    inner = Next(NotSent("no connection"), NoResponse("reset"), RESPONSE)

    with pytest.raises(NoResponse) as error:
        await retry_middleware(QuickClock())(request(SETTLE), inner)

    assert len(inner.requests) == 2
    assert error.value.executed == "maybe"


@pytest.mark.parametrize("safety", Safety)
def test_may_retry_depends_on_error_and_safety(safety: Safety) -> None:
    assert may_retry(NotSent("x"), safety)
    assert may_retry(NoResponse("x"), safety) is (safety is Safety.READ)


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_retry_max_retries_raises_last_error(retries: int) -> None:
    inner = Next(*[NoResponse(f"number {n}") for n in range(1, 20)])

    with pytest.raises(NoResponse, match=f"number {retries + 1}"):
        await retry_middleware(QuickClock(), retries=retries)(request(), inner)

    assert [sent.attempt for sent in inner.requests] == list(range(1, retries + 2))


@given(seed=st.integers(), attempt=st.integers(1, 40))
def test_retry_backoff_is_between_zero_and_its_bound(seed: int, attempt: int) -> None:
    bound = min(8.0, 0.25 * 2 ** (attempt - 1))

    assert 0 <= backoffs(seed, attempt)[-1] <= bound


def test_retry_backoff_covers_its_whole_range() -> None:
    late_backoffs = backoffs(1, 300)[6:]

    assert min(late_backoffs) < 0.4
    assert max(late_backoffs) > 7.6


def test_retry_first_backoff_covers_its_whole_range() -> None:
    assert 0.24 < max(backoffs(seed, 1)[0] for seed in range(100)) <= 0.25


def backoffs(seed: int, attempts: int) -> list[float]:
    """Return the backoff after each of ``attempts`` failed attempts."""
    clock = QuickClock()
    retry = RetryMiddleware(
        clock, attempts, EventRecorder(), random=Random(seed), budget=RetryBudget(capacity=1e9, tokens=1e9)
    )
    with contextlib.suppress(NoResponse):
        asyncio.run(retry(request(timeout=1e6), Next(NoResponse("x"))))
    return clock.slept


@pytest.mark.parametrize("error", [status_class(0)(0, retry_after=7), InvalidResponse("$", "busy", retry_after=7)])
async def test_retry_waits_for_retry_after_of_response(error: PaystarError) -> None:
    clock, inner = QuickClock(), Next(error, RESPONSE)

    await retry_middleware(clock)(request(timeout=60), inner)

    assert clock.slept == [7.0]


@pytest.mark.parametrize("retry_after", [30, 31])
async def test_retry_after_beyond_deadline_raises_at_once(retry_after: int) -> None:
    clock, inner = QuickClock(), Next(status_class(0)(0, retry_after=retry_after), RESPONSE)

    with pytest.raises(StatusError):
        await retry_middleware(clock)(request(deadline=30.0), inner)

    assert clock.slept == []
    assert len(inner.requests) == 1


async def test_retry_budget_bounds_attempts_until_recovery() -> None:
    clock = QuickClock()
    retry = retry_middleware(clock, budget=RetryBudget())
    failing = Next(NoResponse("down"))
    for _ in range(200):
        with pytest.raises(NoResponse):
            await retry(request(), failing)
    assert len(failing.requests) <= 1.1 * 200

    for _ in range(20):
        await retry(request(), Next(RESPONSE))
    unstable = Next(NoResponse("a hiccup"), NoResponse("another"), RESPONSE)
    assert await retry(request(), unstable) is RESPONSE


def test_retry_budget_needs_two_successes_for_a_retry() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(9)] == [True] * 8 + [False]

    spent: list[bool] = []
    for _ in range(4):
        budget.earn()
        spent.append(budget.spend())
    assert spent == [False, True, False, True]


def test_retry_budget_is_bounded_by_its_capacity() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.earn()

    assert [budget.spend() for _ in range(9)] == [True] * 8 + [False]


async def test_retry_emits_event_for_each_retry() -> None:
    events = EventRecorder()

    await retry_middleware(QuickClock(), notify=events)(request(), Next(NoResponse("x"), NotSent("y"), RESPONSE))

    assert events.names == ["request_retried", "request_retried"]
    assert [event.detail for event in events.events] == [
        "identity.match_mobile: NoResponse",
        "identity.match_mobile: NotSent",
    ]


async def test_retry_cancelled_during_backoff_is_not_sent() -> None:
    clock, inner = RunningClock(), Next(NoResponse("x"), RESPONSE)
    task = asyncio.create_task(RetryMiddleware(clock, 3, EventRecorder())(request(), inner))
    await wait_all_tasks_blocked()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(inner.requests) == 1
    assert clock.sleepers == 0


async def test_retry_is_one_layer_for_the_whole_client() -> None:
    engine = Engine(lambda _: html_page(503))
    paystar = client(engine, clock=QuickClock(), max_retries=2)

    with pytest.raises(InvalidResponse):
        await paystar.wallet.balance()

    assert len(engine.sent) == 3


async def test_settle_is_sent_once_after_every_response() -> None:
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


async def test_settle_not_sent_is_retried_by_client() -> None:
    engine = Engine(
        in_turn(NotSent("refused"), NotSent("refused"), ok({"track_id": "t-1", "status": "pending"}, status="ok"))
    )
    paystar = client(engine, clock=QuickClock())

    (settlement,) = await paystar.transfers.settle(transfers=[transfer("t-1")])

    assert settlement.status == "pending"
    assert len(engine.sent) == 3


async def test_retry_backoff_occupies_no_concurrency_slot() -> None:
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
