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


def listed(track_id: str, status: str = "success", **more: Any) -> Settlement:
    return Settlement(track_id=track_id, status=TransferStatus(status), **more)


class Bank:
    """The list that is looked at; knows how often, and of whom it was asked."""

    def __init__(self) -> None:
        self.list: dict[str, str] = {}
        self.asked: list[frozenset[str]] = []
        self.errors: list[Exception] = []
        self.go: asyncio.Event | None = None
        self.moments: list[float] = []

    async def look(self, wanted: frozenset[str]) -> Sequence[Settlement]:
        self.asked.append(wanted)
        self.moments.append(self.clock.monotonic())
        await asyncio.sleep(0)
        if self.go is not None:
            await self.go.wait()
        if self.errors:
            raise self.errors.pop(0)
        return [listed(track_id, status) for track_id, status in self.list.items()]

    clock: RunningClock


class Waiting:
    """Watches over a bank, on a clock that runs by itself."""

    def __init__(self) -> None:
        self.clock, self.background, self.bank = RunningClock(), BackgroundTasks(), Bank()
        self.bank.clock = self.clock
        self.watches = Waiters(self.clock, self.background)

    async def wait(
        self, track_id: str, timeout: float = 60.0, pace: PollInterval = STEADY, name: str = "list"
    ) -> Outcome:
        return await self.watches.wait(
            name,
            self.bank.look,
            lambda one, wanted: one.track_id == wanted,
            track_id=track_id,
            timeout=timeout,
            pace=pace,
        )

    def start(self, *track_ids: str, **options: Any) -> list[asyncio.Task[Outcome]]:
        return [asyncio.create_task(self.wait(one, **options)) for one in track_ids]

    @property
    def left_behind(self) -> tuple[int, int]:
        """Jobs and watches that are still there."""
        return self.background.running_count, len(self.watches._open)  # pyright: ignore[reportPrivateUsage]


async def test_wait_five_hundred_share_one_request_per_poll() -> None:
    at = Waiting()
    names = [f"t-{n}" for n in range(500)]
    at.bank.list = dict.fromkeys(names, "pending")
    waiting = at.start(*names)
    await wait_all_tasks_blocked()
    assert len(at.bank.asked) == 1
    assert at.bank.asked[0] == set(names)

    async with at.clock.running():
        while len(at.bank.asked) < 10:
            await wait_all_tasks_blocked()
        at.bank.list = dict.fromkeys(names, "success")
        outcomes = await asyncio.gather(*waiting)

    assert outcomes == [Succeeded(track_id=name) for name in names]
    assert len(at.bank.asked) <= at.clock.monotonic() + 2
    await wait_all_tasks_blocked()
    assert at.left_behind == (0, 0)


async def test_wait_late_subscriber_shares_polls() -> None:
    at = Waiting()
    at.bank.list = {"t-1": "pending", "t-2": "pending"}
    waiting = at.start("t-1")
    await wait_all_tasks_blocked()
    waiting += at.start("t-2")
    await wait_all_tasks_blocked()
    assert len(at.bank.asked) == 1

    async with at.clock.running():
        while len(at.bank.asked) < 3:
            await wait_all_tasks_blocked()
        at.bank.list = {"t-1": "failed", "t-2": "success"}
        outcomes = await asyncio.gather(*waiting)

    assert [type(one) for one in outcomes] == [Failed, Succeeded]
    assert at.bank.asked[1] == {"t-1", "t-2"}


async def test_wait_late_subscriber_is_polled_soon() -> None:
    at = Waiting()
    pace = PollInterval(first=1.0, factor=10.0, longest=1000.0, jitter=0.0)
    at.bank.list = {"t-1": "pending"}
    first = at.start("t-1", timeout=5000.0, pace=pace)
    async with at.clock.running():
        while len(at.bank.asked) < 4:
            await wait_all_tasks_blocked()
    joined = at.clock.monotonic()
    second = at.start("t-2", timeout=5000.0, pace=pace)

    async with at.clock.running():
        while len(at.bank.asked) < 5:
            await wait_all_tasks_blocked()
        assert at.clock.monotonic() - joined <= 1.0
        at.bank.list = {"t-1": "success", "t-2": "success"}
        await asyncio.gather(*first, *second)

    assert at.clock.monotonic() - joined <= 2.0


async def test_wait_polls_back_off() -> None:
    at = Waiting()
    at.bank.list = {"t-1": "pending"}
    async with at.clock.running():
        await at.wait("t-1", timeout=300, pace=PollInterval(first=1.0, factor=2.0, longest=30.0, jitter=0.0))

    pauses = [after - before for before, after in zip(at.bank.moments, at.bank.moments[1:], strict=False)]
    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]


