"""Test turns: chunks of a deposit account wait for their turn, in either dispatcher, on a simulated clock."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field

from paystar_async.errors import StorageUnavailable
from paystar_async.payouts.dispatcher import DueChunk, LocalDispatcher
from paystar_async.payouts.ledger.leases import Lane, NotDue, next_send_time
from paystar_async.payouts.turns import TurnRunner
from paystar_async.runtime.tasks import BackgroundTasks
from tests.support import RunningClock

LANE = Lane("bank", "app-1", "0100000000001")
MAX_LATE_SECONDS = 0.02
CALL_SECONDS = 0.3
"""Longer than the interval of most rates here: calls overlap."""


@define(eq=False)
class Account:
    """A fake ledger of one deposit account, which limits its calls as the ledger does; every step is late."""

    clock: RunningClock
    chunks: dict[str, float]
    rate: float | None
    concurrency: int = 8
    turn: float = 0.0
    active: int = 0
    calls: list[float] = field(factory=list[float])
    refused: int = 0
    check_after: float | None = None
    max_late: float = MAX_LATE_SECONDS
    _rng: random.Random = field(factory=lambda: random.Random(1))

    async def due(self, limit: int) -> Sequence[DueChunk]:
        return await self.sends(LANE, limit)

    async def sends(self, lane: Lane, limit: int) -> list[DueChunk]:
        assert lane == LANE
        dues = [DueChunk(at, chunk_id, "a", self.concurrency, self.rate) for chunk_id, at in self.chunks.items()]
        return sorted(dues)[:limit]

    async def lane_of(self, chunk_id: str) -> Lane | None:
        return LANE if chunk_id.startswith("c-") else None

    async def now(self) -> float:
        return self.clock.monotonic()

    async def step(self, chunk_id: str) -> NotDue:
        await self.clock.sleep(self._rng.uniform(0, self.max_late))
        now = self.clock.monotonic()
        if chunk_id not in self.chunks:
            return NotDue(due_at=None)
        if self.chunks[chunk_id] > now:
            return NotDue(due_at=self.chunks[chunk_id], is_taken=True)
        if self.rate is not None and self.turn > now:
            self.refused += 1
            return NotDue(due_at=self.turn, waits_for=LANE)
        if self.active >= self.concurrency:
            self.refused += 1
            return NotDue(due_at=now + 0.25, waits_for=LANE)
        if self.rate is not None:
            self.turn = next_send_time(self.turn, now, self.rate)
        self.chunks[chunk_id] = now + 60  # a lease
        self.calls.append(now)
        self.active += 1
        await self.clock.sleep(CALL_SECONDS)
        self.active -= 1
        del self.chunks[chunk_id]
        due_at = None if self.check_after is None else self.clock.monotonic() + self.check_after
        return NotDue(due_at=due_at, was_sent=True)

    @property
    def actual_rate(self) -> float:
        return (len(self.calls) - 1) / (self.calls[-1] - self.calls[0])


def make_account(count: int, rate: float | None, **fields: Any) -> Account:
    random.seed(1)  # the order in which chunks of an account are sent
    return Account(RunningClock(), {f"c-{number:03}": 0.0 for number in range(count)}, rate, **fields)


def make_runner(account: Account) -> TurnRunner:
    return TurnRunner(account, account.clock, BackgroundTasks(), lambda: None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Queue:
    """A queue with workers that take its jobs in order; ``advance_later`` keeps what is due later."""

    def __init__(self, account: Account, processes: int, slots: int) -> None:
        self.account = account
        self.jobs: list[tuple[str, bool]] = [(chunk_id, False) for chunk_id in account.chunks]
        self.later: list[tuple[str, float]] = []
        self.runners = [make_runner(account) for _ in range(processes)]
        self.slots = slots
        self.busy = 0

    async def advance_later(self, chunk_id: str, seconds: float) -> None:
        self.later.append((chunk_id, seconds))

    async def continue_elsewhere(self, chunk_id: str) -> None:
        self.jobs.append((chunk_id, True))

    async def _slot(self, runner: TurnRunner, seconds: float) -> None:
        while self.jobs or self.busy:
            if not self.jobs:
                await self.account.clock.sleep(0.02)
                continue
            chunk_id, is_handed_on = self.jobs.pop(0)
            self.busy += 1
            await (runner.continue_lane if is_handed_on else runner.advance)(chunk_id, seconds, self)
            self.busy -= 1

    async def run(self, seconds: float = 5.0) -> None:
        async with self.account.clock.running():
            await asyncio.gather(*(self._slot(runner, seconds) for runner in self.runners for _ in range(self.slots)))


@pytest.mark.parametrize("rate", [0.5, 2.0, 10.0])
async def test_local_dispatcher_late_steps_keep_rate(rate: float) -> None:
    account = make_account(60, rate)
    dispatcher = LocalDispatcher(account, account.clock, BackgroundTasks())
    async with account.clock.running():
        await dispatcher.work(1000)
        await dispatcher.aclose()
    assert len(account.calls) == 60
    assert account.actual_rate == pytest.approx(rate, rel=0.03)
    assert account.refused <= 60


@define(eq=False)
class SlowConnection:
    """A process with a slow connection to the ledger, which counts the chunks it sent and the chunks already taken."""

    account: Account
    delay: float
    sent: int = 0
    taken: int = 0

    async def due(self, limit: int) -> Sequence[DueChunk]:
        return await self.account.due(limit)

    async def now(self) -> float:
        return await self.account.now()

    async def step(self, chunk_id: str) -> NotDue:
        await self.account.clock.sleep(self.delay)
        result = await self.account.step(chunk_id)
        self.sent += result.was_sent
        self.taken += not result.was_sent and result.waits_for is None
        return result


async def test_local_dispatchers_share_turns_of_an_account() -> None:
    account = make_account(300, 10.0, max_late=0.0)
    processes = [SlowConnection(account, delay) for delay in (0.0, 0.005, 0.01)]
    dispatchers = [LocalDispatcher(process, account.clock, BackgroundTasks()) for process in processes]
    async with account.clock.running():
        await asyncio.gather(*(dispatcher.work(1000) for dispatcher in dispatchers))
        for dispatcher in dispatchers:
            await dispatcher.aclose()
    assert len(account.calls) == 300
    assert account.actual_rate == pytest.approx(10.0, rel=0.03)
    assert min(process.sent for process in processes) >= 45, [process.sent for process in processes]
    assert sum(process.taken for process in processes) <= 150, [process.taken for process in processes]


class FailingOnce(SlowConnection):
    """A process whose first step fails."""

    async def step(self, chunk_id: str) -> NotDue:
        self.taken += 1
        if self.taken == 1:
            raise StorageUnavailable("down")
        return await self.account.step(chunk_id)


async def test_local_dispatcher_failed_step_uses_its_turn() -> None:
    account = make_account(2, 0.5, max_late=0.0)
    process = FailingOnce(account, 0.0)
    dispatcher = LocalDispatcher(process, account.clock, BackgroundTasks())
    started_at = account.clock.monotonic()
    async with account.clock.running():
        await dispatcher.work(10)
        await dispatcher.aclose()
    assert account.calls[0] - started_at >= 1.7


async def test_local_dispatcher_taken_chunks_use_no_turn() -> None:
    account = make_account(12, 10.0, max_late=0.0)
    dispatcher = LocalDispatcher(account, account.clock, BackgroundTasks())
    async with account.clock.running():
        await dispatcher.work(0.01)
        for number in range(1, 11):
            del account.chunks[f"c-{number:03}"]  # sent by another process
        await dispatcher.work(1000)
        await dispatcher.aclose()
    assert account.calls[1] - account.calls[0] == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("rate", [0.5, 2.0, 10.0])
async def test_queue_late_steps_keep_rate(rate: float, processes: int) -> None:
    account = make_account(60, rate)
    queue = Queue(account, processes, slots=2)
    await queue.run()
    assert len(account.calls) == 60
    assert account.actual_rate == pytest.approx(rate, rel=0.05)
    assert queue.later == []
    assert account.refused <= 60 + 120 * processes


async def test_turn_runner_full_account_uses_all_slots() -> None:
    account = make_account(80, None, concurrency=4)
    await Queue(account, 2, slots=4).run()
    assert len(account.calls) == 80
    assert account.calls[-1] - account.calls[0] < 1.35 * 80 / 4 * CALL_SECONDS


async def test_advance_one_job_waits_for_account() -> None:
    account = make_account(10, 0.1)
    runner, queue = make_runner(account), Queue(account, 1, 1)
    queue.jobs.clear()
    async with account.clock.running():
        await runner.advance("c-000", 5.0, queue)
        waiting = asyncio.create_task(runner.advance("c-001", 5.0, queue))
        await account.clock.sleep(0.1)
        for number in range(2, 10):
            await runner.advance(f"c-{number:03}", 5.0, queue)
        assert not waiting.done()  # the others have given their slots back
        await waiting
    assert len(account.calls) == 1
    [(chunk_id, is_handed_on)] = queue.jobs
    assert is_handed_on
    assert chunk_id in account.chunks


async def test_advance_later_check_is_scheduled() -> None:
    account = make_account(2, 2.0, check_after=1.0)
    queue = Queue(account, 1, slots=2)
    await queue.run()
    assert [chunk_id for chunk_id, _ in queue.later] == ["c-000", "c-001"]
    assert all(seconds <= 1.0 for _, seconds in queue.later)


async def test_continue_lane_unknown_chunk_is_noop() -> None:
    account = make_account(1, None)
    async with account.clock.running():
        await make_runner(account).continue_lane("unknown", 5.0, Queue(account, 1, 1))
    assert account.calls == []


async def test_advance_cancelled_awaits_running_calls() -> None:
    account = make_account(3, 2.0)
    runner, queue = make_runner(account), Queue(account, 1, 1)
    async with account.clock.running():
        await runner.advance("c-000", 5.0, queue)
        job = asyncio.create_task(runner.advance("c-001", 5.0, queue))
        while not account.active:
            await account.clock.sleep(0.01)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert account.active == 0
        [remaining] = account.chunks
        await runner.advance(remaining, 5.0, queue)  # no other job sends for the account
    assert len(account.calls) == 3
