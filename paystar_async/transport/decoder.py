"""Decode responses, and hide secrets in texts from the server."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from threading import Lock
from typing import Any, TypeVar, cast, get_args
from urllib.parse import quote, quote_plus

from attrs import has

from paystar_async.credentials import Realm
from paystar_async.endpoint import Request, Safety
from paystar_async.errors import (
    BY_STATUS,
    Executed,
    ExpiredToken,
    InvalidInput,
    InvalidRefreshToken,
    InvalidResponse,
    InvalidToken,
    ServerFault,
    StatusError,
    Unauthenticated,
    http_may_have_executed,
    status_class,
)
from paystar_async.errors.text import visible
from paystar_async.models.base import fields_of, response_type
from paystar_async.models.keys import RefreshData
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock, SystemClock
from paystar_async.transport import json_codec
from paystar_async.transport.encoder import count_items
from paystar_async.transport.refreshed_key import find_refreshed_key, has_key
from paystar_async.transport.refusal import error_message, field_errors
from paystar_async.transport.retry_after import retry_after_seconds
from paystar_async.transport.structuring import structure_response
from paystar_async.values.masking import mask_text
from paystar_async.values.secret import Secret

MAX_TEXT_LENGTH = 4_000
"""Characters of a server's text that are searched for secrets; the rest is dropped."""
MAX_SHOWN_LENGTH = 1_000
"""Characters of a server's text that are shown."""
MAX_KEYS = 16
"""Keys hidden besides the configured secrets: two for each of three realms, and the keys that they replaced."""


class Redactor:
    """Replaces secrets and personal numbers in the texts of a server.

    Args:
        secrets: the configured secrets.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._secrets, self._keys = tuple(secrets), tuple[Secret, ...]()
        self._lock = Lock()
        self._hide(self._secrets)

    def _hide(self, secrets: tuple[Secret, ...]) -> None:
        # A server repeats a few texts, and the expressions take longer than decoding the response. One tuple, since
        # event loops in other threads read the pair: a text that is harmless to one pattern may show a newer key.
        self._pattern_and_harmless = _pattern(secrets), set[str]()
        self._hidden = frozenset(secrets)  # last: ``add`` reads this set in other threads

    def add(self, key: Secret) -> None:
        """Hide a key that is in use; only the last ``MAX_KEYS`` keys stay hidden."""
        if key in self._hidden:
            return
        with self._lock:
            self._keys = (*self._keys, key)[-MAX_KEYS:]
            self._hide((*self._secrets, *self._keys))

    def redact(self, text: str) -> str:
        """Return the text without secrets and personal numbers, at most ``MAX_SHOWN_LENGTH`` characters."""
        pattern, harmless = self._pattern_and_harmless
        if text in harmless:
            return text
        # Twice: a secret that holds an invisible mark is found before marks are removed, a secret into which a mark was
        # inserted is found after.
        visible_text = visible(pattern.sub("***", text[:MAX_TEXT_LENGTH]))
        redacted = mask_text(pattern.sub("***", visible_text))[:MAX_SHOWN_LENGTH]
        if redacted == text and len(text) < 100 and len(harmless) < 100:
            harmless.add(text)
        return redacted


def _pattern(secrets: Iterable[Secret]) -> re.Pattern[str]:
    """Return the pattern of secrets as plain text, in a query string and in JSON, and of any signature."""
    forms: set[str] = set()
    for text in (secret.reveal() for secret in secrets):
        forms |= {text, quote(text), quote(text, safe=""), quote_plus(text), quote_plus(text, safe="/")}
        escaped = _json_escapes(text)
        forms |= escaped.union(*map(_json_escapes, escaped))  # a body that is quoted in a JSON text is escaped twice
    # The longest first: a secret may be the beginning of another.
    alternatives = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(f"[0-9a-f]{{128}}|{alternatives}" if alternatives else "[0-9a-f]{128}", re.IGNORECASE)


def _json_escapes(text: str) -> set[str]:
    """Return the text as JSON strings spell it: in UTF-8, in ASCII, and with PHP's escaped slashes."""
    utf_8, ascii_only = json_codec.dumps(text).decode()[1:-1], json.dumps(text)[1:-1]
    return {utf_8, ascii_only, ascii_only.replace("/", r"\/")}


