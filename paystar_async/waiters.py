"""Waiting for transfers: waiters on the same list share one request per poll."""

import copy
import random
from collections.abc import Awaitable, Callable, Sequence

import anyio
from attrs import define, evolve, frozen

from paystar_async.errors import PaystarError
from paystar_async.errors.transient import is_transient
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent
from paystar_async.values.masking import mask_text
from paystar_async.values.numbers import require_seconds


@frozen
class PollInterval:
    """The interval between polls: short at first, then longer.

    Args:
        first: seconds between the first two polls.
        factor: growth of each pause.
        longest: maximum seconds of a pause, before jitter.
        jitter: fraction by which a pause varies, so that processes do not poll in step.
    """

    first: float = 0.5
    factor: float = 1.5
    longest: float = 15.0
    jitter: float = 0.2

    def pause(self, looks: int, source: random.Random) -> float:
        """Return the seconds until the next poll after ``looks`` polls."""
        steady = min(self.longest, self.first * self.factor ** min(looks - 1, 60))
        return steady * source.uniform(1 - self.jitter, 1 + self.jitter)


FetchStatus = Callable[[frozenset[str]], Awaitable[Sequence[Settlement]]]
"""Returns the bank's entries of these track_ids; transfers that the bank does not list are left out."""
Matches = Callable[[Settlement, str], bool]

_SUCCESS = TransferStatus.SUCCESS
_NO_LOOK = "no status check got a response"


@define(eq=False)
class _Subscriber:
    track_id: str
    wake: WakeEvent
    outcome: Outcome | None = None
    error: Exception | None = None
    last: Pending | Unknown | None = None

    def add_entries(self, found: Sequence[Settlement]) -> None:
        """Record the entries of this transfer that a poll returned."""
        outcome = outcome_of(self.track_id, found) if found else None
        if isinstance(outcome, Succeeded | Failed):
            self.outcome = outcome
            self.wake.set()
        elif outcome is not None:
            self.last = outcome
        elif self.last is None or self.last.reason == _NO_LOOK:
            self.last = Unknown(track_id=self.track_id, reason="the bank does not list it")

    def add_failure(self, error: Exception) -> None:
        """Record the error of a poll; it ends the waiting unless the error is transient."""
        if isinstance(error, PaystarError) and is_transient(error):
            self.last = self.last or Unknown(track_id=self.track_id, reason=_NO_LOOK, error=error)
            return
        # A copy for each waiter: a shared error would collect the tracebacks of all that raise it.
        self.error = copy.copy(error) if isinstance(error, PaystarError) else error
        self.wake.set()

    @property
    def is_decided(self) -> bool:
        """Return True if the waiting is over."""
        return self.outcome is not None or self.error is not None

    def undecided_outcome(self, why: str) -> Outcome:
        """Return what is known when the waiting ends undecided."""
        last = self.last or Unknown(track_id=self.track_id, reason=_NO_LOOK)
        return evolve(last, reason=f"{last.reason}, {why}")


