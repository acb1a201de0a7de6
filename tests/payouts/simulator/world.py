"""The world of a seed: its time, random numbers, fault rates, machines and simulated processes."""

import asyncio
import random
from collections.abc import Callable

from attrs import define, field

from paystar_async.errors import StorageError
from paystar_async.payouts.models import Policy
from paystar_async.runtime.clock import Clock

START_TIME = 1_767_225_600.0
"""The time of all clocks at the start, in seconds since 1970."""
QUIET_SECONDS = 900.0
"""The quiet window of every batch, in seconds."""
SPACING_SECONDS = Policy(quiet_window=QUIET_SECONDS).not_found_interval
"""Seconds between two counted "not found" results, and between a refusal and its look-up."""
FAULTS_END_SECONDS = 2 * 3600.0
"""From then on no fault occurs, so that every transfer must be decided."""


@define(kw_only=True)
class FaultRates:
    """The probability of each fault at each opportunity, from 0 to 1.

    Attributes:
        crash: a process dies, at each of its steps.
        stall: a process stands still for a while, as under SIGSTOP, at each of its steps.
        stall_before_send: a process stands still right before it sends.
        cancelled_caller: the caller of ``advance`` is cancelled.
        storage_error: a statement or commit fails; the commit may have been executed.
        clock_jump: a wall clock is set, each minute.
        connection_refused: no connection to the bank.
        slow_connect: connecting takes long.
        no_response: a POST gets no response.
        broken_response: a POST gets an unreadable response.
        late_execution: a transfer is executed after its response.
        skipped_item: a transfer is neither executed nor listed in the response.
        bank_failure: an accepted transfer fails.
        contradiction: a response contradicts itself.
        suspension: the application is refused until the operator acts.
        key_refusal: a request is refused for its key.
        invalid_transfer: a transfer is invalid, so that the bank refuses its request.
        look_up_failure: a GET fails.
        stale_look_up: a GET reads a copy that is some minutes old.
        reversal: a successful transfer is reversed.
        partial_refusal: a request of several transfers is refused after some of its transfers were executed.
        foreign_entry: a look-up of a track_id the bank does not have returns another's transfer, without a track_id.
        middleware_fault: a user middleware repeats a failed call, or raises after a successful call.
        max_delay_seconds: the longest delay of a late transfer or listing, in seconds.
    """

    crash: float = 0.0
    stall: float = 0.0
    stall_before_send: float = 0.0
    cancelled_caller: float = 0.0
    storage_error: float = 0.0
    clock_jump: float = 0.0
    connection_refused: float = 0.0
    slow_connect: float = 0.0
    no_response: float = 0.0
    broken_response: float = 0.0
    late_execution: float = 0.0
    skipped_item: float = 0.0
    bank_failure: float = 0.0
    contradiction: float = 0.0
    suspension: float = 0.0
    key_refusal: float = 0.0
    invalid_transfer: float = 0.0
    look_up_failure: float = 0.0
    stale_look_up: float = 0.0
    reversal: float = 0.0
    partial_refusal: float = 0.0
    foreign_entry: float = 0.0
    middleware_fault: float = 0.0
    max_delay_seconds: float = 0.0


MAX_RATES = {
    "crash": 0.01,
    "stall": 0.01,
    "stall_before_send": 0.1,
    "cancelled_caller": 0.5,
    "storage_error": 0.02,
    "clock_jump": 0.02,
    "connection_refused": 0.2,
    "slow_connect": 0.1,
    "no_response": 0.3,
    "broken_response": 0.2,
    "late_execution": 0.3,
    "skipped_item": 0.1,
    "bank_failure": 0.1,
    "contradiction": 0.05,
    "suspension": 0.05,
    "key_refusal": 0.05,
    "invalid_transfer": 0.1,
    "look_up_failure": 0.2,
    "stale_look_up": 0.2,
    "reversal": 0.05,
    "partial_refusal": 0.8,
    "foreign_entry": 0.2,
    "middleware_fault": 0.3,
}
"""The highest rate of each fault; each seed draws its own rates, and half of the faults do not occur in it."""


def draw_fault_rates(rng: random.Random, *, resend: bool) -> FaultRates:
    """Return the rates of a seed."""
    rates = {name: rng.choice((0.0, rng.random())) * worst for name, worst in MAX_RATES.items()}
    # A policy with resend assumes that the bank executes and lists within the quiet window.
    return FaultRates(
        **rates, max_delay_seconds=QUIET_SECONDS / 3 if resend else rng.choice((60.0, QUIET_SECONDS, 4 * QUIET_SECONDS))
    )


