from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.digits import as_text, compact, fold, unspaced
from tests.values.reading import ARABIC, PERSIAN


@given(st.text())
def test_persian_and_arabic_digits_become_ascii_ones(text: str) -> None:
    ascii_only = fold(text)

    assert fold(text.translate(PERSIAN)) == ascii_only
    assert fold(text.translate(ARABIC)) == ascii_only
    assert fold("۱۲٣٤5") == "12345"


@given(st.text(st.characters(exclude_characters="۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩")))
def test_what_is_no_digit_of_theirs_stays_as_it_was(text: str) -> None:
    assert fold(text) == text


def test_unspaced_drops_white_space_and_marks_nobody_sees_but_keeps_dashes() -> None:
    assert unspaced("\u200e 01-1\u00a02\u200c۳\t\u202c\ufeff") == "01-123"


@pytest.mark.parametrize("dash", "-\u2010\u2011\u2012\u2013\u2014\u2212")
def test_compact_drops_every_dash_too(dash: str) -> None:
    assert compact(f"12{dash}34 {dash} 56") == "123456"


def test_a_member_of_a_text_enum_comes_out_as_its_plain_text() -> None:
    class Deposit(str, Enum):  # noqa: UP042 - the kind whose format() is its name
        MAIN = "0111234567890"

    assert f"{as_text(Deposit.MAIN)}" == "0111234567890"
    assert type(as_text(Deposit.MAIN)) is str


def test_a_number_in_a_texts_place_is_told_of_its_leading_zeros() -> None:
    assert as_text("012") == "012"
    with pytest.raises(ValueError, match="leading zeros"):
        as_text(12)
    with pytest.raises(ValueError, match=r"^pass a text$"):
        as_text(None)
