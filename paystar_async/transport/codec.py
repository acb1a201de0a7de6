"""JSON in and out, stricter than the library: what one parser takes and another refuses is refused here.

orjson does the work where it is installed, the stdlib where not. The verdict is the stdlib's: what orjson refuses,
and the little that it reads otherwise, is read again by the stdlib, so that nobody can tell which one it was.
"""

import importlib
import json
import math
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any, NoReturn, cast

DEEPEST = 64
MAX_VALUES = 1_000_000
"""Values and names in one body; each takes a hundred bytes of memory, however few it takes on the wire."""


def _installed() -> Any:
    try:
        return importlib.import_module("orjson")
    except ImportError:
        return None


_orjson = _installed()
# orjson makes a float of an integer beyond 64 bits. (The digits of an IBAN stand behind its letters.)
_MANY_DIGITS, _ONE_DIGIT = b"0" * 19, bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = re.compile(rb"(?:^|[-\[:,\s])[0-9]{19}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


_CONTAINERS = frozenset({dict, list})


class Unreadable(ValueError):
    """The bytes are not JSON that every parser reads the same way; the text says why."""


def dumps(value: object) -> bytes:
    """The value as compact UTF-8 JSON."""
    if _orjson is not None:
        try:
            written: bytes = _orjson.dumps(value)
        except TypeError:
            pass
        else:
            if b"null" not in written:
                return written
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def loads(body: bytes) -> object:
    """The value that the bytes hold; raises Unreadable."""
    # Texts that hold these signs are counted with them, so the bound is far above what a response needs.
    if len(body) > MAX_VALUES and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise Unreadable("too many values")
    if _orjson is None or (_MANY_DIGITS in body.translate(_ONE_DIGIT) and _LONG_NUMBER.search(body)):
        return _read(body)
    try:
        value = _orjson.loads(body)
    except ValueError:
        return _read(body)
    if len(body) > 2 * DEEPEST:  # one that deep takes more
        _refuse_depth(body, value)
    return value


def _read(body: bytes) -> object:
    """The same by the stdlib, which says why it refuses."""
    if body.startswith(b"\xef\xbb\xbf"):
        raise Unreadable("a byte order mark")
    try:
        value = json.loads(body.decode(), parse_constant=_refuse, parse_int=_integer, parse_float=_float)
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    except RecursionError:
        raise Unreadable("nested too deep") from None
    except Unreadable:
        raise
    except ValueError:
        raise Unreadable("not JSON") from None
    _refuse_depth(body, value)
    if _SURROGATE.search(body):
        _refuse_surrogates(value)
    return value


def _refuse(word: str) -> NoReturn:
    raise Unreadable(f"{word} is not a number")


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise Unreadable("an integer beyond 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Unreadable("a number beyond all bounds")
    return number


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
    raise Unreadable("nested too deep")


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable("half a surrogate pair") from None
