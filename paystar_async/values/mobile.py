"""Iranian mobile numbers."""

from typing import Annotated

from paystar_async.values.digits import as_digits
from paystar_async.values.kind import Kind
from paystar_async.values.mask import WRITTEN_MOBILE, mask_mobile


def _read(value: object) -> str:
    if type(value) is str and len(value) == 11 and value.startswith("09") and value.isascii() and value.isdecimal():
        return value  # as it is sent: told at a fifth of what the expression takes
    written = WRITTEN_MOBILE.fullmatch(as_digits(value))
    if written:
        return "0" + written[1]
    raise ValueError("an Iranian mobile number: 09 and nine digits, or the same behind +98")


Mobile = Annotated[
    str,
    Kind(
        name="mobile number",
        shape="09 and 9 digits",
        read=_read,
        mask=mask_mobile,
        schema={"type": "string", "pattern": "^09[0-9]{9}$"},
        example="09121234567",
    ),
]
"""A mobile number; ``+98…``, ``0098…``, ``98…`` and ``9…`` are brought to ``09…``."""
