"""What is written on a command line, read as the fields of a request want it – and never better than it was meant."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

from cyclopts import Token

from paystar_async.errors import InvalidValue
from paystar_async.models.base import FieldInfo
from paystar_async.values.digits import fold

_WHOLE = re.compile(r"-?[0-9]{1,19}")


def is_integer(one: FieldInfo) -> bool:
    """Whether a field takes a whole number."""
    return one.kind is not None and one.kind.schema.get("type") == "integer"


def is_document(one: FieldInfo) -> bool:
    """Whether a field takes more than a word or a number, and is written as JSON."""
    return one.item is not None or (one.kind is not None and one.kind.schema.get("type") in ("array", "object"))


def integer(_: object, tokens: Sequence[Token]) -> int | str:
    """A whole number; all else stays a text, and the field itself refuses it, saying what it wants.

    The command library would round 10.5, and this may be money.
    """
    text = fold(tokens[0].value)
    return int(text) if _WHOLE.fullmatch(text) else tokens[0].value


def document(name: str, text: str) -> Any:
    """JSON as it stands, from the file behind an ``@``, or from stdin for ``-``.

    Args:
        name: the field, for the error.
        text: what was written.

    Raises:
        InvalidValue: the file cannot be read, or it is no JSON.
    """
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_each_once, parse_constant=_refused)
    except (OSError, ValueError, RecursionError) as problem:
        reason = str(problem) or type(problem).__name__
    raise InvalidValue(name, expected="JSON, @FILE or - for stdin", got="something else", hint=reason)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two amounts the reader would keep the last, and its author may have meant the first.
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return values


def _refused(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")
