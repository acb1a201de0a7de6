"""Money: whole Rial, and nothing that could be taken for anything else."""

import re
from typing import Annotated

from paystar_async.values.digits import fold
from paystar_async.values.integer import MOST, integer, shown_number, whole
from paystar_async.values.kind import Kind

_HINT = "an amount is a whole number of Rial: Rial(50_000), or Toman(5_000) for the same in Toman"

_RIAL = integer("amount in Rial", shape="whole Rial as an int, 0 or more", example=50_000, hint=_HINT)
_TOMAN = integer(
    "amount in Toman", most=MOST // 10, shape="whole Toman as an int, 0 or more", example=5_000, hint=_HINT
)


def Rial(amount: int) -> int:  # noqa: N802 - reads as the unit it is
    """An amount given in Rial.

    Args:
        amount: whole Rial, 0 or more.

    Returns:
        The same amount, in Rial.

    Raises:
        InvalidValue: it is a bool, a float, a text, negative or beyond 64 bits.
    """
    rial: int = _RIAL.convert(amount, "amount")
    return rial


def Toman(amount: int) -> int:  # noqa: N802
    """An amount given in Toman, ten Rial each.

    Args:
        amount: whole Toman, 0 or more.

    Returns:
        The amount in Rial.

    Raises:
        InvalidValue: it is a bool, a float, a text, negative or beyond 64 bits.
    """
    toman: int = _TOMAN.convert(amount, "amount")
    return toman * 10


TransferAmount = Annotated[
    int, integer("amount in Rial", least=1, shape="whole Rial as an int, 1 or more", example=50_000, hint=_HINT)
]
"""What a transfer moves: whole Rial, 1 or more."""

GatewayAmount = Annotated[
    int,
    integer("amount in Rial", least=5_000, shape="whole Rial as an int, 5000 or more", example=50_000, hint=_HINT),
]
"""What a payment asks for: whole Rial, 5,000 or more."""

_AMOUNT = re.compile(r"(-?(?:[0-9]{1,19}|[0-9]{1,3}([, ])[0-9]{3}(?:\2[0-9]{3})*))(?:\.0+)?")
# assumed: "50.000" may be fifty thousand with a point between the thousands, or fifty with three decimals.
_AMBIGUOUS = re.compile(r"-?[1-9][0-9]{0,2}\.000")
_SEPARATORS = str.maketrans(
    {
        **dict.fromkeys("\u066c\u060c", ","),
        "\u066b": ".",
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\ufeff"),
    }
)
"""Arabic separators, no-break and thin spaces, and invisible marks, as they stand in amounts."""


def read_answer(value: object) -> int:
    """Return an amount of a response, in Rial.

    Args:
        value: an int, an integral float, or a text of digits (Persian and Arabic ones too) with or without thousands
            separators, decimals that are zeros, and blanks around. A text is never read through a float.

    Raises:
        ValueError: it is none of these, or not exactly known.
    """
    number = value
    # From 2**53 on a float stands for several integers, and no one can say which was meant.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        number = int(value)
    elif isinstance(value, str):
        text = fold(value).translate(_SEPARATORS).strip()
        match = _AMOUNT.fullmatch(text)
        if match and not _AMBIGUOUS.fullmatch(text):
            number = int(match[1].replace(",", "").replace(" ", ""))
    rial = whole(number, "not a whole amount of Rial")
    if abs(rial) > MOST:
        raise ValueError("beyond 64 bits")
    return rial


Money = Annotated[
    int,
    Kind(
        name="amount in Rial",
        shape="a whole number of Rial",
        read=read_answer,
        mask=shown_number,
        schema={"type": ["integer", "string"], "pattern": r"^\s*-?[0-9][0-9,]*(\.0+)?\s*$"},
        example=50_000,
    ),
    "Rial",
]
"""An amount in an answer, in Rial; an overdrawn account's is negative."""