@given(looks=st.integers(1, 10**6), seed=st.integers())
def test_poll_interval_pause_is_bounded(looks: int, seed: int) -> None:
    pace = PollInterval()

    assert pace.first * (1 - pace.jitter) <= pace.pause(looks, Random(seed)) <= pace.longest * (1 + pace.jitter)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("pending", Pending, "the bank has not decided, after 20 s"),
        ("queued", Unknown, 'the bank says "queued", after 20 s'),
        (None, Unknown, "the bank does not list it, after 20 s"),
    ],
)
async def test_wait_timeout_is_pending_or_unknown_never_failed(
    status: str | None, kind: type[Pending | Unknown], reason: str
) -> None:
    at = Waiting()
    at.bank.list = {"t-1": status} if status else {}

    async with at.clock.running():
        outcome = await at.wait("t-1", timeout=20)

    assert outcome == kind(track_id="t-1", reason=reason)
    assert at.clock.monotonic() == 20


async def test_wait_timeout_ends_during_a_poll() -> None:
    at = Waiting()
    at.bank.go = asyncio.Event()

    async with at.clock.running():
        outcome = await at.wait("t-1", timeout=20)

    assert outcome == Unknown(track_id="t-1", reason="no status check got a response, after 20 s")
    await wait_all_tasks_blocked()
    assert at.left_behind == (0, 0)


async def test_wait_subscribers_have_separate_deadlines() -> None:
    at = Waiting()
    at.bank.list = {"t-1": "pending", "t-2": "pending"}
    async with at.clock.running():
        short, long = at.start("t-1", timeout=5.0) + at.start("t-2", timeout=50.0)
        assert isinstance(await short, Pending)
        assert at.clock.monotonic() == 5
        assert isinstance(await long, Pending)
        assert at.clock.monotonic() == 50


@pytest.mark.parametrize(
    "error", [NoResponse("gone"), NotSent("no connection"), status_class(0)(0), status_class(9)(9, http_status=503)]
)
async def test_wait_transient_error_is_ignored(error: PaystarError) -> None:
    at = Waiting()
    at.bank.errors = [error, error]
    at.bank.list = {"t-1": "success"}

    async with at.clock.running():
        assert await at.wait("t-1") == Succeeded(track_id="t-1")

    assert len(at.bank.asked) == 3


async def test_wait_without_successful_poll_says_why() -> None:
    at = Waiting()
    at.bank.errors = [NoResponse("gone") for _ in range(99)]

    async with at.clock.running():
        outcome = await at.wait("t-1", timeout=10)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "no status check got a response, after 10 s"
    assert isinstance(outcome.error, NoResponse)


async def test_wait_failed_poll_keeps_last_outcome() -> None:
    at = Waiting()
    at.bank.list = {"t-1": "pending"}
    waiting = at.start("t-1", timeout=10.0)
    await wait_all_tasks_blocked()
    at.bank.list = {}
    at.bank.errors = [NoResponse("gone") for _ in range(99)]

    async with at.clock.running():
        assert isinstance(await waiting[0], Pending)


async def test_wait_transfer_missing_from_later_list_stays_known() -> None:
    at = Waiting()
    at.bank.list = {"t-1": "pending"}
    waiting = at.start("t-1", timeout=10.0)
    await wait_all_tasks_blocked()
    at.bank.list = {}

    async with at.clock.running():
        assert isinstance(await waiting[0], Pending)


async def test_wait_subscriber_joining_as_last_leaves_is_polled() -> None:
    at = Waiting()
    watch = Waiter(at.bank.look, lambda one, wanted: one.track_id == wanted, at.clock, at.background, STEADY)
    at.bank.go = asyncio.Event()
    first = asyncio.create_task(watch.wait("t-1", 60.0))
    await wait_all_tasks_blocked()
    first.cancel()
    while not watch.idle:
        await wait_all_tasks_blocked(1)

    at.bank.go.set()
    at.bank.list = {"t-2": "success"}
    async with at.clock.running():
        assert await watch.wait("t-2", 60.0) == Succeeded(track_id="t-2")


async def test_wait_refusal_raises_a_copy_for_each_subscriber() -> None:
    at = Waiting()
    at.bank.errors = [IpNotAllowed(7, "no")]

    errors = await asyncio.gather(*at.start(*[f"t-{n}" for n in range(20)]), return_exceptions=True)

    assert {type(one) for one in errors} == {IpNotAllowed}
    assert len({id(one) for one in errors}) == 20
    assert len(at.bank.asked) == 1
    await wait_all_tasks_blocked()
    assert at.left_behind == (0, 0)


