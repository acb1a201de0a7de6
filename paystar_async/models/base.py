"""Base of request and response models, and the descriptions of their fields.

Models are attrs classes: frozen, keyword-only, with slots. The annotation of a field contains its
``values.field_type.FieldType`` and, if its name does not explain the field, a description.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Generic, Self, TypeVar, cast, dataclass_transform, get_args, get_origin

import attrs

from paystar_async.errors import InvalidValue
from paystar_async.errors.text import describe_type, with_article
from paystar_async.values.field_type import FieldType, find_doc, find_field_type, strip_annotated
from paystar_async.values.secret import hide_arguments

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M")
C = TypeVar("C", bound=type)

NOT_SENT: Mapping[str, Any] = {"sent": False}
"""Metadata of a field that is signed but not sent."""

DECIDES: Mapping[str, Any] = {"decides": True}
"""Metadata of an optional response field that decisions depend on: an id, an amount, a status (WIRE, top).

Required fields need no such metadata. A deciding field of an unexpected type makes the response unreadable; any other
field of an unexpected type is None, and ``extra`` keeps its value.
"""


def _add_converters(_: type, fields: list[Any]) -> list[Any]:
    """Return the fields with the converters of their types, so that the constructor rejects invalid values."""
    return [_add_converter(attribute) for attribute in fields]


def _add_converter(attribute: Any) -> Any:
    field_type = find_field_type(attribute.type)
    if field_type is None or attribute.converter is not None:
        return attribute
    name, optional = attribute.name, attribute.default is None

    parse = field_type.parse

    def convert(value: object) -> object:
        try:
            return parse(value)
        except ValueError as error:
            cause = error
        raise field_type.refusal(value, name, cause)

    def convert_optional(value: object) -> object:
        return None if value is None else convert(value)

    converter = convert_optional if optional else convert
    # attrs copies this annotation into the signature of ``__init__``.
    converter.__annotations__["value"] = strip_annotated(attribute.type)
    return attribute.evolve(converter=converter)


def _masked_repr(value: object) -> str:
    """Return the repr of a request with masked fields; fields that a half-built request lacks are left out."""
    parts: list[str] = []
    for field in fields_of(type(value)):
        if hasattr(value, field.name):
            content = getattr(value, field.name)
            mask = repr if field.field_type is None or content is None else field.field_type.mask
            parts.append(f"{field.name}={mask(content)}")
    return f"{type(value).__name__}({', '.join(parts)})"


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def request_model(cls: C) -> C:
    """Return a request class whose constructor checks and normalises every field by its type."""
    model = attrs.define(cls, frozen=True, kw_only=True, slots=True, repr=False, field_transformer=_add_converters)
    type.__setattr__(model, "__repr__", _masked_repr)
    # The frames of a rejecting constructor contain the rejected value.
    type.__setattr__(model, "__init__", hide_arguments(cast("Any", model).__init__))
    return model


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def response_model(cls: C) -> C:
    """Return a response class; ``extra`` keeps unknown fields, and descriptive fields of an unexpected type."""
    return attrs.define(cls, frozen=True, kw_only=True, slots=True)


@request_model
class Call(Generic[T_co]):
    """A request that can be stored, queued, compared and sent; ``T`` is the type of its response."""


class OpenEnum(StrEnum):
    """An enum of the server's values; an unknown value becomes a new member named ``UNRECOGNISED``."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_, member._value_ = "UNRECOGNISED", value
        return member

    def __reduce_ex__(self, proto: object) -> tuple[Any, ...]:
        # By value: some Python versions pickle a member by its name, and all unknown values have the same name.
        return type(self), (self._value_,)


no_extra: Callable[[], dict[str, object]] = dict
"""Return an empty ``extra``."""


def names_only(extra: Mapping[str, object]) -> str:
    """Return the repr of ``extra``: field names only, because the values may be personal."""
    return f"<{', '.join(map(safe_name, extra))}>" if extra else "{}"


def safe_name(name: object) -> str:
    """Return a field name if it is a short identifier, otherwise an ellipsis: a name may contain a whole form body."""
    return name if isinstance(name, str) and name.isidentifier() and len(name) <= 40 else "…"


@attrs.frozen(kw_only=True)
class FieldInfo:
    """The description of a model field."""

    name: str
    annotation: Any
    field_type: FieldType | None
    doc: str
    required: bool
    sent: bool
    decides: bool
    item: type | None


def _fields(cls: Any) -> tuple[FieldInfo, ...]:
    return tuple(_field_info(attribute) for attribute in attrs.fields(cls) if attribute.init)


