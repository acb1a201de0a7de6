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

    def pause(self, polls: int, rng: random.Random) -> float:
        """Return the seconds to wait after ``polls`` polls."""
        steady = min(self.longest, self.first * self.factor ** min(polls - 1, 60))
        return steady * rng.uniform(1 - self.jitter, 1 + self.jitter)


FetchStatus = Callable[[frozenset[str]], Awaitable[Sequence[Settlement]]]
"""Returns the bank's entries of these track_ids; a transfer that the bank does not list has none."""
Matches = Callable[[Settlement, str], bool]

_SUCCESS = TransferStatus.SUCCESS
_NO_RESPONSE_REASON = "no status check got a response"


@define(eq=False)
class _Subscriber:
    track_id: str
    wake: WakeEvent
    outcome: Outcome | None = None
    error: Exception | None = None
    last: Pending | Unknown | None = None

    def add_entries(self, entries: Sequence[Settlement]) -> None:
        """Record the entries of this transfer that a poll returned."""
        outcome = outcome_of(self.track_id, entries) if entries else None
        if isinstance(outcome, Succeeded | Failed):
            self.outcome = outcome
            self.wake.set()
        elif outcome is not None:
            self.last = outcome
        elif self.last is None or self.last.reason == _NO_RESPONSE_REASON:
            self.last = Unknown(track_id=self.track_id, reason="the bank does not list the transfer")

    def add_failure(self, error: Exception) -> None:
        """Record the error of a poll; it ends the waiting unless the error is transient."""
        if isinstance(error, PaystarError) and is_transient(error):
            self.last = self.last or Unknown(track_id=self.track_id, reason=_NO_RESPONSE_REASON, error=error)
            return
        # A copy for each waiter: a shared error would collect the tracebacks of all that raise it.
        self.error = copy.copy(error) if isinstance(error, PaystarError) else error
        self.wake.set()

    @property
    def is_decided(self) -> bool:
        """Return True if the waiting is over."""
        return self.outcome is not None or self.error is not None

    def undecided_outcome(self, ending: str) -> Outcome:
        """Return the last known outcome; ``ending`` says when the waiting ended."""
        last = self.last or Unknown(track_id=self.track_id, reason=_NO_RESPONSE_REASON)
        return evolve(last, reason=f"{last.reason}, {ending}")


