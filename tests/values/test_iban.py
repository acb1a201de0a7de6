import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.iban import Iban, bank_of_iban, is_valid_iban
from tests.values.reading import PERSIAN, anything, digits, one_digit_changed, read, refusal, strictly_holds

MELLI = "IR110170000000123456789001"
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
        MELLI.translate(PERSIAN),
    ],
)
def test_it_is_read_as_people_write_it(written: str) -> None:
    assert read(Iban, written) == MELLI


@pytest.mark.parametrize("value", [MELLI[2:], MELLI[:-1], MELLI + "0", "DE" + MELLI[2:], "IR" + "x" * 24, ""])
def test_it_is_ir_and_24_digits(value: str) -> None:
    assert "26 characters" in refusal(Iban, value).hint


@given(digits(22))
def test_every_computed_iban_holds(account: str) -> None:
    assert is_valid_iban(iban_of(account))
    assert strictly_holds(Iban, iban_of(account))


@given(digits(22), st.integers(2, 25), st.integers(1, 9))
def test_one_mistyped_digit_is_always_found(account: str, place: int, by: int) -> None:
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
    bank = bank_of_iban(MELLI)

    assert bank is not None
    assert bank.name == "Bank Melli Iran"
    assert bank_of_iban("IR062960000000100324200001") is None
    assert bank_of_iban("nonsense") is None
