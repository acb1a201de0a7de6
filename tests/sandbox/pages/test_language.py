"""Languages of the pages: selection and formats."""

import pytest

from paystar_async.sandbox.pages.language import Language, parse_language, preferred_language

FA, EN = Language.FA, Language.EN


def test_format_number_uses_digits_of_language() -> None:
    assert (FA.format_number(1_512_005), EN.format_number(1_512_005)) == ("۱٬۵۱۲٬۰۰۵", "1,512,005")
    assert (FA.format_toman(1_512_005), EN.format_toman(1_512_005)) == ("۱۵۱٬۲۰۰٫۵", "151,200.5")
    assert (FA.format_toman(50_000), EN.format_toman(0)) == ("۵٬۰۰۰", "0")


def test_format_timestamp_uses_calendar_of_language() -> None:
    assert FA.format_timestamp(1_767_225_600.0) == "۱۴۰۴/۱۰/۱۱ ۰۳:۳۰:۰۰"
    assert EN.format_timestamp(1_767_225_600.0) == "2026-01-01 03:30:00"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (600, "10 min"), (3_600, "1 h"), (86_400, "1 d")]
)
def test_format_duration_uses_largest_unit(seconds: float, expected: str) -> None:
    assert EN.format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", EN),
        ("fa", FA),
        ("fa-IR,fa;q=0.9,en;q=0.5", FA),
        ("en-US,en;q=0.9,fa;q=0.8", EN),
        ("de, fa;q=0.1", FA),
        ("fa;q=x, en;q=0.1", EN),
        ("*", EN),
    ],
)
def test_preferred_language_follows_accept_language(header: str, language: Language) -> None:
    assert preferred_language(header) is language


def test_parse_language_unknown_value_falls_back() -> None:
    assert parse_language("en") is EN
    assert parse_language("xx") is parse_language(None) is FA
    assert parse_language(["en"], EN) is EN
    assert (FA.other, EN.other, FA.direction, EN.direction) == (EN, FA, "rtl", "ltr")
