"""What a field is: how it is read, checked, masked and explained – one value, used wherever the field shows up.

A field is declared by its annotation alone (``national_id: NationalId``); the constructor of a request, the
generated method's docstring, the command's help, the OpenAPI schema and the sandbox's checks all read this.
"""

import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from attrs import field, frozen

from paystar_async.errors import InvalidValue


def shown(value: object) -> str:
    """How a value that is no secret and no personal data is named in an error, cut to a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@frozen(kw_only=True, eq=False)
class FieldType:
    """A kind of value that is sent.

    Attributes:
        name: what it is, in a word or two (``national id``).
        shape: what it must look like, as an error says it (``10 digits``).
        read: gives the value as it is sent, or raises ``ValueError`` (its text becomes the hint).
        holds: the checksum, asked only under ``checks="strict"``.
        checksum: what ``holds`` proves, as an error says it.
        mask: how a value is shown in errors and reprs.
        schema: its JSON schema.
        example: a value that passes, checksum included.
    """

    name: str
    expected: str
    parse: Callable[[Any], Any]
    is_valid: Callable[[Any], bool] | None = None
    checksum: str = ""
    mask: Callable[[object], str] = shown
    schema: Mapping[str, object] = field(factory=lambda: {"type": "string"})
    example: object = None

    def convert(self, value: object, name: str) -> Any:
        """The value as it is sent; raises InvalidValue naming the field ``name``."""
        try:
            return self.parse(value)
        except ValueError as refusal:
            problem = refusal
        raise self.refusal(value, name, problem)

    def refusal(self, value: object, name: str, problem: ValueError) -> InvalidValue:
        """What is said of a value that ``read`` refused; a list names the item itself."""
        if isinstance(problem, InvalidValue):
            return problem
        return InvalidValue(name, expected=self.expected, got=self.mask(value), hint=str(problem) or None)

    def verify_checksum(self, value: object, name: str) -> None:
        """Check the checksum; raises InvalidValue naming the field ``name``."""
        if self.is_valid is not None and not self.is_valid(value):
            raise InvalidValue(
                name,
                expected=self.checksum,
                got=self.mask(value),
                hint="a digit was mistyped",
            )


def find_field_type(annotation: object) -> FieldType | None:
    """The kind an annotation carries, looking through ``| None``."""
    if get_origin(annotation) is Annotated:
        for part in get_args(annotation)[1:]:
            if isinstance(part, FieldType):
                return part
        return find_field_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return next((kind for part in get_args(annotation) if (kind := find_field_type(part))), None)
    return None


def doc_of(annotation: object) -> str:
    """The sentence an annotation carries beside its kind, looking through ``| None``; or nothing."""
    if get_origin(annotation) is Annotated:
        return next((part for part in get_args(annotation)[1:] if isinstance(part, str)), "")
    if get_origin(annotation) in (Union, types.UnionType):
        return next((said for part in get_args(annotation) if (said := doc_of(part))), "")
    return ""
