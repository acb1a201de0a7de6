"""What time it is, and how to wait: the one place both come from, so that a test can own them."""

import time
from heapq import heapify, heappop, heappush
from itertools import count
from pathlib import Path
from typing import Protocol

import anyio


class Clock(Protocol):
    """A source of time."""

    def time(self) -> float:
        """Seconds since 1970, UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds."""
        ...


def clock_boot_id(clock: Clock) -> str | None:
    """Which boot of which machine a clock's monotonic time counts from; None where it does not say."""
    boot: str | None = getattr(clock, "boot", None)
    return boot


class SystemClock:
    """The machine's own clock."""

    # As they are, not wrapped: a call asks four times.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    @property
    def boot(self) -> str | None:
        """Names what monotonic time counts from: this boot, and this namespace of clocks; None off Linux."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
            return f"{boot} {Path('/proc/self/ns/time').readlink()}"
        except OSError:
            return None

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds."""
        await anyio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told: for tests and for the sandbox.

    Args:
        start: seconds since 1970 that it shows first.
    """

    def __init__(self, start: float = 1_767_225_600.0) -> None:
        self._wall = start
        self._run = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds it was advanced by."""
        return self._run

    @property
    def sleepers(self) -> int:
        """How many wait for it to move."""
        return len(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let time pass; whoever slept so long wakes."""
        self._wall += seconds
        self._run += seconds
        while self._sleepers and self._sleepers[0][0] <= self._run:
            heappop(self._sleepers)[2].set()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator would: no time passes."""
        self._wall += seconds

    async def sleep(self, seconds: float) -> None:
        """Come back once the clock was advanced so far."""
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        awake = anyio.Event()
        sleeper = (self._run + seconds, next(self._order), awake)
        heappush(self._sleepers, sleeper)
        try:
            await awake.wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)  # cancelled
                heapify(self._sleepers)
