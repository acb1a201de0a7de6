"""From JSON to models, strictly: nothing is guessed, and what does not fit is named by its path.

What cattrs does by default would be money bugs here (``bool("false")`` is True, ``int(10000.9)`` is 10000,
``str(None)`` is "None"). The fast converter goes first; the one that explains runs only after it failed.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, StrEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin

import attrs
from cattrs import BaseConverter, Converter, IterableValidationError, IterableValidationNote, transform_error
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn

from paystar_async.accounts import fits_header
from paystar_async.errors import BadAnswer
from paystar_async.models.wallet import Accepted
from paystar_async.transport.columns import FEW, Column, by_columns, texts
from paystar_async.values.money import Money, read_answer
from paystar_async.values.secret import Secret

_EXTRA = Mapping[str, object]
_TRUTHS = frozenset({"true", "false", "yes", "no", "null", "none", "ok"})


def structure(kind: Any, data: object, *, path: str = "$.data") -> Any:
    """The data as a value of ``kind``; raises BadAnswer with the path of what does not fit."""
    try:
        return _hook(kind)(data, kind)
    except Exception:
        raise _explained(kind, data, path) from None


@cache
def _hook(kind: Any) -> Callable[[object, Any], Any]:
    return _fast.get_structure_hook(kind)


def _explained(kind: Any, data: object, path: str) -> BadAnswer:
    try:
        _careful.structure(data, kind)
    except Exception as problem:
        first = transform_error(problem, path, _say)[0]
        reason, _, where = first.rpartition(" @ ")
        return BadAnswer(where, reason)
    return BadAnswer(path, "it does not fit")


def _say(problem: BaseException, _: type | None) -> str:
    if isinstance(problem, KeyError):
        return "required field missing"
    return str(problem) if isinstance(problem, ValueError) else type(problem).__name__


def _told(value: object) -> str:
    """What came, as far as it can be shown: a name, a key or a national id may stand where it does not belong."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float) and abs(value) < 1e6:
        return f"the number {value}"
    if isinstance(value, str):
        return f'the text "{value}"' if value.lower() in _TRUTHS else f"a text of {len(value)} characters"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "a number"


