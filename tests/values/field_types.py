"""Helpers of the tests of field types."""

from typing import Any

from hypothesis import strategies as st

from paystar_async.errors import InvalidValue
from paystar_async.values.field_type import FieldType, find_field_type

PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def field_type_of(alias: Any) -> FieldType:
    """Return the field type of an alias."""
    field_type = find_field_type(alias)
    assert field_type is not None
    return field_type


def convert(alias: Any, value: object) -> Any:
    """Return the value as it is sent."""
    return field_type_of(alias).convert(value, "field")


def refusal(alias: Any, value: object) -> InvalidValue:
    """Return the error of an invalid value; raise AssertionError if the value is valid."""
    try:
        converted = convert(alias, value)
    except InvalidValue as error:
        return error
    raise AssertionError(f"{value!r} was accepted, as {converted!r}")


def passes_checksum(alias: Any, value: object) -> bool:
    """Return True if the parsed value passes the checksum."""
    try:
        field_type_of(alias).verify_checksum(convert(alias, value), "field")
    except InvalidValue:
        return False
    return True


def digits(count: int) -> st.SearchStrategy[str]:
    """Return texts of ``count`` ASCII digits."""
    return st.text("0123456789", min_size=count, max_size=count)


def any_object() -> st.SearchStrategy[object]:
    """Return any object that callers may pass."""
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


def change_digit(text: str, position: int, by: int) -> str:
    """Return the text with the digit at ``position`` increased by ``by``, modulo ten."""
    return f"{text[:position]}{(int(text[position]) + by) % 10}{text[position + 1 :]}"
