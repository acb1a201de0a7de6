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
from tests.values.reading import (
    ARABIC,
    PERSIAN,
    anything,
    digits,
    kind,
    one_digit_changed,
    read,
    refusal,
    strictly_holds,
)

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


MELLI_IBAN = "IR110170000000123456789001"
FROM_THE_REFERENCE = "IR930170000000123456789001"


def iban_of(account: str) -> str:
    """An IBAN with the check digits computed the other way round: 98 less the remainder."""
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
def test_it_is_read_as_people_write_it(written: str) -> None:
    assert read(Iban, written) == MELLI_IBAN


@pytest.mark.parametrize(
    "value", [MELLI_IBAN[2:], MELLI_IBAN[:-1], MELLI_IBAN + "0", "DE" + MELLI_IBAN[2:], "IR" + "x" * 24, ""]
)
def test_it_is_ir_and_24_digits(value: str) -> None:
    assert "26 characters" in refusal(Iban, value).hint


@given(digits(22))
def test_every_computed_iban_holds(account: str) -> None:
    assert is_valid_iban(iban_of(account))
    assert strictly_holds(Iban, iban_of(account))


@given(digits(22), st.integers(2, 25), st.integers(1, 9))
def test_iban_one_wrong_digit_is_refused(account: str, place: int, by: int) -> None:
    mistyped = one_digit_changed(iban_of(account), place, by)

    assert not is_valid_iban(mistyped)
    assert not strictly_holds(Iban, mistyped)
    assert read(Iban, mistyped) == mistyped


@given(digits(22), st.sampled_from([97, -97]))
def test_check_digits_no_bank_computes_do_not_hold(account: str, apart: int) -> None:
    twin = int(iban_of(account)[2:4]) + apart

    if 0 <= twin <= 99:
        assert not is_valid_iban(f"IR{twin:02}{account}")


def test_the_references_own_sample_passes_the_shape_and_not_the_checksum() -> None:
    assert read(Iban, FROM_THE_REFERENCE) == FROM_THE_REFERENCE
    assert not strictly_holds(Iban, FROM_THE_REFERENCE)


@given(anything())
def test_whatever_is_no_iban_is_not_valid(value: object) -> None:
    assert is_valid_iban(value) is False


def test_an_iban_tells_its_bank() -> None:
    bank = bank_of_iban(MELLI_IBAN)

    assert bank is not None
    assert bank.name == "Bank Melli Iran"
    assert bank_of_iban("IR062960000000100324200001") is None
    assert bank_of_iban("nonsense") is None


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
def test_card_one_wrong_digit_is_refused(fifteen: str, place: int, by: int) -> None:
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
