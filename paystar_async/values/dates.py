"""The field type of days, Gregorian or Jalali, and parsing of Tehran times."""

import re
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Protocol

from paystar_async.values.digits import normalize_digits, strip_marks
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import describe_value

TEHRAN_OFFSET = timedelta(hours=3, minutes=30)
TEHRAN = timezone(TEHRAN_OFFSET, "Tehran")
"""The UTC offset of Tehran; Iran abolished summer time in 2022, so no time zone data is needed."""

# No Gregorian day of these years is ever sent, so a day in such a year is Jalali.
_JALALI_YEARS = range(1200, 1501)
_DAY = re.compile(r"([0-9]{4})-[0-9]{2}-[0-9]{2}")
_YEAR = re.compile(r"[0-9]{4}(?=[/.-][0-9]{1,2}[/.-])")
_HINT = "pass a date, a Jalali date (persiantools, jdatetime) or a text YYYY-MM-DD"
_DATE_TIME = re.compile(r"([0-9]{4})-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")

_MAX_UNIX_SECONDS = 1e11
"""The year 5138; a larger number counts milliseconds."""


class _Persiantools(Protocol):
    def to_gregorian(self) -> date: ...


class _Jdatetime(Protocol):
    def togregorian(self) -> date: ...


JalaliDay = _Persiantools | _Jdatetime
"""A Jalali date of persiantools or jdatetime, or an object with their conversion method."""


def _reject_jalali_year(year: int) -> None:
    if year in _JALALI_YEARS:
        raise ValueError(
            f"the year {year} is a Jalali one: pass a Jalali date object (persiantools, jdatetime) "
            "or the Gregorian date"
        )


def _parse_text(text: str) -> date:
    text = normalize_digits(strip_marks(text))
    match = _DAY.fullmatch(text)
    if not match:
        if year := _YEAR.match(text):
            _reject_jalali_year(int(year[0]))
        raise ValueError("write the day as YYYY-MM-DD, or pass a date")
    # Checked before parsing: the 31st of Ordibehesht would be rejected for a wrong reason.
    _reject_jalali_year(int(match[1]))
    return date.fromisoformat(match[0])


def _convert_jalali(value: object) -> date:
    # A conversion method may be anything (that of the class itself, for example), so any failure means: not a day.
    with suppress(Exception):
        to_gregorian = getattr(value, "to_gregorian", None) or getattr(value, "togregorian", None)
        day = to_gregorian() if to_gregorian is not None else None
        if isinstance(day, date):
            return _to_plain_date(day)
    raise ValueError(_HINT)


def _to_plain_date(day: date) -> date:
    # The year of pandas' NaT, a datetime, is nan; other subclasses may return anything.
    with suppress(Exception):
        return date(day.year, day.month, day.day)
    raise ValueError(_HINT)


def _parse(value: object) -> str:
    if isinstance(value, date):
        day = _to_plain_date(value)
    elif isinstance(value, str):
        day = _parse_text(value)
    else:
        day = _convert_jalali(value)
    _reject_jalali_year(day.year)
    # A datetime is sent as the day in its own time zone.
    # assumed (birth-date): no public source says whether Paystar expects the Gregorian or the Jalali day.
    return day.isoformat()


def _mask(value: object) -> str:
    match = _DAY.fullmatch(normalize_digits(strip_marks(value))) if isinstance(value, str) else None
    return f"{match[1]}-**-**" if match else describe_value(value)


Day = Annotated[
    date | str | JalaliDay,
    FieldType(
        name="day",
        expected="a day: a date, a Jalali date, or a Gregorian YYYY-MM-DD",
        parse=_parse,
        mask=_mask,
        schema={"type": "string", "format": "date"},
        example="1991-03-21",
    ),
]
"""A day, sent as the Gregorian ``YYYY-MM-DD``; a datetime is sent as the day in its own time zone."""


def parse_unix_time(value: object) -> float | None:
    """Return the seconds since 1970 of a number of seconds or, as in JavaScript, of milliseconds; None for others."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value < 1000 * _MAX_UNIX_SECONDS:  # NaN too; a longer integer does not fit in a float
        return None
    return value / 1000 if value > _MAX_UNIX_SECONDS else float(value)


def parse_tehran(text: object) -> datetime | None:
    """Return the datetime of ``YYYY-MM-DD HH:MM:SS`` in Tehran time, or None if the text is not one or is Jalali."""
    match = _DATE_TIME.fullmatch(normalize_digits(text).strip()) if isinstance(text, str) else None
    if match is None or int(match[1]) in _JALALI_YEARS:
        return None
    try:
        return datetime.fromisoformat(match[0]).replace(tzinfo=TEHRAN)
    except ValueError:
        return None
