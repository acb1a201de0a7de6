"""Dispatchers: call ``advance`` for chunks that are due.

A dispatcher may lose a chunk, call ``advance`` twice, or stop: the ledger holds what is due, and ``advance`` is
idempotent. So any job queue can be a dispatcher – a job for each chunk id, and a sweep for lost chunks::

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
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import anyio
from attrs import define, field

from paystar_async.errors import PaystarError
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.ledger.leases import Lane, NotDue, lane_of_chunk, load_chunk, next_send_time
from paystar_async.payouts.ledger.queries import due_time
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import Policy
from paystar_async.payouts.worker import ChunkWorker
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import logger
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent
from paystar_async.storage.database import Row, Value

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

MAX_STATUS_CHECKS = 8
"""Concurrent status checks; ``Policy.concurrency`` limits concurrent sends."""
MAX_LANE_CHUNKS = 64
"""Chunks of a lane that are loaded from the ledger at once."""
SWEEP_SECONDS = 2.0
"""Interval at which the ledger is read for chunks that other processes submitted or lost."""
ERROR_PAUSE_SECONDS = 1.0
MAX_TURN_DELAY_SECONDS = 0.05
"""Most that a process delays its try for a turn; also at most half of the interval between turns."""
WARNING_INTERVAL_SECONDS = 60.0

_RETRY_LANE = "retry"

_SELECT_LANES = """
    SELECT deposit, version FROM paystar_payout_holds WHERE product = :product AND account = :account ORDER BY deposit
"""
_SELECT_SENDS = """
    SELECT c.chunk_id, c.due_at, b.policy
    FROM paystar_payout_chunks c JOIN paystar_payout_batches b ON b.batch_id = c.batch_id
    WHERE c.due_at IS NOT NULL AND c.phase = 'send'
        AND c.product = :product AND c.account = :account AND c.deposit = :deposit
    ORDER BY c.due_at, c.chunk_id LIMIT :limit
"""
_SELECT_CHECKS = """
    SELECT chunk_id, due_at FROM paystar_payout_chunks
    WHERE due_at IS NOT NULL AND phase <> 'send' AND product = :product AND account = :account
    ORDER BY due_at LIMIT :limit
"""


class DueChunk(NamedTuple):
    """A chunk that has a due time.

    Attributes:
        at: when the chunk is due, in the ledger's time.
        chunk_id: the chunk's id.
        lane: the name of the lane whose limits the chunk shares.
        max_in_flight: concurrent chunks of the lane.
        rate: chunks of the lane per second; None: unlimited.
    """

    at: float
    chunk_id: str
    lane: str
    max_in_flight: int
    rate: float | None = None


@define
class DueQueue:
    """The chunks that are due for the accounts of one client."""

    ledger: LedgerDatabase
    channels: Sequence[PayoutChannel]
    worker: ChunkWorker

    async def due(self, limit: int) -> Sequence[DueChunk]:
        """Return the earliest chunks of each lane, at most ``limit`` a lane, future ones included."""
        chunks: list[DueChunk] = []
        identity = self.ledger.identity
        seen_versions = identity.versions()  # before the rows are read: a lease may raise a version later
        for channel in self.channels:
            params: dict[str, Value] = {"product": channel.name, "account": channel.account, "limit": limit}
            lane = f"{channel.name} checks"
            checks = await self.ledger.fetch(_SELECT_CHECKS, params)
            chunks += [DueChunk(due_time(row), row["chunk_id"], lane, MAX_STATUS_CHECKS) for row in checks]
            for hold in await self.ledger.fetch(_SELECT_LANES, params):
                account = channel.name, channel.account, hold["deposit"]
                identity.check_version(hold["version"], seen_versions.get(account, 0))
                identity.note_version(account, hold["version"])
                chunks += await self.sends(Lane(channel.name, channel.account, hold["deposit"]), limit)
        return chunks

    async def sends(self, lane: Lane, limit: int) -> list[DueChunk]:
        """Return the earliest chunks that a deposit account has to send, at most ``limit``."""
        rows = await self.ledger.fetch(_SELECT_SENDS, {**lane._asdict(), "limit": limit})
        return [_due_send(row, f"{lane.product} {lane.deposit}") for row in rows]

    async def step(self, chunk_id: str) -> NotDue:
        """Process a chunk if it is due; return when to call again, and what the chunk waits for."""
        return await self.worker.step(chunk_id)

    async def lane_of(self, chunk_id: str) -> Lane | None:
        """Return the deposit account a chunk is paid from, or None if the chunk does not exist."""
        snapshot = await load_chunk(self.ledger, chunk_id)
        return None if snapshot is None else lane_of_chunk(snapshot.chunk)

    async def now(self) -> float:
        """Return the ledger's time."""
        return await self.ledger.time()


_policy = lru_cache(maxsize=64)(Policy.from_json)


def _due_send(row: Row, lane: str) -> DueChunk:
    policy = _policy(row["policy"])
    return DueChunk(due_time(row), row["chunk_id"], lane, policy.concurrency, policy.rate)


