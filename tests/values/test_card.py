import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.card import CardNumber, MaskedCard, is_valid_card
from tests.values.reading import (
    ARABIC,
    PERSIAN,
    anything,
    digits,
    one_digit_changed,
    read,
    refusal,
    strictly_holds,
)

CARD = "6037990000000006"


def card_of(fifteen: str) -> str:
    """A card number with Luhn's digit found by trying all ten against a table of doubled digits."""
    doubled = dict(zip("0123456789", (0, 2, 4, 6, 8, 1, 3, 5, 7, 9), strict=True))
    total = sum(doubled[one] if place % 2 == 0 else int(one) for place, one in enumerate(fifteen))
    return fifteen + str(-total % 10)


@pytest.mark.parametrize("written", ["6037-9900-0000-0006", "6037 9900 0000 0006 ", CARD.translate(PERSIAN)])
def test_a_card_number_is_read_as_people_write_it(written: str) -> None:
    assert read(CardNumber, written) == CARD


@pytest.mark.parametrize("value", [CARD[:-1], CARD + "0", "", "x" * 16, "5022 2900 0000 ०००१"])
def test_a_card_number_has_16_digits(value: str) -> None:
    refusal(CardNumber, value)


def test_a_masked_number_in_the_full_ones_place_is_told_so() -> None:
    assert "not a masked one" in refusal(CardNumber, "502229******6708").hint


@given(digits(15))
def test_every_computed_card_holds(fifteen: str) -> None:
    assert is_valid_card(card_of(fifteen))
    assert strictly_holds(CardNumber, card_of(fifteen))


@given(digits(15), st.integers(0, 15), st.integers(1, 9))
def test_one_mistyped_digit_is_always_found(fifteen: str, place: int, by: int) -> None:
    mistyped = one_digit_changed(card_of(fifteen), place, by)

    assert not is_valid_card(mistyped)
    assert not strictly_holds(CardNumber, mistyped)
    assert read(CardNumber, mistyped) == mistyped


@given(anything())
def test_whatever_is_no_card_number_is_not_valid(value: object) -> None:
    assert is_valid_card(value) is False


@pytest.mark.parametrize("masked", ["502229******6708", "", " 5022-29xx-xxxx-6708", "۵۰۲۲۲۹******۶۷۰۸", "6708"])
def test_a_callbacks_masked_card_is_kept_to_the_letter(masked: str) -> None:
    assert read(MaskedCard, masked) == masked


@given(
    digits(16),
    st.lists(st.sampled_from(["", " ", "-", ".", "_", "/", "\u200f"]), min_size=15, max_size=15),
    st.sampled_from([{}, PERSIAN, ARABIC]),
)
def test_a_full_card_in_its_place_is_refused_with_an_explanation(
    card: str, gaps: list[str], script: dict[int, int | str]
) -> None:
    written = card[0] + "".join(gap + digit for gap, digit in zip(gaps, card[1:].translate(script), strict=True))

    refused = refusal(MaskedCard, written)

    assert "the signature is made over the masked one" in refused.hint
    assert card not in str(refused)
    assert written not in str(refused)


def test_a_full_card_within_a_text_is_refused_and_not_shown() -> None:
    refused = refusal(MaskedCard, "card: 6037 9900 0000 0006")

    assert "full card number" in refused.hint
    assert refused.got == "text of 25 characters"
    assert not re.search("0000", str(refused))


@pytest.mark.parametrize("value", ["5022\n29", "x" * 65, "\x00", "   ", None, 0, b"502229******6708"])
def test_a_masked_card_is_a_short_printable_text(value: object) -> None:
    refusal(MaskedCard, value)
