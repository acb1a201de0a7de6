"""Between values and bytes, and nothing else: no socket, no clock, no loop.

The innermost room, and the only one where a secret or a signature is written down: whatever is outside of it
– rings, logs, journals, tracebacks – never holds one.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar, cast
from urllib.parse import urlencode, urlsplit

from attrs import define, field

from paystar_async.accounts import Accounts
from paystar_async.endpoint import Endpoint, Request, Response, answer
from paystar_async.errors import (
    BY_STATUS,
    BadAnswer,
    Executed,
    ExpiredToken,
    InvalidInput,
    InvalidRefreshToken,
    InvalidToken,
    ServerFault,
    StatusError,
    http_may_have_executed,
    status_class,
)
from paystar_async.models.base import Call, answer_type
from paystar_async.transport import codec
from paystar_async.transport.form import Form, plain
from paystar_async.transport.hiding import Hiding
from paystar_async.transport.structure import structure
from paystar_async.values.secret import Secret

T = TypeVar("T")

MANY = 100
MAX_FIELDS, MAX_MESSAGES = 50, 3
"""Refused fields of an answer that are kept, and messages of each."""
SUCCESS = frozenset({1, "ok"})
# assumed: a refused key is refused before anything is executed, also in a call of several transfers. Any other refusal
# of several may come after some of them were executed.
_KEY_REFUSALS = frozenset({InvalidToken, ExpiredToken, InvalidRefreshToken})
INVALID_ACCESS = "دسترسی نامعتبر"
"""How an invalid or expired key is also refused, with no code 4 or 5 (WIRE §1, two integrations)."""


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


@define  # not frozen: every call makes one, and that would be most of what it costs
class Outgoing:
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
    """

    def __init__(self, accounts: Accounts, base_url: str) -> None:
        self._accounts, self._base_url = accounts, base_url
        self._forms: dict[int, Form] = {}
        self._hiding: dict[Secret | None, Hiding] = {}
        self._latest: tuple[Secret | None, Hiding | None] = None, None  # one tuple: loops in other threads read it too

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
        return request.endpoint.ask is not None and self._count(request) > 1

    def encode(self, request: Request[Any]) -> Outgoing:
        """The request as it leaves, with its secrets and its signature."""
        form = self._form(request.endpoint)
        fields, headers = form.fields(request.value, request.key), form.headers(request.key)
        if form.is_get:
            return Outgoing("GET", f"{form.url}?{urlencode(fields)}", headers, None)
        return Outgoing("POST", form.url, headers, codec.dumps(fields))

    def _form(self, endpoint: Endpoint) -> Form:
        form = self._forms.get(id(endpoint))
        if form is None or form.endpoint is not endpoint:
            form = self._forms[id(endpoint)] = Form(endpoint, self._accounts, self._base_url)
        return form

    def envelope(self, body: bytes) -> dict[str, object] | None:
        """The envelope of an answer, read beforehand: half of the work. None where there is none to be read."""
        try:
            return _envelope(body)
        except BadAnswer:
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
            BadAnswer: there is no envelope, or its data does not fit the row's answer.
        """
        try:
            envelope = _envelope(body) if envelope is None else envelope
            said = envelope.get("status")
            status = said if type(said) is int else _status(envelope)
            message = envelope.get("message")
            text = message if isinstance(message, str) else ""
            if status in SUCCESS:
                value = structure(answer_type(type(request.value)), envelope.get("data"))
                return answer(value, status, self._shown(request, text), http_status, headers, body)
        except BadAnswer as bad:
            path, reason = bad.path, str(bad.args[0]).partition(": ")[2]
        else:
            raise self._refusal(request, status, text, envelope.get("data"), http_status, _retry_after(headers))
        raise BadAnswer(
            path,
            reason + _ABOUT_HTTP.get(http_status, ""),
            http_status=http_status,
            retry_after=_retry_after(headers),
        )

    def _refusal(
        self, request: Request[Any], status: int | str, text: str, data: object, http_status: int, after: float | None
    ) -> StatusError:
        endpoint = request.endpoint
        kind = status_class(status)
        if text.strip() == INVALID_ACCESS and kind in (StatusError, ServerFault, InvalidInput):
            kind = InvalidToken  # assumed
        fields = {self._shown(request, name): [self._shown(request, one) for one in told] for name, told in _told(data)}
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
        key, hiding = self._latest
        if key is not request.key or hiding is None:
            hiding = self._hiding_of(request.key)
            self._latest = request.key, hiding
        return hiding.shown(text)

    def _hiding_of(self, key: Secret | None) -> Hiding:
        hiding = self._hiding.get(key)
        if hiding is None:
            if len(self._hiding) > 8:  # keys are renewed; what hides the old ones is dropped
                self._hiding.clear()
            hiding = self._hiding[key] = Hiding([*self._accounts.secrets(), *([key] if key is not None else [])])
        return hiding


_ABOUT_HTTP = {
    401: "; the key was refused by something in front of Paystar",
    403: "; something in front of Paystar refused it: this host's address may not be allowed",
    404: "; nothing lives at this path: does base_url end in /api?",
    429: "; too many requests: call less at once",
}
"""What an HTTP status says for itself where no envelope came with it."""


def _told(data: object) -> Iterator[tuple[str, list[str]]]:
    """What the answer says of single fields: a map field → message or messages. A server may name a million."""
    if not isinstance(data, dict):
        return
    fields = 0
    for name, told in cast("dict[str, object]", data).items():
        texts = cast("list[object]", told) if isinstance(told, list) else [told]
        messages = list(islice((one for one in texts if isinstance(one, str)), MAX_MESSAGES))
        if messages:
            yield name, messages
            fields += 1
        if fields == MAX_FIELDS:
            return


def _envelope(body: bytes) -> dict[str, object]:
    try:
        value = codec.loads(body)
    except codec.Unreadable as problem:
        reason = str(problem) if body.strip() else "an empty body"
        if body.lstrip()[:1] == b"<":
            reason = "an HTML page"
        raise BadAnswer("$", f"expected a JSON envelope, got {reason}") from None
    if isinstance(value, dict):
        return value  # pyright: ignore[reportUnknownVariableType]
    raise BadAnswer("$", "expected a JSON object")


def _status(envelope: Mapping[str, object]) -> int | str:
    """The status that is no number, or is written as a text."""
    status = envelope.get("status")
    if isinstance(status, str) and status.strip():
        word = status.strip()
        if word.removeprefix("-").isdecimal() and len(word) < 10:
            return int(word)
        return word.lower() if word.lower() in SUCCESS or word.lower() in BY_STATUS else word
    message = envelope.get("message")
    if isinstance(message, str) and message.strip() == INVALID_ACCESS:
        return 4
    raise BadAnswer("$.status", "expected a status, an int or a word")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 8 else None
