import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.identity import Mobile, NationalId, is_valid_national_id
from tests.values.reading import PERSIAN, anything, digits, one_digit_changed, read, refusal, strictly_holds

nine_digits = digits(9)


def id_of(nine: str) -> str:
    """A national id whose whole weighted sum, check digit included, is made a multiple of eleven, or short of one."""
    rest = sum(int(digit) * weight for digit, weight in zip(nine, (10, 9, 8, 7, 6, 5, 4, 3, 2), strict=True)) % 11
    return nine + (str(rest) if rest in (0, 1) else str(11 - rest))


@pytest.mark.parametrize("written", ["001-234567-9", " 0012345679", "0012345679".translate(PERSIAN)])
def test_it_is_read_as_people_write_it(written: str) -> None:
    assert read(NationalId, written) == "0012345679"


@pytest.mark.parametrize("value", ["12345679", "00123456790", "", "001234567x"])
def test_it_has_ten_digits(value: str) -> None:
    assert refusal(NationalId, value).hint == "keep the leading zeros"


def test_a_number_in_its_place_is_told_of_the_leading_zeros() -> None:
    assert "leading zeros" in refusal(NationalId, 12345679).hint


@given(nine_digits)
def test_every_computed_id_holds(nine: str) -> None:
    assert is_valid_national_id(id_of(nine))
    assert strictly_holds(NationalId, id_of(nine))


@given(nine_digits, st.integers(1, 9))
def test_a_mistyped_check_digit_is_always_found(nine: str, by: int) -> None:
    mistyped = one_digit_changed(id_of(nine), 9, by)

    assert not strictly_holds(NationalId, mistyped)
    assert read(NationalId, mistyped) == mistyped


@pytest.mark.parametrize("sample", ["0012345679", "0499370899", "0790419904", "0084575948"])
def test_known_samples_hold(sample: str) -> None:
    assert is_valid_national_id(sample)


@pytest.mark.parametrize("digit", "0123456789")
def test_national_id_of_equal_digits_is_valid(digit: str) -> None:
    """People were given such ids, 1111111111 among them."""
    assert is_valid_national_id(digit * 10)
    assert strictly_holds(NationalId, digit * 10)


@given(anything())
def test_whatever_is_no_id_is_not_valid(value: object) -> None:
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
def test_every_way_to_write_it_is_the_same_number(written: str) -> None:
    assert read(Mobile, written) == "09121234567"


def test_a_number_that_begins_with_98_itself_is_not_taken_for_a_prefix() -> None:
    assert read(Mobile, "9812345678") == "09812345678"
    assert read(Mobile, "09812345678") == "09812345678"


@pytest.mark.parametrize("value", ["0912123456", "091212345678", "02112345678", "+12025550123", "", "0912x234567"])
def test_another_number_is_refused(value: str) -> None:
    assert "09 and nine digits" in refusal(Mobile, value).hint


def test_a_number_in_its_place_is_told_of_the_leading_zero() -> None:
    assert "leading zeros" in refusal(Mobile, 9121234567).hint
