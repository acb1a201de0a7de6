"""How the tests of the kinds speak to them."""

from typing import Any

from hypothesis import strategies as st

from paystar_async.errors import InvalidValue
from paystar_async.values.field_type import FieldType, find_field_type

PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def kind(alias: Any) -> FieldType:
    """The kind an alias carries."""
    found = find_field_type(alias)
    assert found is not None
    return found


def read(alias: Any, value: object) -> Any:
    """The value as it would be sent."""
    return kind(alias).convert(value, "field")


def refusal(alias: Any, value: object) -> InvalidValue:
    """How the value is refused; fails when it is not."""
    try:
        taken = read(alias, value)
    except InvalidValue as error:
        return error
    raise AssertionError(f"{value!r} was taken, as {taken!r}")


def strictly_holds(alias: Any, value: object) -> bool:
    """Whether the value, once read, passes the checksum too."""
    try:
        kind(alias).verify_checksum(read(alias, value), "field")
    except InvalidValue:
        return False
    return True


def digits(count: int) -> st.SearchStrategy[str]:
    """Texts of so many ASCII digits."""
    return st.text("0123456789", min_size=count, max_size=count)


def anything() -> st.SearchStrategy[object]:
    """What careless callers pass."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(10**5000),
        st.floats(),
        st.decimals(),
        st.text(),
        st.binary(),
        st.lists(digits(16)),
        st.just(object()),
        st.just(int),
    )


def one_digit_changed(text: str, place: int, by: int) -> str:
    """The text with the digit at a place raised by something between 1 and 9, around ten."""
    return f"{text[:place]}{(int(text[place]) + by) % 10}{text[place + 1 :]}"
