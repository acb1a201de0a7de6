"""Money: whole Rial, and nothing that could be taken for anything else."""

import re
from typing import Annotated

from paystar_async.errors import InvalidValue
from paystar_async.values.digits import normalize_digits
from paystar_async.values.field_type import FieldType, shown
from paystar_async.values.masking import described

MAX_INT64 = 2**63 - 1
"""The largest number a bank's database holds."""


def shown_number(value: object) -> str:
    """A number as it is, whatever else came only described: a text in a number's place may be a card number."""
    # Beyond 64 bits even repr() may refuse, and an error about a value must not fail on the value.
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= MAX_INT64):
        return repr(value)
    return described(value)


def require_int(value: object, hint: str = "pass an int") -> int:
    """The value, when it is an int and no bool; raises ValueError with the hint when it is not."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise ValueError(hint)


def integer(
    name: str, *, least: int = 0, most: int = MAX_INT64, example: int, shape: str | None = None, hint: str = ""
) -> FieldType:
    """The kind of a whole number between two bounds, both included.

    Args:
        name: what it is.
        least: the smallest that is taken.
        most: the largest that is taken.
        example: a number that is taken.
        shape: what it must look like, where the bounds do not say it.
        hint: what to do about a value that is refused.
    """

    def read(value: object) -> int:
        if type(value) is int and least <= value <= most:
            return value
        number = require_int(value, hint or "pass an int")
        if not least <= number <= most:
            raise ValueError(hint)
        return number

    bounds = f"{least} or more" if most == MAX_INT64 else f"{least} to {most}"
    return FieldType(
        name=name,
        expected=shape or f"an int, {bounds}",
        parse=read,
        mask=shown_number,
        schema={"type": "integer", "minimum": least, "maximum": most},
        example=example,
    )


_HINT = "an amount is a whole number of Rial: Rial(50_000), or Toman(5_000) for the same in Toman"

_RIAL = integer("amount in Rial", shape="whole Rial as an int, 0 or more", example=50_000, hint=_HINT)
_TOMAN = integer(
    "amount in Toman", most=MAX_INT64 // 10, shape="whole Toman as an int, 0 or more", example=5_000, hint=_HINT
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


def parse_amount(value: object) -> int:
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
        text = normalize_digits(value).translate(_SEPARATORS).strip()
        match = _AMOUNT.fullmatch(text)
        if match and not _AMBIGUOUS.fullmatch(text):
            number = int(match[1].replace(",", "").replace(" ", ""))
    rial = require_int(number, "not a whole amount of Rial")
    if abs(rial) > MAX_INT64:
        raise ValueError("beyond 64 bits")
    return rial


Money = Annotated[
    int,
    FieldType(
        name="amount in Rial",
        expected="a whole number of Rial",
        parse=parse_amount,
        mask=shown_number,
        schema={"type": ["integer", "string"], "pattern": r"^\s*-?[0-9][0-9,]*(\.0+)?\s*$"},
        example=50_000,
    ),
    "Rial",
]
"""An amount in an answer, in Rial; an overdrawn account's is negative."""


def checked_seconds(name: str, value: object) -> float:
    """A span of time that something may take; raises InvalidValue naming it where it is none above 0."""
    if isinstance(value, (int, float)) and value is not True and value > 0:
        return value
    raise InvalidValue(name, expected="a number of seconds above 0", got=shown(value))
