"""The two shapes of a model – what is sent, what is answered – and how its fields are read off its class.

Both are attrs classes, frozen, keyword-only, with slots. A field says everything about itself in its
annotation: the kind of value it takes (``values.kind.Kind``) and, where the kind does not say enough, a
sentence. A model knows no endpoint, no account and no client.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Generic, Self, TypeVar, cast, dataclass_transform, get_args, get_origin

import attrs

from paystar_async.errors import InvalidValue
from paystar_async.values.field_type import FieldType, doc_of, find_field_type
from paystar_async.values.secret import private

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M")
C = TypeVar("C", bound=type)

NOT_SENT: Mapping[str, Any] = {"sent": False}
"""Metadata of a field that is signed and does not travel."""

DECIDES: Mapping[str, Any] = {"decides": True}
"""Metadata of an optional response field that a decision rests on: an id, an amount, a status (WIRE, top).

Required fields decide without it. A deciding field of an unexpected type makes the response unreadable; any other field
reads as absent then, and ``extra`` keeps its value.
"""


def _converting(_: type, fields: list[Any]) -> list[Any]:
    """Give each field the converter of its kind, so that a value is refused where it is made."""
    return [_with_converter(one) for one in fields]


def _with_converter(one: Any) -> Any:
    kind = find_field_type(one.type)
    if kind is None or one.converter is not None:
        return one
    name, optional = one.name, one.default is None

    read = kind.parse

    def convert(value: object) -> object:
        try:
            return read(value)
        except ValueError as refusal:
            problem = refusal
        raise kind.refusal(value, name, problem)

    def convert_optional(value: object) -> object:
        return None if value is None else convert(value)

    return one.evolve(converter=convert_optional if optional else convert)


def _masked(value: object) -> str:
    """How a request shows itself: masked, and as far as it is built when a traceback shows it half-way."""
    held = [(one, getattr(value, one.name)) for one in fields_of(type(value)) if hasattr(value, one.name)]
    shown = [
        f"{one.name}={one.field_type.mask(it) if one.field_type and it is not None else repr(it)}" for one, it in held
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def request_model(cls: C) -> C:
    """Class decorator of what is sent: every field is checked and normalised by its kind as it is made."""
    made = attrs.define(cls, frozen=True, kw_only=True, slots=True, repr=False, field_transformer=_converting)
    type.__setattr__(made, "__repr__", _masked)
    # A value that is refused stands in the frames of those who refused it.
    type.__setattr__(made, "__init__", private(cast("Any", made).__init__))
    return made


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def response_model(cls: C) -> C:
    """Class decorator of a response: ``extra`` keeps unknown fields, and descriptive ones of an unexpected type."""
    return attrs.define(cls, frozen=True, kw_only=True, slots=True)


@request_model
class Call(Generic[T_co]):
    """A request as a value: it can be kept, queued, compared and sent. ``T`` is the answer's type."""


class OpenEnum(StrEnum):
    """Words of the server's; one that is not in the list becomes a member of its own, named ``UNRECOGNISED``."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_, member._value_ = "UNRECOGNISED", value
        return member

    def __reduce_ex__(self, proto: object) -> tuple[Any, ...]:
        # By value: some Pythons pickle a member by its name, and that name stands for any word.
        return type(self), (self._value_,)


no_extra: Callable[[], dict[str, object]] = dict
"""The empty ``extra``."""


def names_only(extra: Mapping[str, object]) -> str:
    """How ``extra`` shows itself: field names, since nobody knows what the values are."""
    return f"<{', '.join(map(shown_name, extra))}>" if extra else "{}"


def shown_name(name: object) -> str:
    """A field's name, if it looks like one: a body that was read as a form makes a whole request a name."""
    return name if isinstance(name, str) and name.isidentifier() and len(name) <= 40 else "…"


@attrs.frozen(kw_only=True)
class FieldInfo:
    """All there is to know of one field: read by the wire, the generator, the commands and the sandbox."""

    name: str
    annotation: Any
    field_type: FieldType | None
    doc: str
    required: bool
    sent: bool
    decides: bool
    item: type | None


def _fields(cls: Any) -> tuple[FieldInfo, ...]:
    return tuple(_info(one) for one in attrs.fields(cls) if one.init)


def _answer(call: Any) -> Any:
    for base in call.__orig_bases__:
        if get_origin(base) is Call:
            return get_args(base)[0]
    raise TypeError(f"{call.__name__} does not name its answer: class {call.__name__}(Call[Answer])")


