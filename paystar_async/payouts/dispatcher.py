"""Who says when. A dispatcher calls ``advance`` for chunks that are due, and moves no money itself.

It may lose a chunk, call one twice, or die: the ledger knows what is due, and ``advance`` makes sure of the rest. So
any queue can do it – a job that carries a chunk id, and a sweep for those that were lost::

    @broker.task                                          # taskiq; arq and celery likewise
    async def advance(chunk_id: str) -> None:
        again = await paystar.payouts.advance(chunk_id)   # seconds until it is due again, or None
        if again is not None:
            await advance.kicker().with_labels(delay=again).kiq(chunk_id)

    class Taskiq:
        async def wake(self, chunk_ids, connection=None):
            for chunk_id in chunk_ids:
                await advance.kiq(chunk_id)

        def start(self): ...                              # workers run elsewhere
        async def aclose(self): ...

    paystar.payouts.use(Taskiq())
    # and every minute, in one worker: ``await paystar.payouts.recover()``
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import anyio
from attrs import define, field

from paystar_async.errors import PaystarError
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.ledger.leases import Lane, NotDue, next_turn
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import Policy
from paystar_async.payouts.worker import ChunkWorker
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import logger
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent
from paystar_async.storage.database import Row, Value

MAX_STATUS_CHECKS = 8
"""Chunks asked about at once; what is sent at once, the batch's policy says."""

_LANES = """
    SELECT deposit, version FROM paystar_payout_gates WHERE product = :product AND account = :account ORDER BY deposit
"""
_SENDS = """
    SELECT c.chunk_id, c.due, b.policy
    FROM paystar_payout_chunks c JOIN paystar_payout_batches b ON b.batch_id = c.batch_id
    WHERE c.due IS NOT NULL AND c.work = 'send'
        AND c.product = :product AND c.account = :account AND c.deposit = :deposit
    ORDER BY c.due, c.chunk_id LIMIT :most
"""
_OTHERS = """
    SELECT chunk_id, due FROM paystar_payout_chunks
    WHERE due IS NOT NULL AND work <> 'send' AND product = :product AND account = :account
    ORDER BY due LIMIT :most
"""


class DueChunk(NamedTuple):
    """A chunk with something to do.

    Attributes:
        at: when, in the ledger's time.
        chunk_id: which.
        lane: what it shares with others of which only so many go at once.
        most: how many.
        rate: how many a second; None: as fast as they come.
    """

    at: float
    chunk_id: str
    lane: str
    max_in_flight: int
    rate: float | None = None


@define
class DueQueue:
    """What is due for the accounts of one client."""

    tables: LedgerDatabase
    products: Sequence[PayoutChannel]
    worker: ChunkWorker

    async def due(self, most: int) -> Sequence[DueChunk]:
        """The soonest of each lane, ``most`` of each at the most; what lies in the future included."""
        found: list[DueChunk] = []
        identity = self.tables.identity
        seen = identity.versions()  # before anything is read: a claim may raise one while it is read
        for product in self.products:
            whose: dict[str, Value] = {"product": product.name, "account": product.account, "most": most}
            lane = f"{product.name} questions"
            others = await self.tables.fetch(_OTHERS, whose)
            found += [DueChunk(row["due"], row["chunk_id"], lane, MAX_STATUS_CHECKS) for row in others]
            for gate in await self.tables.fetch(_LANES, whose):
                account = product.name, product.account, gate["deposit"]
                identity.check_version(gate["version"], seen.get(account, 0))
                identity.note_version(account, gate["version"])
                found += await self.sends(Lane(product.name, product.account, gate["deposit"]), most)
        return found

    async def sends(self, lane: Lane, most: int) -> list[DueChunk]:
        """Return the soonest chunks that a deposit account has to send, ``most`` at the most."""
        rows = await self.tables.fetch(_SENDS, {**lane._asdict(), "most": most})
        return [_send(row, f"{lane.product} {lane.deposit}") for row in rows]

    async def step(self, chunk_id: str) -> NotDue:
        """Do what is due for a chunk; return when to call again, in the ledger's time, and what it waits for."""
        return await self.worker.step(chunk_id)

    async def lane_of(self, chunk_id: str) -> Lane | None:
        """Return the deposit account a chunk is paid from; None where there is no such chunk."""
        return await self.worker.lane_of(chunk_id)

    async def now(self) -> float:
        """The ledger's time."""
        return await self.tables.time()


