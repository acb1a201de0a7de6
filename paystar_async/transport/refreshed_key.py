"""Find a new key in the response to a refresh, also in bytes that are not valid JSON.

The refresh token may be spent by the time the response arrives, so a key that can be seen in the response is never
given up: not for a broken text beside it, a name that occurs twice, or an end that is missing.
"""

import json
import re
from collections.abc import Mapping
from typing import cast

from paystar_async.models.base import fields_of
from paystar_async.models.keys import NewApiKey, NewInquiryKey

FIELD_NAMES = frozenset(info.name for model in (NewApiKey, NewInquiryKey) for info in fields_of(model)) - {"extra"}
"""The fields of a refreshed key, of every realm."""
_SECRET_NAMES = ("api_key", "inquiry_key", "refresh_token", "refresh_inquiry_key")

_VALUE = r"\"(?:[^\"\\]|\\.)*\"|-?[0-9]{1,18}(?=[\s,}\]])"
_FIELD = re.compile(rf"\"({'|'.join(sorted(FIELD_NAMES))})\"\s*:\s*({_VALUE})", re.DOTALL)
_STATUS = re.compile(r"\"status\"\s*:\s*(?:\"\s*(?:1|ok)\s*\"|1(?:\.0+)?(?=[\s,}\]])|true)", re.IGNORECASE)
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_ANY_STATUS = re.compile(r"\"status\"\s*:")


def has_key(data: object) -> bool:
    """Return True if a response's data holds a new key or a new refresh token where it is expected."""
    if not isinstance(data, Mapping):
        return False
    fields = cast("Mapping[str, object]", data)
    return any(fields.get(name) for name in _SECRET_NAMES)


def find_refreshed_key(body: bytes) -> dict[str, object]:
    """Return the fields of a refreshed key, wherever they stand; empty without a key or without a success status.

    Args:
        body: the response's body, which is not valid JSON or holds the key in an unexpected place.
    """
    text = body.decode("utf-16" if body[:2] in _UTF_16_MARKS else "utf-8", "replace")
    first_status = _ANY_STATUS.search(text)
    if first_status is None or not _STATUS.match(text, first_status.start()):
        return {}
    fields: dict[str, object] = {}
    for name, value in _FIELD.findall(text):
        try:
            fields.setdefault(name, json.loads(value, strict=False))
        except ValueError:  # a broken escape
            continue
    return fields if has_key(fields) else {}
