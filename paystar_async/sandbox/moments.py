"""Moments as the service writes them, in Tehran time."""

from datetime import date, datetime

from paystar_async.values.dates import TEHRAN


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
