"""Many wait, one looks: waiters on the same list share one call per tick."""

import random
from collections.abc import Awaitable, Callable, Sequence

import anyio
from attrs import define, field, frozen

from paystar_async.background import Background, Job
from paystar_async.clock import Clock
from paystar_async.errors import PaystarError
from paystar_async.middleware.retry import is_transient
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown


@frozen
class Pace:
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


Look = Callable[[frozenset[str]], Awaitable[Sequence[Settlement]]]
"""Asks the bank for the transfers of these track_ids; what it does not have is left out."""
Matches = Callable[[Settlement, str], bool]


@define(eq=False)
class _Waiter:
    track_id: str
    until: float
    timeout: float
    done: anyio.Event = field(factory=anyio.Event)
    outcome: Outcome | None = None
    error: PaystarError | None = None
    last: Outcome | None = None

    def settle(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.done.set()

    def give_up(self) -> None:
        last = self.last or Unknown(track_id=self.track_id, reason="the bank does not list it")
        reason = f"{last.reason}, after {self.timeout:g} s" if isinstance(last, Pending | Unknown) else ""
        if isinstance(last, Pending):
            self.settle(Pending(track_id=self.track_id, reason=reason))
        else:
            self.settle(Unknown(track_id=self.track_id, reason=reason, error=getattr(last, "error", None)))


class Watch:
    """One list that many wait on. It looks while anyone waits, and stops with the last of them.

    Args:
        look: asks the bank.
        matches: whether an entry of the list is about a track_id.
        clock: what time it is, and how to wait.
        background: whose job the looking is.
        pace: how often to look.
    """

    def __init__(self, look: Look, matches: Matches, clock: Clock, background: Background, pace: Pace) -> None:
        self._look, self._matches = look, matches
        self._clock, self._background, self._pace = clock, background, pace
        self._waiters: set[_Waiter] = set()
        self._job: Job[None] | None = None
        self._random = random.Random()
        self._next_look = 0.0
        self._joined = anyio.Event()

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return not self._waiters

    async def wait(self, track_id: str, timeout: float) -> Outcome:
        """What became of a transfer, once that is decided or ``timeout`` seconds have passed."""
        now = self._clock.monotonic()
        waiter = _Waiter(track_id, now + timeout, timeout)
        self._waiters.add(waiter)
        if self._job is None or self._job.done:
            self._next_look = now
            self._job = self._background.start(self._run)
        else:
            self._next_look = min(self._next_look, now + self._pace.first)
            self._joined.set()
        try:
            await waiter.done.wait()
        finally:
            self._waiters.discard(waiter)
        if waiter.error is not None:
            raise waiter.error
        assert waiter.outcome is not None  # noqa: S101 - set before done is
        return waiter.outcome

    async def _run(self) -> None:
        looks = 0
        while self._waiters:
            now = self._clock.monotonic()
            for waiter in [one for one in self._waiters if one.until <= now]:
                self._end(waiter)
            if self._next_look <= now and self._waiters:
                await self._tick()
                looks += 1
                self._next_look = self._clock.monotonic() + self._pace.pause(looks, self._random)
            if self._waiters:
                await self._rest()

    def _end(self, waiter: _Waiter) -> None:
        self._waiters.discard(waiter)
        waiter.give_up()

    async def _rest(self) -> None:
        """Sleep until the next look or the next deadline, or until somebody joins."""
        self._joined = anyio.Event()
        until = min(self._next_look, *(one.until for one in self._waiters))
        async with anyio.create_task_group() as group:

            async def wake() -> None:
                await self._joined.wait()
                group.cancel_scope.cancel()

            group.start_soon(wake)
            await self._clock.sleep(max(0.0, until - self._clock.monotonic()))
            group.cancel_scope.cancel()

    async def _tick(self) -> None:
        waiters = tuple(self._waiters)
        try:
            found = await self._look(frozenset(one.track_id for one in waiters))
        except PaystarError as error:
            for waiter in waiters:
                self._missed(waiter, error)
            return
        for waiter in waiters:
            mine = [one for one in found if self._matches(one, waiter.track_id)]
            if mine:
                self._heard(waiter, outcome_of(waiter.track_id, mine))

    def _missed(self, waiter: _Waiter, error: PaystarError) -> None:
        if is_transient(error):
            waiter.last = waiter.last or Unknown(track_id=waiter.track_id, reason="no look succeeded", error=error)
            return
        self._waiters.discard(waiter)
        waiter.error = error
        waiter.done.set()

    def _heard(self, waiter: _Waiter, outcome: Outcome) -> None:
        waiter.last = outcome
        if isinstance(outcome, Succeeded | Failed):
            self._waiters.discard(waiter)
            waiter.settle(outcome)


def outcome_of(track_id: str, found: Sequence[Settlement]) -> Outcome:
    """What the bank's entries say of one transfer; where they differ, the one that moved money holds."""
    for entry in found:
        if entry.status == TransferStatus.SUCCESS:
            return Succeeded(track_id=track_id, ref_code=entry.ref_code)
    undecided = [entry.status for entry in found if entry.status != TransferStatus.FAILED]
    if TransferStatus.PENDING in undecided:
        return Pending(track_id=track_id, reason="the bank has not decided")
    if undecided:
        return Unknown(track_id=track_id, reason=f'the bank says "{undecided[0]}"')
    return Failed(track_id=track_id, reason=found[0].message or "the bank says it failed")


class Watches:
    """The lists that are being watched in one event loop, by name."""

    def __init__(self, clock: Clock, background: Background) -> None:
        self._clock, self._background = clock, background
        self._open: dict[object, Watch] = {}

    async def wait(
        self, name: object, look: Look, matches: Matches, *, track_id: str, timeout: float, pace: Pace
    ) -> Outcome:
        """Wait on the list ``name``; the first waiter says how it is looked at."""
        watch = self._open.get(name)
        if watch is None:
            watch = self._open[name] = Watch(look, matches, self._clock, self._background, pace)
        try:
            return await watch.wait(track_id, timeout)
        finally:
            if watch.idle:
                self._open.pop(name, None)
