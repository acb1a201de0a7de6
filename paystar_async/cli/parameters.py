"""What is written on a command line, read as the fields of a request want it – and never better than it was meant."""

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Never, TypeVar

from cyclopts import Parameter, Token

from paystar_async.errors import InvalidValue
from paystar_async.models.base import FieldInfo
from paystar_async.values.digits import fold

N = TypeVar("N", int, float)

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def is_document(one: FieldInfo) -> bool:
    """Whether a field takes more than a word or a number, and is written as JSON."""
    return one.item is not None or (one.kind is not None and one.kind.schema.get("type") in ("array", "object"))


def number(kind: type[N], shape: str, fits: Callable[[N], bool], told: str) -> Parameter:
    """An option that is a number.

    Left to itself the command library rounds 10.5, and what it says depends on whether pydantic is imported.

    Args:
        kind: int or float.
        shape: what is wanted, for the error.
        fits: whether a number is within its bounds.
        told: its help.
    """
    written = _WHOLE if kind is int else _DECIMAL

    def read(_: object, tokens: Sequence[Token]) -> N:
        text = fold(tokens[0].value)
        if written.fullmatch(text) and fits(value := kind(text)):
            return value
        raise ValueError(f"expected {shape}, got {tokens[0].value!r:.60}")

    return Parameter(help=told, converter=read, allow_leading_hyphen=True)


def seed(told: str) -> Parameter:
    """An option that is any whole number."""
    return number(int, "a whole number", lambda _: True, told)


def count(told: str) -> Parameter:
    """An option that says how many."""
    return number(int, "a whole number, 1 or more", lambda value: value >= 1, told)


def seconds(told: str) -> Parameter:
    """An option that says how long."""
    return number(float, "seconds above 0", lambda value: 0 < value < math.inf, told)


def choice(words: Sequence[str], told: str) -> Parameter:
    """An option that is one of a few words."""

    def read(_: object, tokens: Sequence[Token]) -> str:
        if tokens[0].value in words:
            return tokens[0].value
        raise ValueError(f"expected one of {', '.join(words)}, got {tokens[0].value!r:.60}")

    return Parameter(help=told, converter=read)


def field_value(one: FieldInfo, text: str | None) -> Any:
    """What was written for a field of a request, as the request takes it.

    A text that is no whole number where one is wanted stays a text: the field itself refuses it, saying what it wants.

    Raises:
        InvalidValue: it should be JSON and is none.
    """
    if text is None:
        return None
    if is_document(one):
        return _document(one, text)
    if one.kind is not None and one.kind.schema.get("type") == "integer" and _WHOLE.fullmatch(folded := fold(text)):
        return int(folded)
    return text


def _document(one: FieldInfo, text: str) -> Any:
    """Return the list or object in a JSON text, the file behind an ``@``, or stdin for ``-``."""
    wanted: type[object] = list
    shape, hint = "a list", "wrap a single one in a list: [{…}]"
    if one.kind is not None and one.kind.schema.get("type") == "object":
        wanted, shape, hint = dict, "an object", 'write {"name": value}'
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8-sig")
        value = json.loads(text, object_pairs_hook=_each_once, parse_constant=_refused)
    except OSError as problem:
        got, hint = "a file that cannot be read", f"{text[1:]}: {problem.strerror or type(problem).__name__}"
    except UnicodeDecodeError:
        got, hint = "a file that is not UTF-8", "save it as UTF-8"
    except RecursionError:
        got, hint = "JSON that is nested too deeply", ""
    except ValueError as problem:
        got, hint = "something that is no JSON", str(problem)
    else:
        if isinstance(value, wanted):
            return value  # pyright: ignore[reportUnknownVariableType]
        got = "a JSON object" if isinstance(value, dict) else "JSON of another kind"
    raise InvalidValue(one.name, expected=f"{shape} in JSON, @FILE or - for stdin", got=got, hint=hint or None)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two amounts the reader would keep the last, and its author may have meant the first.
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return values


def _refused(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")
