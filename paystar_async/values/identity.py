"""Field types of national ids and mobile numbers."""

from typing import Annotated

from paystar_async.values.digits import as_digits, parse_digits
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import WRITTEN_MOBILE, mask_mobile, mask_national_id


def _has_valid_check_digit(national_id: str) -> bool:
    digits = [int(digit) for digit in national_id]
    remainder = sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=False)) % 11
    # Ten equal digits are valid: such ids were issued (1111111111).
    return digits[9] == (remainder if remainder < 2 else 11 - remainder)


_NATIONAL_ID = FieldType(
    name="national id",
    expected="10 digits",
    parse=lambda value: parse_digits(value, 10, "keep the leading zeros"),
    is_valid=_has_valid_check_digit,
    checksum="a national id whose check digit fits",
    mask=mask_national_id,
    schema={"type": "string", "pattern": "^[0-9]{10}$"},
    example="0012345679",
)

NationalId = Annotated[str, _NATIONAL_ID]
"""A national id; dashes, spaces and Persian digits are normalised to 10 plain digits."""


def is_valid_national_id(text: object) -> bool:
    """Return True if ``text`` is a national id of 10 digits with the right check digit; False for any other object."""
    return _NATIONAL_ID.accepts(text)


def _parse_mobile(value: object) -> str:
    if type(value) is str and len(value) == 11 and value.startswith("09") and value.isascii() and value.isdecimal():
        return value  # fast path: already in the form that is sent
    match = WRITTEN_MOBILE.fullmatch(as_digits(value))
    if match:
        return "0" + match[1]
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
"""A mobile number; ``+98…``, ``0098…``, ``98…`` and ``9…`` are normalised to ``09…``."""
