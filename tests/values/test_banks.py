"""Iranian banks, and the field type of their ids."""

import re

import pytest

from paystar_async.values.banks import BANKS, BankId, bank_by_card, bank_by_id
from tests.values.field_types import convert, passes_checksum, refusal


def test_banks_have_38_unique_sorted_ids() -> None:
    ids = [bank.id for bank in BANKS]

    assert len(ids) == 38
    assert ids == sorted(set(ids))
    assert all(re.fullmatch("[0-9]{3}", bank_id) for bank_id in ids)


def test_banks_have_51_unique_card_bins() -> None:
    card_bins = [card_bin for bank in BANKS for card_bin in bank.card_bins]

    assert len(card_bins) == len(set(card_bins)) == 51
    assert all(re.fullmatch("[0-9]{6}", card_bin) for card_bin in card_bins)


def test_banks_have_english_and_persian_names() -> None:
    for bank in BANKS:
        assert bank.name.isascii()
        assert re.search("[آ-ی]", bank.name_fa)


@pytest.mark.parametrize(
    ("bank_id", "name"),
    [("010", "Central Bank of Iran"), ("۰۱۷", "Bank Melli Iran"), ("095", "Iran-Venezuela Bi-National Bank")],
)
def test_bank_by_id_returns_bank(bank_id: str, name: str) -> None:
    bank = bank_by_id(bank_id)

    assert bank is not None
    assert bank.name == name


@pytest.mark.parametrize(
    ("card", "name_fa"),
    [
        ("6104337812345678", "بانک ملت"),
        ("5022-29** **** 6708", "بانک پاسارگاد"),
        ("۶۳۶۷۹۵", "بانک مرکزی جمهوری اسلامی ایران"),
    ],
)
def test_bank_by_card_full_or_masked_returns_bank(card: str, name_fa: str) -> None:
    bank = bank_by_card(card)

    assert bank is not None
    assert bank.name_fa == name_fa


def test_bank_by_id_and_by_card_unknown_return_none() -> None:
    assert bank_by_id("999") is None
    assert bank_by_id("17") is None
    assert bank_by_card("0000001234567890") is None
    assert bank_by_card("60379") is None


def test_verify_checksum_bank_id_requires_known_bank() -> None:
    assert convert(BankId, "۰۱۷") == "017"
    assert passes_checksum(BankId, "017")
    assert convert(BankId, "999") == "999"
    assert not passes_checksum(BankId, "999")


@pytest.mark.parametrize("value", ["17", "0170", "", "abc", "१२३"])
def test_parse_bank_id_invalid_form_is_rejected(value: str) -> None:
    assert "017" in refusal(BankId, value).hint


def test_parse_bank_id_account_number_is_not_shown() -> None:
    assert "0111234567890" not in str(refusal(BankId, "0111234567890"))


def test_parse_bank_id_int_hints_leading_zeros() -> None:
    assert "leading zeros" in refusal(BankId, 17).hint