class Waiter:
    """The polling of one list for all its subscribers; it stops when the last one leaves.

    Args:
        fetch: fetches the list from the bank.
        matches: returns True if an entry belongs to a track_id.
        clock: the client's clock.
        background: runs the polling.
        interval: interval between polls; starts over with each new subscriber, whose transfer may be decided soon.
    """

    def __init__(
        self, fetch: FetchStatus, matches: Matches, clock: Clock, background: BackgroundTasks, interval: PollInterval
    ) -> None:
        self._fetch, self._matches = fetch, matches
        self._clock, self._background, self._interval = clock, background, interval
        self._subscribers: set[_Subscriber] = set()
        self._polling: BackgroundTask[None] | None = None
        self._scope: anyio.CancelScope | None = None
        self._random = random.Random()
        self._next_poll_at, self._polls = 0.0, 0
        self._joined = WakeEvent(clock)

    @property
    def idle(self) -> bool:
        """Return True if there are no subscribers."""
        return not self._subscribers

    async def wait(self, track_id: str, timeout: float) -> Outcome:
        """Return the outcome of a transfer once the bank has decided it, or what is known after ``timeout`` seconds."""
        subscriber = _Subscriber(track_id, WakeEvent(self._clock))
        self._join(subscriber)
        try:
            await subscriber.wake.sleep(timeout)
        finally:
            self._leave(subscriber)
        if subscriber.error is not None:
            raise subscriber.error
        return subscriber.outcome or subscriber.undecided_outcome(f"after {timeout:g} s")

    def close(self) -> None:
        """End the waiting of all subscribers because the client closes."""
        for subscriber in self._subscribers:
            subscriber.outcome = subscriber.outcome or subscriber.undecided_outcome("when the client was closed")
            subscriber.wake.set()

    def _join(self, subscriber: _Subscriber) -> None:
        now = self._clock.monotonic()
        self._subscribers.add(subscriber)
        self._polls = 0
        if self._polling is None or self._polling.done:
            self._next_poll_at = now
            self._polling = self._background.start(self._run)
        else:
            self._next_poll_at = min(self._next_poll_at, now + self._interval.first)
            self._joined.set()

    def _leave(self, subscriber: _Subscriber) -> None:
        self._subscribers.discard(subscriber)
        if not self._subscribers and self._scope is not None:
            # A poll only reads, so it may be cancelled; the next subscriber starts another task.
            self._scope.cancel()
            self._scope = self._polling = None

    async def _run(self) -> None:
        with anyio.CancelScope() as scope:
            self._scope = scope
            while self._subscribers:
                if self._clock.monotonic() < self._next_poll_at:
                    await self._joined.sleep(self._next_poll_at - self._clock.monotonic())
                    continue
                await self._poll()
                self._polls += 1
                self._next_poll_at = self._clock.monotonic() + self._interval.pause(self._polls, self._random)
            self._scope = None

    async def _poll(self) -> None:
        subscribers = tuple(self._subscribers)
        try:
            entries = await self._fetch(frozenset(subscriber.track_id for subscriber in subscribers))
        except Exception as error:
            # Any error, also of a user middleware, goes to the subscribers, which would hang otherwise.
            for subscriber in subscribers:
                subscriber.add_failure(error)
        else:
            for subscriber in subscribers:
                subscriber.add_entries([entry for entry in entries if self._matches(entry, subscriber.track_id)])
        self._subscribers.difference_update([subscriber for subscriber in subscribers if subscriber.is_decided])


def outcome_of(track_id: str, entries: Sequence[Settlement]) -> Outcome:
    """Return the outcome that the bank's entries of one transfer prove; an entry that moved money takes precedence."""
    for entry in entries:
        if entry.status == _SUCCESS:
            return Succeeded(track_id=track_id, ref_code=entry.ref_code)
    undecided = [entry.status for entry in entries if entry.status != TransferStatus.FAILED]
    if TransferStatus.PENDING in undecided:
        return Pending(track_id=track_id, reason="the bank has not decided")
    if undecided:
        return Unknown(track_id=track_id, reason=f'the bank reports "{mask_text(undecided[0].value)}"')
    return Failed(track_id=track_id, reason=mask_text(entries[0].message or "the bank reports that it failed"))


class Waiters:
    """The waiters of one event loop, by the key of their list."""

    def __init__(self, clock: Clock, background: BackgroundTasks) -> None:
        self._clock, self._background = clock, background
        self._waiters: dict[object, Waiter] = {}

    def __len__(self) -> int:
        """Return the number of lists that are being polled."""
        return len(self._waiters)

    def close(self) -> None:
        """End the waiting of all waiters."""
        for waiter in self._waiters.values():
            waiter.close()

    async def wait(
        self,
        list_key: object,
        fetch: FetchStatus,
        matches: Matches,
        *,
        track_id: str,
        timeout: float,
        interval: PollInterval,
    ) -> Outcome:
        """Return the outcome of a transfer of a list; the first subscriber of a list determines how it is polled."""
        timeout = require_seconds("timeout", timeout)
        waiter = self._waiters.get(list_key)
        if waiter is None:
            waiter = self._waiters[list_key] = Waiter(fetch, matches, self._clock, self._background, interval)
        try:
            return await waiter.wait(track_id, timeout)
        finally:
            # Another waiter may have this key by now, since the last subscribers of a list leave one by one.
            if waiter.idle and self._waiters.get(list_key) is waiter:
                del self._waiters[list_key]
