"""Field types: how a field of a request is parsed, checked, masked and documented.

A field is declared by its annotation alone (``national_id: NationalId``). The request constructors, the generated
docstrings, the CLI help, the OpenAPI schema and the sandbox all read the ``FieldType`` in the annotation.
"""

import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from attrs import field, frozen

from paystar_async.errors import InvalidValue


def short_repr(value: object) -> str:
    """Return the repr of a value that is neither secret nor personal, at most 60 characters."""
    try:
        text = repr(value)
    except Exception:  # that of an integer of some thousand digits, or of a caller's class
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


@frozen(kw_only=True, eq=False)
class FieldType:
    """The type of a request field.

    Attributes:
        name: the type in a word or two (``national id``).
        expected: the valid form, as errors describe it (``10 digits``).
        parse: returns the value as it is sent, or raises ``ValueError``, whose text becomes the hint.
        is_valid: the checksum test, called only under ``checks="strict"``.
        checksum: the valid form with the checksum, as errors describe it.
        mask: returns a value as errors and reprs show it.
        schema: the JSON schema.
        example: a valid value, checksum included.
    """

    name: str
    expected: str
    parse: Callable[[Any], Any]
    is_valid: Callable[[Any], bool] | None = None
    checksum: str = ""
    mask: Callable[[object], str] = short_repr
    schema: Mapping[str, object] = field(factory=lambda: {"type": "string"})
    example: object = None

    def convert(self, value: object, name: str) -> Any:
        """Return the value as it is sent; raise InvalidValue naming the field ``name`` if the value is not valid."""
        try:
            return self.parse(value)
        except ValueError as error:
            cause = error
        raise self.refusal(value, name, cause)  # outside the except clause: the context may quote the value

    def refusal(self, value: object, name: str, cause: ValueError) -> InvalidValue:
        """Return the error of a value that ``parse`` rejected; an InvalidValue, which names an item, is returned."""
        if isinstance(cause, InvalidValue):
            return cause
        return InvalidValue(name, expected=self.expected, got=self.mask(value), hint=str(cause) or None)

    def accepts(self, value: object) -> bool:
        """Return True if the value is valid, checksum included; False for any other object."""
        try:
            parsed = self.parse(value)
        except ValueError:
            return False
        return self.is_valid is None or self.is_valid(parsed)

    def verify_checksum(self, value: object, name: str) -> None:
        """Check the checksum; raise InvalidValue naming the field ``name`` if it is wrong."""
        if self.is_valid is not None and not self.is_valid(value):
            raise InvalidValue(
                name,
                expected=self.checksum,
                got=self.mask(value),
                hint="a digit was mistyped",
            )


def find_field_type(annotation: object) -> FieldType | None:
    """Return the field type in an annotation, looking through ``| None``, or None."""
    if get_origin(annotation) is Annotated:
        for part in get_args(annotation)[1:]:
            if isinstance(part, FieldType):
                return part
        return find_field_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return next((field_type for part in get_args(annotation) if (field_type := find_field_type(part))), None)
    return None


def strip_annotated(annotation: Any) -> Any:
    """Return the plain type of an annotation: ``int | None`` for ``Annotated[Count | None, "a number"]``."""
    if get_origin(annotation) is Annotated:
        return strip_annotated(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(strip_annotated(part) for part in get_args(annotation))]  # noqa: UP007
    return annotation


def find_doc(annotation: object) -> str:
    """Return the description in an annotation, looking through ``| None``, or an empty text."""
    if get_origin(annotation) is Annotated:
        return next((part for part in get_args(annotation)[1:] if isinstance(part, str)), "")
    if get_origin(annotation) in (Union, types.UnionType):
        return next((doc for part in get_args(annotation) if (doc := find_doc(part))), "")
    return ""
