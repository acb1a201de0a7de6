"""Field types: conversion, checksums, errors, and lookup in annotations."""

from typing import Annotated, Any

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.values.field_type import FieldType, find_doc, find_field_type, short_repr


def _even(value: object) -> int:
    if isinstance(value, int) and value % 2 == 0:
        return value
    raise ValueError("odd" if isinstance(value, int) else "")


EVEN = FieldType(
    name="even", expected="an even int", parse=_even, is_valid=lambda value: value < 10, checksum="below ten", example=2
)
Even = Annotated[int, EVEN]


def test_convert_returns_parsed_value() -> None:
    assert EVEN.convert(4, "field") == 4


@pytest.mark.parametrize(("value", "hint"), [(3, "odd"), ("4", ""), (None, "")])
def test_convert_invalid_value_names_field_and_value(value: object, hint: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        EVEN.convert(value, "field")

    error = caught.value
    assert (error.field, error.expected, error.got, error.hint) == ("field", "an even int", repr(value), hint)
    assert error.__context__ is None
    assert error.__cause__ is None


def test_convert_nested_invalid_value_is_reraised() -> None:
    inner = InvalidValue("items[0]", expected="x", got="y")

    def read(_: object) -> object:
        raise inner

    with pytest.raises(InvalidValue) as caught:
        FieldType(name="list", expected="a list", parse=read).convert([], "items")
    assert caught.value is inner


def test_convert_other_exception_propagates() -> None:
    def read(_: object) -> object:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        FieldType(name="broken", expected="?", parse=read).convert(1, "field")


def test_verify_checksum_wrong_checksum_raises() -> None:
    EVEN.verify_checksum(8, "field")
    FieldType(name="none", expected="?", parse=str).verify_checksum("anything", "field")
    with pytest.raises(InvalidValue) as caught:
        EVEN.verify_checksum(12, "field")

    assert (caught.value.expected, caught.value.got) == ("below ten", "12")
    assert "a digit was mistyped" in caught.value.hint


@pytest.mark.parametrize(("value", "is_accepted"), [(8, True), (12, False), (3, False), ("8", False), (None, False)])
def test_accepts_checks_form_and_checksum(value: object, is_accepted: bool) -> None:
    assert EVEN.accepts(value) is is_accepted
    assert FieldType(name="none", expected="?", parse=_even).accepts(12)


def test_convert_error_shows_masked_value() -> None:
    secret = FieldType(name="secret", expected="?", parse=_even, mask=lambda _: "***", is_valid=lambda _: False)

    for refuse in (secret.convert, secret.verify_checksum):
        with pytest.raises(InvalidValue, match=r"got \*\*\*") as caught:
            refuse("canary", "field")
        assert "canary" not in str(caught.value)


def test_short_repr_long_value_is_truncated() -> None:
    assert short_repr("x" * 58) == repr("x" * 58)
    assert short_repr("x" * 59) == "'" + "x" * 56 + "..."
    assert len(short_repr("x" * 10_000)) == 60
    assert "\n" not in short_repr("a\nb")


@pytest.mark.parametrize(
    ("annotation", "kind", "doc"),
    [
        (Even, EVEN, ""),
        (Even | None, EVEN, ""),
        (Annotated[Even, "how many"], EVEN, "how many"),
        (Annotated[Even | None, "how many"], EVEN, "how many"),
        (Annotated[int, "how many", EVEN], EVEN, "how many"),
        (Annotated[list[int], EVEN, "how many", "and more"], EVEN, "how many"),
        (Annotated[int, "how many"], None, "how many"),
        (int, None, ""),
        (int | None, None, ""),
        (None, None, ""),
        ("Even", None, ""),
        (list[Even], None, ""),
    ],
)
def test_find_field_type_and_find_doc_of_annotation(annotation: Any, kind: FieldType | None, doc: str) -> None:
    assert find_field_type(annotation) is kind
    assert find_doc(annotation) == doc


def test_field_type_equality_is_identity() -> None:
    equal_type = FieldType(name="even", expected="an even int", parse=_even)

    assert equal_type != EVEN
    assert len({equal_type, EVEN}) == 2
    assert equal_type.schema == {"type": "string"}
    assert equal_type.schema is not EVEN.schema
