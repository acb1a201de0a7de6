"""An answer for a row the bank knows nothing of, read off its type: a new endpoint answers from its first day."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

import attrs

from paystar_async.models.base import fields_of
from paystar_async.values.secret import Secret

_PLAIN: Mapping[Any, object] = {bool: True, int: 10_000, float: 1.0, str: "sample", Secret: "sample", object: "sample"}


def sample(annotation: Any) -> object:
    """JSON that reads as the annotated type."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if get_origin(annotation) is Annotated:
        return sample(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation)).value
    if isinstance(annotation, type) and attrs.has(annotation):
        return {one.name: sample(one.annotation) for one in fields_of(annotation) if one.name != "extra"}
    if get_origin(annotation) in (list, tuple):
        return [sample(get_args(annotation)[0])]
    # A union: what it holds when it holds something.
    return next((sample(part) for part in get_args(annotation) if part is not type(None)), None)
