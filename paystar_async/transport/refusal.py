"""What a refusal says: its message and its fields, in Paystar's envelope and in the bodies of web frameworks.

Laravel answers ``{"message": …, "errors": {field: [message]}}``, others ``{"error": …}`` or ``{"detail": …}``.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import cast

MAX_FIELDS, MAX_MESSAGES = 50, 3
"""Refused fields of a response that are kept, and messages of each."""


def message_of(body: Mapping[str, object]) -> str:
    """Return the message of a refusal, or an empty text."""
    for name in ("message", "error", "detail", "title"):
        value = body.get(name)
        if isinstance(value, dict):
            value = cast("dict[str, object]", value).get("message")
        text = "; ".join(_texts(value)).strip()
        if text:
            return text
    return ""


def fields_of(body: Mapping[str, object]) -> dict[str, list[str]]:
    """Return what a refusal says of single fields, field → messages; a server may name a million."""
    for name in ("data", "errors", "detail"):
        fields = dict(islice(_fields(body.get(name)), MAX_FIELDS))
        if fields:
            return fields
    return {}


def _fields(value: object) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, dict):
        for name, messages in cast("dict[str, object]", value).items():
            if texts := _texts(messages):
                yield name, texts
    elif isinstance(value, list):  # FastAPI: [{"loc": ["body", "amount"], "msg": …}]
        for entry in cast("list[object]", value):
            place = cast("dict[str, object]", entry).get("loc") if isinstance(entry, dict) else None
            if isinstance(place, list) and (texts := _texts(cast("dict[str, object]", entry).get("msg"))):
                yield ".".join(map(str, cast("list[object]", place)[:8])), texts


def _texts(value: object) -> list[str]:
    entries = cast("list[object]", value) if isinstance(value, list) else [value]
    return list(islice((entry for entry in entries if isinstance(entry, str)), MAX_MESSAGES))
