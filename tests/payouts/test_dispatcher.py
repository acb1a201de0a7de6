"""The dispatcher says when: all that is due, never too much at once, and again what was lost."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

import anyio
import pytest
from attrs import define, field

from paystar_async.errors import StorageUnavailable
from paystar_async.payouts.dispatcher import (
    MAX_LANE_CHUNKS,
    SWEEP_SECONDS,
    WARNING_INTERVAL_SECONDS,
    DueChunk,
    LocalDispatcher,
)
from paystar_async.payouts.ledger.leases import NotDue
from paystar_async.runtime.clock import ManualClock
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent
from tests.support import RunningClock, wait_all_tasks_blocked


@define(eq=False)
class Book:
    """A ledger in a dictionary: what is due, and what advancing it does."""

    clock: ManualClock
    chunks: dict[str, DueChunk] = field(factory=dict[str, DueChunk])
    steps: Counter[str] = field(factory=Counter[str])
    after: dict[str, list[float | Exception | None]] = field(factory=dict[str, list[float | Exception | None]])
    """What comes of a chunk's steps, in turn: seconds until it is due again; None where it is done."""
    looks: int = 0
    down: bool = False
    gate: anyio.Event | None = None
    active: Counter[str] = field(factory=Counter[str])
    most_active: Counter[str] = field(factory=Counter[str])

    def plan(self, chunk_id: str, *, lane: str = "a", limit: int = 2, at: float = 0.0) -> None:
        self.chunks[chunk_id] = DueChunk(at, chunk_id, lane, limit)

    async def due(self, limit: int) -> Sequence[DueChunk]:
        self.looks += 1
        if self.down:
            raise StorageUnavailable("down")
        lanes: Counter[str] = Counter()
        found: list[DueChunk] = []
        for one in sorted(self.chunks.values()):
            lanes[one.lane] += 1
            if lanes[one.lane] <= limit:
                found.append(one)
        return found

    async def now(self) -> float:
        return self.clock.monotonic()

    async def step(self, chunk_id: str) -> NotDue:
        one = self.chunks[chunk_id]
        self.steps[chunk_id] += 1
        self.active[one.lane] += 1
        self.most_active[one.lane] = max(self.most_active[one.lane], self.active[one.lane])
        try:
            await (self.gate.wait() if self.gate else anyio.lowlevel.checkpoint())
        finally:
            self.active[one.lane] -= 1
        came = self.after.get(chunk_id, [None])
        result = came.pop(0) if len(came) > 1 else came[0]
        if isinstance(result, Exception):
            raise result
        if result is None:
            del self.chunks[chunk_id]
            return NotDue(due_at=None)
        again = self.clock.monotonic() + result
        self.chunks[chunk_id] = one._replace(at=again)
        return NotDue(due_at=again)


@pytest.fixture
def clock() -> RunningClock:
    return RunningClock()


def dispatcher(book: Book, **more: object) -> LocalDispatcher:
    return LocalDispatcher(book, book.clock, BackgroundTasks(), **more)  # type: ignore[arg-type]


async def test_dispatcher_runs_all_due_chunks(clock: RunningClock) -> None:
    book = Book(clock)
    for number in range(3 * MAX_LANE_CHUNKS):
        book.plan(f"c-{number:04}", limit=3)
    local = dispatcher(book)
    local.start()
    await wait_all_tasks_blocked(3000)
    await local.aclose()
    assert not book.chunks
    assert set(book.steps.values()) == {1}
    assert book.most_active == {"a": 3}


async def test_dispatcher_full_lane_delays_no_other(clock: RunningClock) -> None:
    book = Book(clock, gate=anyio.Event())
    for number in range(10):
        book.plan(f"a-{number}", lane="a", limit=2)
    book.plan("b-0", lane="b", limit=1, at=-1.0)
    local = dispatcher(book)
    local.start()
    await wait_all_tasks_blocked()
    assert book.active == {"a": 2, "b": 1}
    assert book.gate is not None
    book.gate.set()
    await local.aclose()


async def test_dispatcher_future_chunk_waits() -> None:
    book = Book(clock := ManualClock())
    book.plan("c", at=1.5)
    local = dispatcher(book)
    local.start()
    await wait_all_tasks_blocked()
    assert not book.steps
    clock.advance(1.4)
    await wait_all_tasks_blocked()
    assert not book.steps
    clock.advance(0.1)
    await wait_all_tasks_blocked()
    assert book.steps == {"c": 1}
    await local.aclose()


async def test_dispatcher_rescheduled_chunk_runs_when_due() -> None:
    book = Book(clock := ManualClock(), after={"c": [0.5, 0.5, None]})
    book.plan("c")
    local = dispatcher(book)
    local.start()
    await wait_all_tasks_blocked()
    for times in (1, 2, 3):
        assert book.steps["c"] == times
        clock.advance(0.5)
        await wait_all_tasks_blocked()
    assert not book.chunks
    await local.aclose()