class Waiter:
    """The polling of one list for all its subscribers; it stops when the last one leaves.

    Args:
        look: fetches the list from the bank.
        matches: returns True if an entry belongs to a track_id.
        clock: the client's clock.
        background: runs the polling.
        pace: interval between polls; starts over with each new subscriber, whose transfer may be decided soon.
    """

    def __init__(
        self, look: FetchStatus, matches: Matches, clock: Clock, background: BackgroundTasks, pace: PollInterval
    ) -> None:
        self._look, self._matches = look, matches
        self._clock, self._background, self._pace = clock, background, pace
        self._waiters: set[_Subscriber] = set()
        self._job: BackgroundTask[None] | None = None
        self._scope: anyio.CancelScope | None = None
        self._random = random.Random()
        self._next_look, self._looks = 0.0, 0
        self._joined = WakeEvent(clock)

    @property
    def idle(self) -> bool:
        """Return True if there are no subscribers."""
        return not self._waiters

    async def wait(self, track_id: str, timeout: float) -> Outcome:
        """Return the outcome of a transfer once the bank has decided it, or what is known after ``timeout`` seconds."""
        waiter = _Subscriber(track_id, WakeEvent(self._clock))
        self._join(waiter)
        try:
            await waiter.wake.sleep(timeout)
        finally:
            self._leave(waiter)
        if waiter.error is not None:
            raise waiter.error
        return waiter.outcome or waiter.undecided_outcome(f"after {timeout:g} s")

    def close(self) -> None:
        """End the waiting of all subscribers because the client closes."""
        for waiter in self._waiters:
            waiter.outcome = waiter.outcome or waiter.undecided_outcome("when the client was closed")
            waiter.wake.set()

    def _join(self, waiter: _Subscriber) -> None:
        now = self._clock.monotonic()
        self._waiters.add(waiter)
        self._looks = 0
        if self._job is None or self._job.done:
            self._next_look = now
            self._job = self._background.start(self._run)
        else:
            self._next_look = min(self._next_look, now + self._pace.first)
            self._joined.set()

    def _leave(self, waiter: _Subscriber) -> None:
        self._waiters.discard(waiter)
        if not self._waiters and self._scope is not None:
            # A poll only reads, so it may be cancelled; the next subscriber starts another task.
            self._scope.cancel()
            self._scope = self._job = None

    async def _run(self) -> None:
        with anyio.CancelScope() as scope:
            self._scope = scope
            while self._waiters:
                if self._clock.monotonic() < self._next_look:
                    await self._joined.sleep(self._next_look - self._clock.monotonic())
                    continue
                await self._tick()
                self._looks += 1
                self._next_look = self._clock.monotonic() + self._pace.pause(self._looks, self._random)
            self._scope = None

    async def _tick(self) -> None:
        waiters = tuple(self._waiters)
        try:
            entries = await self._look(frozenset(waiter.track_id for waiter in waiters))
        except Exception as error:
            # Any error, also of a user middleware, goes to the subscribers, which would hang otherwise.
            for waiter in waiters:
                waiter.add_failure(error)
        else:
            for waiter in waiters:
                waiter.add_entries([entry for entry in entries if self._matches(entry, waiter.track_id)])
        self._waiters.difference_update([waiter for waiter in waiters if waiter.is_decided])


def outcome_of(track_id: str, entries: Sequence[Settlement]) -> Outcome:
    """Return the outcome that the bank's entries of one transfer prove; an entry that moved money takes precedence."""
    for entry in entries:
        if entry.status == _SUCCESS:
            return Succeeded(track_id=track_id, ref_code=entry.ref_code)
    undecided = [entry.status for entry in entries if entry.status != TransferStatus.FAILED]
    if TransferStatus.PENDING in undecided:
        return Pending(track_id=track_id, reason="the bank has not decided")
    if undecided:
        return Unknown(track_id=track_id, reason=f'the bank says "{mask_text(undecided[0].value)}"')
    return Failed(track_id=track_id, reason=mask_text(entries[0].message or "the bank says it failed"))


class Waiters:
    """The waiters of one event loop, by the name of their list."""

    def __init__(self, clock: Clock, background: BackgroundTasks) -> None:
        self._clock, self._background = clock, background
        self._open: dict[object, Waiter] = {}

    def close(self) -> None:
        """End the waiting of all waiters."""
        for waiter in self._open.values():
            waiter.close()

    async def wait(
        self, name: object, look: FetchStatus, matches: Matches, *, track_id: str, timeout: float, pace: PollInterval
    ) -> Outcome:
        """Wait on the list ``name``; its first subscriber determines how the list is polled."""
        timeout = require_seconds("timeout", timeout)
        waiter = self._open.get(name)
        if waiter is None:
            waiter = self._open[name] = Waiter(look, matches, self._clock, self._background, pace)
        try:
            return await waiter.wait(track_id, timeout)
        finally:
            # Another waiter may have this name by now, since the last subscribers of a list leave one by one.
            if waiter.idle and self._open.get(name) is waiter:
                del self._open[name]
