"""Field types of national ids and mobile numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.identity import Mobile, NationalId, is_valid_national_id
from tests.values.field_types import PERSIAN, any_object, change_digit, convert, digits, passes_checksum, refusal

nine_digits = digits(9)


def national_id_of(first_nine: str) -> str:
    """Return the national id of nine digits and the check digit that is computed from their weighted sum."""
    rest = sum(int(digit) * weight for digit, weight in zip(first_nine, (10, 9, 8, 7, 6, 5, 4, 3, 2), strict=True)) % 11
    return first_nine + (str(rest) if rest in (0, 1) else str(11 - rest))


@pytest.mark.parametrize("written", ["001-234567-9", " 0012345679", "0012345679".translate(PERSIAN)])
def test_parse_national_id_usual_forms_are_normalised(written: str) -> None:
    assert convert(NationalId, written) == "0012345679"


@pytest.mark.parametrize("value", ["12345679", "00123456790", "", "001234567x"])
def test_parse_national_id_invalid_form_is_rejected(value: str) -> None:
    assert refusal(NationalId, value).hint.endswith("keep the leading zeros")


def test_parse_national_id_int_hints_leading_zeros() -> None:
    assert "leading zeros" in refusal(NationalId, 12345679).hint


@given(nine_digits)
def test_is_valid_national_id_computed_digit_is_valid(first_nine: str) -> None:
    assert is_valid_national_id(national_id_of(first_nine))
    assert passes_checksum(NationalId, national_id_of(first_nine))


@given(nine_digits, st.integers(1, 9))
def test_verify_checksum_national_id_wrong_digit_raises(first_nine: str, difference: int) -> None:
    mistyped = change_digit(national_id_of(first_nine), 9, difference)

    assert not passes_checksum(NationalId, mistyped)
    assert convert(NationalId, mistyped) == mistyped


@pytest.mark.parametrize("sample", ["0012345679", "0499370899", "0790419904", "0084575948"])
def test_is_valid_national_id_known_samples_are_valid(sample: str) -> None:
    assert is_valid_national_id(sample)


@pytest.mark.parametrize("digit", "0123456789")
def test_is_valid_national_id_equal_digits_are_valid(digit: str) -> None:
    """Such ids were issued, for example 1111111111."""
    assert is_valid_national_id(digit * 10)
    assert passes_checksum(NationalId, digit * 10)


@given(any_object())
def test_is_valid_national_id_any_object_is_false(value: object) -> None:
    assert is_valid_national_id(value) is False


@pytest.mark.parametrize(
    "written",
    [
        "09121234567",
        "9121234567",
        "+989121234567",
        "+98 0912 123 4567",
        "00989121234567",
        "989121234567",
        "0912 123 45 67",
        "0912-123-4567",
        "\u200e+۹۸ ۹۱۲ ۱۲۳ ۴۵۶۷",
        "09121234567".translate(PERSIAN),
    ],
)
def test_parse_mobile_usual_forms_are_normalised(written: str) -> None:
    assert convert(Mobile, written) == "09121234567"


def test_parse_mobile_98_inside_number_is_no_prefix() -> None:
    assert convert(Mobile, "9812345678") == "09812345678"
    assert convert(Mobile, "09812345678") == "09812345678"


@pytest.mark.parametrize("value", ["0912123456", "091212345678", "02112345678", "+12025550123", "", "0912x234567"])
def test_parse_mobile_invalid_form_is_rejected(value: str) -> None:
    assert "09 and nine digits" in refusal(Mobile, value).hint


def test_parse_mobile_int_hints_leading_zeros() -> None:
    assert "leading zeros" in refusal(Mobile, 9121234567).hint
