"""Normalisation of digits, spaces and invisible characters."""

import re
import unicodedata
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.digits import (
    as_text,
    compact,
    has_spoiled_ends,
    is_blank,
    normalize_digits,
    parse_digits,
    strip_marks,
    strip_spaces,
)
from tests.values.field_types import ARABIC, PERSIAN

# Default_Ignorable_Code_Point beside Cf (DerivedCoreProperties.txt), and the blank Braille pattern.
IGNORABLE = [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065, 0x3164, *range(0xFE00, 0xFE10)]
IGNORABLE.extend([0xFFA0, *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000), 0x2800])
INVISIBLE = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"} | set(
    map(chr, IGNORABLE)
)
JOINERS = "\u200c\u200d"


def test_strip_spaces_removes_every_invisible_character() -> None:
    all_invisible = "".join(sorted(INVISIBLE))

    assert strip_spaces(f"12{all_invisible}34") == "1234"
    assert strip_marks(f"ع{all_invisible}لی") == f"ع{JOINERS}لی"
    assert is_blank(all_invisible)
    assert all(has_spoiled_ends(f"x{mark}") and has_spoiled_ends(f"{mark}x") for mark in INVISIBLE)


def test_strip_spaces_keeps_every_visible_character() -> None:
    assigned = (chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs"))
    visible = "".join(char for char in assigned if char not in INVISIBLE and not re.match(r"\s", char))
    # Newer versions of Unicode have more characters of category Cf than this Python knows.
    newer = {chr(code) for code in range(0x13439, 0x13440)}

    assert set(visible) - set(strip_marks(visible)) <= newer
    assert len(strip_spaces(visible)) >= len(visible) - len(newer)


def test_is_blank_text_without_letter_is_true() -> None:
    assert is_blank("") and is_blank(" \u0640\u200c")  # noqa: PT018
    assert not is_blank("-") and not is_blank("ـع")  # noqa: PT018


@given(st.text())
def test_normalize_digits_converts_persian_and_arabic(text: str) -> None:
    ascii_only = normalize_digits(text)

    assert normalize_digits(text.translate(PERSIAN)) == ascii_only
    assert normalize_digits(text.translate(ARABIC)) == ascii_only
    assert normalize_digits("۱۲٣٤5") == "12345"


@given(st.text(st.characters(exclude_characters="۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩")))
def test_normalize_digits_keeps_other_characters(text: str) -> None:
    assert normalize_digits(text) == text


def test_strip_spaces_keeps_dashes() -> None:
    assert strip_spaces("\u200e 01-1\u00a02\u200c۳\t\u202c\ufeff") == "01-123"


@pytest.mark.parametrize("dash", "-\u2010\u2011\u2012\u2013\u2014\u2212")
def test_compact_removes_every_dash(dash: str) -> None:
    assert compact(f"12{dash}34 {dash} 56") == "123456"


def test_as_text_str_enum_returns_plain_str() -> None:
    class Deposit(str, Enum):  # noqa: UP042 - the kind whose format() is its name
        MAIN = "0111234567890"

    assert f"{as_text(Deposit.MAIN)}" == "0111234567890"
    assert type(as_text(Deposit.MAIN)) is str


def test_as_text_int_hints_leading_zeros() -> None:
    assert as_text("012") == "012"
    with pytest.raises(ValueError, match="leading zeros"):
        as_text(12)
    with pytest.raises(ValueError, match=r"^pass a text$"):
        as_text(None)


@pytest.mark.parametrize("written", ["12345", " 12-345", "\u200e۱۲ ۳۴۵", "١٢٣٤٥"])
def test_parse_digits_normalises_text(written: str) -> None:
    assert parse_digits(written, 5) == "12345"


@pytest.mark.parametrize("value", ["1234", "123456", ""])
def test_parse_digits_other_length_raises_hint(value: str) -> None:
    with pytest.raises(ValueError, match=r"^five$"):
        parse_digits(value, 5, "five")


@pytest.mark.parametrize("value", ["1234x", "१२३४५", "1.234"])
def test_parse_digits_other_characters_are_named(value: str) -> None:
    with pytest.raises(ValueError, match=r"^not all of its characters are digits; five$"):
        parse_digits(value, 5, "five")
    with pytest.raises(ValueError, match=r"^not all of its characters are digits$"):
        parse_digits(value, 5)
