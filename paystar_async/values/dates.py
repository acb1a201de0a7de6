"""Days, Gregorian or Jalali, and the time of day in Tehran."""

import re
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Protocol

from paystar_async.values.digits import normalize_digits, without_marks
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import described

TEHRAN = timezone(timedelta(hours=3, minutes=30), "Tehran")
"""Tehran's offset; Iran has kept no summer time since 2022, so no time zone data is needed."""

# No one sends a Gregorian day of these years; a day that shows one is Jalali.
_JALALI_YEARS = range(1200, 1501)
_DAY = re.compile(r"([0-9]{4})-[0-9]{2}-[0-9]{2}")
_HINT = "pass a date, a Jalali date (persiantools, jdatetime) or a text YYYY-MM-DD"
_MOMENT = re.compile(r"([0-9]{4})-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


class _Persiantools(Protocol):
    def to_gregorian(self) -> date: ...


class _Jdatetime(Protocol):
    def togregorian(self) -> date: ...


JalaliDay = _Persiantools | _Jdatetime
"""A Jalali date of persiantools or jdatetime, or anything that turns itself into a Gregorian one as they do."""


def _refuse_jalali(year: int) -> None:
    if year in _JALALI_YEARS:
        raise ValueError(
            f"the year {year} is a Jalali one: pass a Jalali date object (persiantools, jdatetime) "
            "or the Gregorian date"
        )


def _of_text(text: str) -> date:
    written = _DAY.fullmatch(normalize_digits(without_marks(text)))
    if not written:
        raise ValueError("write it as YYYY-MM-DD, or pass a date")
    # Before it is read: the 31st of Ordibehesht would be refused for a wrong reason.
    _refuse_jalali(int(written[1]))
    return date.fromisoformat(written[0])


def _of_jalali(value: object) -> date:
    # Other things may hide behind a duck's name (the class itself, say); all of it means: this is no day.
    with suppress(Exception):
        turn = getattr(value, "to_gregorian", None) or getattr(value, "togregorian", None)
        day = turn() if turn is not None else None
        if isinstance(day, date):
            return _checked(day)
    raise ValueError(_HINT)


def _checked(day: date) -> date:
    # pandas' NaT is a datetime whose year is nan; other subclasses may answer whatever they like.
    with suppress(Exception):
        return date(day.year, day.month, day.day)
    raise ValueError(_HINT)


def _read(value: object) -> str:
    if isinstance(value, date):
        day = _checked(value)
    elif isinstance(value, str):
        day = _of_text(value)
    else:
        day = _of_jalali(value)
    _refuse_jalali(day.year)
    # A moment is taken as the day it shows on its own clock.
    # assumed: nothing public says whether Paystar wants the Gregorian or the Jalali day.
    return day.isoformat()


def _mask(value: object) -> str:
    written = _DAY.fullmatch(normalize_digits(without_marks(value))) if isinstance(value, str) else None
    return f"{written[1]}-**-**" if written else described(value)


Day = Annotated[
    date | str | JalaliDay,
    FieldType(
        name="day",
        expected="a day: a date, a Jalali date, or a Gregorian YYYY-MM-DD",
        parse=_read,
        mask=_mask,
        schema={"type": "string", "format": "date"},
        example="1991-03-21",
    ),
]
"""A day, sent as the Gregorian ``YYYY-MM-DD``; a moment stands for the day it shows."""


def parse_tehran(text: object) -> datetime | None:
    """A moment from ``YYYY-MM-DD HH:MM:SS`` in Tehran time; None when it cannot be read, or is Jalali."""
    written = _MOMENT.fullmatch(normalize_digits(text).strip()) if isinstance(text, str) else None
    if written is None or int(written[1]) in _JALALI_YEARS:
        return None
    try:
        return datetime.fromisoformat(written[0]).replace(tzinfo=TEHRAN)
    except ValueError:
        return None
