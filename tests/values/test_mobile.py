import pytest

from paystar_async.values.mobile import Mobile
from tests.values.reading import PERSIAN, read, refusal


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