def _bool(value: object, _: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {_told(value)}")
    return value


def _money(value: object, _: Any) -> int:
    try:
        return read_answer(value)
    except ValueError:
        raise ValueError(f"expected whole Rial, got {_told(value)}") from None


def _str(value: object, _: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # an id that came as a number
    raise ValueError(f"expected a text, got {_told(value)}")


def _secret(value: object, _: Any) -> Secret:
    if isinstance(value, str) and fits_header(value):
        return Secret(value)
    raise ValueError("expected a key")


def _enum(value: object, kind: type[StrEnum]) -> StrEnum:
    return kind(_str(value, str))


def _accepted(value: object, _: Any) -> Accepted:
    if isinstance(value, dict):
        return Accepted(extra=cast("dict[str, object]", value))
    return Accepted(extra={"data": value} if value else {})


def _is_list_of_models(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin in (list, tuple) and attrs.has(get_args(kind)[0])


def _list_of(kind: Any, converter: BaseConverter) -> Callable[[object, Any], Any]:
    """A list or tuple; a single object stands for a list of one, and null for an empty one."""
    made: Any = get_origin(kind)
    as_list: Any = list.__class_getitem__(get_args(kind)[0])
    inner = list_structure_factory(as_list, converter)
    item = get_args(kind)[0]
    many = by_columns(item, {one.name: _column(one, converter) for one in attrs.fields(item) if one.name != "extra"})

    def read(value: object, _: Any) -> object:
        if value is None:
            return made()
        if isinstance(value, dict):
            return made(inner([value], as_list))
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {_told(value)}")
        entries = cast("list[object]", value)
        if converter.detailed_validation:
            return made(_read_up_to_fault(entries, item, converter))
        if len(entries) > FEW:
            with suppress(Exception):
                return made(many(entries))
        return made(inner(entries, as_list))

    return read


def _read_up_to_fault(entries: list[object], item: Any, converter: BaseConverter) -> list[Any]:
    """Read entries one by one and explain the first that does not fit; cattrs would explain all of a million."""
    quick, careful = _hook(item), converter.get_structure_hook(item)
    read: list[Any] = []
    for index, entry in enumerate(entries):
        try:
            read.append(quick(entry, item))
        except Exception:
            fault = _fault(careful, entry, item)
            fault.add_note(IterableValidationNote(f"entry {index}", index, item))
            break
    else:
        return read
    raise cast("Any", IterableValidationError)("an entry does not fit", [fault], list)


def _fault(careful: Callable[[object, Any], Any], entry: object, item: Any) -> Exception:
    try:
        careful(entry, item)
    except Exception as fault:
        return fault
    return ValueError("it does not fit")


def _model_hook(kind: Any, converter: Converter) -> Callable[[object, Any], Any]:
    names = frozenset(one.name for one in attrs.fields(kind)) - {"extra"}
    is_quick = not converter.detailed_validation
    required = frozenset(one.name for one in attrs.fields(kind) if one.default is attrs.NOTHING)
    inner = make_dict_structure_fn(kind, converter)
    readers = {one.name: _reader(one.type, converter) for one in attrs.fields(kind) if one.name != "extra"}

    def read(value: Any, _: Any) -> object:
        known: dict[str, object] = {}
        if is_quick and value.__class__ is dict and names.issuperset(value) and None not in value.values():
            # The usual answer: nothing unknown, nothing null. What is missing is explained by the other converter.
            # (A comprehension is a call of its own up to Python 3.11.)
            for name, one in value.items():
                known[name] = readers[name](one)
            return kind(**known)
        if not required and value == []:
            value = {}  # PHP writes an empty object as an empty list
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, got {_told(value)}")
        data = cast("dict[str, object]", value)
        if is_quick and not required.issubset(data):
            raise KeyError  # before the copies below: an object may have a million unknown fields
        known = {name: one for name, one in data.items() if name in names and one is not None}
        known["extra"] = {name: one for name, one in data.items() if name not in names}
        return inner(known, kind)

    return read


def _kind_of(annotation: Any) -> Any:
    """What a field is when it is not null."""
    given = [one for one in get_args(annotation) if one is not NoneType]
    return given[0] if get_origin(annotation) in (Union, UnionType) and len(given) == 1 else annotation


def _column(one: Any, converter: BaseConverter) -> Column:
    """What reads one field of many entries."""
    kind = _kind_of(one.type)
    if kind is str:
        return texts(optional=one.default is None)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return partial(map, dict(kind._value2member_map_).__getitem__)
    return partial(map, _reader(kind, converter))


def _reader(annotation: Any, converter: BaseConverter) -> Callable[[object], object]:
    """What reads one field that is not null."""
    kind = _kind_of(annotation)
    if kind is str:
        return _str_or_number
    if kind is bool:
        return _truth
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return partial(_word, dict(kind._value2member_map_), kind)
    hook = converter.get_structure_hook(kind)
    return lambda value: hook(value, kind)


def _truth(value: object) -> object:
    return value if value is True or value is False else _bool(value, bool)


def _str_or_number(value: object) -> object:
    return value if type(value) is str else _str(value, str)


def _word(known: dict[object, Enum], kind: type[StrEnum], value: object) -> object:
    return (known.get(value) if type(value) is str else None) or _enum(value, kind)


def _converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook_factory(
        _is_list_of_models,
        _list_of,
    )
    converter.register_structure_hook_factory(attrs.has, _model_hook)
    # By class, not by predicate: cattrs asks its own hooks of plain classes first, and those guess.
    converter.register_structure_hook(bool, _bool)
    converter.register_structure_hook(str, _str)
    converter.register_structure_hook(StrEnum, _enum)
    converter.register_structure_hook_func(lambda kind: kind is Secret, _secret)
    converter.register_structure_hook_func(lambda kind: kind is Accepted, _accepted)
    converter.register_structure_hook_func(lambda kind: kind == Money, _money)
    converter.register_structure_hook_func(lambda kind: kind == _EXTRA, lambda value, _: value)
    return converter


_fast, _careful = _converter(detailed=False), _converter(detailed=True)
