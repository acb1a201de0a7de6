"""Account numbers, and where a transfer may go."""

import re
from typing import Annotated

from paystar_async.values.digits import as_text, unspaced
from paystar_async.values.iban import iban_holds, read_iban
from paystar_async.values.kind import Kind
from paystar_async.values.mask import described, mask_account, mask_iban

_SHAPE = re.compile(r"[0-9]+(?:[./-][0-9]+)*")
# What is sent as it stands is told at once; everything else takes the long way.
_PLAIN = re.compile(r"[0-9]{5,26}")
_PLAIN_DESTINATION = re.compile(r"IR[0-9]{24}|[0-9]{5,23}")


def _read(value: object) -> str:
    if type(value) is str and _PLAIN.fullmatch(value):
        return value
    text = unspaced(as_text(value))
    if 5 <= len(text) <= 26 and _SHAPE.fullmatch(text):
        return text
    raise ValueError("digits, with single dots, dashes or slashes between them where the bank writes them")


AccountNumber = Annotated[
    str,
    Kind(
        name="account number",
        shape="5 to 26 digits, dots, dashes and slashes",
        read=_read,
        mask=mask_account,
        schema={"type": "string", "minLength": 5, "maxLength": 26, "pattern": "^[0-9]+([./-][0-9]+)*$"},
        example="0111234567890",
    ),
]
"""A bank account (deposit) number; its dots, dashes and slashes belong to it and are kept."""


def _is_iban(text: str) -> bool:
    return text[:2].upper() == "IR"


def _read_destination(value: object) -> str:
    if type(value) is str and _PLAIN_DESTINATION.fullmatch(value):
        return value
    text = unspaced(as_text(value))
    if _is_iban(text):
        return read_iban(text)
    # No account number is that long: this is an IBAN that lost its IR, and would be looked up as an account.
    if len(text) == 24 and text.isdecimal():
        raise ValueError("24 digits are an IBAN: put IR before them")
    return _read(text)


def _destination_holds(text: str) -> bool:
    return not _is_iban(text) or iban_holds(text)


def _mask_destination(value: object) -> str:
    masked = mask_iban(value)
    return masked if masked != described(value) else mask_account(value)


Destination = Annotated[
    str,
    Kind(
        name="destination account",
        shape="an IBAN (IR and 24 digits) or an account number",
        read=_read_destination,
        holds=_destination_holds,
        checksum="an IBAN whose check digits fit",
        mask=_mask_destination,
        schema={"type": "string", "pattern": "^(IR[0-9]{24}|(?=.{5,26}$)[0-9]+([./-][0-9]+)*)$"},
        example="IR110170000000123456789001",
    ),
]
"""Where a transfer goes: an IBAN where it begins with ``IR``, an account number otherwise."""
