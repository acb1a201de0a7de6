"""The field type of days, and parsing of Tehran times."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import jdatetime  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from persiantools.jdatetime import JalaliDate, JalaliDateTime

from paystar_async.errors import InvalidValue
from paystar_async.models.transfers import GetStatement
from paystar_async.values.dates import TEHRAN, Day, parse_tehran
from tests.values.field_types import PERSIAN, convert, field_type_of, refusal


@given(st.dates(date(1501, 1, 1)))
def test_parse_day_date_becomes_iso_text(day: date) -> None:
    assert convert(Day, day) == convert(Day, day.isoformat()) == convert(Day, day.isoformat().translate(PERSIAN))
    assert convert(Day, day) == day.isoformat()


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_parse_day_jalali_date_becomes_gregorian(day: date) -> None:
    jalali = JalaliDate(day)  # type: ignore[no-untyped-call]

    assert convert(Day, jalali) == day.isoformat()
    assert convert(Day, jdatetime.date(jalali.year, jalali.month, jalali.day)) == day.isoformat()


def test_parse_day_nowruz_1370_is_march_21_1991() -> None:
    persiantools_day: Day = JalaliDate(1370, 1, 1)  # type: ignore[no-untyped-call]
    jdatetime_day: Day = jdatetime.date(1370, 1, 1)

    assert convert(Day, persiantools_day) == "1991-03-21"
    assert convert(Day, jdatetime_day) == "1991-03-21"


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1991, 3, 21, 23, 59),
        datetime(1991, 3, 21, 23, 59, tzinfo=UTC),
        datetime(1991, 3, 21, 0, 1, tzinfo=timezone(timedelta(hours=14))),
        JalaliDateTime(1370, 1, 1, 23, 59),  # type: ignore[no-untyped-call]
        jdatetime.datetime(1370, 1, 1, 23, 59),
    ],
)
def test_parse_day_datetime_becomes_local_day(moment: object) -> None:
    assert convert(Day, moment) == "1991-03-21"


@pytest.mark.parametrize(
    "value",
    ["1370-01-01", "۱۳۷۰-۰۱-۰۱", "1370-02-31", "1370/01/01", "۱۳۷۰/۱/۱", "1200-01-01", "1500-12-29", date(1370, 1, 1)],
)
def test_parse_day_jalali_year_is_explained(value: object) -> None:
    error = refusal(Day, value)

    assert "pass a Jalali date object" in error.hint
    assert "01-01" not in str(error)


@pytest.mark.parametrize("text", ["1199-01-01", "1501-01-01"])
def test_parse_day_years_around_jalali_range_are_valid(text: str) -> None:
    assert convert(Day, text) == text


class NaT(datetime):
    """A stand-in for pandas' NaT ("not a time"), a datetime whose year is nan."""

    year = month = day = property(lambda _: float("nan"))  # pyright: ignore


class DateOfTexts(date):
    """A date whose year is a text."""

    year = property(lambda _: "1991")  # pyright: ignore


@pytest.mark.parametrize(
    "value",
    [NaT(2000, 1, 1), DateOfTexts(2000, 1, 1), float("nan"), None, pytest.param(Decimal("NaN"), id="decimal"), 0, True],
)
def test_parse_day_odd_date_object_is_rejected(value: object) -> None:
    error = refusal(Day, value)

    assert error.field == "field"
    assert "pass a date" in error.hint


@pytest.mark.parametrize("name", ["from_date", "to_date"])
def test_get_statement_invalid_date_names_field(name: str) -> None:
    dates: dict[str, Any] = {"from_date": date(2026, 1, 1)} | {name: NaT(2000, 1, 1)}
    with pytest.raises(InvalidValue) as caught:
        GetStatement(account_number="0111234567890", **dates)

    assert caught.value.field == name


def test_parse_day_text_with_direction_marks_is_parsed() -> None:
    assert convert(Day, "\u200f۱۹۹۱-۰۳-۲۱\u061c") == "1991-03-21"


class NotADay:
    """An object with the method of a Jalali date that returns no date."""

    def __repr__(self) -> str:
        return "NotADay()"

    def to_gregorian(self) -> str:
        return "1991-03-21"


class Broken:
    """An object whose conversion method raises."""

    def __repr__(self) -> str:
        return "Broken()"

    @property
    def to_gregorian(self) -> Any:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        "1991-3-21",
        "1991/03/21",
        "19910321",
        "1991-W12-4",
        "1991-02-30",
        "1991-03-21 ",
        "",
        None,
        19910321,
        670000000.0,
        b"1991-03-21",
        [1991, 3, 21],
        NotADay(),
        Broken(),
        JalaliDate,
        jdatetime.date,
        date,
    ],
    ids=repr,
)
def test_parse_day_other_object_is_rejected(value: object) -> None:
    refusal(Day, value)


def test_mask_day_shows_year_only() -> None:
    assert field_type_of(Day).mask("1991-03-21") == "1991-**-**"
    assert field_type_of(Day).mask("21 March 1991") == "text of 13 characters"


def test_parse_tehran_returns_tehran_datetime() -> None:
    moment = parse_tehran("2026-07-31 12:30:00")

    assert moment is not None
    assert moment == datetime(2026, 7, 31, 9, 0, tzinfo=UTC)
    assert moment.tzinfo is TEHRAN
    assert parse_tehran("۲۰۲۶-۰۷-۳۱ ۱۲:۳۰:۰۰") == moment


@pytest.mark.parametrize(
    "text",
    ["", "2026-07-31", "2026-07-31T12:30:00", "2026-13-31 12:30:00", "1405-05-09 12:30:00", "soon", None, 0, b""],
)
def test_parse_tehran_invalid_text_returns_none(text: object) -> None:
    assert parse_tehran(text) is None
