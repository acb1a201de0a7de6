"""Clocks: the only source of time and sleep, so that tests can control both."""

import time
from heapq import heapify, heappop, heappush
from itertools import count
from pathlib import Path
from typing import Protocol, runtime_checkable

import anyio

from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.errors.text import describe_type

MAX_SECONDS = 1e12
"""Bound of the times of a ``ManualClock``: no event loop sleeps for thirty thousand years."""


@runtime_checkable
class Clock(Protocol):
    """A source of time."""

    def time(self) -> float:
        """Return seconds since 1970, UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; never decreases."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds``."""
        ...


def clock_or_system(clock: Clock | None) -> Clock:
    """Return a clock; the system's for None.

    Raises:
        ConfigurationError: ``clock`` is not a clock.
    """
    if clock is None:
        return SystemClock()
    if isinstance(clock, type) or not isinstance(clock, Clock):  # pyright: ignore[reportUnnecessaryIsInstance]
        methods = "time, monotonic and sleep"
        raise ConfigurationError(f"clock must be an object with {methods}, not {describe_type(clock)}")
    return clock


def clock_boot_id(clock: Clock) -> str | None:
    """Return the boot that a clock's monotonic time counts from, or None if the clock does not say."""
    boot: str | None = getattr(clock, "boot", None)
    return boot


class SystemClock:
    """The clock of the system."""

    # Not wrapped: each call reads the time four times.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    @property
    def boot(self) -> str | None:
        """Return an id of this boot and clock namespace, from which monotonic time counts; None except on Linux."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
            return f"{boot} {Path('/proc/self/ns/time').readlink()}"
        except OSError:
            return None

    async def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds``."""
        await anyio.sleep(seconds)


class ManualClock:
    """A clock that moves only by ``advance`` and ``jump``, for tests and the sandbox.

    Args:
        start: initial time, seconds since 1970.
    """

    def __init__(self, start: float = 1_767_225_600.0) -> None:
        self._wall = require_clock_seconds("start", start)
        self._elapsed = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []

    def time(self) -> float:
        """Return seconds since 1970, UTC."""
        return self._wall

    def monotonic(self) -> float:
        """Return the seconds that the clock was advanced by."""
        return self._elapsed

    @property
    def sleepers(self) -> int:
        """Return the number of sleepers."""
        return len(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let time pass and wake the sleepers that are due; ``seconds`` is 0 or more."""
        seconds = require_clock_seconds("seconds", seconds, minimum=0)
        self._wall += seconds
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            heappop(self._sleepers)[2].set()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator would: no time passes."""
        self._wall += require_clock_seconds("seconds", seconds)

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock was advanced by ``seconds``."""
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        awake = anyio.Event()
        sleeper = (self._elapsed + seconds, next(self._order), awake)
        heappush(self._sleepers, sleeper)
        try:
            await awake.wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)  # cancelled
                heapify(self._sleepers)


def require_clock_seconds(name: str, value: object, *, minimum: float = -MAX_SECONDS) -> float:
    """Return a time or a number of seconds for a clock; raise InvalidValue for any other value."""
    got = describe_type(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_SECONDS:
        if value >= minimum:
            return value
        got = str(value)
    expected = "a number of seconds" if minimum else "a number of seconds, 0 or more"
    raise InvalidValue(name, expected=expected, got=got)
