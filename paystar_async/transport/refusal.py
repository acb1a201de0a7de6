"""Read the message and the field errors of a refusal, in Paystar's envelope and in web frameworks' bodies.

Laravel sends ``{"message": …, "errors": {field: [message]}}``, others send ``{"error": …}`` or ``{"detail": …}``.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import cast

MAX_FIELDS, MAX_MESSAGES = 50, 3
"""The largest number of fields of a refusal, and of messages for each field."""


def error_message(body: Mapping[str, object]) -> str:
    """Return the message of a refusal, or an empty text."""
    for name in ("message", "error", "detail", "title"):
        value = body.get(name)
        if isinstance(value, dict):
            value = cast("dict[str, object]", value).get("message")
        text = "; ".join(_texts(value)).strip()
        if text:
            return text
    return ""


def field_errors(body: Mapping[str, object], data_names: Collection[str] | None = ()) -> dict[str, list[str]]:
    """Return the messages of a refusal by field name, at most ``MAX_FIELDS``; a server may name a million fields.

    Args:
        body: the response.
        data_names: the fields of a successful response; None for any name. A single word in one of these is its value,
            such as a new key, and not a message.
    """
    for name in ("data", "errors", "detail"):
        fields = dict(islice(_fields(body.get(name), data_names), MAX_FIELDS))
        if fields:
            return fields
    return {}


def _fields(value: object, data_names: Collection[str] | None) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, dict):
        for name, messages in cast("dict[str, object]", value).items():
            is_word = isinstance(messages, str) and len(messages.split()) < 2
            is_data = is_word and (data_names is None or name in data_names)
            if not is_data and (texts := _texts(messages)):
                yield name, texts
    elif isinstance(value, list):  # FastAPI: [{"loc": ["body", "amount"], "msg": …}]
        for entry in cast("list[object]", value):
            location = cast("dict[str, object]", entry).get("loc") if isinstance(entry, dict) else None
            if isinstance(location, list) and (texts := _texts(cast("dict[str, object]", entry).get("msg"))):
                yield ".".join(map(str, cast("list[object]", location)[:8])), texts


def _texts(value: object) -> list[str]:
    """Return the texts of a text or of a list, at most ``MAX_MESSAGES``."""
    entries = cast("list[object]", value) if isinstance(value, list) else [value]
    return list(islice((entry for entry in entries if isinstance(entry, str)), MAX_MESSAGES))