class World:
    """The random numbers, time, fault rates and trace of one seed."""

    def __init__(self, seed: int, *, resend: bool) -> None:
        self.rng = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self.resend = resend
        self.fault_rates = draw_fault_rates(self.rng, resend=resend)
        self.trace: list[tuple[float, str]] = []
        self.violations: list[str] = []

    @property
    def now(self) -> float:
        """The simulated seconds since the start."""
        return self._loop.time()

    @property
    def is_fault_free(self) -> bool:
        """True once no fault occurs any more."""
        return self.now > FAULTS_END_SECONDS

    def chance(self, rate: float) -> bool:
        """Return True with this probability, until the faults end."""
        return rate > 0 and self.rng.random() < rate and not self.is_fault_free

    def note(self, event: str) -> None:
        """Add an event to the trace."""
        self.trace.append((round(self.now, 6), event))

    def add_violation(self, violation: str) -> None:
        """Record a violated invariant."""
        self.note(f"VIOLATION {violation}")
        self.violations.append(violation)

    def call_later(self, seconds: float, act: Callable[[], object]) -> None:
        """Call a function after a delay, whether or not the calling process is still alive."""
        self._loop.call_later(seconds, act)


class HostClock(Clock):
    """The clocks of a machine; only the wall clock can be set."""

    def __init__(self, world: World, machine: "Machine") -> None:
        self._world, self._machine = world, machine
        self.sleeper: Host | None = None

    @property
    def boot(self) -> str:
        return self._machine.name

    def time(self) -> float:
        return START_TIME + self._world.now + self._machine.wall_offset

    def monotonic(self) -> float:
        return self._world.now + self._machine.monotonic_offset

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
        if self.sleeper is not None:
            await self.sleeper.wait_until_running()


@define(eq=False)
class Machine:
    """The clocks that processes of one machine share: a wall clock that may be set, and a monotonic clock."""

    name: str
    wall_offset: float = 0.0
    monotonic_offset: float = 0.0


@define(eq=False)
class Host:
    """A simulated process; an immune process neither dies nor stands still.

    Attributes:
        origin: the origin of the store when the process opened it.
    """

    world: World
    name: str
    clock: HostClock
    on_death: Callable[["Host"], object]
    is_immune: bool = False
    is_alive: bool = True
    is_discarded: bool = False
    stalled_until: float = 0.0
    last_stalled_until: float = -1.0
    last_store_error_at: float = -1.0
    origin: str = ""
    suspended: list["asyncio.Future[None]"] = field(factory=list["asyncio.Future[None]"])

    def __attrs_post_init__(self) -> None:
        self.clock.sleeper = self

    async def step(self, where: str) -> None:
        """Let the process die or stand still here; each simulated await passes here."""
        world = self.world
        await self.wait_until_running()
        world.note(f"{self.name} {where}")
        if not self.is_immune and world.chance(world.fault_rates.crash):
            self.die(where)
        elif not self.is_immune and world.chance(world.fault_rates.stall):
            self.stall(world.rng.choice((1.0, 30.0, 120.0, 2 * QUIET_SECONDS)) * world.rng.random())
        elif world.rng.random() < 0.4:
            await asyncio.sleep(world.rng.choice((0.0, 0.02, 0.1)))  # other tasks run first
        await self.wait_until_running()

    async def wait_until_running(self) -> None:
        """Wait until the process runs; a dead process waits forever."""
        while self.is_alive and self.stalled_until > self.world.now:  # noqa: ASYNC110 - the process may be stalled again
            await asyncio.sleep(self.stalled_until - self.world.now)
        if not self.is_alive:
            await self._suspend_forever()

    def note_store_error(self, error: StorageError) -> StorageError:
        """Note an error of the store, and return it."""
        self.last_store_error_at = self.world.now
        self.world.note(f"{self.name} gets: {error.args[0]}")
        return error

    def stall(self, seconds: float) -> None:
        self.world.note(f"{self.name} stands still for {seconds:.0f} s")
        self.stalled_until = self.world.now + seconds
        self.last_stalled_until = self.stalled_until

    def die(self, where: str) -> None:
        """End as kill -9 ends a process: no task of it runs on, and nothing is cleaned up."""
        if self.is_alive:
            self.world.note(f"{self.name} dies at {where}")
            self.is_alive = False
            self.on_death(self)

    async def _suspend_forever(self) -> None:
        if self.is_discarded:
            raise asyncio.CancelledError
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.suspended.append(future)  # referenced, or the garbage collector would run its finally blocks
        await future

    def discard(self) -> None:
        """End all suspended tasks when the simulation is over."""
        self.is_alive, self.is_discarded = False, True
        for future in self.suspended:
            if not future.done():
                future.cancel()