async def test_wake_reads_ledger_at_once_and_sweep_later() -> None:
    book = Book(clock := ManualClock())
    local = dispatcher(book)
    local.start()
    await wait_all_tasks_blocked()
    book.plan("told")
    await local.wake(["told"])
    await wait_all_tasks_blocked()
    assert book.steps == {"told": 1}
    book.plan("lost")
    await wait_all_tasks_blocked()
    assert "lost" not in book.steps
    clock.advance(SWEEP_SECONDS)
    await wait_all_tasks_blocked()
    assert book.steps["lost"] == 1
    await local.aclose()


async def test_dispatcher_calls_on_step_after_each_step(clock: RunningClock) -> None:
    book = Book(clock)
    told: list[int] = []
    book.plan("c")
    local = dispatcher(book, on_step=lambda: told.append(1))
    local.start()
    await wait_all_tasks_blocked()
    await local.aclose()
    assert told == [1]


@pytest.mark.parametrize("error", [StorageUnavailable("disk full"), ValueError("a mistake of ours")])
async def test_dispatcher_failed_step_is_retried_after_pause(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book(clock := ManualClock(), after={"c": [error, error, None]})
    book.plan("c")
    local = dispatcher(book)
    with caplog.at_level(logging.WARNING, "paystar_async"):
        local.start()
        await wait_all_tasks_blocked()
        await local.wake(["c"])
        await wait_all_tasks_blocked()
        assert book.steps["c"] == 1  # not again and again meanwhile
        for _ in range(6):
            clock.advance(1.0)
            await wait_all_tasks_blocked()
    assert book.steps["c"] == 3
    assert not book.chunks
    assert "chunk c" in caplog.text
    await local.aclose()


async def test_dispatcher_unreadable_ledger_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    book = Book(clock := ManualClock(), down=True)
    book.plan("c")
    local = dispatcher(book)
    with caplog.at_level(logging.WARNING, "paystar_async"):
        local.start()
        await wait_all_tasks_blocked()
        assert book.looks == 1
        book.down = False
        clock.advance(1.0)
        await wait_all_tasks_blocked()
        clock.advance(SWEEP_SECONDS)
        await wait_all_tasks_blocked()
    assert book.steps == {"c": 1}
    assert "cannot read the ledger" in caplog.text
    await local.aclose()


async def test_aclose_waits_for_running_steps() -> None:
    book = Book(ManualClock(), gate=anyio.Event())
    for number in range(5):
        book.plan(f"c-{number}")
    local = dispatcher(book)
    local.start()
    await wait_all_tasks_blocked()
    closing = asyncio.create_task(local.aclose())
    await wait_all_tasks_blocked()
    assert not closing.done()
    assert book.gate is not None
    book.gate.set()
    await closing
    assert sum(book.steps.values()) == 2
    local.start()
    await wait_all_tasks_blocked()
    assert sum(book.steps.values()) == 2


async def test_aclose_interrupts_error_pause() -> None:
    book = Book(ManualClock(), after={"c": [StorageUnavailable("disk full")]})
    book.plan("c")
    local = dispatcher(book)
    local.start()
    await wait_all_tasks_blocked()
    async with asyncio.timeout(5):
        await local.aclose()


async def test_start_twice_runs_once(clock: RunningClock) -> None:
    book = Book(clock)
    local = dispatcher(book)
    local.start()
    local.start()
    await wait_all_tasks_blocked()
    assert book.looks == 1
    await local.aclose()


async def test_aclose_never_started_returns() -> None:
    await dispatcher(Book(ManualClock())).aclose()


async def test_wake_event_set_before_sleep_wakes_once() -> None:
    alarm = WakeEvent(clock := ManualClock())
    alarm.set()
    await alarm.sleep(1.0)
    asleep = asyncio.create_task(alarm.sleep(1.0))
    await wait_all_tasks_blocked()
    assert not asleep.done()
    clock.advance(1.0)
    await asleep


async def test_dispatcher_logs_same_failure_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    full, locked = StorageUnavailable("disk full"), StorageUnavailable("locked")
    book = Book(clock := ManualClock(), after={"a": [full] * 30, "b": [full] * 30, "c": [locked, None]})
    local = dispatcher(book)

    async def said(seconds: float) -> list[str]:
        caplog.clear()
        clock.advance(seconds)
        await wait_all_tasks_blocked()
        return [record.getMessage().partition(" –")[0] for record in caplog.records]

    with caplog.at_level(logging.WARNING, "paystar_async"):
        book.plan("a")
        book.plan("b")
        local.start()
        assert await said(0.0) == ["payouts: chunk a: disk full"]
        before = book.steps.total()
        assert [await said(SWEEP_SECONDS) for _ in range(5)] == [[]] * 5
        assert book.steps.total() > before
        assert len(await said(WARNING_INTERVAL_SECONDS)) == 1
        book.plan("c", lane="b")
        assert "payouts: chunk c: locked" in await said(SWEEP_SECONDS)
    await local.aclose()
