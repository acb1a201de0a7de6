"""JSON in and out: the standard library's, without what parsers read differently.

Duplicate names are refused here. NaN, integers beyond 64 bits and half surrogates are refused in
``transport.structure``, where a decision rests on them: elsewhere they must not make a response unreadable.
"""

import json
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any, cast

DEEPEST = 64
MAX_VALUES = 1_000_000
"""Values and names in one body; each takes a hundred bytes of memory, however few it takes on the wire."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_CONTAINERS = frozenset({dict, list})


class InvalidJSON(ValueError):
    """The bytes are not JSON that every parser reads the same way; the text says why."""


def dumps(value: object) -> bytes:
    """Return the value as compact UTF-8 JSON."""
    return _ENCODER.encode(value).encode()


def loads(body: bytes) -> object:
    """Return the value that the bytes hold, its texts without U+0000.

    One byte order mark before the JSON is ignored.

    Raises:
        Unreadable: the bytes are not JSON, name one field of an object twice, or exceed the bounds above.
    """
    # Texts that hold these signs are counted with them, so the bound is far above what a response needs.
    if len(body) > MAX_VALUES and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise InvalidJSON("too many values")
    if rb"\u0000" in body:
        body = _ESCAPED_NUL.sub(rb"\1", body)  # before names are compared; PostgreSQL stores no U+0000
    try:
        text = body.removeprefix(_BYTE_ORDER_MARK).decode().strip(" \t\r\n")
        value, end = _DECODER.raw_decode(text)
    except UnicodeDecodeError:
        raise InvalidJSON("not UTF-8") from None
    except RecursionError:
        raise InvalidJSON("nested too deep") from None
    except InvalidJSON:
        raise
    except ValueError:
        raise InvalidJSON("not JSON") from None
    if end != len(text):
        raise InvalidJSON("not JSON")
    _refuse_depth(body, value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJSON("a name that stands twice in one object")
    return value


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _children(value: Any) -> Iterable[Any]:
    return cast("Iterable[Any]", value.values() if isinstance(value, dict) else value)


def _refuse_depth(body: bytes, value: Any) -> None:
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(DEEPEST + 1):
        if not level:
            return
        children = chain.from_iterable(map(_children, level))
        level = [child for child in children if type(child) in _CONTAINERS]
    raise InvalidJSON("nested too deep")
