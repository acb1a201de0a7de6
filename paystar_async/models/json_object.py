"""The field type of JSON objects that a caller adds to a request."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, cast, final

from paystar_async.errors import InvalidValue
from paystar_async.models.base import fields_of, names_only, safe_name
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import describe_value

MAX_DEPTH = 32
"""The largest number of nested levels of objects and lists, the outermost object included."""
_ADDED_BY_CLIENT = frozenset(
    {
        "sign",
        "sign_key",
        "gateway_id",
        "application_id",
        "access_password",
        "password",
        "api_key",
        "refresh_token",
        "inquiry_key",
        "refresh_inquiry_key",
    }
)


@final
class JSONObject(Mapping[str, object]):
    """An immutable JSON object; reading returns copies.

    Args:
        fields: names and values that JSON can represent.
    """

    __slots__ = ("_text",)

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._text = json.dumps(fields, ensure_ascii=False)

    def to_dict(self) -> dict[str, object]:
        """Return the object as a new dict."""
        return cast("dict[str, object]", json.loads(self._text))

    def __getitem__(self, name: str) -> object:
        return self.to_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    def __hash__(self) -> int:
        return hash(frozenset(self))  # only the names: 1 and 1.0 are equal but encoded differently

    def __repr__(self) -> str:
        return names_only(self)

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, object]]]:
        return type(self), (self.to_dict(),)


def parse_json_object(value: object, name: str) -> JSONObject:
    """Return a deep copy of a mapping as a JSON object.

    Args:
        value: a mapping of texts to texts, numbers, True, False, None, lists and mappings; None for an empty one.
        name: the field name for errors.

    Raises:
        InvalidValue: a value, named by its path, has another type, is nested too deep, or is beyond 64 bits.
        ValueError: ``value`` is not a mapping.
    """
    if value is None:  # the default of an omitted option
        return JSONObject({})
    if isinstance(value, JSONObject):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("pass a mapping of names to values")
    return JSONObject(cast("dict[str, object]", _json_value(cast("object", value), name, 1)))


def _json_value(value: object, path: str, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _json_text(value, path)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise _refusal(path, "an integer beyond 64 bits", "pass it as a text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refusal(path, "NaN or infinity")
        return float(value)
    is_object = isinstance(value, Mapping)
    if not is_object and not isinstance(value, list | tuple):
        raise _refusal(path, f"a value of type {type(value).__name__}", "convert it to a text or a number")
    if depth > MAX_DEPTH:
        raise _refusal(path.partition(".")[0], f"more than {MAX_DEPTH} levels of lists and objects")
    if not is_object:
        items = cast("Sequence[object]", value)
        return [_json_value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]
    fields: dict[str, object] = {}
    for key, inner in cast("Mapping[object, object]", value).items():
        if not isinstance(key, str):
            raise _refusal(path, f"a name of type {type(key).__name__}", "names are texts")
        fields[_json_text(key, path)] = _json_value(inner, f"{path}.{safe_name(key)}", depth + 1)
    return fields


def _json_text(value: str, path: str) -> str:
    text = str.__str__(value)  # the value of a str Enum
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _refusal(path, "half a surrogate pair")
    return text


def _refusal(path: str, actual: str, hint: str | None = None) -> InvalidValue:
    return InvalidValue(path, expected="a value that JSON can represent", got=actual, hint=hint)


def _mask(value: object) -> str:
    return names_only(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else describe_value(value)


def json_object(name: str, field: str) -> FieldType:
    """Return the field type of a JSON object.

    Args:
        name: the type's name.
        field: the field name, with which the paths in errors begin.
    """

    def parse(value: Any) -> JSONObject:
        return parse_json_object(value, field)

    return FieldType(
        name=name,
        expected="a mapping of names to JSON values",
        parse=parse,
        mask=_mask,
        schema={"type": "object"},
        example={},
    )


def check_names(request: object, attribute: Any, extra: Mapping[str, object]) -> None:
    """Reject further fields with the name of a request field, the signature or a credential.

    Raises:
        InvalidValue: the first such field, by name (``extra.amount``).
    """
    field_names = {field.name for field in fields_of(type(request))}
    for name in extra:
        plain_name = name.strip().lower()
        if plain_name in field_names:
            hint = f"pass this field as {plain_name}="
        elif plain_name in _ADDED_BY_CLIENT:
            hint = "the client adds signature and credentials"
        elif not plain_name:
            hint = "the name is empty"
        else:
            continue
        raise InvalidValue(
            f"{attribute.name}.{safe_name(name)}", expected="names of further fields", got="a reserved name", hint=hint
        )