T = TypeVar("T")

SUCCESS = frozenset({1, "ok"})
# assumed (key-refused-first): Paystar checks the key before it executes anything, also in a request with several
# transfers. Any other refusal of such a request may come after some transfers were executed.
_KEY_REFUSALS = frozenset({InvalidToken, ExpiredToken, InvalidRefreshToken})
INVALID_ACCESS = "دسترسی نامعتبر"
"""A message that also means an invalid or expired key, without code 4 or 5 (seen in two integrations)."""


class ResponseDecoder:
    """Decodes responses; its errors and texts show no secret.

    Args:
        secrets: the client's secrets; a request's key is hidden too.
        clock: the time, for a ``Retry-After`` header that is a date.
    """

    def __init__(self, secrets: Iterable[Secret], clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._redactor = Redactor(secrets)

    def envelope(self, body: bytes) -> dict[str, object] | None:
        """Return the envelope of a response, half of the work of ``decode``; None if the body is not an envelope."""
        try:
            return _envelope(body)
        except InvalidResponse:
            return None

    def decode(
        self,
        request: Request[T],
        http_status: int,
        headers: Mapping[str, str],
        body: bytes,
        envelope: dict[str, object] | None = None,
    ) -> Response[T]:
        """Return the response as the endpoint's type; the envelope is read whatever the HTTP status is.

        Args:
            request: the request that was sent.
            http_status: the response's HTTP status.
            headers: the response's headers, names in lower case.
            body: the response's body.
            envelope: the result of ``envelope(body)``, if it was called before.

        Raises:
            StatusError: the envelope has a status other than success.
            InvalidResponse: the body is not an envelope, or its data does not fit the endpoint's response type.
        """
        try:
            envelope = (
                _envelope(body, refuses_key=_refuses_key(request, http_status, body)) if envelope is None else envelope
            )
            status = _status(envelope, http_status)
            if status in SUCCESS:
                data, message = envelope.get("data"), envelope.get("message")
                if request.endpoint.refresh_token_field and not has_key(data):
                    data = find_refreshed_key(body) or data
                return Response(
                    value=structure_response(response_type(type(request.value)), data),
                    status=status,
                    message=self._redact(request, message) if isinstance(message, str) else "",
                    http_status=http_status,
                    headers=headers,
                    body=body,
                )
        except InvalidResponse as error:
            if request.endpoint.refresh_token_field and (fields := find_refreshed_key(body)):
                value: Any = RefreshData(extra=fields)
                return Response(value=value, status=1, message="", http_status=http_status, headers=headers, body=body)
            path, reason = error.path, str(error.args[0]).partition(": ")[2]
        else:
            retry_after = retry_after_seconds(headers, self._clock.time())
            raise self._status_error(request, status, envelope, http_status, retry_after)
        raise InvalidResponse(
            path,
            reason + _ABOUT_HTTP.get(http_status, ""),
            http_status=http_status,
            retry_after=retry_after_seconds(headers, self._clock.time()),
        )

    def _status_error(
        self,
        request: Request[Any],
        status: int | str,
        envelope: Mapping[str, object],
        http_status: int,
        retry_after: float | None,
    ) -> StatusError:
        endpoint = request.endpoint
        error_class, message = status_class(status), error_message(envelope)
        if message.strip() == INVALID_ACCESS and error_class in (StatusError, ServerFault, InvalidInput):
            error_class = InvalidToken  # assumed (invalid-access-status)
        elif http_status == 401 and error_class is StatusError:
            # assumed (key-refused-first), from RFC 9110 §15.5.2: a request whose response is 401 has not been applied.
            error_class = Unauthenticated if endpoint.realm is Realm.GATEWAY else InvalidToken
        if status == http_status:
            message = (message + _ABOUT_HTTP.get(http_status, "")).removeprefix("; ")
        fields = {
            self._redact(request, name): [self._redact(request, text) for text in texts]
            for name, texts in field_errors(envelope, _data_names(request)).items()
        }
        is_key_refusal = error_class in _KEY_REFUSALS and not fields
        executed: Executed | None = None
        if (
            http_may_have_executed(http_status)
            or (_sends_several_transfers(request) and not is_key_refusal)
            or _reports_transfer(request, envelope.get("data"))
        ):
            executed = "maybe"
        return error_class(
            status if isinstance(status, int) and abs(status) < 10**9 else self._redact(request, str(status))[:40],
            self._redact(request, message),
            endpoint=endpoint.id,
            fields=fields,
            http_status=http_status,
            retry_after=retry_after,
            executed=executed,
        )

    def _redact(self, request: Request[Any], text: str) -> str:
        """Return a server's text without secrets; a server that echoes its input puts them there."""
        if request.key is not None:
            self._redactor.add(request.key)
        return self._redactor.redact(text)


@cache
def _names_of(kind: Any) -> frozenset[str]:
    item = next((part for part in (kind, *get_args(kind)) if has(part)), None)
    return frozenset() if item is None else frozenset(info.name for info in fields_of(item))


def _data_names(request: Request[Any]) -> frozenset[str] | None:
    """Return the names under which a successful response to the request has data; None for any, as a key may be."""
    if request.endpoint.refresh_token_field:
        return None
    return _names_of(response_type(type(request.value)))


def _sends_several_transfers(request: Request[Any]) -> bool:
    """Return True if the request moves money for several transfers at once."""
    return request.endpoint.lookup is not None and count_items(request) > 1


def _reports_transfer(request: Request[Any], data: object) -> bool:
    """Return True if the data of a refusal contradicts the refusal: it reports a transfer that did not fail."""
    if request.endpoint.lookup is None:
        return False
    entries: list[Settlement] = []
    with suppress(InvalidResponse):
        entries = structure_response(list[Settlement], data)
    if any(entry.status != TransferStatus.FAILED and (entry.hashid or entry.track_id) for entry in entries):
        return True
    return isinstance(data, dict) and bool(cast("dict[str, object]", data).get("created_settlements"))


_ABOUT_HTTP = {
    401: "; the key was refused by something in front of Paystar",
    403: "; something in front of Paystar refused the request: this host's address may not be allowed",
    404: "; nothing was found at this path: does base_url end in /api?",
    429: "; too many requests: send fewer at once",
}
"""The likely cause of an HTTP status that came without an envelope."""


def _refuses_key(request: Request[Any], http_status: int, body: bytes) -> bool:
    """Return True for HTTP 401, which refuses the key whatever its body is.

    A call that moves money is sent again with another key, so there the body must not look like an envelope.
    """
    if http_status != 401:
        return False
    return request.endpoint.safety is Safety.READ or body.strip() == b"[]" or body.lstrip()[:1] not in (b"{", b"[")


def _envelope(body: bytes, *, refuses_key: bool = False) -> dict[str, object]:
    """Return the envelope; an empty dict for an unreadable body if the response ``refuses_key`` anyway."""
    try:
        value = json_codec.loads(body)
    except json_codec.InvalidJSON as error:
        if refuses_key:
            return {}
        reason = str(error) if body.strip() else "an empty body"
        if body.lstrip()[:1] == b"<":
            reason = "an HTML page"
        raise InvalidResponse("$", f"expected a JSON envelope, got {reason}") from None
    if isinstance(value, dict):
        return value  # pyright: ignore[reportUnknownVariableType]
    if refuses_key:
        return {}
    raise InvalidResponse("$", "expected a JSON object")


def parse_status(value: object) -> int | str | None:
    """Return an envelope's status, known words in lower case; None for a value that is not a status."""
    if type(value) is int and -(2**63) <= value < 2**64:
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.removeprefix("-").isdecimal() and len(text) < 10:
        return int(text)
    return text.lower() if text.lower() in SUCCESS or text.lower() in BY_STATUS else text or None


def _status(envelope: Mapping[str, object], http_status: int) -> int | str:
    """Return the status of an envelope, or the HTTP status of a refusal without an envelope status."""
    value = envelope.get("status")
    status = parse_status(value)
    if status is not None:
        return status
    message = envelope.get("message")
    if isinstance(message, str) and message.strip() == INVALID_ACCESS:
        return 4
    is_absent = value is None or isinstance(value, str)
    if is_absent and (http_status == 401 or (400 <= http_status < 500 and error_message(envelope))):
        return http_status
    raise InvalidResponse("$.status", "expected a status, an int or a word")
