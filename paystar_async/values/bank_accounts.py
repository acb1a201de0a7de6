"""Field types of account numbers, IBANs and card numbers."""

import re
from typing import Annotated

from paystar_async.values.banks import Bank, bank_by_id
from paystar_async.values.digits import as_digits, as_text, normalize_digits, parse_digits, strip_spaces
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import describe_value, mask_account, mask_card, mask_iban
from paystar_async.values.text import read_text

_ACCOUNT_SHAPE = re.compile(r"[0-9]+(?:[./-][0-9]+)*")
# Fast path: values already in the form that is sent need no normalisation.
_PLAIN = re.compile(r"[0-9]{5,26}")
_PLAIN_DESTINATION = re.compile(r"IR[0-9]{24}|[0-9]{5,23}")


def _parse_account(value: object) -> str:
    if type(value) is str and _PLAIN.fullmatch(value):
        return value
    text = strip_spaces(as_text(value))
    if 5 <= len(text) <= 26 and _ACCOUNT_SHAPE.fullmatch(text):
        return text
    raise ValueError("digits, with single dots, dashes or slashes between them where the bank writes them")


AccountNumber = Annotated[
    str,
    FieldType(
        name="account number",
        expected="5 to 26 digits, dots, dashes and slashes",
        parse=_parse_account,
        mask=mask_account,
        schema={"type": "string", "minLength": 5, "maxLength": 26, "pattern": "^[0-9]+([./-][0-9]+)*$"},
        example="0111234567890",
    ),
]
"""A bank account (deposit) number; dots, dashes and slashes are part of the number and are kept."""


def _begins_with_ir(text: str) -> bool:
    return text[:2].upper() == "IR"


def _parse_destination(value: object) -> str:
    if type(value) is str and _PLAIN_DESTINATION.fullmatch(value):
        return value
    text = strip_spaces(as_text(value))
    if _begins_with_ir(text):
        return parse_iban(text)
    # No account number has 24 digits: the text is an IBAN without IR, which would be looked up as an account.
    if len(text) == 24 and text.isdecimal():
        raise ValueError("24 digits are an IBAN: put IR before them")
    return _parse_account(text)


def _has_valid_destination_checksum(text: str) -> bool:
    return not _begins_with_ir(text) or has_valid_iban_checksum(text)


def _mask_destination(value: object) -> str:
    masked = mask_iban(value)
    return masked if masked != describe_value(value) else mask_account(value)


Destination = Annotated[
    str,
    FieldType(
        name="destination account",
        expected="an IBAN (IR and 24 digits) or an account number",
        parse=_parse_destination,
        is_valid=_has_valid_destination_checksum,
        checksum="an IBAN whose check digits fit",
        mask=_mask_destination,
        schema={"type": "string", "pattern": "^(IR[0-9]{24}|(?=.{5,26}$)[0-9]+([./-][0-9]+)*)$"},
        example="IR110170000000123456789001",
    ),
]
"""The destination of a transfer: an IBAN if the text begins with ``IR``, an account number otherwise."""


_IBAN_SHAPE = re.compile(r"IR[0-9]{24}")


def parse_iban(value: object) -> str:
    """Return an IBAN as ``IR`` and 24 ASCII digits; raise ValueError if the value is not an IBAN."""
    text = as_digits(value).upper()
    if _IBAN_SHAPE.fullmatch(text):
        return text
    raise ValueError("an Iranian IBAN is IR and 24 digits, 26 characters in all")


def has_valid_iban_checksum(iban: str) -> bool:
    """Return True if the check digits of a well-formed IBAN are right (ISO 7064, mod 97-10)."""
    check, account = iban[2:4], iban[4:]
    # 00, 01 and 99 leave the same remainder as 97, 98 and 02, and no bank computes them.
    return "02" <= check <= "98" and int(f"{account}1827{check}") % 97 == 1


def bank_of_iban(iban: str) -> Bank | None:
    """Return the bank of an IBAN, or None if the text is not an IBAN or the bank is unknown."""
    try:
        return bank_by_id(parse_iban(iban)[4:7])
    except ValueError:
        return None


_IBAN = FieldType(
    name="IBAN",
    expected="IR and 24 digits",
    parse=parse_iban,
    is_valid=has_valid_iban_checksum,
    checksum="an IBAN whose check digits fit",
    mask=mask_iban,
    schema={"type": "string", "pattern": "^IR[0-9]{24}$"},
    example="IR110170000000123456789001",
)

Iban = Annotated[str, _IBAN]
"""An Iranian IBAN: ``IR`` and 24 digits; spaces, lower case and Persian digits are normalised."""


def is_valid_iban(text: object) -> bool:
    """Return True if ``text`` is an Iranian IBAN with right check digits; False for any other object."""
    return _IBAN.accepts(text)


_FULL_CARD = re.compile(r"\d{16}")


def _parse_card(value: object) -> str:
    if isinstance(value, str) and "*" in value:
        raise ValueError("pass the full card number, not a masked one")
    return parse_digits(value, 16)


def _has_valid_luhn_digit(card: str) -> bool:
    # Luhn: every second digit from the right is doubled, and 9 is subtracted from a product above 9.
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in card[-2::-2])
    return (sum(map(int, card[-1::-2])) + sum(doubled)) % 10 == 0


_CARD_NUMBER = FieldType(
    name="card number",
    expected="16 digits",
    parse=_parse_card,
    is_valid=_has_valid_luhn_digit,
    checksum="a card number whose check digit fits",
    mask=mask_card,
    schema={"type": "string", "pattern": "^[0-9]{16}$"},
    example="6037990000000006",
)

CardNumber = Annotated[str, _CARD_NUMBER]
"""A full card number; spaces, dashes and Persian digits are normalised to 16 plain digits."""


def is_valid_card(text: object) -> bool:
    """Return True if ``text`` is a card number of 16 digits with the right check digit; False for any other object."""
    return _CARD_NUMBER.accepts(text)


def _parse_masked_card(value: object) -> str:
    text = read_text(value, min_length=0, max_length=64)
    # Separators are ignored: sixteen digits in a row are a full card number.
    if _FULL_CARD.search("".join(filter(str.isalnum, normalize_digits(text)))):
        raise ValueError(
            "the text contains a full card number; the signature is made over the masked one, exactly as the callback "
            "has it in card_number (502229******6708)"
        )
    return text


MaskedCard = Annotated[
    str,
    FieldType(
        name="masked card number",
        expected="the masked card number of the callback, or an empty text if the callback had none",
        parse=_parse_masked_card,
        mask=mask_card,
        schema={"type": "string", "maxLength": 64},
        example="502229******6708",
    ),
]
"""The masked card number of a callback, unchanged because the signature covers it; empty if the callback had none."""