class Steps(Protocol):
    """The source of due chunks and the way to process one; DueQueue is the usual one."""

    async def step(self, chunk_id: str) -> NotDue:
        """Process a chunk if it is due; return when to call again, and what the chunk waits for."""
        ...

    async def due(self, limit: int) -> Sequence[DueChunk]:
        """Return the earliest chunks of each lane, at most ``limit`` a lane, future ones included."""
        ...

    async def now(self) -> float:
        """Return the ledger's time."""
        ...


class Dispatcher(Protocol):
    """A caller of ``advance`` for chunks that are due."""

    async def wake(self, chunk_ids: Sequence[str], connection: "Connection | None" = None) -> None:
        """Schedule chunks that are due now.

        Args:
            chunk_ids: at most 1000 chunk ids.
            connection: the transaction that submits the chunks; before it commits no other connection can read them.
        """
        ...

    def start(self) -> None:
        """Start to dispatch due chunks; do nothing if already started."""
        ...

    async def aclose(self) -> None:
        """Start no further chunk, and wait for the running ones."""
        ...


@define(eq=False)
class _Lane:
    """Waiting and running chunks that share one concurrency limit."""

    waiting: list[DueChunk] = field(factory=list[DueChunk])
    active: int = 0
    turn: float = -math.inf
    """The time at which the next chunk may be sent; a turn reported for one chunk holds for the whole lane."""
    not_before: float = -math.inf
    """The time at which this process tries to send the next chunk: at the turn, or a little later."""
    is_shared: bool = False
    """Whether another process was faster with a chunk: then chunks are tried in random order, not all the same ones."""
    has_more: bool = False
    """Whether the ledger has more chunks of the lane than were loaded."""

    def ready(self, now: float) -> DueChunk | None:
        """Return the next chunk if it is due and below the concurrency limit, or None."""
        if self.next_at > now:
            return None
        due = heappop(self.waiting)
        if due.rate is not None:
            self.wait_for_turn(next_send_time(self.turn, now, due.rate), due.rate)
        return due

    def wait_for_turn(self, turn: float, rate: float | None) -> None:
        """Let the next chunk wait for a turn.

        Processes that share a rate try a random delay after the turn. Without it, the process nearest to the database
        would get every turn. The delay does not lower the rate: turns are counted from turns, see ``next_send_time``.
        """
        max_delay = 0.0 if rate is None else min(0.5 / rate, MAX_TURN_DELAY_SECONDS)
        self.turn, self.not_before = turn, turn + random.random() * max_delay

    def release_turn(self, rate: float) -> None:
        """Give a turn back that was not used: another process was faster with the chunk."""
        self.wait_for_turn(self.turn - 1 / rate, rate)
        if not self.is_shared:
            self.is_shared = True
            self.put(self.waiting, self.turn)

    def put(self, waiting: list[DueChunk], now: float) -> None:
        """Replace the waiting chunks."""
        if self.is_shared:
            waiting = [due._replace(at=now - random.random()) if due.at <= now else due for due in waiting]
        heapify(waiting)
        self.waiting = waiting

    @property
    def next_at(self) -> float:
        """Return when the next chunk may start; infinity if a running chunk has to end first."""
        first = self.waiting[0] if self.waiting else None
        return max(first.at, self.not_before) if first and self.active < first.max_in_flight else math.inf

    @property
    def needs_refill(self) -> bool:
        """Return True if more chunks have to be loaded from the ledger."""
        return self.has_more and len(self.waiting) < MAX_LANE_CHUNKS // 4


