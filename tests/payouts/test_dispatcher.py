"""Test the dispatcher: all due chunks run, within the limit of each lane; a lost wake-up is found by a sweep."""

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
from tests.support import RunningClock, wait_all_tasks_blocked


@define(eq=False)
class FakeLedger:
    """A ledger in memory: its due chunks, and the result of each step."""

    clock: ManualClock
    chunks: dict[str, DueChunk] = field(factory=dict[str, DueChunk])
    steps: Counter[str] = field(factory=Counter[str])
    after: dict[str, list[float | Exception | None]] = field(factory=dict[str, list[float | Exception | None]])
    """Results of a chunk's steps, in order: seconds until the chunk is due again; None if the chunk is done."""
    reads: int = 0
    down: bool = False
    steps_allowed: anyio.Event | None = None
    active: Counter[str] = field(factory=Counter[str])
    most_active: Counter[str] = field(factory=Counter[str])

    def plan(self, chunk_id: str, *, lane: str = "a", limit: int = 2, at: float = 0.0) -> None:
        self.chunks[chunk_id] = DueChunk(at, chunk_id, lane, limit)

    async def due(self, limit: int) -> Sequence[DueChunk]:
        self.reads += 1
        if self.down:
            raise StorageUnavailable("down")
        lanes: Counter[str] = Counter()
        chunks: list[DueChunk] = []
        for chunk in sorted(self.chunks.values()):
            lanes[chunk.lane] += 1
            if lanes[chunk.lane] <= limit:
                chunks.append(chunk)
        return chunks

    async def now(self) -> float:
        return self.clock.monotonic()

    async def step(self, chunk_id: str) -> NotDue:
        chunk = self.chunks[chunk_id]
        self.steps[chunk_id] += 1
        self.active[chunk.lane] += 1
        self.most_active[chunk.lane] = max(self.most_active[chunk.lane], self.active[chunk.lane])
        try:
            await (self.steps_allowed.wait() if self.steps_allowed else anyio.lowlevel.checkpoint())
        finally:
            self.active[chunk.lane] -= 1
        results = self.after.get(chunk_id, [None])
        result = results.pop(0) if len(results) > 1 else results[0]
        if isinstance(result, Exception):
            raise result
        if result is None:
            del self.chunks[chunk_id]
            return NotDue(due_at=None)
        due_at = self.clock.monotonic() + result
        self.chunks[chunk_id] = chunk._replace(at=due_at)
        return NotDue(due_at=due_at)


@pytest.fixture
def clock() -> RunningClock:
    return RunningClock()


def dispatcher(ledger: FakeLedger, **more: object) -> LocalDispatcher:
    return LocalDispatcher(ledger, ledger.clock, BackgroundTasks(), **more)  # type: ignore[arg-type]


async def test_dispatcher_runs_all_due_chunks(clock: RunningClock) -> None:
    ledger = FakeLedger(clock)
    for number in range(3 * MAX_LANE_CHUNKS):
        ledger.plan(f"c-{number:04}", limit=3)
    local = dispatcher(ledger)
    local.start()
    await wait_all_tasks_blocked(3000)
    await local.aclose()
    assert not ledger.chunks
    assert set(ledger.steps.values()) == {1}
    assert ledger.most_active == {"a": 3}


async def test_dispatcher_full_lane_delays_no_other(clock: RunningClock) -> None:
    ledger = FakeLedger(clock, steps_allowed=anyio.Event())
    for number in range(10):
        ledger.plan(f"a-{number}", lane="a", limit=2)
    ledger.plan("b-0", lane="b", limit=1, at=-1.0)
    local = dispatcher(ledger)
    local.start()
    await wait_all_tasks_blocked()
    assert ledger.active == {"a": 2, "b": 1}
    assert ledger.steps_allowed is not None
    ledger.steps_allowed.set()
    await local.aclose()


async def test_dispatcher_future_chunk_waits() -> None:
    ledger = FakeLedger(clock := ManualClock())
    ledger.plan("c", at=1.5)
    local = dispatcher(ledger)
    local.start()
    await wait_all_tasks_blocked()
    assert not ledger.steps
    clock.advance(1.4)
    await wait_all_tasks_blocked()
    assert not ledger.steps
    clock.advance(0.1)
    await wait_all_tasks_blocked()
    assert ledger.steps == {"c": 1}
    await local.aclose()


async def test_dispatcher_rescheduled_chunk_runs_when_due() -> None:
    ledger = FakeLedger(clock := ManualClock(), after={"c": [0.5, 0.5, None]})
    ledger.plan("c")
    local = dispatcher(ledger)
    local.start()
    await wait_all_tasks_blocked()
    for times in (1, 2, 3):
        assert ledger.steps["c"] == times
        clock.advance(0.5)
        await wait_all_tasks_blocked()
    assert not ledger.chunks
    await local.aclose()


