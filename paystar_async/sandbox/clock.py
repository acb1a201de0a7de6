"""The sandbox's own clock: it runs like the machine's, and can be put forward."""

from datetime import date, datetime

import anyio

from paystar_async.clock import SystemClock
from paystar_async.values.dates import TEHRAN

_TICK = 0.02
"""Seconds after which a sleeper looks at the clock again; whoever puts it forward may be in another thread."""


class SandboxClock(SystemClock):
    """The machine's clock, and what it was put forward by."""

    def __init__(self) -> None:
        self._ahead = self._off = 0.0

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return super().time() + self._ahead + self._off

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return super().monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or once it was put forward so far."""
        until = self.monotonic() + seconds
        await anyio.lowlevel.checkpoint()
        while (left := until - self.monotonic()) > 0:
            await super().sleep(min(left, _TICK))

    def advance(self, seconds: float) -> None:
        """Put it forward; whoever sleeps until then wakes."""
        self._ahead += seconds

    def jump(self, seconds: float) -> None:
        """Set the time of day forward or back, as an administrator would: no time passes."""
        self._off += seconds


def tehran(timestamp: float) -> datetime:
    """A moment in Tehran."""
    return datetime.fromtimestamp(timestamp, TEHRAN)


def gregorian_text(timestamp: float) -> str:
    """``2026-01-01 03:30:00``."""
    return tehran(timestamp).isoformat(" ")[:19]


def jalali_text(timestamp: float) -> str:
    """``04-10-11 03:30:00``: the two-digit year of a statement."""
    moment = tehran(timestamp)
    year, month, day = jalali(moment.date())
    return f"{year % 100:02}-{month:02}-{day:02} {moment:%H:%M:%S}"


def jalali(day: date) -> tuple[int, int, int]:
    """Year, month and day in the Jalali calendar, by its 33-year cycle (right from 1925 to 2088)."""
    year, rest = 1304, (day - date(1925, 3, 21)).days
    while rest >= (length := 366 if _is_leap(year) else 365):
        year, rest = year + 1, rest - length
    if rest < 186:
        return year, rest // 31 + 1, rest % 31 + 1
    return year, (rest - 186) // 30 + 7, (rest - 186) % 30 + 1


def _is_leap(year: int) -> bool:
    return year % 33 in {1, 5, 9, 13, 17, 22, 26, 30}
