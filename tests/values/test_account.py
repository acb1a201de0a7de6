import pytest

from paystar_async.values.account import AccountNumber, Destination
from tests.values.reading import PERSIAN, kind, read, refusal, strictly_holds

MELLI = "IR110170000000123456789001"


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
def test_an_account_number_keeps_what_the_bank_writes_between_its_digits(
    alias: object, written: str, sent: str
) -> None:
    assert read(alias, written) == sent


@pytest.mark.parametrize("value", ["1234", "1" * 27, "", "-12345", "12345.", "12--345", "12a45", "12,345", "١٢٣x٤٥"])
@pytest.mark.parametrize("alias", [AccountNumber, Destination])
def test_another_shape_is_refused(alias: object, value: str) -> None:
    refusal(alias, value)


def test_an_iban_is_no_account_number_and_is_a_destination() -> None:
    refusal(AccountNumber, MELLI)
    assert read(Destination, "ir11 0170 0000 0012 3456 7890 01") == MELLI


def test_a_destination_that_begins_with_ir_must_be_a_whole_iban() -> None:
    assert "26 characters" in refusal(Destination, MELLI[:-1]).hint


def test_an_iban_that_lost_its_ir_is_not_sent_as_an_account() -> None:
    assert "put IR before" in refusal(Destination, MELLI[2:]).hint


def test_a_destinations_check_digits_are_asked_only_of_an_iban() -> None:
    assert strictly_holds(Destination, MELLI)
    assert not strictly_holds(Destination, "IR930170000000123456789001")
    assert strictly_holds(Destination, "0111234567890")


def test_a_destination_shows_its_last_four_digits_whichever_it_is() -> None:
    assert kind(Destination).mask(MELLI) == "IR********************9001"
    assert kind(Destination).mask("0111234567890") == "*********7890"
    assert kind(Destination).mask("Ali Moradi") == "text of 10 characters"


def test_a_number_in_its_place_is_told_of_the_leading_zeros() -> None:
    assert "leading zeros" in refusal(AccountNumber, 111234567890).hint
    assert "leading zeros" in refusal(Destination, 111234567890).hint
