"""Field types of account numbers, IBANs and card numbers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.bank_accounts import (
    AccountNumber,
    CardNumber,
    Destination,
    Iban,
    MaskedCard,
    bank_of_iban,
    is_valid_card,
    is_valid_iban,
)
from tests.values.field_types import (
    ARABIC,
    PERSIAN,
    any_object,
    change_digit,
    convert,
    digits,
    field_type_of,
    passes_checksum,
    refusal,
)

MELLI_IBAN = "IR110170000000123456789001"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("0111234567890", "0111234567890"),
        (" 0111234567890\n", "0111234567890"),
        ("0111234567890".translate(PERSIAN), "0111234567890"),
        ("147.8000.1234567.1", "147.8000.1234567.1"),
        ("147-8000/1234567-1", "147-8000/1234567-1"),
        ("12345", "12345"),
        ("1" * 26, "1" * 26),
    ],
)
@pytest.mark.parametrize("alias", [AccountNumber, Destination])
def test_parse_account_number_keeps_separators(alias: object, written: str, sent: str) -> None:
    assert convert(alias, written) == sent


@pytest.mark.parametrize("value", ["1234", "1" * 27, "", "-12345", "12345.", "12--345", "12a45", "12,345", "١٢٣x٤٥"])
@pytest.mark.parametrize("alias", [AccountNumber, Destination])
def test_parse_account_number_invalid_form_is_rejected(alias: object, value: str) -> None:
    refusal(alias, value)


def test_parse_iban_is_destination_not_account_number() -> None:
    refusal(AccountNumber, MELLI_IBAN)
    assert convert(Destination, "ir11 0170 0000 0012 3456 7890 01") == MELLI_IBAN


def test_parse_destination_truncated_iban_is_rejected() -> None:
    assert "26 characters" in refusal(Destination, MELLI_IBAN[:-1]).hint


def test_parse_destination_iban_without_ir_is_rejected() -> None:
    assert "put IR before" in refusal(Destination, MELLI_IBAN[2:]).hint


def test_verify_checksum_destination_checks_only_ibans() -> None:
    assert passes_checksum(Destination, MELLI_IBAN)
    assert not passes_checksum(Destination, "IR930170000000123456789001")
    assert passes_checksum(Destination, "0111234567890")


def test_mask_destination_shows_last_four_digits() -> None:
    assert field_type_of(Destination).mask(MELLI_IBAN) == "IR********************9001"
    assert field_type_of(Destination).mask("0111234567890") == "*********7890"
    assert field_type_of(Destination).mask("Ali Moradi") == "text of 10 characters"


def test_parse_account_number_int_hints_leading_zeros() -> None:
    assert "leading zeros" in refusal(AccountNumber, 111234567890).hint
    assert "leading zeros" in refusal(Destination, 111234567890).hint


REFERENCE_IBAN = "IR930170000000123456789001"


def iban_of(account: str) -> str:
    """Return the IBAN of an account; the check digits are 98 minus the remainder."""
    return f"IR{98 - int(account + '182700') % 97:02}{account}"


@pytest.mark.parametrize(
    "written",
    [
        "ir110170000000123456789001",
        "IR11 0170 0000 0012 3456 7890 01",
        "\u200eIR11-0170-0000-0012-3456-7890-01 ",
        MELLI_IBAN.translate(PERSIAN),
    ],
)
def test_parse_iban_usual_forms_are_normalised(written: str) -> None:
    assert convert(Iban, written) == MELLI_IBAN


@pytest.mark.parametrize(
    "value", [MELLI_IBAN[2:], MELLI_IBAN[:-1], MELLI_IBAN + "0", "DE" + MELLI_IBAN[2:], "IR" + "x" * 24, ""]
)
def test_parse_iban_invalid_form_is_rejected(value: str) -> None:
    assert "26 characters" in refusal(Iban, value).hint


@given(digits(22))
def test_is_valid_iban_computed_check_digits_are_valid(account: str) -> None:
    assert is_valid_iban(iban_of(account))
    assert passes_checksum(Iban, iban_of(account))


@given(digits(22), st.integers(2, 25), st.integers(1, 9))
def test_is_valid_iban_one_wrong_digit_is_invalid(account: str, position: int, difference: int) -> None:
    mistyped = change_digit(iban_of(account), position, difference)

    assert not is_valid_iban(mistyped)
    assert not passes_checksum(Iban, mistyped)
    assert convert(Iban, mistyped) == mistyped


@given(digits(22), st.sampled_from([97, -97]))
def test_is_valid_iban_congruent_check_digits_are_invalid(account: str, distance: int) -> None:
    congruent = int(iban_of(account)[2:4]) + distance

    if 0 <= congruent <= 99:
        assert not is_valid_iban(f"IR{congruent:02}{account}")


def test_parse_iban_reference_sample_has_wrong_checksum() -> None:
    assert convert(Iban, REFERENCE_IBAN) == REFERENCE_IBAN
    assert not passes_checksum(Iban, REFERENCE_IBAN)


@given(any_object())
def test_is_valid_iban_any_object_is_false(value: object) -> None:
    assert is_valid_iban(value) is False


def test_bank_of_iban_returns_bank_or_none() -> None:
    bank = bank_of_iban(MELLI_IBAN)

    assert bank is not None
    assert bank.name == "Bank Melli Iran"
    assert bank_of_iban("IR062960000000100324200001") is None
    assert bank_of_iban("nonsense") is None


CARD = "6037990000000006"


def card_of(digits_without_check: str) -> str:
    """Return a card number with its Luhn digit, computed from a table of doubled digits."""
    doubled = dict(zip("0123456789", (0, 2, 4, 6, 8, 1, 3, 5, 7, 9), strict=True))
    total = sum(
        doubled[digit] if position % 2 == 0 else int(digit) for position, digit in enumerate(digits_without_check)
    )
    return digits_without_check + str(-total % 10)


@pytest.mark.parametrize("written", ["6037-9900-0000-0006", "6037 9900 0000 0006 ", CARD.translate(PERSIAN)])
def test_parse_card_number_usual_forms_are_normalised(written: str) -> None:
    assert convert(CardNumber, written) == CARD


@pytest.mark.parametrize("value", [CARD[:-1], CARD + "0", "", "x" * 16, "5022 2900 0000 ०००१"])
def test_parse_card_number_invalid_form_is_rejected(value: str) -> None:
    refusal(CardNumber, value)


def test_parse_card_number_masked_number_is_explained() -> None:
    assert "not a masked one" in refusal(CardNumber, "502229******6708").hint


@given(digits(15))
def test_is_valid_card_computed_check_digit_is_valid(digits_without_check: str) -> None:
    assert is_valid_card(card_of(digits_without_check))
    assert passes_checksum(CardNumber, card_of(digits_without_check))


@given(digits(15), st.integers(0, 15), st.integers(1, 9))
def test_is_valid_card_one_wrong_digit_is_invalid(digits_without_check: str, position: int, difference: int) -> None:
    mistyped = change_digit(card_of(digits_without_check), position, difference)

    assert not is_valid_card(mistyped)
    assert not passes_checksum(CardNumber, mistyped)
    assert convert(CardNumber, mistyped) == mistyped


@given(any_object())
def test_is_valid_card_any_object_is_false(value: object) -> None:
    assert is_valid_card(value) is False


@pytest.mark.parametrize("masked", ["502229******6708", "", " 5022-29xx-xxxx-6708", "۵۰۲۲۲۹******۶۷۰۸", "6708"])
def test_parse_masked_card_is_unchanged(masked: str) -> None:
    assert convert(MaskedCard, masked) == masked


@given(
    digits(16),
    st.lists(st.sampled_from(["", " ", "-", ".", "_", "/", "\u200f"]), min_size=15, max_size=15),
    st.sampled_from([{}, PERSIAN, ARABIC]),
)
def test_parse_masked_card_full_number_is_explained(card: str, gaps: list[str], script: dict[int, int | str]) -> None:
    written = card[0] + "".join(gap + digit for gap, digit in zip(gaps, card[1:].translate(script), strict=True))

    error = refusal(MaskedCard, written)

    assert "the signature is made over the masked one" in error.hint
    assert card not in str(error)
    assert written not in str(error)


def test_parse_masked_card_full_number_in_text_is_not_shown() -> None:
    error = refusal(MaskedCard, "card: 6037 9900 0000 0006")

    assert "full card number" in error.hint
    assert error.got == "text of 25 characters"
    assert not re.search("0000", str(error))


@pytest.mark.parametrize("value", ["5022\n29", "x" * 65, "\x00", "   ", None, 0, b"502229******6708"])
def test_parse_masked_card_invalid_text_is_rejected(value: object) -> None:
    refusal(MaskedCard, value)