class LocalDispatcher:
    """A dispatcher that processes due chunks in this event loop, those of stopped processes included.

    Args:
        steps: the source of due chunks and the way to process one.
        clock: the clock to read and to sleep on.
        background: the background tasks that run the dispatcher.
        on_step: called after each step.
    """

    def __init__(
        self, steps: Steps, clock: Clock, background: BackgroundTasks, on_step: Callable[[], object] = lambda: None
    ) -> None:
        self._steps, self._clock, self._background, self._on_step = steps, clock, background, on_step
        self._lanes: defaultdict[str, _Lane] = defaultdict(_Lane)
        self._active: set[str] = set()
        self._wake_event = WakeEvent(clock)
        self._task: BackgroundTask[None] | None = None
        self._closing = anyio.Event()
        self._idle = anyio.Event()
        self._next_sweep = -math.inf
        self._clock_offset = 0.0
        """The ledger's time minus the monotonic clock's."""
        self._last_warning: tuple[str, float] = ("", -math.inf)
        """Text and time of the last warning about a failed step."""

    async def wake(self, chunk_ids: Sequence[str], connection: "Connection | None" = None) -> None:
        """Read the ledger now; chunks not yet committed are found by a later sweep."""
        del chunk_ids, connection
        self._next_sweep = -math.inf
        self._wake_event.set()

    def start(self) -> None:
        """Start to dispatch due chunks; do nothing if already started."""
        if not self._closing.is_set() and (self._task is None or self._task.done):
            self._task = self._background.start(self._run)

    async def work(self, seconds: float) -> None:
        """Process all chunks that are due now, for at most ``seconds``."""
        self.start()

        async def wait_until_idle(scope: anyio.CancelScope) -> None:
            await self._idle.wait()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(wait_until_idle, group.cancel_scope)
            await self._clock.sleep(seconds)
            group.cancel_scope.cancel()

    def stop(self) -> None:
        """Start no further chunk."""
        self._closing.set()
        self._wake_event.set()

    async def aclose(self) -> None:
        """Start no further chunk, and wait for the running ones."""
        self.stop()
        if self._task is not None:
            await self._task.wait_ended()

    async def _run(self) -> None:
        async with anyio.create_task_group() as group:
            while not self._closing.is_set():
                try:
                    pause = await self._start_due(group)
                except PaystarError as error:
                    logger.warning("payouts: cannot read the ledger (%s); retrying", error)
                    pause = ERROR_PAUSE_SECONDS
                if pause > 0 and not self._closing.is_set():
                    await self._wake_event.sleep(pause)

    async def _start_due(self, group: anyio.abc.TaskGroup) -> float:
        """Start the chunks that are due and within limits; return seconds until the next may be."""
        now_monotonic = self._clock.monotonic()
        if now_monotonic >= self._next_sweep or any(lane.needs_refill for lane in self._lanes.values()):
            self._next_sweep = now_monotonic + SWEEP_SECONDS
            await self._load()
            now_monotonic = self._clock.monotonic()
        now = now_monotonic + self._clock_offset
        for lane in self._lanes.values():
            while not self._closing.is_set() and (due := lane.ready(now)) is not None:
                if due.chunk_id not in self._active:
                    lane.active += 1
                    self._active.add(due.chunk_id)
                    group.start_soon(self._advance, due)
        if not self._active and not any(lane.waiting or lane.has_more for lane in self._lanes.values()):
            self._idle.set()
        next_at = min((lane.next_at for lane in self._lanes.values()), default=math.inf)
        return max(0.0, min(self._next_sweep - now_monotonic, next_at - now))

    async def _load(self) -> None:
        """Load the earliest chunks of each lane from the ledger."""
        chunks_by_lane: defaultdict[str, list[DueChunk]] = defaultdict(list)
        for due in await self._steps.due(MAX_LANE_CHUNKS):
            chunks_by_lane[due.lane].append(due)
        now = await self._steps.now()
        self._clock_offset = now - self._clock.monotonic()
        for name in self._lanes.keys() | chunks_by_lane.keys():
            lane, waiting = self._lanes[name], chunks_by_lane[name]
            lane.has_more = len(waiting) >= MAX_LANE_CHUNKS
            lane.put([due for due in waiting if due.chunk_id not in self._active], now)

    async def _advance(self, due: DueChunk) -> None:
        lane = self._lanes[due.lane]
        result = NotDue(due_at=None, was_sent=True)  # after an error the turn counts as used: it may have been
        try:
            result = await self._steps.step(due.chunk_id)
        except PaystarError as error:
            self._warn(due, str(error))
            await self._pause_after_error()
        except Exception:
            logger.exception("payouts: chunk %s failed; retrying", due.chunk_id)
            await self._pause_after_error()
        lane.active -= 1
        self._active.discard(due.chunk_id)
        if result.due_at is not None and result.waits_for is not None:
            lane.wait_for_turn(result.due_at, due.rate)
            heappush(lane.waiting, due)
        elif due.rate is not None and not result.was_sent:
            lane.release_turn(due.rate)
        elif due.rate is None:
            lane.not_before = -math.inf  # the slot of this chunk is free again
        if result.due_at is not None and result.waits_for is None:
            # A sent chunk is usually checked next; the next read of the ledger moves it to its proper lane.
            heappush(
                self._lanes[_RETRY_LANE].waiting, DueChunk(result.due_at, due.chunk_id, _RETRY_LANE, MAX_STATUS_CHECKS)
            )
        self._on_step()
        self._wake_event.set()

    def _warn(self, due: DueChunk, reason: str) -> None:
        """Log why a chunk failed; the same reason, which often holds for many chunks, once a minute."""
        now = self._clock.monotonic()
        last_reason, warned_at = self._last_warning
        if reason != last_reason or now >= warned_at + WARNING_INTERVAL_SECONDS:
            self._last_warning = reason, now
            logger.warning("payouts: chunk %s: %s; retrying", due.chunk_id, reason)

    async def _pause_after_error(self) -> None:
        """Pause after a failed step; the chunk keeps its slot until the pause ends."""
        async with anyio.create_task_group() as group:

            async def close() -> None:
                await self._closing.wait()
                group.cancel_scope.cancel()

            group.start_soon(close)
            await self._clock.sleep(ERROR_PAUSE_SECONDS)
            group.cancel_scope.cancel()
