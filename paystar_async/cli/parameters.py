"""Converters for command-line options and request fields, which never round or guess a value."""

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Never, TypeVar

from cyclopts import Parameter, Token

from paystar_async.errors import InvalidValue
from paystar_async.models.base import FieldInfo
from paystar_async.values.digits import normalize_digits

N = TypeVar("N", int, float)

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def is_json_field(field: FieldInfo) -> bool:
    """Return True if a field is a list or an object, and so is written as JSON."""
    return field.item is not None or (
        field.field_type is not None and field.field_type.schema.get("type") in ("array", "object")
    )


def number_parameter(kind: type[N], expected: str, is_valid: Callable[[N], bool], description: str) -> Parameter:
    """Return an option that is a number.

    Without a converter the command library rounds 10.5, and its errors depend on whether pydantic is imported.

    Args:
        kind: int or float.
        expected: the expected shape, for the error message.
        is_valid: returns True for a number within its bounds.
        description: the help text.
    """
    pattern = _INTEGER if kind is int else _DECIMAL

    def convert(_: object, tokens: Sequence[Token]) -> N:
        text = normalize_digits(tokens[0].value)
        if pattern.fullmatch(text) and is_valid(value := kind(text)):
            return value
        raise ValueError(f"expected {expected}, got {tokens[0].value!r:.60}")

    return Parameter(help=description, converter=convert, allow_leading_hyphen=True)


def seed_parameter(description: str) -> Parameter:
    """Return an option that is any whole number."""
    return number_parameter(int, "a whole number", lambda _: True, description)


def count_parameter(description: str) -> Parameter:
    """Return an option that is a positive whole number."""
    return number_parameter(int, "a whole number, 1 or more", lambda value: value >= 1, description)


def seconds_parameter(description: str) -> Parameter:
    """Return an option that is a positive number of seconds."""
    return number_parameter(float, "seconds above 0", lambda value: 0 < value < math.inf, description)


def choice_parameter(choices: Sequence[str], description: str) -> Parameter:
    """Return an option that is one of several words."""

    def convert(_: object, tokens: Sequence[Token]) -> str:
        if tokens[0].value in choices:
            return tokens[0].value
        raise ValueError(f"expected one of {', '.join(choices)}, got {tokens[0].value!r:.60}")

    return Parameter(help=description, converter=convert)


def field_value(field: FieldInfo, text: str | None) -> Any:
    """Return the value of a request field from its text on the command line.

    A text that is not a whole number stays a text even for an integer field: the field's own check refuses it with the
    expected shape.

    Raises:
        InvalidValue: the text is not the expected JSON.
    """
    if text is None:
        return None
    if is_json_field(field):
        return _parse_json(field, text)
    if field.field_type is not None and field.field_type.schema.get("type") == "integer":
        digits = normalize_digits(text)
        if _INTEGER.fullmatch(digits):
            return int(digits)
    return text


def _parse_json(field: FieldInfo, text: str) -> Any:
    """Return the list or object in a JSON text, in the file behind ``@``, or in stdin for ``-``."""
    expected_type: type[object] = list
    expected, hint = "a list", "wrap a single item in a list: [{…}]"
    if field.field_type is not None and field.field_type.schema.get("type") == "object":
        expected_type, expected, hint = dict, "an object", 'write {"name": value}'
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8-sig")
        value = json.loads(text, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
    except OSError as error:
        actual, hint = "a file that cannot be read", f"{text[1:]}: {error.strerror or type(error).__name__}"
    except UnicodeDecodeError:
        actual, hint = "a file that is not UTF-8", "save it as UTF-8"
    except RecursionError:
        actual, hint = "JSON that is nested too deeply", ""
    except ValueError as error:
        actual, hint = "text that is not JSON", str(error)
    else:
        if isinstance(value, expected_type):
            return value  # pyright: ignore[reportUnknownVariableType]
        actual = "a JSON object" if isinstance(value, dict) else "JSON of another type"
    raise InvalidValue(field.name, expected=f"{expected} in JSON, @FILE or - for stdin", got=actual, hint=hint or None)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json keeps the last of two amounts with the same name, but the author may have meant the first.
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("an object has the same name twice")
    return values


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
