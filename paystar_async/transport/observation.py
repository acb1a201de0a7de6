"""Report the shape of a response, without any value of it, to a middleware that observes the request."""

from collections.abc import Mapping
from typing import Any, Literal, cast

from paystar_async.endpoint import Observation, Request
from paystar_async.errors import StatusError, status_class
from paystar_async.runtime.events import logger
from paystar_async.transport.decoder import INVALID_ACCESS, SUCCESS, parse_status
from paystar_async.transport.encoder import count_items
from paystar_async.values.dates import TEHRAN_OFFSET, parse_tehran, parse_unix_time
from paystar_async.values.shapes import shape_of

_EXPIRY_FIELDS = ("api_key_expire_date", "inquiry_key_expire_date")
_TOLERANCE_SECONDS = 600
_MAX_LIFETIME_SECONDS = 2 * 86_400


def report_observation(
    request: Request[Any], http_status: int, envelope: Mapping[str, object] | None, body: bytes, now: float
) -> None:
    """Call ``request.observe`` with the shape of a response; an error there is logged and changes nothing.

    Args:
        request: the request that was sent.
        http_status: the response's HTTP status.
        envelope: the parsed body; None if the body is not a JSON object.
        body: the body, of which only its kind is reported if it is not a JSON object.
        now: seconds since 1970.
    """
    if request.observe is None:
        return
    try:
        count = count_items(request)
        request.observe(
            Observation(
                endpoint=request.endpoint.id,
                http_status=http_status,
                status=None if envelope is None else known_status(envelope.get("status")),
                sent=_AMOUNTS[min(count, 2)],
                shape=_kind_of_body(body) if envelope is None else shape_of(envelope),
                facts={} if envelope is None else _facts(request, envelope, now),
            )
        )
    except Exception as error:  # the call may have paid: an error in here must not look like a failed payment
        logger.warning("the shape of a response was not recorded: %s", type(error).__name__)


_AMOUNTS: tuple[Literal["none", "one", "several"], ...] = ("none", "one", "several")


def known_status(value: object) -> int | str | None:
    """Return an envelope's status if the reference lists it, otherwise ``other``; None for an absent status."""
    if value is None or value == "":
        return None
    status = parse_status(value)
    is_known = status is not None and (status in SUCCESS or status_class(status) is not StatusError)
    return status if is_known else "other"


def _kind_of_body(body: bytes) -> str:
    start = body.lstrip()[:1]
    return '"body:empty"' if not start else '"body:html"' if start == b"<" else '"body:other"'


def _facts(request: Request[Any], envelope: Mapping[str, object], now: float) -> dict[str, str]:
    facts: dict[str, str] = {}
    message, data = envelope.get("message"), envelope.get("data")
    if isinstance(message, str) and message.strip() == INVALID_ACCESS:
        facts["message"] = "invalid access"
    if request.endpoint.refresh_token_field and isinstance(data, dict):
        fields = cast("dict[str, object]", data)
        expiry = next((fields[name] for name in _EXPIRY_FIELDS if fields.get(name)), None)
        facts["expiry"] = _expiry_kind(expiry, now)
    return facts


def _expiry_kind(expiry: object, now: float) -> str:
    """Return the form of a key's expiry, derived from the lifetime of a key."""
    if expiry is None:
        return "absent"
    if isinstance(expiry, int | float):
        seconds = parse_unix_time(expiry)
        return "unix" if seconds is not None and now < seconds <= now + _MAX_LIFETIME_SECONDS else "other number"
    expires_at = parse_tehran(expiry)
    if expires_at is None:
        return "other text"
    lifetime = expires_at.timestamp() - now
    if 0 < lifetime <= _MAX_LIFETIME_SECONDS and abs((lifetime + 1800) % 3600 - 1800) < _TOLERANCE_SECONDS:
        return "tehran"  # a whole number of hours
    # In UTC the text of a day's lifetime lies three and a half hours too early.
    is_utc = abs(lifetime + TEHRAN_OFFSET.total_seconds() - 86_400) < _TOLERANCE_SECONDS
    return "utc" if is_utc else "unclear"