async def test_wait_foreign_error_reaches_subscribers() -> None:
    at = Waiting()
    at.bank.errors = [LookupError("a bug in a ring")]

    errors = await asyncio.wait_for(asyncio.gather(*at.start("t-1", "t-2"), return_exceptions=True), 5)

    assert [type(one) for one in errors] == [LookupError, LookupError]


async def test_wait_cancelled_subscriber_leaves_others_waiting() -> None:
    at = Waiting()
    at.bank.list = {"t-1": "pending", "t-2": "pending"}
    gone, stays = at.start("t-1", "t-2")
    await wait_all_tasks_blocked()

    gone.cancel()
    async with at.clock.running():
        while len(at.bank.asked) < 3:
            await wait_all_tasks_blocked()
        at.bank.list = {"t-1": "success", "t-2": "success"}
        assert await stays == Succeeded(track_id="t-2")

    assert gone.cancelled()
    assert at.bank.asked[-1] == {"t-2"}


@pytest.mark.parametrize("moment", ["before the look", "in the look", "between looks"])
async def test_wait_last_subscriber_leaving_stops_polling(moment: str) -> None:
    at = Waiting()
    if moment == "in the look":
        at.bank.go = asyncio.Event()
    waiting = at.start("t-1", "t-2")
    await wait_all_tasks_blocked({"before the look": 1, "in the look": 60, "between looks": 60}[moment])

    for one in waiting:
        one.cancel()
    await wait_all_tasks_blocked()

    assert at.left_behind == (0, 0)
    assert at.clock.sleepers == 0


@given(seed=st.integers(0, 10**6))
def test_wait_random_arrivals_all_get_outcomes(seed: int) -> None:
    async def play() -> None:
        dice, at = Random(seed), Waiting()
        waiting: list[asyncio.Task[Outcome]] = []
        async with at.clock.running():
            for number in range(12):
                waiting += at.start(f"t-{number}", timeout=dice.choice([0.5, 3.0, 30.0]))
                await wait_all_tasks_blocked(dice.randrange(80))
                at.bank.list[f"t-{dice.randrange(12)}"] = dice.choice(["pending", "success", "failed"])
                if dice.random() < 0.3:
                    dice.choice(waiting).cancel()
                if dice.random() < 0.2:
                    at.bank.errors.append(NoResponse("gone"))
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            await wait_all_tasks_blocked()
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, asyncio.CancelledError)
            elif isinstance(outcome, Succeeded | Failed):
                assert f"t-{number}" in at.bank.list
        assert at.left_behind == (0, 0)
        assert at.clock.sleepers == 0

    asyncio.run(play())


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
async def test_wait_timeout_not_above_zero_raises(timeout: float) -> None:
    at = Waiting()

    with pytest.raises(InvalidValue, match="timeout"):
        await at.wait("t-1", timeout=timeout)

    assert at.bank.asked == []


STATUSES = st.sampled_from(["success", "failed", "pending", "queued", "reversed"])


@given(st.lists(STATUSES, min_size=1, max_size=6))
def test_outcome_of_conflicting_entries_prefers_moved_money(statuses: list[str]) -> None:
    outcome = outcome_of("t-1", [listed("t-1", one) for one in statuses])

    if "success" in statuses:
        assert isinstance(outcome, Succeeded)
    elif "pending" in statuses:
        assert isinstance(outcome, Pending)
    elif set(statuses) == {"failed"}:
        assert isinstance(outcome, Failed)
    else:
        assert isinstance(outcome, Unknown)


def test_outcome_of_keeps_message_of_bank() -> None:
    assert outcome_of("t", [listed("t", ref_code="r-9")]) == Succeeded(track_id="t", ref_code="r-9")
    assert outcome_of("t", [listed("t", "failed", message="no such account")]) == Failed(
        track_id="t", reason="no such account"
    )


def test_wait_works_on_trio() -> None:
    async def play() -> None:
        at = Waiting()
        outcomes: list[Outcome] = []

        async def look(wanted: frozenset[str]) -> Sequence[Settlement]:
            await anyio.lowlevel.checkpoint()
            return [listed(one) for one in wanted]

        async def wait(track_id: str) -> None:
            outcomes.append(
                await at.watches.wait(
                    "list", look, lambda one, wanted: one.track_id == wanted, track_id=track_id, timeout=9, pace=STEADY
                )
            )

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(wait, f"t-{number}")
        assert len(outcomes) == 5
        await anyio.wait_all_tasks_blocked()
        assert at.left_behind == (0, 0)

    anyio.run(play, backend="trio")
