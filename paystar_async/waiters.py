"""Many wait, one looks: waiters on the same list share one call per tick."""

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
from paystar_async.values.numbers import checked_seconds


@frozen
class PollInterval:
    """How often to look: soon at first, then ever more slowly.

    Args:
        first: seconds between the first two looks.
        factor: what each pause is longer by.
        longest: seconds no pause is longer than.
        jitter: the part by which a pause varies, so that processes do not look in step.
    """

    first: float = 0.5
    factor: float = 1.5
    longest: float = 15.0
    jitter: float = 0.2

    def pause(self, looks: int, source: random.Random) -> float:
        """Seconds until the next look, after so many."""
        steady = min(self.longest, self.first * self.factor ** min(looks - 1, 60))
        return steady * source.uniform(1 - self.jitter, 1 + self.jitter)


FetchStatus = Callable[[frozenset[str]], Awaitable[Sequence[Settlement]]]
"""Asks the bank for the transfers of these track_ids; what it does not have is left out."""
Matches = Callable[[Settlement, str], bool]

_SUCCESS = TransferStatus.SUCCESS
_NO_LOOK = "no look was answered"


@define(eq=False)
class _Subscriber:
    track_id: str
    wake: WakeEvent
    outcome: Outcome | None = None
    error: Exception | None = None
    last: Pending | Unknown | None = None

    def hear(self, found: Sequence[Settlement]) -> None:
        """Take what a look found of this transfer."""
        outcome = outcome_of(self.track_id, found) if found else None
        if isinstance(outcome, Succeeded | Failed):
            self.outcome = outcome
            self.wake.set()
        elif outcome is not None:
            self.last = outcome
        elif self.last is None or self.last.reason == _NO_LOOK:
            self.last = Unknown(track_id=self.track_id, reason="the bank does not list it")

    def miss(self, error: Exception) -> None:
        """Take note of a look that failed; it ends the waiting unless the next one may go better."""
        if isinstance(error, PaystarError) and is_transient(error):
            self.last = self.last or Unknown(track_id=self.track_id, reason=_NO_LOOK, error=error)
            return
        # A copy each: a shared one would gather the traceback of everyone who raises it.
        self.error = copy.copy(error) if isinstance(error, PaystarError) else error
        self.wake.set()

    @property
    def is_decided(self) -> bool:
        """Return True if there is nothing more to wait for."""
        return self.outcome is not None or self.error is not None

    def last_word(self, why: str) -> Outcome:
        """What is known when the waiting ends undecided."""
        last = self.last or Unknown(track_id=self.track_id, reason=_NO_LOOK)
        return evolve(last, reason=f"{last.reason}, {why}")


class Waiter:
    """One list that many wait on. It looks while anyone waits, and stops with the last of them.

    Args:
        look: asks the bank.
        matches: whether an entry of the list is about a track_id.
        clock: what time it is, and how to wait.
        background: whose job the looking is.
        pace: how often to look; it starts over when somebody joins, whose transfer may be decided soon.
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
        """Whether nobody waits."""
        return not self._waiters

    async def wait(self, track_id: str, timeout: float) -> Outcome:
        """What became of a transfer, once that is decided or ``timeout`` seconds have passed."""
        waiter = _Subscriber(track_id, WakeEvent(self._clock))
        self._join(waiter)
        try:
            await waiter.wake.sleep(timeout)
        finally:
            self._leave(waiter)
        if waiter.error is not None:
            raise waiter.error
        return waiter.outcome or waiter.last_word(f"after {timeout:g} s")

    def close(self) -> None:
        """End the waiting: the client closes, and nobody can look any more."""
        for waiter in self._waiters:
            waiter.outcome = waiter.outcome or waiter.last_word("when the client was closed")
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
            # It only reads, so it may be broken off; whoever comes next starts another.
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
            found = await self._look(frozenset(one.track_id for one in waiters))
        except Exception as error:
            # Whatever it is – a ring may raise anything – it belongs to those who wait: kept here it would hang them.
            for waiter in waiters:
                waiter.miss(error)
        else:
            for waiter in waiters:
                waiter.hear([one for one in found if self._matches(one, waiter.track_id)])
        self._waiters.difference_update([one for one in waiters if one.is_decided])


def outcome_of(track_id: str, found: Sequence[Settlement]) -> Outcome:
    """What the bank's entries say of one transfer; where they differ, the one that moved money holds."""
    for entry in found:
        if entry.status == _SUCCESS:
            return Succeeded(track_id=track_id, ref_code=entry.ref_code)
    undecided = [entry.status for entry in found if entry.status != TransferStatus.FAILED]
    if TransferStatus.PENDING in undecided:
        return Pending(track_id=track_id, reason="the bank has not decided")
    if undecided:
        return Unknown(track_id=track_id, reason=f'the bank says "{mask_text(undecided[0].value)}"')
    return Failed(track_id=track_id, reason=mask_text(found[0].message or "the bank says it failed"))


class Waiters:
    """The lists that are being watched in one event loop, by name."""

    def __init__(self, clock: Clock, background: BackgroundTasks) -> None:
        self._clock, self._background = clock, background
        self._open: dict[object, Waiter] = {}

    def close(self) -> None:
        """End all waiting."""
        for watch in self._open.values():
            watch.close()

    async def wait(
        self, name: object, look: FetchStatus, matches: Matches, *, track_id: str, timeout: float, pace: PollInterval
    ) -> Outcome:
        """Wait on the list ``name``; the first waiter says how it is looked at."""
        timeout = checked_seconds("timeout", timeout)
        watch = self._open.get(name)
        if watch is None:
            watch = self._open[name] = Waiter(look, matches, self._clock, self._background, pace)
        try:
            return await watch.wait(track_id, timeout)
        finally:
            # Another may stand under this name by now: the last waiters of one list do not all leave at once.
            if watch.idle and self._open.get(name) is watch:
                del self._open[name]
