"""Moments in Tehran time, Gregorian and Jalali."""

from datetime import date, timedelta

import pytest

from paystar_async.sandbox.clock import gregorian_text, jalali, jalali_text


def test_a_moment_is_shown_in_tehran_time() -> None:
    assert gregorian_text(1_767_225_600.9) == "2026-01-01 03:30:00"
    assert jalali_text(1_767_225_600.9) == "04-10-11 03:30:00"
    assert jalali_text(1_774_038_600) == "05-01-01 00:00:00"


def test_jalali_days_are_those_of_the_calendar() -> None:
    jdatetime = pytest.importorskip("jdatetime")
    day = date(1990, 1, 1)
    while day < date(2080, 1, 1):
        told = jdatetime.date.fromgregorian(date=day)
        assert jalali(day) == (told.year, told.month, told.day)
        day += timedelta(days=1)
