"""Between values and bytes, and nothing else: no socket, no clock, no loop.

The innermost room, and the only one where a secret or a signature is written down: whatever is outside of it
– rings, logs, journals, tracebacks – never holds one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from attrs import field, frozen, has
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from paystar_async.accounts import Accounts, signature
from paystar_async.endpoint import Endpoint, Request, Response
from paystar_async.errors import (
    BY_STATUS,
    BadAnswer,
    Executed,
    InvalidInput,
    InvalidToken,
    ServerFault,
    StatusError,
    http_may_have_executed,
    status_class,
)
from paystar_async.models.base import Call, answer_type, fields_of
from paystar_async.transport import codec
from paystar_async.transport.structure import structure
from paystar_async.values.mask import scrub
from paystar_async.values.secret import Secret
from paystar_async.version import USER_AGENT

T = TypeVar("T")

SUCCESS = frozenset({1, "ok"})
LONGEST, LONGEST_SHOWN = 20_000, 1_000
"""Characters of a server's text that are looked at, and that are kept."""
INVALID_ACCESS = "دسترسی نامعتبر"
"""How an invalid or expired key is also refused, with no code 4 or 5 (WIRE §1, two integrations)."""

_unstructuring = Converter(omit_if_default=True)


@_unstructuring.register_unstructure_hook_factory(has)
def _sent_fields(cls: Any, converter: Converter) -> Any:
    held_back = {one.name: override(omit=True) for one in fields_of(cls) if not one.sent}
    return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True, **cast("dict[str, Any]", held_back))


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


@frozen(kw_only=True)
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
        self._hiding: dict[Secret | None, re.Pattern[str]] = {}

    def url(self, endpoint: Endpoint) -> str:
        """The row's address."""
        return self._base_url + endpoint.path.format(direct=self._accounts.direct)

    def page(self, endpoint: Endpoint, value: Call[Any]) -> str:
        """The address of a page row, its fields in the query."""
        return f"{self.url(endpoint)}?{urlencode(_plain(value))}"

    def encode(self, request: Request[Any]) -> Outgoing:
        """The request as it leaves, with its secrets and its signature."""
        endpoint = request.endpoint
        fields = self._fields(request)
        headers = [("Accept", "application/json"), ("User-Agent", USER_AGENT)]
        if request.key is not None and not endpoint.renews:
            headers.append(("Authorization", f"Bearer {request.key.reveal()}"))
        url = self.url(endpoint)
        if endpoint.method == "GET":
            return Outgoing(method="GET", url=f"{url}?{urlencode(fields)}", headers=tuple(headers), body=None)
        headers.append(("Content-Type", "application/json"))
        return Outgoing(method="POST", url=url, headers=tuple(headers), body=codec.dumps(fields))

    def _fields(self, request: Request[Any]) -> dict[str, object]:
        endpoint, value = request.endpoint, request.value
        who = self._accounts.credentials(endpoint.realm, endpoint.method)
        fields: dict[str, object] = {name: _revealed(one) for name, one in who.items()}
        fields |= _plain(value)
        if endpoint.renews and request.key is not None:
            fields[endpoint.renews] = request.key.reveal()
        sign_key = self._accounts.sign_key(endpoint.realm)
        if endpoint.sign and sign_key is not None and endpoint.method == "POST":
            unsent = {one.name: getattr(value, one.name) for one in fields_of(type(value)) if not one.sent}
            # A signature over a field that was left out would be refused; an inquiry by ref_num alone is unsigned.
            if all(name in fields or name in unsent for name in endpoint.sign):
                fields["sign"] = signature(sign_key, ((fields | unsent)[name] for name in endpoint.sign))
        return fields

    def decode(self, request: Request[T], http_status: int, headers: Mapping[str, str], body: bytes) -> Response[T]:
        """The answer as its type; the envelope is read whatever the HTTP status is.

        Raises:
            StatusError: the envelope says anything but success.
            BadAnswer: there is no envelope, or its data does not fit the row's answer.
        """
        after = _retry_after(headers)
        try:
            envelope = _envelope(body)
            status = _status(envelope)
            message = envelope.get("message")
            text = message if isinstance(message, str) else ""
            if status in SUCCESS:
                return Response(
                    value=structure(answer_type(type(request.value)), envelope.get("data")),
                    status=status,
                    message=self._shown(request, text),
                    http_status=http_status,
                    headers=headers,
                    body=body,
                )
        except BadAnswer as bad:
            path, reason = bad.path, str(bad.args[0]).partition(": ")[2]
        else:
            raise self._refusal(request, status, text, envelope.get("data"), http_status, after)
        raise BadAnswer(path, reason + _ABOUT_HTTP.get(http_status, ""), http_status=http_status, retry_after=after)

    def _refusal(
        self, request: Request[Any], status: int | str, text: str, data: object, http_status: int, after: float | None
    ) -> StatusError:
        endpoint = request.endpoint
        kind = status_class(status)
        if text.strip() == INVALID_ACCESS and kind in (StatusError, ServerFault, InvalidInput):
            kind = InvalidToken  # ours
        executed: Executed | None = "maybe" if http_may_have_executed(http_status) else None
        fields = {self._shown(request, name): [self._shown(request, one) for one in told] for name, told in _told(data)}
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
        pattern = self._hiding.get(request.key)
        if pattern is None:
            if len(self._hiding) > 8:  # keys are renewed; the patterns of old ones are dropped
                self._hiding.clear()
            held = [*self._accounts.secrets(), *([request.key] if request.key is not None else [])]
            pattern = self._hiding[request.key] = _pattern(held)
        return scrub(pattern.sub("***", text[:LONGEST]))[:LONGEST_SHOWN]


_ABOUT_HTTP = {
    401: "; the key was refused by something in front of Paystar",
    403: "; something in front of Paystar refused it: this host's address may not be allowed",
    404: "; nothing lives at this path: does base_url end in /api?",
    429: "; too many requests: call less at once",
}
"""What an HTTP status says for itself where no envelope came with it."""


def _plain(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", _unstructuring.unstructure(value))


def _revealed(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


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
    plain, ascii_alone = codec.dumps(text).decode()[1:-1], json.dumps(text)[1:-1]
    return {plain, ascii_alone, ascii_alone.replace("/", r"\/")}


def _told(data: object) -> list[tuple[str, list[str]]]:
    """What the answer says of single fields: a map field → message or messages."""
    if not isinstance(data, dict):
        return []
    said: list[tuple[str, list[str]]] = []
    for name, told in cast("dict[str, object]", data).items():
        texts = cast("list[object]", told) if isinstance(told, list) else [told]
        said.append((name, [one for one in texts if isinstance(one, str)]))
    return [(name, texts) for name, texts in said if texts]


def _envelope(body: bytes) -> dict[str, object]:
    try:
        value = codec.loads(body)
    except codec.Unreadable as problem:
        reason = str(problem) if body.strip() else "an empty body"
        if body.lstrip()[:1] == b"<":
            reason = "an HTML page"
        raise BadAnswer("$", f"expected a JSON envelope, got {reason}") from None
    if not isinstance(value, dict):
        raise BadAnswer("$", "expected a JSON object")
    return cast("dict[str, object]", value)


def _status(envelope: Mapping[str, object]) -> int | str:
    status = envelope.get("status")
    if isinstance(status, int) and not isinstance(status, bool):
        return status
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
