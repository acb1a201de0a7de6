"""Check the types of a stored record: SQLite keeps any value in any column, and a server keeps NaN as a number."""

import math
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs

from paystar_async.errors import StorageCorrupt

T = TypeVar("T")


def require_types(record: T, name: str) -> T:
    """Return a record that was read from a database.

    Args:
        record: an attrs instance; each field has to be of its annotated type, and a number has to be finite.
        name: what the record is, for the error (``order``).

    Raises:
        StorageCorrupt: a field has another type, as after a change by hand.
    """
    for field, types in _field_types(type(record)).items():
        value = getattr(record, field)
        if not isinstance(value, types) or (type(value) is float and not math.isfinite(value)):
            raise StorageCorrupt(f"the stored {name} has an invalid {field}")
    return record


def require_time(value: object, name: str) -> float:
    """Return a stored time in seconds; raise StorageCorrupt naming what it is if it is not a finite number."""
    if isinstance(value, float | int) and math.isfinite(value):
        return value
    raise StorageCorrupt(f"the stored {name} is not a time")


def require_text(value: object, name: str) -> str:
    """Return a stored text; raise StorageCorrupt naming what it is if it is not a text."""
    if isinstance(value, str):
        return value
    raise StorageCorrupt(f"the stored {name} is not a text")


def parse_float(text: str) -> float | None:
    """Return the number in a text, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def _find_field_types(cls: Any) -> Mapping[str, tuple[type, ...]]:
    return {attribute.name: _types(attribute.type) for attribute in attrs.fields(attrs.resolve_types(cls))}


_field_types = cast("Any", cache(_find_field_types))


def _types(annotation: Any) -> tuple[type, ...]:
    """Return the types of the values that an annotation describes."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _types(part))
    if get_origin(annotation) is Literal:
        return tuple({type(cast("object", value)) for value in get_args(annotation)})
    if annotation is float:
        return float, int
    return (get_origin(annotation) or annotation,)