def _find_response_type(call: Any) -> Any:
    for base in call.__orig_bases__:
        if get_origin(base) is Call:
            return get_args(base)[0]
    raise TypeError(f"{call.__name__} does not name its response: class {call.__name__}(Call[Response])")


fields_of = cast("Callable[[type], tuple[FieldInfo, ...]]", cache(_fields))
"""Return the fields of a model, in order."""
response_type = cast("Callable[[type[Call[Any]]], Any]", cache(_find_response_type))
"""Return the response type of a request class: its ``T``."""


def _field_info(attribute: Any) -> FieldInfo:
    field_type = find_field_type(attribute.type)
    return FieldInfo(
        name=attribute.name,
        annotation=attribute.type,
        field_type=field_type,
        doc=find_doc(attribute.type) or (field_type.name if field_type else ""),
        required=attribute.default is attrs.NOTHING,
        sent=attribute.metadata.get("sent", True),
        decides=attribute.default is attrs.NOTHING or attribute.metadata.get("decides", False),
        item=_item_model(attribute.type),
    )


def _item_model(annotation: Any) -> type | None:
    """Return the model of the items of a list field, or None."""
    if isinstance(annotation, type) and attrs.has(annotation):
        return annotation
    if get_origin(annotation) is Annotated:
        return _item_model(get_args(annotation)[0])
    return next((item for part in get_args(annotation) if (item := _item_model(part))), None)


def verify_checksums(value: object) -> None:
    """Check all checksums of a request; raise InvalidValue naming the field (``transfers[3].iban``)."""
    for field in fields_of(type(value)):
        content = getattr(value, field.name)
        if field.field_type is not None and content is not None:
            field.field_type.verify_checksum(content, field.name)
        if isinstance(content, list | tuple):
            _verify_items(cast("Sequence[object]", content), field.name)


def _verify_items(items: Sequence[object], name: str) -> None:
    for index, item in enumerate(items):
        if attrs.has(type(item)):
            try:
                verify_checksums(item)
            except InvalidValue as error:
                raise error.at(f"{name}[{index}]") from None


def list_of(item: type[object], name: str, *, unique: str | None = None, optional: bool = False) -> FieldType:
    """Return the field type of a list of ``item`` models; ``unique`` names a field that must be unique.

    Mappings are valid items too, so that parsed JSON is checked like models.
    """

    def parse(value: object) -> tuple[object, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ValueError("wrap a single item in a list")
        items: tuple[object, ...] = tuple(cast("Iterable[object]", value))
        if set(map(type, items)) != {item}:
            items = tuple(coerce_item(item, element, name, index) for index, element in enumerate(items))
        if not items and not optional:
            raise ValueError("the list is empty")
        if unique is not None:
            _reject_duplicates(items, name, unique)
        return items

    return FieldType(
        name=name,
        expected=f"a list of {item.__name__}" + (f", each with a unique {unique}" if unique else ""),
        parse=parse,
        mask=lambda value: _describe_length(value, name),
        schema={"type": "array", "items": {"$ref": f"#/components/schemas/{item.__name__}"}},
        example=[item],
    )


def _describe_length(value: object, name: str) -> str:
    if isinstance(value, list | tuple):
        return f"<{len(cast('list[object]', value))} {name}>" if value else "an empty list"
    return describe_type(value)


def coerce_item(model: type[M], value: object, name: str, index: int) -> M:
    """Return a list item, which is a model or a mapping, as a model; raise InvalidValue naming its path."""
    if isinstance(value, model):
        return value
    path = f"{name}[{index}]"
    if not isinstance(value, Mapping):
        raise InvalidValue(path, expected=with_article(model.__name__), got=describe_type(value))
    values = cast("Mapping[str, object]", value)
    names = {field.name: field for field in fields_of(model)}
    for name in values:
        if name not in names:
            raise InvalidValue(
                f"{path}.{safe_name(name)}", expected=f"one of {', '.join(names)}", got="a field of that name"
            )
    for name, field in names.items():
        if field.required and name not in values:
            raise InvalidValue(
                f"{path}.{name}", expected=field.field_type.expected if field.field_type else "a value", got="nothing"
            )
    try:
        return model(**values)
    except InvalidValue as error:
        raise error.at(path) from None


def _reject_duplicates(items: tuple[object, ...], name: str, unique: str) -> None:
    if len(set(map(attrgetter(unique), items))) == len(items):
        return
    first_index: dict[object, int] = {}
    for index, item in enumerate(items):
        key = getattr(item, unique)
        if key in first_index:
            raise InvalidValue(
                f"{name}[{index}].{unique}",
                expected=f"a unique {unique}",
                got=f"that of {name}[{first_index[key]}]",
                hint="the same transfer twice would pay twice",
            )
        first_index[key] = index
