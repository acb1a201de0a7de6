"""Whole numbers: never a bool, a float or a text that merely looks like one."""

from paystar_async.values.kind import Kind
from paystar_async.values.mask import described

MOST = 2**63 - 1
"""The largest number a bank's database holds."""


def shown_number(value: object) -> str:
    """A number as it is, whatever else came only described: a text in a number's place may be a card number."""
    # Beyond 64 bits even repr() may refuse, and an error about a value must not fail on the value.
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= MOST):
        return repr(value)
    return described(value)


def whole(value: object, hint: str = "pass an int") -> int:
    """The value, when it is an int and no bool; raises ValueError with the hint when it is not."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise ValueError(hint)


def integer(
    name: str, *, least: int = 0, most: int = MOST, example: int, shape: str | None = None, hint: str = ""
) -> Kind:
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
        number = whole(value, hint or "pass an int")
        if not least <= number <= most:
            raise ValueError(hint)
        return number

    bounds = f"{least} or more" if most == MOST else f"{least} to {most}"
    return Kind(
        name=name,
        shape=shape or f"an int, {bounds}",
        read=read,
        mask=shown_number,
        schema={"type": "integer", "minimum": least, "maximum": most},
        example=example,
    )
