"""Field types of integers and amounts of money in whole Rial."""

import re
from typing import Annotated

from paystar_async.errors import InvalidValue
from paystar_async.values.digits import normalize_digits
from paystar_async.values.field_type import FieldType, short_repr
from paystar_async.values.masking import describe_value

MAX_INT64 = 2**63 - 1
"""The largest amount that is sent or accepted: a signed 64-bit integer."""


def number_repr(value: object) -> str:
    """Return the repr of a number; only describe another value, because a text may be a card number."""
    # repr() of a huge int may raise, and an error about a value must not fail on the value.
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= MAX_INT64):
        return short_repr(value)
    return "an int beyond 64 bits" if type(value) is int else describe_value(value)


def require_int(value: object, hint: str = "pass an int") -> int:
    """Return an int; raise ValueError with the hint for a bool or any other type."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)  # of a subclass too, whose own conversion may return another number
    raise ValueError(hint)


def integer(
    name: str, *, minimum: int = 0, maximum: int = MAX_INT64, example: int, expected: str | None = None, hint: str = ""
) -> FieldType:
    """Return the field type of an integer between two bounds, both included.

    Args:
        name: the type's name.
        minimum: the smallest valid number.
        maximum: the largest valid number.
        example: a valid number.
        expected: the valid form, if the bounds do not describe it.
        hint: how to correct an invalid value.
    """

    def parse(value: object) -> int:
        if type(value) is int and minimum <= value <= maximum:
            return value
        number = require_int(value, hint or "pass an int")
        if not minimum <= number <= maximum:
            raise ValueError(hint)
        return number

    bounds = f"{minimum} or more" if maximum == MAX_INT64 else f"{minimum} to {maximum}"
    return FieldType(
        name=name,
        expected=expected or f"an int, {bounds}",
        parse=parse,
        mask=number_repr,
        schema={"type": "integer", "minimum": minimum, "maximum": maximum},
        example=example,
    )


_HINT = "an amount is a whole number of Rial: Rial(50_000), or Toman(5_000) for the same in Toman"

_RIAL = integer("amount in Rial", expected="whole Rial as an int, 0 or more", example=50_000, hint=_HINT)
_TOMAN = integer(
    "amount in Toman", maximum=MAX_INT64 // 10, expected="whole Toman as an int, 0 or more", example=5_000, hint=_HINT
)


def Rial(amount: int) -> int:  # noqa: N802 - named as the unit
    """Return an amount given in Rial.

    Args:
        amount: whole Rial, 0 or more.

    Returns:
        The same amount, in Rial.

    Raises:
        InvalidValue: the amount is a bool, a float, a text, negative or beyond 64 bits.
    """
    rial: int = _RIAL.convert(amount, "amount")
    return rial


def Toman(amount: int) -> int:  # noqa: N802
    """Return an amount given in Toman, ten Rial each, in Rial.

    Args:
        amount: whole Toman, 0 or more.

    Returns:
        The amount in Rial.

    Raises:
        InvalidValue: the amount is a bool, a float, a text, negative or beyond 64 bits.
    """
    toman: int = _TOMAN.convert(amount, "amount")
    return toman * 10


TransferAmount = Annotated[
    int, integer("amount in Rial", minimum=1, expected="whole Rial as an int, 1 or more", example=50_000, hint=_HINT)
]
"""The amount of a transfer: whole Rial, 1 or more."""

GatewayAmount = Annotated[
    int,
    integer("amount in Rial", minimum=5_000, expected="whole Rial as an int, 5000 or more", example=50_000, hint=_HINT),
]
"""The amount of a payment: whole Rial, 5,000 or more."""

_AMOUNT = re.compile(r"(-?(?:[0-9]{1,19}|[0-9]{1,3}([, ])[0-9]{3}(?:\2[0-9]{3})*))(?:\.0+)?")
# assumed (amount-dots): "50.000" may be fifty thousand with a thousands separator, or fifty with three decimals.
_AMBIGUOUS = re.compile(r"-?[1-9][0-9]{0,2}\.000")
_SEPARATORS = str.maketrans(
    {
        **dict.fromkeys("\u066c\u060c", ","),
        "\u066b": ".",
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\ufeff"),
    }
)
"""Arabic separators, no-break and thin spaces, and invisible characters that occur in amounts."""


def parse_amount(value: object) -> int:
    """Return an amount of a response, in Rial.

    Args:
        value: an int, an integral float, or a text of digits (Persian and Arabic ones too) with or without thousands
            separators, decimals that are zeros, and surrounding white space. A text is never converted to a float.

    Raises:
        ValueError: the value has another form, or does not state an exact amount.
    """
    number = value
    # From 2**53 on a float stands for several integers.
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
        mask=number_repr,
        schema={"type": ["integer", "string"], "pattern": r"^\s*-?[0-9][0-9,]*(\.0+)?\s*$"},
        example=50_000,
    ),
    "Rial",
]
"""An amount in a response, in Rial; the balance of an overdrawn account is negative."""


def require_seconds(name: str, value: object) -> float:
    """Return a duration in seconds; raise InvalidValue naming the parameter ``name`` if it is not a number above 0."""
    if isinstance(value, (int, float)) and value is not True and value > 0:
        fits_in_float = isinstance(value, float) or value <= MAX_INT64
        if fits_in_float:
            return value
    raise InvalidValue(name, expected="a number of seconds above 0", got=number_repr(value))


LIMIT = integer("limit", minimum=1, example=100)
"""The field type of the number of records that a list of stored records has at most."""
