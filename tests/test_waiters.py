"""Waiters: shared polling, intervals, deadlines, errors and cancellation of subscribers."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.errors import InvalidValue, IpNotAllowed, NoResponse, NotSent, PaystarError, status_class
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.waiters import PollInterval, Waiter, Waiters, outcome_of
from tests.support import RunningClock, wait_all_tasks_blocked

STEADY = PollInterval(first=1.0, factor=1.0, jitter=0.0)


def make_entry(track_id: str, status: str = "success", **more: Any) -> Settlement:
    return Settlement(track_id=track_id, status=TransferStatus(status), **more)


class FakeBank:
    """A bank whose list is polled; records the track_ids and the time of each request."""

    def __init__(self, clock: RunningClock) -> None:
        self.clock = clock
        self.list: dict[str, str] = {}
        self.requests: list[frozenset[str]] = []
        self.errors: list[Exception] = []
        self.release: asyncio.Event | None = None
        self.poll_times: list[float] = []

    async def fetch(self, track_ids: frozenset[str]) -> Sequence[Settlement]:
        self.requests.append(track_ids)
        self.poll_times.append(self.clock.monotonic())
        await asyncio.sleep(0)
        if self.release is not None:
            await self.release.wait()
        if self.errors:
            raise self.errors.pop(0)
        return [make_entry(track_id, status) for track_id, status in self.list.items()]


class WaitersFixture:
    """Waiters on a fake bank, with a clock that advances by itself."""

    def __init__(self) -> None:
        self.clock, self.background = RunningClock(), BackgroundTasks()
        self.bank = FakeBank(self.clock)
        self.waiters = Waiters(self.clock, self.background)

    async def wait(
        self, track_id: str, timeout: float = 60.0, interval: PollInterval = STEADY, list_key: str = "list"
    ) -> Outcome:
        return await self.waiters.wait(
            list_key,
            self.bank.fetch,
            lambda entry, track_id: entry.track_id == track_id,
            track_id=track_id,
            timeout=timeout,
            interval=interval,
        )

    def start(self, *track_ids: str, **options: Any) -> list[asyncio.Task[Outcome]]:
        return [asyncio.create_task(self.wait(track_id, **options)) for track_id in track_ids]

    @property
    def open_tasks_and_waiters(self) -> tuple[int, int]:
        """Return the numbers of running background tasks and of open waiters."""
        return self.background.running_count, len(self.waiters)


async def test_wait_many_subscribers_share_one_request_per_poll() -> None:
    fixture = WaitersFixture()
    track_ids = [f"t-{n}" for n in range(500)]
    fixture.bank.list = dict.fromkeys(track_ids, "pending")
    waiting = fixture.start(*track_ids)
    await wait_all_tasks_blocked()
    assert len(fixture.bank.requests) == 1
    assert fixture.bank.requests[0] == set(track_ids)

    async with fixture.clock.running():
        while len(fixture.bank.requests) < 10:
            await wait_all_tasks_blocked()
        fixture.bank.list = dict.fromkeys(track_ids, "success")
        outcomes = await asyncio.gather(*waiting)

    assert outcomes == [Succeeded(track_id=track_id) for track_id in track_ids]
    assert len(fixture.bank.requests) <= fixture.clock.monotonic() + 2
    await wait_all_tasks_blocked()
    assert fixture.open_tasks_and_waiters == (0, 0)


async def test_wait_late_subscriber_shares_polls() -> None:
    fixture = WaitersFixture()
    fixture.bank.list = {"t-1": "pending", "t-2": "pending"}
    waiting = fixture.start("t-1")
    await wait_all_tasks_blocked()
    waiting += fixture.start("t-2")
    await wait_all_tasks_blocked()
    assert len(fixture.bank.requests) == 1

    async with fixture.clock.running():
        while len(fixture.bank.requests) < 3:
            await wait_all_tasks_blocked()
        fixture.bank.list = {"t-1": "failed", "t-2": "success"}
        outcomes = await asyncio.gather(*waiting)

    assert [type(outcome) for outcome in outcomes] == [Failed, Succeeded]
    assert fixture.bank.requests[1] == {"t-1", "t-2"}


async def test_wait_late_subscriber_is_polled_soon() -> None:
    fixture = WaitersFixture()
    interval = PollInterval(first=1.0, factor=10.0, longest=1000.0, jitter=0.0)
    fixture.bank.list = {"t-1": "pending"}
    first = fixture.start("t-1", timeout=5000.0, interval=interval)
    async with fixture.clock.running():
        while len(fixture.bank.requests) < 4:
            await wait_all_tasks_blocked()
    joined_at = fixture.clock.monotonic()
    second = fixture.start("t-2", timeout=5000.0, interval=interval)

    async with fixture.clock.running():
        while len(fixture.bank.requests) < 5:
            await wait_all_tasks_blocked()
        assert fixture.clock.monotonic() - joined_at <= 1.0
        fixture.bank.list = {"t-1": "success", "t-2": "success"}
        await asyncio.gather(*first, *second)

    assert fixture.clock.monotonic() - joined_at <= 2.0


async def test_wait_polls_back_off() -> None:
    fixture = WaitersFixture()
    fixture.bank.list = {"t-1": "pending"}
    async with fixture.clock.running():
        await fixture.wait("t-1", timeout=300, interval=PollInterval(first=1.0, factor=2.0, longest=30.0, jitter=0.0))

    pauses = [
        after - before for before, after in zip(fixture.bank.poll_times, fixture.bank.poll_times[1:], strict=False)
    ]
    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]


@given(polls=st.integers(1, 10**6), seed=st.integers())
def test_poll_interval_pause_is_bounded(polls: int, seed: int) -> None:
    interval = PollInterval()

    assert (
        interval.first * (1 - interval.jitter)
        <= interval.pause(polls, Random(seed))
        <= interval.longest * (1 + interval.jitter)
    )


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("pending", Pending, "the bank has not decided, after 20 s"),
        ("queued", Unknown, 'the bank reports "queued", after 20 s'),
        (None, Unknown, "the bank does not list the transfer, after 20 s"),
    ],
)
async def test_wait_timeout_is_pending_or_unknown_never_failed(
    status: str | None, kind: type[Pending | Unknown], reason: str
) -> None:
    fixture = WaitersFixture()
    fixture.bank.list = {"t-1": status} if status else {}

    async with fixture.clock.running():
        outcome = await fixture.wait("t-1", timeout=20)

    assert outcome == kind(track_id="t-1", reason=reason)
    assert fixture.clock.monotonic() == 20


async def test_wait_timeout_ends_during_a_poll() -> None:
    fixture = WaitersFixture()
    fixture.bank.release = asyncio.Event()

    async with fixture.clock.running():
        outcome = await fixture.wait("t-1", timeout=20)

    assert outcome == Unknown(track_id="t-1", reason="no status check got a response, after 20 s")
    await wait_all_tasks_blocked()
    assert fixture.open_tasks_and_waiters == (0, 0)


async def test_wait_subscribers_have_separate_deadlines() -> None:
    fixture = WaitersFixture()
    fixture.bank.list = {"t-1": "pending", "t-2": "pending"}
    async with fixture.clock.running():
        short, long = fixture.start("t-1", timeout=5.0) + fixture.start("t-2", timeout=50.0)
        assert isinstance(await short, Pending)
        assert fixture.clock.monotonic() == 5
        assert isinstance(await long, Pending)
        assert fixture.clock.monotonic() == 50


@pytest.mark.parametrize(
    "error", [NoResponse("gone"), NotSent("no connection"), status_class(0)(0), status_class(9)(9, http_status=503)]
)
async def test_wait_transient_error_is_ignored(error: PaystarError) -> None:
    fixture = WaitersFixture()
    fixture.bank.errors = [error, error]
    fixture.bank.list = {"t-1": "success"}

    async with fixture.clock.running():
        assert await fixture.wait("t-1") == Succeeded(track_id="t-1")

    assert len(fixture.bank.requests) == 3


async def test_wait_without_successful_poll_says_why() -> None:
    fixture = WaitersFixture()
    fixture.bank.errors = [NoResponse("gone") for _ in range(99)]

    async with fixture.clock.running():
        outcome = await fixture.wait("t-1", timeout=10)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "no status check got a response, after 10 s"
    assert isinstance(outcome.error, NoResponse)


async def test_wait_failed_poll_keeps_last_outcome() -> None:
    fixture = WaitersFixture()
    fixture.bank.list = {"t-1": "pending"}
    waiting = fixture.start("t-1", timeout=10.0)
    await wait_all_tasks_blocked()
    fixture.bank.list = {}
    fixture.bank.errors = [NoResponse("gone") for _ in range(99)]

    async with fixture.clock.running():
        assert isinstance(await waiting[0], Pending)


async def test_wait_transfer_missing_from_later_list_stays_known() -> None:
    fixture = WaitersFixture()
    fixture.bank.list = {"t-1": "pending"}
    waiting = fixture.start("t-1", timeout=10.0)
    await wait_all_tasks_blocked()
    fixture.bank.list = {}

    async with fixture.clock.running():
        assert isinstance(await waiting[0], Pending)


async def test_wait_subscriber_joining_as_last_leaves_is_polled() -> None:
    fixture = WaitersFixture()
    waiter = Waiter(
        fixture.bank.fetch,
        lambda entry, track_id: entry.track_id == track_id,
        fixture.clock,
        fixture.background,
        STEADY,
    )
    fixture.bank.release = asyncio.Event()
    first = asyncio.create_task(waiter.wait("t-1", 60.0))
    await wait_all_tasks_blocked()
    first.cancel()
    while not waiter.idle:
        await wait_all_tasks_blocked(1)

    fixture.bank.release.set()
    fixture.bank.list = {"t-2": "success"}
    async with fixture.clock.running():
        assert await waiter.wait("t-2", 60.0) == Succeeded(track_id="t-2")


async def test_wait_refusal_raises_copy_for_each_subscriber() -> None:
    fixture = WaitersFixture()
    fixture.bank.errors = [IpNotAllowed(7, "no")]

    errors = await asyncio.gather(*fixture.start(*[f"t-{n}" for n in range(20)]), return_exceptions=True)

    assert {type(error) for error in errors} == {IpNotAllowed}
    assert len({id(error) for error in errors}) == 20
    assert len(fixture.bank.requests) == 1
    await wait_all_tasks_blocked()
    assert fixture.open_tasks_and_waiters == (0, 0)


async def test_wait_foreign_error_reaches_subscribers() -> None:
    fixture = WaitersFixture()
    fixture.bank.errors = [LookupError("a bug in a user middleware")]

    errors = await asyncio.wait_for(asyncio.gather(*fixture.start("t-1", "t-2"), return_exceptions=True), 5)

    assert [type(error) for error in errors] == [LookupError, LookupError]


async def test_wait_cancelled_subscriber_leaves_others_waiting() -> None:
    fixture = WaitersFixture()
    fixture.bank.list = {"t-1": "pending", "t-2": "pending"}
    leaving, staying = fixture.start("t-1", "t-2")
    await wait_all_tasks_blocked()

    leaving.cancel()
    async with fixture.clock.running():
        while len(fixture.bank.requests) < 3:
            await wait_all_tasks_blocked()
        fixture.bank.list = {"t-1": "success", "t-2": "success"}
        assert await staying == Succeeded(track_id="t-2")

    assert leaving.cancelled()
    assert fixture.bank.requests[-1] == {"t-2"}


@pytest.mark.parametrize("moment", ["before a poll", "during a poll", "between polls"])
async def test_wait_last_subscriber_leaving_stops_polling(moment: str) -> None:
    fixture = WaitersFixture()
    if moment == "during a poll":
        fixture.bank.release = asyncio.Event()
    waiting = fixture.start("t-1", "t-2")
    await wait_all_tasks_blocked({"before a poll": 1, "during a poll": 60, "between polls": 60}[moment])

    for task in waiting:
        task.cancel()
    await wait_all_tasks_blocked()

    assert fixture.open_tasks_and_waiters == (0, 0)
    assert fixture.clock.sleepers == 0


@given(seed=st.integers(0, 10**6))
def test_wait_random_arrivals_all_get_outcomes(seed: int) -> None:
    async def run_arrivals() -> None:
        rng, fixture = Random(seed), WaitersFixture()
        waiting: list[asyncio.Task[Outcome]] = []
        async with fixture.clock.running():
            for number in range(12):
                waiting += fixture.start(f"t-{number}", timeout=rng.choice([0.5, 3.0, 30.0]))
                await wait_all_tasks_blocked(rng.randrange(80))
                fixture.bank.list[f"t-{rng.randrange(12)}"] = rng.choice(["pending", "success", "failed"])
                if rng.random() < 0.3:
                    rng.choice(waiting).cancel()
                if rng.random() < 0.2:
                    fixture.bank.errors.append(NoResponse("gone"))
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            await wait_all_tasks_blocked()
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, asyncio.CancelledError)
            elif isinstance(outcome, Succeeded | Failed):
                assert f"t-{number}" in fixture.bank.list
        assert fixture.open_tasks_and_waiters == (0, 0)
        assert fixture.clock.sleepers == 0

    asyncio.run(run_arrivals())


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
async def test_wait_timeout_not_above_zero_raises(timeout: float) -> None:
    fixture = WaitersFixture()

    with pytest.raises(InvalidValue, match="timeout"):
        await fixture.wait("t-1", timeout=timeout)

    assert fixture.bank.requests == []


STATUSES = st.sampled_from(["success", "failed", "pending", "queued", "reversed"])


@given(st.lists(STATUSES, min_size=1, max_size=6))
def test_outcome_of_conflicting_entries_prefers_moved_money(statuses: list[str]) -> None:
    outcome = outcome_of("t-1", [make_entry("t-1", status) for status in statuses])

    if "success" in statuses:
        assert isinstance(outcome, Succeeded)
    elif "pending" in statuses:
        assert isinstance(outcome, Pending)
    elif set(statuses) == {"failed"}:
        assert isinstance(outcome, Failed)
    else:
        assert isinstance(outcome, Unknown)


def test_outcome_of_keeps_message_of_bank() -> None:
    assert outcome_of("t", [make_entry("t", ref_code="r-9")]) == Succeeded(track_id="t", ref_code="r-9")
    assert outcome_of("t", [make_entry("t", "failed", message="no such account")]) == Failed(
        track_id="t", reason="no such account"
    )


def test_wait_works_on_trio() -> None:
    async def run_waiters() -> None:
        fixture = WaitersFixture()
        outcomes: list[Outcome] = []

        async def fetch(track_ids: frozenset[str]) -> Sequence[Settlement]:
            await anyio.lowlevel.checkpoint()
            return [make_entry(track_id) for track_id in track_ids]

        async def wait(track_id: str) -> None:
            outcomes.append(
                await fixture.waiters.wait(
                    "list",
                    fetch,
                    lambda entry, track_id: entry.track_id == track_id,
                    track_id=track_id,
                    timeout=9,
                    interval=STEADY,
                )
            )

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(wait, f"t-{number}")
        assert len(outcomes) == 5
        await anyio.wait_all_tasks_blocked()
        assert fixture.open_tasks_and_waiters == (0, 0)

    anyio.run(run_waiters, backend="trio")
