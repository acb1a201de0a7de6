"""Send the chunks that wait for a turn of their deposit account: what a job of a queue does instead of sleeping.

A worker has few slots for jobs. Where each chunk that waits for ``Policy.rate`` or ``Policy.concurrency`` kept one,
the chunks of other accounts would wait behind them. So one job of a process sends for all chunks of an account, which
it finds in the ledger, and their own jobs end.
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
    """The queue whose jobs send chunks in turn."""

    async def advance_later(self, chunk_id: str, seconds: float) -> None:
        """Queue a job that advances a chunk in ``seconds``."""
        ...

    async def continue_elsewhere(self, chunk_id: str) -> None:
        """Queue a job that goes on with the deposit account of a chunk now."""
        ...


@define(eq=False)
class TurnRunner:
    """Sends chunks at their turns, for each deposit account in one job of this process at a time.

    Attributes:
        agenda: what is due, and what does it.
        clock: what time it is, and how to wait.
        background: whose jobs the work is.
        moved: called after each step.
    """

    agenda: DueQueue
    clock: Clock
    background: BackgroundTasks
    moved: Callable[[], object]
    _running: set[Lane] = field(factory=set[Lane])

    async def advance(self, chunk_id: str, seconds: float, jobs: TurnJobs) -> None:
        """Do what is due for a chunk; where it waits for its turn, send for its deposit account.

        Args:
            chunk_id: the chunk.
            seconds: how long calls of the account may be begun; then another job goes on.
            jobs: the queue this is a job of.
        """
        later = await self._step(chunk_id, jobs)
        self.moved()
        if later.waits_for is not None:
            await self._run(later.waits_for, seconds, jobs)

    async def continue_lane(self, chunk_id: str, seconds: float, jobs: TurnJobs) -> None:
        """Send for the deposit account of a chunk that was handed on, as ``advance`` does."""
        lane = await self.agenda.lane_of(chunk_id)
        if lane is not None:
            await self._run(lane, seconds, jobs)

    async def _run(self, lane: Lane, seconds: float, jobs: TurnJobs) -> None:
        if lane in self._running:
            return
        self._running.add(lane)
        steps = _LaneSteps(self.agenda, lane, partial(self._step, jobs=jobs))
        dispatcher = LocalDispatcher(steps, self.clock, self.background, self.moved)
        try:
            try:
                await dispatcher.work(seconds)
            finally:
                dispatcher.stop()
                self._running.discard(lane)
            # Only now: until here, jobs of other chunks have ended because this one was running. Not later: calls that
            # are under way must keep no turn back.
            for due in await steps.due(1):
                await jobs.continue_elsewhere(due.chunk_id)
        finally:
            await dispatcher.aclose()

    async def _step(self, chunk_id: str, jobs: TurnJobs) -> NotDue:
        later = await self.agenda.step(chunk_id)
        if later.due is None or later.waits_for is not None:
            return later
        if not later.is_taken:
            await jobs.advance_later(chunk_id, max(0.0, later.due - await self.agenda.now()))
        return NotDue(due=None)


@define
class _LaneSteps:
    """What one deposit account has to send now."""

    agenda: DueQueue
    lane: Lane
    _step: Callable[[str], Awaitable[NotDue]]

    async def step(self, chunk_id: str) -> NotDue:
        return await self._step(chunk_id)

    async def due(self, most: int) -> Sequence[DueChunk]:
        now = await self.now()
        # Not the oldest first: processes that begin with the same chunks take them away from each other.
        sends = await self.agenda.sends(self.lane, most)
        return [due._replace(at=now - random.random()) for due in sends if due.at <= now]

    async def now(self) -> float:
        return await self.agenda.now()
