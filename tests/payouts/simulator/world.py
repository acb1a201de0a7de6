"""What one seed is like, and the processes that live in it: they stand still, die and come back."""

import asyncio
import random
from collections.abc import Callable

from attrs import define, field

from paystar_async.errors import StorageError
from paystar_async.payouts.models import Policy
from paystar_async.runtime.clock import Clock

START = 1_767_225_600.0
"""What the clocks show at first."""
QUIET = 900.0
"""The quiet window of every batch, in seconds."""
SPACING = Policy(quiet_window=QUIET).not_found_interval
"""Seconds between two look-ups that both count, and after a refusal."""
CLEARS_AFTER = 2 * 3600.0
"""From then on the weather is fine: what still is not settled now was lost by us."""


@define(kw_only=True)
class Weather:
    """How often what goes wrong, each from 0 to 1, at each opportunity.

    Attributes:
        crash: one of our processes dies, at each step it makes.
        stall: it stands still for a while, as under SIGSTOP, at each step.
        stall_before_send: it stands still right before it would send.
        cancel: the caller of ``advance`` is cancelled.
        storage: a statement or a commit fails, and perhaps was carried out.
        jump: a wall clock is set, each minute.
        refused: no connection to the bank.
        slow: connecting takes long.
        silent: no answer comes back to a POST.
        nonsense: an answer to a POST says nothing one can read.
        late: a transfer is carried out later, whatever was answered.
        partial: an item is neither carried out nor mentioned.
        fails: the bank turns an item down.
        integrity: an answer contradicts itself.
        halt: the whole application is refused.
        auth: a request is refused for its key.
        bad: a transfer is one that the bank refuses, and its whole request with it.
        ask: a GET goes wrong.
        stale: a GET is answered from a copy that is some minutes old.
        reverses: what had arrived is taken back.
        midway: a request of several is refused after some of its transfers were executed.
        foreign: a look-up of a track_id the bank does not have returns another's transfer, without a track_id.
        meddles: a user middleware repeats a call that failed, or raises after a call that went well.
        lateness: the longest delay of a late transfer or listing, in seconds.
    """

    crash: float = 0.0
    stall: float = 0.0
    stall_before_send: float = 0.0
    cancel: float = 0.0
    storage: float = 0.0
    jump: float = 0.0
    refused: float = 0.0
    slow: float = 0.0
    silent: float = 0.0
    nonsense: float = 0.0
    late: float = 0.0
    partial: float = 0.0
    fails: float = 0.0
    integrity: float = 0.0
    halt: float = 0.0
    auth: float = 0.0
    bad: float = 0.0
    ask: float = 0.0
    stale: float = 0.0
    reverses: float = 0.0
    midway: float = 0.0
    foreign: float = 0.0
    meddles: float = 0.0
    lateness: float = 0.0


RANGES = {
    "crash": 0.01,
    "stall": 0.01,
    "stall_before_send": 0.1,
    "cancel": 0.5,
    "storage": 0.02,
    "jump": 0.02,
    "refused": 0.2,
    "slow": 0.1,
    "silent": 0.3,
    "nonsense": 0.2,
    "late": 0.3,
    "partial": 0.1,
    "fails": 0.1,
    "integrity": 0.05,
    "halt": 0.05,
    "auth": 0.05,
    "bad": 0.1,
    "ask": 0.2,
    "stale": 0.2,
    "reverses": 0.05,
    "midway": 0.8,
    "foreign": 0.2,
    "meddles": 0.3,
}
"""The worst weather; each seed draws how bad its own is, and half of what could go wrong does not."""


def drawn(dice: random.Random, *, resend: bool) -> Weather:
    """Return the weather of a seed."""
    rates = {name: dice.choice((0.0, dice.random())) * worst for name, worst in RANGES.items()}
    # Who opts into sending again trusts that the bank acts and lists within the quiet window.
    return Weather(**rates, lateness=QUIET / 3 if resend else dice.choice((60.0, QUIET, 4 * QUIET)))