fields_of = cast("Callable[[type], tuple[FieldInfo, ...]]", cache(_fields))
"""The fields of a model, in order."""
response_type = cast("Callable[[type[Call[Any]]], Any]", cache(_answer))
"""The type a request class is answered with: its ``T``."""


def _info(one: Any) -> FieldInfo:
    kind = find_field_type(one.type)
    return FieldInfo(
        name=one.name,
        annotation=one.type,
        field_type=kind,
        doc=doc_of(one.type) or (kind.name if kind else ""),
        required=one.default is attrs.NOTHING,
        sent=one.metadata.get("sent", True),
        decides=one.default is attrs.NOTHING or one.metadata.get("decides", False),
        item=_item_of(one.type),
    )


def _item_of(annotation: Any) -> type | None:
    """The model that a list field holds, if it holds one."""
    if isinstance(annotation, type) and attrs.has(annotation):
        return annotation
    if get_origin(annotation) is Annotated:
        return _item_of(get_args(annotation)[0])
    return next((item for part in get_args(annotation) if (item := _item_of(part))), None)


def verify_checksums(value: object) -> None:
    """Check every checksum in a request value; raises InvalidValue naming the field (``transfers[3].iban``)."""
    for one in fields_of(type(value)):
        held = getattr(value, one.name)
        if one.field_type is not None and held is not None:
            one.field_type.verify_checksum(held, one.name)
        if isinstance(held, list | tuple):
            _verify_items(cast("Sequence[object]", held), one.name)


def _verify_items(items: Sequence[object], name: str) -> None:
    for index, item in enumerate(items):
        if attrs.has(type(item)):
            try:
                verify_checksums(item)
            except InvalidValue as refusal:
                raise refusal.at(f"{name}[{index}]") from None


def list_of(item: type[object], name: str, *, once: str | None = None, optional: bool = False) -> FieldType:
    """The kind of a list of ``item`` values; ``once`` names a field that must differ in each.

    Mappings are taken too, so that what came as JSON goes the same way as what was made by hand.
    """

    def read(value: object) -> tuple[object, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ValueError("wrap a single one in a list")
        items: tuple[object, ...] = tuple(cast("Iterable[object]", value))
        if set(map(type, items)) != {item}:
            items = tuple(coerce_item(item, one, name, index) for index, one in enumerate(items))
        if not items and not optional:
            raise ValueError("an empty list asks for nothing")
        if once is not None:
            _refuse_repeats(items, name, once)
        return items

    return FieldType(
        name=name,
        expected=f"a list of {item.__name__}" + (f", each with a {once} of its own" if once else ""),
        parse=read,
        mask=lambda value: _counted(value, name),
        schema={"type": "array", "items": {"$ref": f"#/components/schemas/{item.__name__}"}},
        example=[item],
    )


def _counted(value: object, name: str) -> str:
    if isinstance(value, list | tuple):
        return f"<{len(cast('list[object]', value))} {name}>" if value else "an empty list"
    return f"a {type(value).__name__}"


def coerce_item(wanted: type[M], value: object, name: str, index: int) -> M:
    """One of a list: a value of its class, or a mapping of its fields; raises InvalidValue naming the place."""
    if isinstance(value, wanted):
        return value
    place = f"{name}[{index}]"
    if not isinstance(value, Mapping):
        raise InvalidValue(place, expected=f"a {wanted.__name__}", got=type(value).__name__)
    given = cast("Mapping[str, object]", value)
    names = {one.name: one for one in fields_of(wanted)}
    for name in given:
        if name not in names:
            raise InvalidValue(
                f"{place}.{shown_name(name)}", expected=f"one of {', '.join(names)}", got="a field of that name"
            )
    for name, one in names.items():
        if one.required and name not in given:
            raise InvalidValue(
                f"{place}.{name}", expected=one.field_type.expected if one.field_type else "a value", got="nothing"
            )
    try:
        return wanted(**given)
    except InvalidValue as refusal:
        raise refusal.at(place) from None


def _refuse_repeats(items: tuple[object, ...], name: str, once: str) -> None:
    if len(set(map(attrgetter(once), items))) == len(items):
        return
    seen: dict[object, int] = {}
    for index, one in enumerate(items):
        key = getattr(one, once)
        if key in seen:
            raise InvalidValue(
                f"{name}[{index}].{once}",
                expected=f"a {once} of its own",
                got=f"the one of {name}[{seen[key]}]",
                hint="the same transfer twice would pay twice",
            )
        seen[key] = index
