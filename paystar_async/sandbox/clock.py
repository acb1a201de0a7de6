"""The sandbox's clock, which can be put forward, and dates as Paystar writes them."""

from datetime import date, datetime

import anyio

from paystar_async.runtime.clock import SystemClock, require_clock_seconds
from paystar_async.values.dates import TEHRAN

_POLL_SECONDS = 0.02
"""Interval at which a sleeper reads the clock again: another thread may put the clock forward."""


class SandboxClock(SystemClock):
    """The machine's clock, which a test can put forward."""

    def __init__(self) -> None:
        self._advanced_by = self._shifted_by = 0.0

    def time(self) -> float:
        """Return seconds since 1970, UTC."""
        return super().time() + self._advanced_by + self._shifted_by

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; the value never decreases."""
        return super().monotonic() + self._advanced_by

    async def sleep(self, seconds: float) -> None:
        """Sleep until ``seconds`` have passed on this clock."""
        wake_at = self.monotonic() + seconds
        await anyio.lowlevel.checkpoint()
        while (remaining := wake_at - self.monotonic()) > 0:
            await super().sleep(min(remaining, _POLL_SECONDS))

    def advance(self, seconds: float) -> None:
        """Put the clock forward and wake the sleepers whose time has come."""
        self._advanced_by += require_clock_seconds("seconds", seconds, minimum=0)

    def jump(self, seconds: float) -> None:
        """Shift the time of day forward or back, as an administrator would; no time passes."""
        self._shifted_by += require_clock_seconds("seconds", seconds)


def to_tehran(timestamp: float) -> datetime:
    """Return a timestamp as a datetime in Tehran."""
    return datetime.fromtimestamp(timestamp, TEHRAN)


def format_gregorian(timestamp: float) -> str:
    """Return a timestamp as ``2026-01-01 03:30:00``, Tehran time."""
    return to_tehran(timestamp).isoformat(" ")[:19]


def format_jalali(timestamp: float) -> str:
    """Return a timestamp as ``04-10-11 03:30:00``, Tehran time with the two-digit Jalali year of a statement."""
    moment = to_tehran(timestamp)
    year, month, day = to_jalali(moment.date())
    return f"{year % 100:02}-{month:02}-{day:02} {moment:%H:%M:%S}"


def to_jalali(day: date) -> tuple[int, int, int]:
    """Return year, month and day in the Jalali calendar, by its 33-year cycle (exact from 1925 to 2088)."""
    year, days = 1304, (day - date(1925, 3, 21)).days
    while days >= (year_length := 366 if _is_leap(year) else 365):
        year, days = year + 1, days - year_length
    if days < 186:
        return year, days // 31 + 1, days % 31 + 1
    return year, (days - 186) // 30 + 7, (days - 186) % 30 + 1


def _is_leap(year: int) -> bool:
    return year % 33 in {1, 5, 9, 13, 17, 22, 26, 30}