def _send(row: Row, lane: str) -> DueChunk:
    policy = _policy(row["policy"])
    return DueChunk(row["due"], row["chunk_id"], lane, policy.concurrency, policy.rate)


_policy = lru_cache(maxsize=64)(Policy.from_text)


if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

MAX_LANE_CHUNKS = 64
"""Chunks of a lane that are taken along from one look into the ledger."""
SWEEP_SECONDS = 2.0
"""How often the ledger is asked for chunks that others have planned, lost or left."""
ERROR_PAUSE_SECONDS = 1.0
WARNING_INTERVAL_SECONDS = 60.0

_AGAIN = "again"


class Steps(Protocol):
    """What is due, and what does it: an Agenda."""

    async def step(self, chunk_id: str) -> NotDue:
        """Do what is due for a chunk; return when to call again, in the ledger's time, and what it waits for."""
        ...

    async def due(self, most: int) -> Sequence[DueChunk]:
        """The soonest of each lane, so many at the most; what lies in the future included."""
        ...

    async def now(self) -> float:
        """The ledger's time."""
        ...


class Dispatcher(Protocol):
    """Says when: calls ``advance`` for chunks that are due."""

    async def wake(self, chunk_ids: Sequence[str], connection: "Connection | None" = None) -> None:
        """Take note of chunks that are due now.

        Args:
            chunk_ids: the chunks, a thousand at the most in one call.
            connection: the transaction they are planned in; before it commits they are not there for anybody else.
        """
        ...

    def start(self) -> None:
        """Begin to look for what is due; called again while it runs, it does nothing."""
        ...

    async def aclose(self) -> None:
        """Begin nothing more, and come back when what is under way has ended."""
        ...


@define(eq=False)
class _Lane:
    """Chunks of which only so many go at once."""

    waiting: list[DueChunk] = field(factory=list[DueChunk])
    active: int = 0
    not_before: float = -math.inf
    """When the next of them may be sent: what one learns about its turn holds for all."""
    more: bool = False
    """Whether the ledger has more of them than were taken along."""

    def ready(self, now: float) -> DueChunk | None:
        """The next one, where it is due and there is room for it."""
        if self.next_at > now:
            return None
        due = heappop(self.waiting)
        if due.rate is not None:
            self.not_before = next_turn(self.not_before, now, due.rate)
        return due

    @property
    def next_at(self) -> float:
        """When there may be something to begin; never, where it takes one of the others to end before."""
        first = self.waiting[0] if self.waiting else None
        return max(first.at, self.not_before) if first and self.active < first.max_in_flight else math.inf

    @property
    def short(self) -> bool:
        """Whether it is time to look for more."""
        return self.more and len(self.waiting) < MAX_LANE_CHUNKS // 4


