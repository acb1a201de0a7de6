"""Convert decoded JSON to models: strict in the fields that decide, lenient in all others.

The defaults of cattrs would be money bugs here (``bool("false")`` is True, ``int(10000.9)`` is 10000, ``str(None)`` is
"None"), so each type of value has its own hook. A field decides if it is required or is marked
``models.base.DECIDES``; any other field of an unexpected type is kept in ``extra`` and reads as absent.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin

import attrs
from cattrs import Converter

from paystar_async.credentials import fits_header
from paystar_async.errors import InvalidResponse
from paystar_async.models.base import fields_of
from paystar_async.models.wallet import Accepted
from paystar_async.values.field_type import FieldType, find_field_type
from paystar_async.values.numbers import Money, parse_amount
from paystar_async.values.secret import Secret

_EXTRA = Mapping[str, object]
_TRUTHS = frozenset({"true", "false", "yes", "no", "null", "none", "ok"})


def structure_response(kind: Any, data: object, *, path: str = "$.data") -> Any:
    """Return the data as a value of ``kind``.

    Raises:
        InvalidResponse: a field that decides does not fit; the error has the path of the first such field.
    """
    try:
        return _structure_hook(kind)(data, kind)
    except _Misfit as misfit:
        full_path, reason = path + misfit.path, misfit.reason
    raise InvalidResponse(full_path, reason)


class _Misfit(ValueError):
    """A value that does not fit its type, with its path below the value that is converted."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path

    def under(self, step: str) -> "_Misfit":
        return _Misfit(self.reason, step + self.path)


@cache
def _structure_hook(kind: Any) -> Callable[[object, Any], Any]:
    return _converter.get_structure_hook(kind)


def _describe_value(value: object) -> str:
    """Describe a value without showing the value: a name, a key or a national id may be in the wrong field."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float) and abs(value) < 1e6:
        return f"the number {value}"
    if isinstance(value, str):
        return f'the text "{value}"' if value.lower() in _TRUTHS else f"a text of {len(value)} characters"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "a number"


def _is_empty(value: object) -> bool:
    """Return True for null, blank text and PHP's empty list or object."""
    return value is None or value == [] or value == {} or (isinstance(value, str) and not value.strip())


def _structure_bool(value: object, _: Any) -> bool:
    if value is True or value is False:
        return value
    raise _Misfit(f"expected true or false, got {_describe_value(value)}")


def _structure_money(value: object, _: Any) -> int:
    try:
        return parse_amount(value)
    except ValueError:
        raise _Misfit(f"expected whole Rial, got {_describe_value(value)}") from None


def _structure_text(value: object, _: Any) -> str:
    if isinstance(value, str):
        if value.isascii() or _is_utf_8(value):
            return value
        raise _Misfit("expected a text, got half a surrogate pair")
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64:
        return str(value)  # an id that came as a number
    raise _Misfit(f"expected a text, got {_describe_value(value)}")


def _structure_sendable_text(field_type: FieldType, value: object) -> Any:
    """Return a text that a later request sends back, such as a token, if a request can hold the text."""
    try:
        return field_type.parse(_structure_text(value, str))
    except ValueError:
        raise _Misfit(f"expected {field_type.expected}, got {_describe_value(value)}") from None


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _structure_secret(value: object, _: Any) -> Secret:
    if isinstance(value, str) and fits_header(value):
        return Secret(value)
    raise _Misfit("expected a key")


def _structure_enum(value: object, kind: type[StrEnum]) -> StrEnum:
    return kind(_structure_text(value, str))


def _structure_mapping(value: object, _: Any) -> Mapping[str, object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value)
    raise _Misfit(f"expected an object, got {_describe_value(value)}")


def _structure_accepted(kind: Any) -> Callable[[object, Any], Accepted]:
    """Return a converter for the response to an accepted call: whatever its data is, the transfers were accepted."""
    read_model = _structure_model(kind)

    def read(value: object, _: Any) -> Accepted:
        try:
            return cast("Accepted", read_model(value, kind))
        except _Misfit:
            return Accepted(extra={"data": value})

    return read


def _is_list_of_models(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple) and attrs.has(get_args(kind)[0])


