"""Encode and decode JSON; input that parsers read differently is refused.

Duplicate names are refused here. NaN, integers beyond 64 bits and half surrogates are refused in
``transport.structuring``, in fields that a decision needs: elsewhere they must not make a response unreadable.
"""

import json
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any, cast

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""Values and names in one body; each takes a hundred bytes of memory, even if it is a single byte of the body."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_CONTAINERS = frozenset({dict, list})


class InvalidJSON(ValueError):
    """Bytes that are not JSON which every parser reads the same way; the message is the reason."""


def dumps(value: object) -> bytes:
    """Return the value as compact UTF-8 JSON."""
    return _ENCODER.encode(value).encode()


def loads(body: bytes) -> object:
    """Return the decoded value, with U+0000 removed from its texts.

    One byte order mark before the JSON is ignored.

    Raises:
        InvalidJSON: the bytes are not JSON, name one field of an object twice, or exceed the bounds above.
    """
    # These characters are also counted inside texts, so the bound is far above the needs of a response.
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
        raise InvalidJSON("a name that occurs twice in one object")
    return value


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _children(value: Any) -> Iterable[Any]:
    return cast("Iterable[Any]", value.values() if isinstance(value, dict) else value)


def _refuse_depth(body: bytes, value: Any) -> None:
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        children = chain.from_iterable(map(_children, level))
        level = [child for child in children if type(child) in _CONTAINERS]
    raise InvalidJSON("nested too deep")
