"""Dates in Tehran time, Gregorian and Jalali."""

from datetime import date, timedelta

import pytest

from paystar_async.sandbox.clock import format_gregorian, format_jalali, to_jalali


def test_format_gregorian_and_jalali_use_tehran_time() -> None:
    assert format_gregorian(1_767_225_600.9) == "2026-01-01 03:30:00"
    assert format_jalali(1_767_225_600.9) == "04-10-11 03:30:00"
    assert format_jalali(1_774_038_600) == "05-01-01 00:00:00"


def test_to_jalali_agrees_with_jdatetime() -> None:
    jdatetime = pytest.importorskip("jdatetime")
    day = date(1990, 1, 1)
    while day < date(2080, 1, 1):
        expected = jdatetime.date.fromgregorian(date=day)
        assert to_jalali(day) == (expected.year, expected.month, expected.day)
        day += timedelta(days=1)