class World:
    """Dice, time, and everything that was seen to happen."""

    def __init__(self, seed: int, *, resend: bool) -> None:
        self.dice = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self.resend = resend
        self.weather = drawn(self.dice, resend=resend)
        self.trace: list[tuple[float, str]] = []
        self.wrong: list[str] = []

    @property
    def now(self) -> float:
        """Seconds that have truly passed."""
        return self._loop.time()

    @property
    def fine(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.now > CLEARS_AFTER

    def chance(self, rate: float) -> bool:
        """Whether something that happens so often happens now."""
        return rate > 0 and self.dice.random() < rate and not self.fine

    def note(self, event: str) -> None:
        """Write down what happens."""
        self.trace.append((round(self.now, 6), event))

    def broken(self, promise: str) -> None:
        """Write down a promise that was not kept."""
        self.note(f"BROKEN {promise}")
        self.wrong.append(promise)

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Have something happen, whichever of our processes still live by then."""
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
        return START + self._world.now + self._machine.ahead

    def monotonic(self) -> float:
        return self._world.now + self._machine.booted

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
        if self.sleeper is not None:
            await self.sleeper.awake()


@define(eq=False)
class Machine:
    """What processes of one host share: a wall clock that may be set, and a steady one that starts anywhere."""

    name: str
    ahead: float = 0.0
    booted: float = 0.0


@define(eq=False)
class Host:
    """A simulated process; a ``steady`` process neither dies nor stands still.

    Attributes:
        origin: the origin of the store when the process opened it.
    """

    world: World
    name: str
    clock: HostClock
    died: Callable[["Host"], object]
    steady: bool = False
    alive: bool = True
    buried: bool = False
    stopped_until: float = 0.0
    last_stop: float = -1.0
    troubled: float = -1.0
    origin: str = ""
    limbo: list["asyncio.Future[None]"] = field(factory=list["asyncio.Future[None]"])

    def __attrs_post_init__(self) -> None:
        self.clock.sleeper = self

    async def step(self, where: str) -> None:
        """Let the process die or stand still here; each simulated await passes here."""
        world = self.world
        await self.awake()
        world.note(f"{self.name} {where}")
        if not self.steady and world.chance(world.weather.crash):
            self.die(where)
        elif not self.steady and world.chance(world.weather.stall):
            self.stand_still(world.dice.choice((1.0, 30.0, 120.0, 2 * QUIET)) * world.dice.random())
        elif world.dice.random() < 0.4:
            await asyncio.sleep(world.dice.choice((0.0, 0.02, 0.1)))  # others come first
        await self.awake()

    async def awake(self) -> None:
        """Go on only while alive and not stopped."""
        while self.alive and self.stopped_until > self.world.now:  # noqa: ASYNC110 - it may be stopped anew
            await asyncio.sleep(self.stopped_until - self.world.now)
        if not self.alive:
            await self._nothing()

    def trouble(self, error: StorageError) -> StorageError:
        """Return an error of the store, and note it."""
        self.troubled = self.world.now
        self.world.note(f"{self.name} gets: {error.args[0]}")
        return error

    def stand_still(self, seconds: float) -> None:
        self.world.note(f"{self.name} stands still for {seconds:.0f} s")
        self.stopped_until = self.world.now + seconds
        self.last_stop = self.stopped_until

    def die(self, where: str) -> None:
        """End as kill -9 ends a process: no task of it runs on, and nothing is tidied up."""
        if self.alive:
            self.world.note(f"{self.name} dies at {where}")
            self.alive = False
            self.died(self)

    async def _nothing(self) -> None:
        if self.buried:
            raise asyncio.CancelledError
        grave: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.limbo.append(grave)  # held, or the collector would wake it up to tidy up
        await grave

    def bury(self) -> None:
        """At the very end: let what stood at a step come to its end, so that nothing is left behind."""
        self.alive, self.buried = False, True
        for grave in self.limbo:
            if not grave.done():
                grave.cancel()
