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

_DIGITS = re.compile(r"-?[0-9]{1,19}|-?[0-9]{1,3}(?:,[0-9]{3}){1,6}")


def read_answer(value: object) -> int:
    """An amount as Paystar answers it: an int, an integral float, digits with or without thousands commas.

    Raises:
        ValueError: it is none of these, or not exactly known.
    """
    number = value
    # From 2**53 on a float stands for several integers, and no one can say which was meant.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        number = int(value)
    elif isinstance(value, str) and _DIGITS.fullmatch(digits := fold(value)):
        number = int(digits.replace(",", ""))
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