def _structure_list(kind: Any) -> Callable[[object, Any], Any]:
    """Return a converter for a list or tuple of models; an entry that does not fit is refused with its path."""
    item = get_args(kind)[0]
    names = frozenset(attrs.fields_dict(item)) - {"extra"}
    read_item, list_or_tuple = _structure_hook(item), cast("Callable[[list[Any]], Any]", get_origin(kind))

    def read(value: object, _: Any) -> object:
        entries: list[Any] = []
        for key, entry in _entries(value, names):
            try:
                entries.append(read_item(entry, item))
            except _Misfit as misfit:
                # The key of an object's entry is the server's, and may be the number of a card.
                raise misfit.under(f"[{key if len(str(key)) < 10 else '…'}]") from None
        return list_or_tuple(entries)

    return read


def _entries(value: object, names: frozenset[str]) -> Iterable[tuple[object, object]]:
    """Return the entries of a list with their keys, for each form in which Paystar sends lists.

    Forms: a list; an object with numeric keys (a PHP list with a gap); either form wrapped in ``data``, alone or
    beside a paginator's other fields; a single object; nothing.
    assumed (batch-response): an object for one transfer and a list for several; any form is read for any number.

    Args:
        value: the list, in any form.
        names: the fields of an entry, which tell a single entry from a wrapper.
    """
    if isinstance(value, list):
        return enumerate(cast("list[object]", value))
    if _is_empty(value):
        return ()
    if not isinstance(value, dict):
        raise _Misfit(f"expected a list, got {_describe_value(value)}")
    fields = cast("dict[str, object]", value)
    if all(name.isdecimal() for name in fields):
        return fields.items()
    if "data" in fields and names.isdisjoint(fields):
        return _entries(fields["data"], names)
    return [(0, fields)]


def _structure_model(kind: Any) -> Callable[[object, Any], Any]:
    """Return a converter for a model; unknown fields, and descriptive fields that do not fit, go into ``extra``."""
    infos = [info for info in fields_of(kind) if info.name != "extra"]
    deciding = {info.name: _reader(info.annotation) for info in infos if info.decides}
    descriptive = {info.name: _reader(info.annotation) for info in infos if not info.decides}
    required = [info.name for info in infos if info.required]

    def read(value: Any, _: Any) -> object:
        if not isinstance(value, dict):
            if required or not _is_empty(value):
                raise _Misfit(f"expected an object, got {_describe_value(value)}")
            value = {}
        data = cast("dict[str, Any]", value)
        for name in required:
            if name not in data:  # before the copies below: an object may have a million unknown fields
                raise _Misfit("required field missing", f".{name}")
        fields: dict[str, Any] = {}
        extra: dict[str, object] = {}
        for name, item in data.items():
            if name in deciding:
                if item is None or (item.__class__ is str and not item.strip()):
                    continue
                try:
                    fields[name] = deciding[name](item)
                except _Misfit as misfit:
                    raise misfit.under(f".{name}") from None
            elif name not in descriptive:
                extra[name] = item
            elif item is not None and (item.__class__ is not str or item.strip()):
                try:
                    fields[name] = descriptive[name](item)
                except _Misfit:
                    extra[name] = item
        for name in required:
            if name not in fields:
                raise _Misfit("required field missing", f".{name}")
        return kind(**fields, extra=extra)

    return read


def _reader(annotation: Any) -> Callable[[object], Any]:
    """Return a converter for a field that is not null."""
    members = [member for member in get_args(annotation) if member is not NoneType]
    is_optional = get_origin(annotation) in (Union, UnionType) and len(members) == 1
    kind = members[0] if is_optional else annotation
    field_type = find_field_type(kind)
    if field_type is not None and kind != Money:
        return partial(_structure_sendable_text, field_type)
    hook = _structure_hook(kind)
    return lambda value: hook(value, kind)


def _make_converter() -> Converter:
    converter = Converter()
    converter.register_structure_hook_factory(_is_list_of_models, _structure_list)
    converter.register_structure_hook_factory(attrs.has, _structure_model)
    converter.register_structure_hook_factory(lambda kind: kind is Accepted, _structure_accepted)
    # By class, not by predicate: cattrs tries its own hooks for plain classes first, and they coerce.
    converter.register_structure_hook(bool, _structure_bool)
    converter.register_structure_hook(str, _structure_text)
    converter.register_structure_hook(StrEnum, _structure_enum)
    converter.register_structure_hook_func(lambda kind: kind is Secret, _structure_secret)
    converter.register_structure_hook_func(lambda kind: kind == Money, _structure_money)
    converter.register_structure_hook_func(lambda kind: kind == _EXTRA, _structure_mapping)
    return converter


_converter = _make_converter()
