"""National ids of Iranian citizens (code-e melli)."""

import re
from typing import Annotated

from paystar_async.values.digits import as_digits
from paystar_async.values.kind import Kind
from paystar_async.values.mask import mask_national_id

_SHAPE = re.compile(r"[0-9]{10}")


def _read(value: object) -> str:
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
        return _holds(_read(text))
    except ValueError:
        return False


NationalId = Annotated[
    str,
    Kind(
        name="national id",
        shape="10 digits",
        read=_read,
        holds=_holds,
        checksum="a national id whose check digit fits",
        mask=mask_national_id,
        schema={"type": "string", "pattern": "^[0-9]{10}$"},
        example="0012345679",
    ),
]
"""A national id; dashes, spaces and Persian digits are brought to 10 plain digits."""
