"""JSON in and out, stricter than the library: what one parser takes and another refuses is refused here."""

import json
import math
from typing import Any, NoReturn, cast

DEEPEST = 64


class Unreadable(ValueError):
    """The bytes are not JSON that every parser reads the same way; the text says why."""


def dumps(value: object) -> bytes:
    """The value as compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def loads(body: bytes) -> object:
    """The value that the bytes hold; raises Unreadable."""
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
    if body.count(b"[") + body.count(b"{") > DEEPEST:
        _refuse_depth(value)
    if b"\\u" in body:
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


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []


def _refuse_depth(value: object) -> None:
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise Unreadable("nested too deep")
        level, depth = [child for one in level for child in _children(one)], depth + 1


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable("half a surrogate pair") from None
