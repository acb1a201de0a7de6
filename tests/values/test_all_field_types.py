"""Properties of every field type in ``paystar_async.values``."""

import importlib
import pkgutil
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import paystar_async.values
from paystar_async.errors import InvalidValue
from paystar_async.values.bank_accounts import AccountNumber, CardNumber, Destination, Iban, MaskedCard
from paystar_async.values.field_type import FieldType, find_field_type
from paystar_async.values.identity import Mobile, NationalId
from paystar_async.values.text import Note, PersonName, Token
from tests.values.field_types import ARABIC, PERSIAN, any_object, digits, field_type_of


def _find_field_types() -> dict[str, FieldType]:
    modules = [
        importlib.import_module(f"paystar_async.values.{module.name}")
        for module in pkgutil.iter_modules(paystar_async.values.__path__)
    ]
    return {
        name: field_type
        for module in modules
        for name, alias in vars(module).items()
        if (field_type := find_field_type(alias)) is not None
    }


FIELD_TYPES = _find_field_types()
PERSONAL = [AccountNumber, CardNumber, Destination, Iban, MaskedCard, Mobile, NationalId, Note, PersonName, Token]

each_field_type = pytest.mark.parametrize("name", FIELD_TYPES)


def test_field_types_are_found_in_modules() -> None:
    assert {"Iban", "CardNumber", "Day", "TransferAmount", "TrackId", "BankId"} <= FIELD_TYPES.keys()


@each_field_type
def test_field_type_example_is_valid_and_unchanged(name: str) -> None:
    field_type = FIELD_TYPES[name]

    assert field_type.convert(field_type.example, name) == field_type.example
    field_type.verify_checksum(field_type.example, name)


@each_field_type
def test_field_type_schema_accepts_example(name: str) -> None:
    schema: dict[str, Any] = dict(FIELD_TYPES[name].schema)
    example: Any = FIELD_TYPES[name].example

    if isinstance(example, int):
        assert schema.get("minimum", example) <= example <= schema.get("maximum", example)
    else:
        assert schema.get("minLength", 0) <= len(example) <= schema.get("maxLength", len(example))
        assert re.search(schema.get("pattern", ""), example)


@each_field_type
@given(value=any_object())
def test_field_type_convert_any_object_raises_only_invalid_value(name: str, value: object) -> None:
    try:
        FIELD_TYPES[name].convert(value, "the_field")
    except InvalidValue as error:
        details = (error.field, error.expected, error.__context__)
        assert details == ("the_field", FIELD_TYPES[name].expected, None)


@pytest.mark.parametrize("alias", PERSONAL)
@given(
    number=st.sampled_from([10, 11, 15, 16, 17, 24, 26]).flatmap(digits),
    wrapped=st.sampled_from(["{}", "IR{}", "x{}", "{}x", "{}\n", "0{}", "+98{}", "[{}]", " {} "]),
    script=st.sampled_from([{}, PERSIAN, ARABIC]),
)
def test_field_type_mask_and_error_hide_personal_value(
    alias: object, number: str, wrapped: str, script: dict[int, int | str]
) -> None:
    written = wrapped.format(number.translate(script))
    field_type = field_type_of(alias)
    texts = field_type.mask(written)
    try:
        field_type.verify_checksum(field_type.convert(written, "field"), "field")
    except InvalidValue as error:
        texts += str(error) + error.got

    assert number not in texts
    assert number.translate(script) not in texts


@pytest.mark.parametrize("alias", [AccountNumber, CardNumber, Destination, Iban, Mobile, NationalId])
@pytest.mark.parametrize("mark", "\u061c\u00ad\u180e\u200b\u200c\u200f\u202e\u2069\u3164\u034f\ufe0f\ufeff\U000e0041")
def test_field_type_convert_number_ignores_invisible_marks(alias: object, mark: str) -> None:
    example = str(field_type_of(alias).example)

    assert field_type_of(alias).convert(mark + example[:5] + mark + example[5:] + mark, "field") == example
