"""Between values and bytes, and nothing else: no socket, no clock, no loop.

The innermost room, and the only one where a secret or a signature is written down: whatever is outside of it
– rings, logs, journals, tracebacks – never holds one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from attrs import define, field

from paystar_async.credentials import Credentials, Realm
from paystar_async.endpoint import Endpoint, Request, Response
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
from paystar_async.models.base import Call, answer_type
from paystar_async.runtime.clock import Clock, SystemClock
from paystar_async.transport import json_codec
from paystar_async.transport.encoder import RequestTemplate, plain
from paystar_async.transport.refusal import fields_of, message_of
from paystar_async.transport.retry_after import retry_after_seconds
from paystar_async.transport.structuring import structure_response
from paystar_async.values.masking import mask_text
from paystar_async.values.secret import Secret

LONGEST, LONGEST_SHOWN = 4_000, 1_000
"""Characters of a server's text that are looked at, and that are kept."""
MAX_KEYS = 16
"""Keys hidden beside the configured secrets: two for each of three realms, and those that they replaced."""


class Redactor:
    """Hides secrets and personal numbers in what a server says.

    Args:
        secrets: what no text may show.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._secrets, self._keys = tuple(secrets), tuple[Secret, ...]()
        self._lock = Lock()
        self._hide(self._secrets)

    def _hide(self, secrets: tuple[Secret, ...]) -> None:
        # A server says the same few things all day, and the expressions take longer than reading the response. One
        # tuple, since loops in other threads read it: a text that one pattern leaves alone may show a newer key.
        self._pattern_and_harmless = _pattern(secrets), set[str]()
        self._hidden = frozenset(secrets)  # last: ``add`` trusts it in other threads

    def add(self, key: Secret) -> None:
        """Hide a key in use, too; of the keys added, the last ``MAX_KEYS`` are hidden."""
        if key in self._hidden:
            return
        with self._lock:
            self._keys = (*self._keys, key)[-MAX_KEYS:]
            self._hide((*self._secrets, *self._keys))

    def shown(self, text: str) -> str:
        """Return the text without them, cut to a length one can read."""
        pattern, harmless = self._pattern_and_harmless
        if text in harmless:
            return text
        # Twice: a secret that holds an invisible mark is found as it is, one that a mark was put into without it.
        cut = visible(pattern.sub("***", text[:LONGEST]))
        shown = mask_text(pattern.sub("***", cut))[:LONGEST_SHOWN]
        if shown == text and len(text) < 100 and len(harmless) < 100:
            harmless.add(text)
        return shown


def _pattern(secrets: Iterable[Secret]) -> re.Pattern[str]:
    """What finds secrets in a text, as they stand, in a query string and in JSON; and every signature."""
    forms: set[str] = set()
    for text in (one.reveal() for one in secrets):
        forms |= {text, quote(text), quote(text, safe=""), quote_plus(text), quote_plus(text, safe="/")}
        once = _escaped(text)
        forms |= once.union(*map(_escaped, once))  # a body that is quoted in a JSON text is escaped twice
    # The longest first: one secret may be the beginning of another.
    known = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(f"[0-9a-f]{{128}}|{known}" if known else "[0-9a-f]{128}", re.IGNORECASE)


def _escaped(text: str) -> set[str]:
    plain, ascii_alone = json_codec.dumps(text).decode()[1:-1], json.dumps(text)[1:-1]
    return {plain, ascii_alone, ascii_alone.replace("/", r"\/")}


T = TypeVar("T")

MANY = 100
SUCCESS = frozenset({1, "ok"})
# assumed: a refused key is refused before anything is executed, also in a call of several transfers. Any other refusal
# of several may come after some of them were executed.
_KEY_REFUSALS = frozenset({InvalidToken, ExpiredToken, InvalidRefreshToken})
INVALID_ACCESS = "دسترسی نامعتبر"
"""How an invalid or expired key is also refused, with no code 4 or 5 (WIRE §1, two integrations)."""


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


@define  # not frozen: every call makes one, and that would be most of what it costs
class EncodedRequest:
    """A request as it leaves; shows itself without query, headers and body, which hold secrets."""

    method: str
    url: str = field(repr=_without_query)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(repr=False)


class Wire:
    """Writes requests and reads answers for one set of accounts.

    Args:
        accounts: who asks, and with which secrets.
        base_url: where the paths begin.
        clock: what time it is, for a ``Retry-After`` that is a date.
    """

    def __init__(self, accounts: Credentials, base_url: str, clock: Clock | None = None) -> None:
        self._accounts, self._base_url, self._clock = accounts, base_url, clock or SystemClock()
        self._forms: dict[int, RequestTemplate] = {}
        self._hiding = Redactor(accounts.secrets())

    def page(self, endpoint: Endpoint, value: Call[Any]) -> str:
        """The address of a page row, its fields in the query."""
        return f"{self._form(endpoint).url}?{urlencode(plain(value))}"

    def is_long(self, request: Request[Any]) -> bool:
        """Whether it takes a good part of a millisecond to write."""
        return self._count(request) > MANY

    def _count(self, request: Request[Any]) -> int:
        """Return how many models the request's list field holds; 0 without such a field."""
        name = self._form(request.endpoint).several
        return 0 if name is None else len(getattr(request.value, name) or ())

    def _sends_several(self, request: Request[Any]) -> bool:
        """Return True if the request moves money for several transfers at once."""
        return request.endpoint.lookup is not None and self._count(request) > 1

    def encode(self, request: Request[Any]) -> EncodedRequest:
        """The request as it leaves, with its secrets and its signature."""
        form = self._form(request.endpoint)
        fields, headers = form.fields(request.value, request.key), form.headers(request.key)
        if form.is_get:
            return EncodedRequest("GET", f"{form.url}?{urlencode(fields)}", headers, None)
        return EncodedRequest("POST", form.url, headers, json_codec.dumps(fields))

    def _form(self, endpoint: Endpoint) -> RequestTemplate:
        form = self._forms.get(id(endpoint))
        if form is None or form.endpoint is not endpoint:
            form = self._forms[id(endpoint)] = RequestTemplate(endpoint, self._accounts, self._base_url)
        return form

    def envelope(self, body: bytes) -> dict[str, object] | None:
        """The envelope of an answer, read beforehand: half of the work. None where there is none to be read."""
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
        """The answer as its type; the envelope is read whatever the HTTP status is.

        Raises:
            StatusError: the envelope says anything but success.
            InvalidResponse: there is no envelope, or its data does not fit the row's answer.
        """
        try:
            envelope = _envelope(body, http_status) if envelope is None else envelope
            status = _status(envelope, http_status)
            if status in SUCCESS:
                value = structure_response(answer_type(type(request.value)), envelope.get("data"))
                message = envelope.get("message")
                return Response(
                    value=value,
                    status=status,
                    message=self._shown(request, message) if isinstance(message, str) else "",
                    http_status=http_status,
                    headers=headers,
                    body=body,
                )
        except InvalidResponse as bad:
            path, reason = bad.path, str(bad.args[0]).partition(": ")[2]
        else:
            retry_after = retry_after_seconds(headers, self._clock.time())
            raise self._refusal(request, status, envelope, http_status, retry_after)
        raise InvalidResponse(
            path,
            reason + _ABOUT_HTTP.get(http_status, ""),
            http_status=http_status,
            retry_after=retry_after_seconds(headers, self._clock.time()),
        )

    def _refusal(
        self,
        request: Request[Any],
        status: int | str,
        envelope: Mapping[str, object],
        http_status: int,
        after: float | None,
    ) -> StatusError:
        endpoint = request.endpoint
        kind, text = status_class(status), message_of(envelope)
        if text.strip() == INVALID_ACCESS and kind in (StatusError, ServerFault, InvalidInput):
            kind = InvalidToken  # assumed
        elif http_status == 401 and kind is StatusError:
            # assumed, as RFC 9110 §15.5.2 has it: a request that is answered with 401 has not been applied.
            kind = Unauthenticated if endpoint.realm is Realm.GATEWAY else InvalidToken
        if status == http_status:
            text = (text + _ABOUT_HTTP.get(http_status, "")).removeprefix("; ")
        fields = {
            self._shown(request, name): [self._shown(request, text) for text in texts]
            for name, texts in fields_of(envelope).items()
        }
        is_key_refusal = kind in _KEY_REFUSALS and not fields
        executed: Executed | None = None
        if http_may_have_executed(http_status) or (self._sends_several(request) and not is_key_refusal):
            executed = "maybe"
        return kind(
            status if isinstance(status, int) else self._shown(request, status)[:40],
            self._shown(request, text),
            endpoint=endpoint.id,
            fields=fields,
            http_status=http_status,
            retry_after=after,
            executed=executed,
        )

    def _shown(self, request: Request[Any], text: str) -> str:
        """A text of the server's without our secrets, which a server that echoes its input puts into it."""
        if request.key is not None:
            self._hiding.add(request.key)
        return self._hiding.shown(text)


