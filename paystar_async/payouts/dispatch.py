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

import logging
import math
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from attrs import define, field

from paystar_async.background import Background, Job
from paystar_async.clock import Clock
from paystar_async.errors import PaystarError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

AT_ONCE = 32
"""Chunks under way at once; most of them wait for an answer."""
SWEEP_SECONDS = 2.0
"""How often the ledger is asked for chunks that others have planned, lost or left."""
AFTER_TROUBLE = 1.0

_logger = logging.getLogger("paystar_async")


class Steps(Protocol):
    """What brings chunks forward: an Advancer."""

    async def advance(self, chunk_id: str) -> float | None:
        """Do what is due for a chunk; when to call again, in the ledger's time."""
        ...

    async def due(self, limit: int = 100) -> Sequence[tuple[str, float]]:
        """Chunks with something to do, and when, soonest first."""
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
class Alarm:
    """Wakes whoever sleeps; one that rings before anybody sleeps is heard by the next who would."""

    clock: Clock
    _awake: anyio.Event = field(factory=anyio.Event)

    def ring(self) -> None:
        """Wake everybody."""
        self._awake.set()

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or when it rings."""
        awake = self._awake
        if not awake.is_set():
            async with anyio.create_task_group() as group:

                async def wake() -> None:
                    await awake.wait()
                    group.cancel_scope.cancel()

                group.start_soon(wake)
                await self.clock.sleep(seconds)
                group.cancel_scope.cancel()
        if self._awake is awake:
            self._awake = anyio.Event()


class LocalDispatcher:
    """Brings forward whatever is due, in this event loop.

    Args:
        steps: what brings chunks forward.
        clock: what time it is, and how to wait.
        background: whose jobs the work is.
        moved: told after each step.
        at_once: chunks under way at once at the most.
        sweep: seconds between two looks into the ledger.
    """

    def __init__(
        self,
        steps: Steps,
        clock: Clock,
        background: Background,
        moved: Callable[[], object] = lambda: None,
        *,
        at_once: int = AT_ONCE,
        sweep: float = SWEEP_SECONDS,
    ) -> None:
        self._steps, self._clock, self._background, self._moved = steps, clock, background, moved
        self._at_once, self._sweep = at_once, sweep
        self._heap: list[tuple[float, str]] = []
        self._known: set[str] = set()
        self._active: set[str] = set()
        self._alarm = Alarm(clock)
        self._job: Job[None] | None = None
        self._closing = anyio.Event()
        self._next_sweep = 0.0
        self._more = False

    async def wake(self, chunk_ids: Sequence[str], connection: "Connection | None" = None) -> None:
        """Look into the ledger now; what is not committed yet is found by a later look."""
        del chunk_ids, connection
        self._next_sweep = 0.0
        self._alarm.ring()

    def start(self) -> None:
        """Begin to look for what is due; called again while it runs, it does nothing."""
        if not self._closing.is_set() and (self._job is None or self._job.done):
            self._job = self._background.start(self._run)

    def stop(self) -> None:
        """Begin nothing more."""
        self._closing.set()
        self._alarm.ring()

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
                    _logger.warning("payouts: the ledger cannot be read (%s); trying again", error)
                    pause = AFTER_TROUBLE
                if pause > 0 and not self._closing.is_set():
                    await self._alarm.sleep(pause)

    async def _turn(self, group: anyio.abc.TaskGroup) -> float:
        """Begin what is due and has room; seconds until there may be more."""
        elapsed = self._clock.monotonic()
        if elapsed >= self._next_sweep or (self._more and len(self._heap) < self._at_once):
            self._next_sweep = elapsed + self._sweep
            await self._fill()
        now = await self._steps.now()
        while self._heap and len(self._active) < self._at_once and self._heap[0][0] <= now:
            _, chunk_id = heappop(self._heap)
            self._known.discard(chunk_id)
            self._active.add(chunk_id)
            group.start_soon(self._advance, chunk_id)
        rest = max(0.0, self._next_sweep - elapsed)
        if len(self._active) >= self._at_once or not self._heap:
            return rest  # whatever ends rings
        return min(rest, max(0.0, self._heap[0][0] - now))

    async def _fill(self) -> None:
        """Ask the ledger what is due, and keep the soonest."""
        most = 4 * self._at_once
        found = await self._steps.due(most)
        self._more = len(found) == most
        self._heap = [(due, chunk_id) for chunk_id, due in found if chunk_id not in self._active]
        heapify(self._heap)
        self._known = {chunk_id for _, chunk_id in self._heap}

    async def _recover(self) -> None:
        """Wait a little before the next look at a chunk that made trouble; it keeps its place meanwhile."""
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def close() -> None:
                    await self._closing.wait()
                    scope.cancel()

                group.start_soon(close)
                await self._clock.sleep(AFTER_TROUBLE)
                scope.cancel()

    async def _advance(self, chunk_id: str) -> None:
        again: float | None = None
        try:
            again = await self._steps.advance(chunk_id)
        except PaystarError as error:
            _logger.warning("payouts: chunk %s: %s; it is tried again", chunk_id, error)
            await self._recover()
        except Exception:
            _logger.exception("payouts: chunk %s; it is tried again", chunk_id)
            await self._recover()
        self._active.discard(chunk_id)
        if again is not None and chunk_id not in self._known and math.isfinite(again):
            self._known.add(chunk_id)
            heappush(self._heap, (again, chunk_id))
        self._moved()
        self._alarm.ring()
