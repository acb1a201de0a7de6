"""Card numbers: the full ones that are asked about, and the masked ones a callback brings."""

import re
from typing import Annotated

from paystar_async.values.digits import as_digits, fold
from paystar_async.values.kind import Kind
from paystar_async.values.mask import mask_card
from paystar_async.values.text import read_text

_SHAPE = re.compile(r"[0-9]{16}")
_FULL = re.compile(r"\d{16}")


def _read(value: object) -> str:
    text = as_digits(value)
    if _SHAPE.fullmatch(text):
        return text
    raise ValueError("the full card number is needed here, not a masked one" if "*" in text else "")


def _holds(card: str) -> bool:
    # Luhn: every second digit from the right counts twice, and what exceeds nine gives up nine.
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in card[-2::-2])
    return (sum(map(int, card[-1::-2])) + sum(doubled)) % 10 == 0


def is_valid_card(text: object) -> bool:
    """Whether this is a card number of 16 digits, check digit included; anything that is none is False."""
    try:
        return _holds(_read(text))
    except ValueError:
        return False


CardNumber = Annotated[
    str,
    Kind(
        name="card number",
        shape="16 digits",
        read=_read,
        holds=_holds,
        checksum="a card number whose check digit fits",
        mask=mask_card,
        schema={"type": "string", "pattern": "^[0-9]{16}$"},
        example="6037990000000006",
    ),
]
"""A full card number; spaces, dashes and Persian digits are brought to 16 plain digits."""


def _read_masked(value: object) -> str:
    text = read_text(value, least=0, most=64)
    # Whatever the digits are grouped by: sixteen in a row are the number itself.
    if _FULL.search("".join(filter(str.isalnum, fold(text)))):
        raise ValueError(
            "this holds a full card number; the signature is made over the masked one, exactly as the callback "
            "brought it in card_number (502229******6708)"
        )
    return text


MaskedCard = Annotated[
    str,
    Kind(
        name="masked card number",
        shape="the masked card number of the callback, or an empty text where it had none",
        read=_read_masked,
        mask=mask_card,
        schema={"type": "string", "maxLength": 64},
        example="502229******6708",
    ),
]
"""The callback's masked card number, kept to the letter because it is signed as it came; empty when it had none."""