_ABOUT_HTTP = {
    401: "; the key was refused by something in front of Paystar",
    403: "; something in front of Paystar refused it: this host's address may not be allowed",
    404: "; nothing lives at this path: does base_url end in /api?",
    429: "; too many requests: call less at once",
}
"""What an HTTP status says for itself where no envelope came with it."""


def _envelope(body: bytes, http_status: int = 200) -> dict[str, object]:
    """Return the envelope; an empty one for a 401, which is a refusal of the key whatever its body is."""
    try:
        value = json_codec.loads(body)
    except json_codec.InvalidJSON as problem:
        if http_status == 401:
            return {}
        reason = str(problem) if body.strip() else "an empty body"
        if body.lstrip()[:1] == b"<":
            reason = "an HTML page"
        raise InvalidResponse("$", f"expected a JSON envelope, got {reason}") from None
    if isinstance(value, dict):
        return value  # pyright: ignore[reportUnknownVariableType]
    if http_status == 401:
        return {}
    raise InvalidResponse("$", "expected a JSON object")


def _status(envelope: Mapping[str, object], http_status: int) -> int | str:
    """Return the status of an envelope, or the HTTP status of a refusal that has none of its own."""
    status = envelope.get("status")
    if type(status) is int and -(2**63) <= status < 2**64:
        return status
    if isinstance(status, str) and status.strip():
        word = status.strip()
        if word.removeprefix("-").isdecimal() and len(word) < 10:
            return int(word)
        return word.lower() if word.lower() in SUCCESS or word.lower() in BY_STATUS else word
    message = envelope.get("message")
    if isinstance(message, str) and message.strip() == INVALID_ACCESS:
        return 4
    is_absent = status is None or isinstance(status, str)
    if is_absent and (http_status == 401 or (400 <= http_status < 500 and message_of(envelope))):
        return http_status
    raise InvalidResponse("$.status", "expected a status, an int or a word")
