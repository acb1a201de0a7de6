"""Read the Retry-After header of a response."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_MAX_CLOCK_SKEW_SECONDS = 86_400.0
"""Largest difference between a ``Date`` header and the local clock; a header beyond it is ignored."""


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait, or None if the header is missing or invalid.

    A date is counted from the response's ``Date`` header if that is plausible, so that a wrong local clock does not
    shorten the wait. A date in the past gives 0.

    Args:
        headers: the response headers, names in lower case.
        now: seconds since 1970 by the local clock.

    Source: RFC 9110 §10.2.3
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text) if len(text) < 8 else None
    retry_at = _seconds_since_1970(text)
    if retry_at is None:
        return None
    sent_at = _seconds_since_1970(headers.get("date", ""))
    if sent_at is None or abs(sent_at - now) > _MAX_CLOCK_SKEW_SECONDS:
        sent_at = now
    return max(0.0, retry_at - sent_at)


def _seconds_since_1970(text: str) -> float | None:
    if not text or len(text) > 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is UTC: HTTP knows no other zone, and obsolete formats omit it.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
