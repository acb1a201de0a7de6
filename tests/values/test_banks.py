import re

import pytest

from paystar_async.values.banks import BANKS, BankId, bank_by_card, bank_by_id
from tests.values.reading import read, refusal, strictly_holds


def test_there_are_38_banks_in_order_each_once() -> None:
    ids = [bank.id for bank in BANKS]

    assert len(ids) == 38
    assert ids == sorted(set(ids))
    assert all(re.fullmatch("[0-9]{3}", one) for one in ids)


def test_51_card_beginnings_of_six_digits_belong_to_one_bank_each() -> None:
    beginnings = [digits for bank in BANKS for digits in bank.card_bins]

    assert len(beginnings) == len(set(beginnings)) == 51
    assert all(re.fullmatch("[0-9]{6}", digits) for digits in beginnings)


def test_every_bank_has_both_names() -> None:
    for bank in BANKS:
        assert bank.name.isascii()
        assert re.search("[آ-ی]", bank.name_fa)


@pytest.mark.parametrize(
    ("bank_id", "name"),
    [("010", "Central Bank of Iran"), ("۰۱۷", "Bank Melli Iran"), ("095", "Iran-Venezuela Bi-National Bank")],
)
def test_a_bank_is_found_by_its_id(bank_id: str, name: str) -> None:
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
def test_a_bank_is_found_by_a_card_masked_or_not(card: str, name_fa: str) -> None:
    bank = bank_by_card(card)

    assert bank is not None
    assert bank.name_fa == name_fa


def test_an_unknown_bank_is_none() -> None:
    assert bank_by_id("999") is None
    assert bank_by_id("17") is None
    assert bank_by_card("0000001234567890") is None
    assert bank_by_card("60379") is None


def test_a_bank_id_is_three_digits_and_strictly_one_of_the_table() -> None:
    assert read(BankId, "۰۱۷") == "017"
    assert strictly_holds(BankId, "017")
    assert read(BankId, "999") == "999"
    assert not strictly_holds(BankId, "999")


@pytest.mark.parametrize("value", ["17", "0170", "", "abc", "१२३"])
def test_a_bank_id_of_another_shape_is_refused(value: str) -> None:
    assert "017" in refusal(BankId, value).hint


def test_an_account_number_in_the_bank_ids_place_is_not_shown() -> None:
    assert "0111234567890" not in str(refusal(BankId, "0111234567890"))


def test_a_number_in_its_place_is_told_of_the_leading_zero() -> None:
    assert "leading zeros" in refusal(BankId, 17).hint
