"""Iranian mobile numbers."""

import re
from typing import Annotated

from paystar_async.values.digits import as_digits
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import WRITTEN_MOBILE, mask_mobile, mask_national_id

_SHAPE = re.compile(r"[0-9]{10}")


def _parse_national_id(value: object) -> str:
    if type(value) is str and len(value) == 10 and value.isascii() and value.isdecimal():
        return value  # as it is sent: told at half of what the expression takes
    text = as_digits(value)
    if _SHAPE.fullmatch(text):
        return text
    raise ValueError("keep the leading zeros")


def _holds(national_id: str) -> bool:
    digits = [int(digit) for digit in national_id]
    rest = sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=False)) % 11
    # Ten equal digits pass, too: people were given such ids (1111111111).
    return digits[9] == (rest if rest < 2 else 11 - rest)


def is_valid_national_id(text: object) -> bool:
    """Whether this is a national id of 10 digits, check digit included; anything that is none is False."""
    try:
        return _holds(_parse_national_id(text))
    except ValueError:
        return False


NationalId = Annotated[
    str,
    FieldType(
        name="national id",
        expected="10 digits",
        parse=_parse_national_id,
        is_valid=_holds,
        checksum="a national id whose check digit fits",
        mask=mask_national_id,
        schema={"type": "string", "pattern": "^[0-9]{10}$"},
        example="0012345679",
    ),
]
"""A national id; dashes, spaces and Persian digits are brought to 10 plain digits."""


def _parse_mobile(value: object) -> str:
    if type(value) is str and len(value) == 11 and value.startswith("09") and value.isascii() and value.isdecimal():
        return value  # as it is sent: told at a fifth of what the expression takes
    written = WRITTEN_MOBILE.fullmatch(as_digits(value))
    if written:
        return "0" + written[1]
    raise ValueError("an Iranian mobile number: 09 and nine digits, or the same behind +98")


Mobile = Annotated[
    str,
    FieldType(
        name="mobile number",
        expected="09 and 9 digits",
        parse=_parse_mobile,
        mask=mask_mobile,
        schema={"type": "string", "pattern": "^09[0-9]{9}$"},
        example="09121234567",
    ),
]
"""A mobile number; ``+98…``, ``0098…``, ``98…`` and ``9…`` are brought to ``09…``."""