async def test_wake_reads_ledger_at_once_and_sweep_later() -> None:
    ledger = FakeLedger(clock := ManualClock())
    local = dispatcher(ledger)
    local.start()
    await wait_all_tasks_blocked()
    ledger.plan("woken")
    await local.wake(["woken"])
    await wait_all_tasks_blocked()
    assert ledger.steps == {"woken": 1}
    ledger.plan("lost")
    await wait_all_tasks_blocked()
    assert "lost" not in ledger.steps
    clock.advance(SWEEP_SECONDS)
    await wait_all_tasks_blocked()
    assert ledger.steps["lost"] == 1
    await local.aclose()


async def test_dispatcher_calls_on_step_after_each_step(clock: RunningClock) -> None:
    ledger = FakeLedger(clock)
    calls: list[int] = []
    ledger.plan("c")
    local = dispatcher(ledger, on_step=lambda: calls.append(1))
    local.start()
    await wait_all_tasks_blocked()
    await local.aclose()
    assert calls == [1]


@pytest.mark.parametrize("error", [StorageUnavailable("disk full"), ValueError("a bug")])
async def test_dispatcher_failed_step_is_retried_after_pause(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = FakeLedger(clock := ManualClock(), after={"c": [error, error, None]})
    ledger.plan("c")
    local = dispatcher(ledger)
    with caplog.at_level(logging.WARNING, "paystar_async"):
        local.start()
        await wait_all_tasks_blocked()
        await local.wake(["c"])
        await wait_all_tasks_blocked()
        assert ledger.steps["c"] == 1  # not repeated during the pause
        for _ in range(6):
            clock.advance(1.0)
            await wait_all_tasks_blocked()
    assert ledger.steps["c"] == 3
    assert not ledger.chunks
    assert "chunk c" in caplog.text
    await local.aclose()


async def test_dispatcher_unreadable_ledger_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    ledger = FakeLedger(clock := ManualClock(), down=True)
    ledger.plan("c")
    local = dispatcher(ledger)
    with caplog.at_level(logging.WARNING, "paystar_async"):
        local.start()
        await wait_all_tasks_blocked()
        assert ledger.reads == 1
        ledger.down = False
        clock.advance(1.0)
        await wait_all_tasks_blocked()
        clock.advance(SWEEP_SECONDS)
        await wait_all_tasks_blocked()
    assert ledger.steps == {"c": 1}
    assert "cannot read the ledger" in caplog.text
    await local.aclose()


async def test_aclose_waits_for_running_steps() -> None:
    ledger = FakeLedger(ManualClock(), steps_allowed=anyio.Event())
    for number in range(5):
        ledger.plan(f"c-{number}")
    local = dispatcher(ledger)
    local.start()
    await wait_all_tasks_blocked()
    closing = asyncio.create_task(local.aclose())
    await wait_all_tasks_blocked()
    assert not closing.done()
    assert ledger.steps_allowed is not None
    ledger.steps_allowed.set()
    await closing
    assert sum(ledger.steps.values()) == 2
    local.start()
    await wait_all_tasks_blocked()
    assert sum(ledger.steps.values()) == 2


async def test_aclose_interrupts_error_pause() -> None:
    ledger = FakeLedger(ManualClock(), after={"c": [StorageUnavailable("disk full")]})
    ledger.plan("c")
    local = dispatcher(ledger)
    local.start()
    await wait_all_tasks_blocked()
    async with asyncio.timeout(5):
        await local.aclose()


async def test_start_twice_runs_once(clock: RunningClock) -> None:
    ledger = FakeLedger(clock)
    local = dispatcher(ledger)
    local.start()
    local.start()
    await wait_all_tasks_blocked()
    assert ledger.reads == 1
    await local.aclose()


async def test_aclose_never_started_returns() -> None:
    await dispatcher(FakeLedger(ManualClock())).aclose()


async def test_dispatcher_logs_same_failure_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    full, locked = StorageUnavailable("disk full"), StorageUnavailable("locked")
    ledger = FakeLedger(clock := ManualClock(), after={"a": [full] * 30, "b": [full] * 30, "c": [locked, None]})
    local = dispatcher(ledger)

    async def warnings_after(seconds: float) -> list[str]:
        caplog.clear()
        clock.advance(seconds)
        await wait_all_tasks_blocked()
        return [record.getMessage().partition(" –")[0] for record in caplog.records]

    with caplog.at_level(logging.WARNING, "paystar_async"):
        ledger.plan("a")
        ledger.plan("b")
        local.start()
        assert await warnings_after(0.0) == ["payouts: chunk a: disk full"]
        before = ledger.steps.total()
        assert [await warnings_after(SWEEP_SECONDS) for _ in range(5)] == [[]] * 5
        assert ledger.steps.total() > before
        assert len(await warnings_after(WARNING_INTERVAL_SECONDS)) == 1
        ledger.plan("c", lane="b")
        assert "payouts: chunk c: locked" in await warnings_after(SWEEP_SECONDS)
    await local.aclose()