class LocalDispatcher:
    """Brings forward whatever is due, in this event loop, and sweeps up what others have lost.

    Args:
        steps: what is due, and what does it.
        clock: what time it is, and how to wait.
        background: whose jobs the work is.
        moved: told after each step.
    """

    def __init__(
        self, steps: Steps, clock: Clock, background: BackgroundTasks, moved: Callable[[], object] = lambda: None
    ) -> None:
        self._steps, self._clock, self._background, self._moved = steps, clock, background, moved
        self._lanes: defaultdict[str, _Lane] = defaultdict(_Lane)
        self._active: set[str] = set()
        self._alarm = WakeEvent(clock)
        self._job: BackgroundTask[None] | None = None
        self._closing = anyio.Event()
        self._idle = anyio.Event()
        self._next_sweep = -math.inf
        self._ahead = 0.0
        """What the ledger's time is ahead of the monotonic clock's."""
        self._warned: tuple[str, float] = ("", -math.inf)
        """What was said of a step that could not be taken, and when."""

    async def wake(self, chunk_ids: Sequence[str], connection: "Connection | None" = None) -> None:
        """Look into the ledger now; what is not committed yet is found by a later look."""
        del chunk_ids, connection
        self._next_sweep = -math.inf
        self._alarm.set()

    def start(self) -> None:
        """Begin to look for what is due; called again while it runs, it does nothing."""
        if not self._closing.is_set() and (self._job is None or self._job.done):
            self._job = self._background.start(self._run)

    async def work(self, seconds: float) -> None:
        """Do all that is due now, for at most ``seconds``."""
        self.start()

        async def wait_until_idle(scope: anyio.CancelScope) -> None:
            await self._idle.wait()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(wait_until_idle, group.cancel_scope)
            await self._clock.sleep(seconds)
            group.cancel_scope.cancel()

    def stop(self) -> None:
        """Begin nothing more."""
        self._closing.set()
        self._alarm.set()

    async def aclose(self) -> None:
        """Begin nothing more, and come back when what is under way has ended."""
        self.stop()
        if self._job is not None:
            await self._job.ended()

    async def _run(self) -> None:
        async with anyio.create_task_group() as group:
            while not self._closing.is_set():
                try:
                    pause = await self._turn(group)
                except PaystarError as error:
                    logger.warning("payouts: the ledger cannot be read (%s); trying again", error)
                    pause = ERROR_PAUSE_SECONDS
                if pause > 0 and not self._closing.is_set():
                    await self._alarm.sleep(pause)

    async def _turn(self, group: anyio.abc.TaskGroup) -> float:
        """Begin what is due and has room; seconds until there may be more."""
        elapsed = self._clock.monotonic()
        if elapsed >= self._next_sweep or any(lane.short for lane in self._lanes.values()):
            self._next_sweep = elapsed + SWEEP_SECONDS
            await self._look()
            elapsed = self._clock.monotonic()
        now = elapsed + self._ahead
        for lane in self._lanes.values():
            while not self._closing.is_set() and (due := lane.ready(now)) is not None:
                if due.chunk_id not in self._active:
                    lane.active += 1
                    self._active.add(due.chunk_id)
                    group.start_soon(self._advance, due)
        if not self._active and not any(lane.waiting or lane.more for lane in self._lanes.values()):
            self._idle.set()
        soonest = min((lane.next_at for lane in self._lanes.values()), default=math.inf)
        return max(0.0, min(self._next_sweep - elapsed, soonest - now))

    async def _look(self) -> None:
        """Take along the soonest of each lane."""
        found: defaultdict[str, list[DueChunk]] = defaultdict(list)
        for due in await self._steps.due(MAX_LANE_CHUNKS):
            found[due.lane].append(due)
        self._ahead = await self._steps.now() - self._clock.monotonic()
        for name in self._lanes.keys() | found.keys():
            lane, waiting = self._lanes[name], found[name]
            lane.more = len(waiting) >= MAX_LANE_CHUNKS
            lane.waiting = [due for due in waiting if due.chunk_id not in self._active]
            heapify(lane.waiting)

    async def _advance(self, due: DueChunk) -> None:
        lane = self._lanes[due.lane]
        later = NotDue(due=None)
        try:
            later = await self._steps.step(due.chunk_id)
        except PaystarError as error:
            self._warn(due, str(error))
            await self._rest()
        except Exception:
            logger.exception("payouts: chunk %s; it is tried again", due.chunk_id)
            await self._rest()
        lane.active -= 1
        self._active.discard(due.chunk_id)
        if later.due is not None and later.waits_for is not None:
            lane.not_before = later.due
            heappush(lane.waiting, due)
        elif due.rate is None:
            lane.not_before = -math.inf  # the place of this chunk is free again
        if later.due is not None and later.waits_for is None:
            # What is sent is asked about next, mostly; the next look into the ledger gives it its right place.
            heappush(self._lanes[_AGAIN].waiting, DueChunk(later.due, due.chunk_id, _AGAIN, MAX_STATUS_CHECKS))
        self._moved()
        self._alarm.set()

    def _warn(self, due: DueChunk, why: str) -> None:
        """Say what keeps a chunk back; since it keeps most of them back, and for a while, once a minute."""
        now = self._clock.monotonic()
        said, at = self._warned
        if why != said or now >= at + WARNING_INTERVAL_SECONDS:
            self._warned = why, now
            logger.warning("payouts: chunk %s: %s; it is tried again", due.chunk_id, why)

    async def _rest(self) -> None:
        """Wait a little before the next look at a chunk that made trouble; it keeps its place meanwhile."""
        async with anyio.create_task_group() as group:

            async def close() -> None:
                await self._closing.wait()
                group.cancel_scope.cancel()

            group.start_soon(close)
            await self._clock.sleep(ERROR_PAUSE_SECONDS)
            group.cancel_scope.cancel()
