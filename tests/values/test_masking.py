"""Masks of personal values, addresses and server texts."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.masking import (
    describe_value,
    mask_account,
    mask_address,
    mask_addresses,
    mask_card,
    mask_iban,
    mask_mobile,
    mask_national_id,
    mask_text,
)
from tests.values.field_types import ARABIC, PERSIAN, any_object, digits

MASKS = [mask_card, mask_iban, mask_national_id, mask_mobile, mask_account]

each_mask = pytest.mark.parametrize("mask", MASKS)


@pytest.mark.parametrize(
    ("mask", "value", "masked"),
    [
        (mask_card, "6037-9912 3456-7890", "603799******7890"),
        (mask_card, "۶۰۳۷۹۹۱۲۳۴۵۶۷۸۹۰", "603799******7890"),
        (mask_card, "502229******6708", "502229******6708"),
        (mask_iban, "ir06 2960 0000 0010 0324 2000 01", "IR********************0001"),
        (mask_iban, "062960000000100324200001", "********************0001"),
        (mask_national_id, "0012345679", "********79"),
        (mask_mobile, "09121234567", "0912***4567"),
        (mask_mobile, "+98 912 123 4567", "0912***4567"),
        (mask_account, "0111234567890", "*********7890"),
        (mask_account, "12345678", "******78"),
    ],
)
def test_mask_shows_documented_digits(mask: Callable[[object], str], value: str, masked: str) -> None:
    assert mask(value) == masked


@pytest.mark.parametrize("mask", [mask_card, mask_iban, mask_national_id, mask_mobile])
@pytest.mark.parametrize("value", ["603799123456789", "60379912345678901", "my password is 1"])
def test_mask_unexpected_form_shows_length(mask: Callable[[object], str], value: str) -> None:
    assert mask(value) == f"text of {len(value)} characters"


def test_mask_other_type_shows_type() -> None:
    assert mask_card(6037991234567890) == "a value of type int"
    assert mask_card(b"6037991234567890") == "a value of type bytes"
    assert mask_card(None) == "None"
    assert describe_value("x") == "text of 1 character"


@each_mask
@given(value=any_object())
def test_mask_any_object_returns_text(mask: Callable[[object], str], value: object) -> None:
    assert isinstance(mask(value), str)


@each_mask
@given(value=st.integers(7, 30).flatmap(digits), script=st.sampled_from([{}, PERSIAN, ARABIC]))
def test_mask_number_is_never_shown_completely(
    mask: Callable[[object], str], value: str, script: dict[int, int | str]
) -> None:
    shown_digits = sum(map(str.isdecimal, mask(value.translate(script)).removeprefix("text of ")))

    # A card shows ten of its 16 digits, a mobile number its operator and four digits, every other number at most four.
    assert shown_digits <= (10 if mask is mask_card else 8 if mask is mask_mobile else 4)
    assert value not in mask(value.translate(script))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("کارت ۶۰۳۷۹۹۱۲۳۴۵۶۷۸۹۰ نامعتبر است", "کارت 603799******7890 نامعتبر است"),
        ("card 6037-9912-3456-7890, 50000", "card 603799******7890, 50000"),
        ("card 6037991234567890 1402-05-01", "card 603799******7890 1402-05-01"),
        ("card 6037 9912-3456\u200f7890 50000", "card 603799******7890 50000"),
        ("6037 9912 3456 7890 6037 9912 3456 7891", "*" * 28 + "7891"),
        ("IR062960000000100324200001.", "IR********************0001."),
        ("iban=ir06 2960 0000 0010 0324 2000 01 1402", "iban=IR********************0001 1402"),
        ("IR06 2960 0000 0010 0324 2000 012", "IR*********************0012"),
        ("IR06296000000010032420001", "IR*******************0001"),
        ("به کد ملی ۰۰۱۲۳۴۵۶۷۹", "به کد ملی ********79"),
        ("id 001-234567-9", "id ********79"),
        ("09121234567", "0912***4567"),
        ("call +98 912 123 4567 or 0912-1234567", "call 0912***4567 or 0912***4567"),
        ("tel:00989121234567", "tel:0912***4567"),
        ("deposit 0111234567890", "deposit *********7890"),
    ],
)
def test_mask_text_masks_personal_numbers(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "موجودی کافی نیست",
        "2026-07-31 12:00:00",
        "1402/05/01 - 10:20",
        "amount 50,000,000 exceeds 4,000,000",
        "error 500 at line 12, order 123456789",
    ],
)
def test_mask_text_keeps_other_text(text: str) -> None:
    assert mask_text(text) == text


@given(
    st.text(st.characters(exclude_categories=["Nd"])),
    st.sampled_from([10, 16, 24]).flatmap(digits),
    st.text(st.characters(exclude_categories=["Nd"])),
    st.sampled_from([{}, PERSIAN, ARABIC]),
)
def test_mask_text_masks_long_numbers_anywhere(
    before: str, number: str, after: str, script: dict[int, int | str]
) -> None:
    written = number.translate(script)

    masked = mask_text(f"{before}{written}{after}")

    assert number not in masked
    assert written not in masked


@given(digits(16), st.lists(st.sampled_from(["", " ", "-", " - ", "\u200f"]), min_size=3, max_size=3))
def test_mask_text_masks_grouped_cards(card: str, gaps: list[str]) -> None:
    groups = re.findall("....", card)
    written = groups[0] + "".join(gap + group for gap, group in zip(gaps, groups[1:], strict=True))

    # The first six and the last four digits are shown, never the six between.
    assert re.fullmatch(r"pay \d{6}\*{6}\d{4}!", mask_text(f"pay {written}!"))


ADDRESSES = {
    "https://u:CANARY@h.example/api": "https://***@h.example/api",
    "redis//:CANARY@h": "redis//:***@h",
    "postgres:/u:CANARY@h": "postgres:/***@h",
    "postgresql://u:p@CANARY@h:5432/db": "postgresql://***@h:5432/db",
    "redis:CANARY@h": "***@h",
    "u:CANARY@h": "***@h",
    "//u:CANARY@h": "//***@h",
    "redis://u:CAN/ARY?CANARY#CANARY@h": "redis://***@h",
    "redis://u:CANARY\uff20h": "redis://***@h",
    "redis://u%3ACANARY%40h": "redis://***@h",
    "https://h/api?password=CANARY&x=1": "https://h/api?***",
    "https://h/api#CANARY": "https://h/api#***",
    "https://h:CANARY/api": "https://h:***/api",
    "redis://:CANARY": "redis://:***",
    "redis://:123456": "redis://:***",
    "host=h password=CANARY dbname=x": "host=h password=*** dbname=x",
    "host=h password = 'CAN ARY' dbname=x": "host=h password = *** dbname=x",
    "host=h password='CAN ARY": "host=h password=***",
    "host=h password=CAN\\ CANARY user=x": "host=h password=*** user=x",
    "Server=h;Pwd=CANARY;": "Server=h;Pwd=***;",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_mask_address_hides_passwords(address: str) -> None:
    assert mask_address(address) == ADDRESSES[address]
    assert "CANARY" not in mask_addresses(f"cannot open {address}: no such file")


@pytest.mark.parametrize(
    "address",
    [
        "https://core.paystar.ir/api",
        "https://core.paystar.ir:443/api",
        "http://[::1]:8000/api",
        "redis://h:6379/0",
        "postgresql://h1:5432,h2:5433/db",
        "keys.db",
        "/var/lib/paystar/keys.db",
    ],
)
def test_mask_address_shows_the_rest(address: str) -> None:
    assert mask_address(address) == address
    assert mask_addresses(f"see {address} – or not") == f"see {address} – or not"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a\x1b[31mb\x07", "a [31mb "),
        ("a\r\nb\tc\x7f\x85\x9bd\u2028e\u2029", "a  b c   d e "),
        ("\u202eabc\u2066\u200b\u200f\xad\ufeff\u061c\U000e0041", "abc"),
        ("half \ud800", "half \ufffd"),
        ("کاربر نمی\u200cتواند", "کاربر نمی\u200cتواند"),
        ("نام\xa0خانوادگی", "نام\xa0خانوادگی"),
    ],
)
def test_mask_text_control_characters_are_replaced(text: str, masked: str) -> None:
    assert mask_text(text) == masked


def test_mask_text_number_with_marks_inside_is_masked() -> None:
    assert mask_text("6037\u202e9918\u20669975\xad2346") == "603799******2346"
    assert mask_text("6037\u31649918\ufe0f\ufe0f\ufe0f\ufe0f9975\u034f2346") == "603799******2346"
