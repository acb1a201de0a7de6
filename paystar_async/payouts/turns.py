"""Run rate-limited chunks in queue jobs: one job of a process sends all chunks of a deposit account.

A queue worker has few job slots. If every chunk that waits for ``Policy.rate`` or ``Policy.concurrency`` kept a slot,
chunks of other accounts would wait behind it. So the jobs of waiting chunks end, and one job finds those chunks in the
ledger.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from attrs import define, field

from paystar_async.payouts.dispatcher import DueChunk, DueQueue, LocalDispatcher
from paystar_async.payouts.ledger.leases import Lane, NotDue
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.tasks import BackgroundTasks


class TurnJobs(Protocol):
    """The job queue that a turn runner adds jobs to."""

    async def advance_later(self, chunk_id: str, seconds: float) -> None:
        """Queue a job that advances a chunk after ``seconds``."""
        ...

    async def continue_elsewhere(self, chunk_id: str) -> None:
        """Queue a job that continues with the deposit account of a chunk now."""
        ...


@define(eq=False)
class TurnRunner:
    """A sender of rate-limited chunks: at most one job of this process for each deposit account.

    Attributes:
        queue: the chunks that are due.
        clock: the clock to read and to sleep on.
        background: the background tasks that run the dispatcher.
        on_step: called after each step.
    """

    queue: DueQueue
    clock: Clock
    background: BackgroundTasks
    on_step: Callable[[], object]
    _running_lanes: set[Lane] = field(factory=set[Lane])

    async def advance(self, chunk_id: str, seconds: float, jobs: TurnJobs) -> None:
        """Process a chunk; if the chunk waits for its turn, send the due chunks of its deposit account.

        Args:
            chunk_id: the chunk's id.
            seconds: how long new calls of the account may start; then another job continues.
            jobs: the job queue.
        """
        result = await self._step(chunk_id, jobs)
        self.on_step()
        if result.waits_for is not None:
            await self._run(result.waits_for, seconds, jobs)

    async def continue_lane(self, chunk_id: str, seconds: float, jobs: TurnJobs) -> None:
        """Send the due chunks of a chunk's deposit account, as another job did before."""
        lane = await self.queue.lane_of(chunk_id)
        if lane is not None:
            await self._run(lane, seconds, jobs)

    async def _run(self, lane: Lane, seconds: float, jobs: TurnJobs) -> None:
        if lane in self._running_lanes:
            return
        self._running_lanes.add(lane)
        steps = _LaneSteps(self.queue, lane, partial(self._step, jobs=jobs))
        dispatcher = LocalDispatcher(steps, self.clock, self.background, self.on_step)
        try:
            try:
                await dispatcher.work(seconds)
            finally:
                dispatcher.stop()
                self._running_lanes.discard(lane)
            # Not earlier: until here, jobs of other chunks ended because this job was running. Not later: a slow call
            # must not delay the next turn.
            for due in await steps.due(1):
                await jobs.continue_elsewhere(due.chunk_id)
        finally:
            await dispatcher.aclose()

    async def _step(self, chunk_id: str, jobs: TurnJobs) -> NotDue:
        result = await self.queue.step(chunk_id)
        if result.due_at is None or result.waits_for is not None:
            return result
        if not result.is_taken:
            await jobs.advance_later(chunk_id, max(0.0, result.due_at - await self.queue.now()))
        return NotDue(due_at=None, was_sent=result.was_sent)


@define
class _LaneSteps:
    """The chunks that one deposit account has to send now."""

    queue: DueQueue
    lane: Lane
    _step: Callable[[str], Awaitable[NotDue]]

    async def step(self, chunk_id: str) -> NotDue:
        return await self._step(chunk_id)

    async def due(self, limit: int) -> Sequence[DueChunk]:
        now = await self.now()
        # In random order: processes that start with the same chunks compete for their leases.
        due_chunks = await self.queue.sends(self.lane, limit)
        return [due._replace(at=now - random.random()) for due in due_chunks if due.at <= now]

    async def now(self) -> float:
        return await self.queue.now()
