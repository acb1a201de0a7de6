"""Everything that can go wrong, on tap: per endpoint, by chance or for so many times."""

import random
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, cast

from attrs import define, field, frozen

from paystar_async.endpoint import Endpoint, Realm
from paystar_async.errors import ConfigurationError
from paystar_async.sandbox.authentication import refused_key
from paystar_async.sandbox.responses import Refusal, Reply, json_reply
from paystar_async.sandbox.settings import MAX_SECONDS, Settings, is_number
from paystar_async.table import BY_ID


class FaultKind(StrEnum):
    """What can go wrong. ``doc`` says how each shows itself."""

    doc: str

    def __new__(cls, value: str, doc: str) -> "FaultKind":  # noqa: D102
        member = str.__new__(cls, value)
        member._value_, member.doc = value, doc
        return member

    REFUSED = "refused", "no connection: in process the request provably never leaves; on a server like reset_before"
    LATENCY = "latency", "the call is carried out, and answered, so many seconds late – even when nobody waits any more"
    RESET_BEFORE = "reset_before", "the connection breaks before the call is carried out"
    RESET_AFTER = "reset_after", "the call is carried out, then the connection breaks"
    SERVER_ERROR = "server_error", "HTTP 500, with an envelope of status 0 or without any"
    HTML = "html", "HTTP 502 with an HTML page of the proxy in front"
    TRUNCATED = "truncated", "the call is carried out, and half of the answer's JSON arrives"
    UNAVAILABLE = "unavailable", "HTTP 503 with Retry-After"
    TOO_MANY = "too_many", "HTTP 429 with Retry-After"
    STATUS = "status", "a refusal with any status"
    STATUS_0 = "status_0", "status 0, internal server error"
    STATUS_11 = "status_11", "status 11, the bank behind fails"
    EXPIRED_KEY = "expired_key", "the key is refused, in the realm's own words"
    IP = "ip", "status 7, the address is not on the whitelist"
    FUNDS = "funds", "status 9, insufficient balance"
    ALREADY_VERIFIED = "already_verified", "status -6, verified before"
    HTTP_200 = "http_200", "refusals come with HTTP 200"
    HTTP_400 = "http_400", "refusals come with HTTP 400"


KINDS: Mapping[str, FaultKind] = {str(kind): kind for kind in FaultKind}
"""Every kind by its name."""

_STATUS = {
    FaultKind.STATUS_0: 0,
    FaultKind.STATUS_11: 11,
    FaultKind.IP: 7,
    FaultKind.FUNDS: 9,
    FaultKind.ALREADY_VERIFIED: -6,
}
_STYLES = {FaultKind.HTTP_200: 200, FaultKind.HTTP_400: 400}
_AFTER = frozenset({FaultKind.RESET_AFTER, FaultKind.TRUNCATED})
_ASPECTS = {FaultKind.LATENCY: "latency", **dict.fromkeys(_STYLES, "style")}
_CALLS = tuple(row.id for row in BY_ID.values() if row.kind == "call")


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


MAX, MAX_WORD, MAX_FAULTS = 1_000_000, 100, 1000
"""The largest whole number of a fault, the longest word of a status, and how many faults may be ordered."""

_WANTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda value: isinstance(value, FaultKind), f"one of {', '.join(KINDS)}"),
    "endpoint": (lambda value: value is None or value in _CALLS, f"one of {', '.join(_CALLS)}, or None for all"),
    "rate": (lambda value: is_number(value) and value <= 1, "a number from 0 to 1"),
    "times": (
        lambda value: value is None or (_is_whole(value) and 0 <= value <= MAX),
        f"a whole number up to {MAX}, or None for ever",
    ),
    "seconds": (is_number, f"a number from 0 to {MAX_SECONDS}"),
    "executed": (_is_flag, "true or false"),
    "status": (
        lambda value: len(value) <= MAX_WORD if isinstance(value, str) else _is_whole(value) and -MAX <= value <= MAX,
        f"a whole number up to {MAX} or a word of {MAX_WORD} characters",
    ),
    "envelope": (_is_flag, "true or false"),
}
"""What each attribute of a fault must be, and how that is said."""


def _kind(name: Any) -> Any:
    # What is no kind stays what it is, and is refused with the rest.
    return KINDS.get(name, cast("Any", name)) if isinstance(name, str) else name


@define(kw_only=True)
class Fault:
    """A fault that was ordered.

    Attributes:
        kind: what goes wrong.
        endpoint: the row it goes wrong at (``transfers.settle``); None for all.
        rate: for which part of the calls, 0 to 1.
        times: how often; None for ever.
        seconds: how late (latency), or what Retry-After says (unavailable, too_many).
        executed: whether the call is carried out all the same, before anything goes wrong.
        status: the status of ``status``.
        envelope: whether ``server_error`` comes with an envelope.
    """

    kind: FaultKind = field(converter=_kind)
    endpoint: str | None = None
    rate: float = 1.0
    times: int | None = None
    seconds: float = 1.0
    executed: bool = False
    status: int | str = 0
    envelope: bool = True

    def __attrs_post_init__(self) -> None:
        for name, (fits, wanted) in _WANTED.items():
            value = getattr(self, name)
            if not fits(value):
                raise ConfigurationError(f"a fault's {name} cannot be {value!r:.60}", hint=wanted)


@frozen
class Plan:
    """What goes wrong with one call: it comes late, it is refused in a certain style, and one thing more."""

    latency: Fault | None = None
    style: Fault | None = None
    fault: Fault | None = None

    @property
    def failure_http(self) -> int | None:
        """The HTTP status refusals come with, where a fault says so."""
        return _STYLES[self.style.kind] if self.style else None

    @property
    def executes(self) -> bool:
        """Whether the call is carried out."""
        return self.fault is None or self.fault.executed or self.fault.kind in _AFTER

    @property
    def refuses(self) -> bool:
        """Return True if the answer is a refusal as Paystar words it, after which part may have been carried out."""
        return self.fault is not None and (self.fault.kind in _STATUS or self.fault.kind is FaultKind.STATUS)

    @property
    def drops(self) -> bool:
        """Whether no answer comes back."""
        return self.fault is not None and self.fault.kind in (FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER)

    def spoil(self, row: Endpoint, reply: Reply | None, settings: Settings) -> Reply:
        """The answer that is sent instead of the right one; ``reply`` is that one, if the call was carried out."""
        if self.fault is None or self.fault.kind is FaultKind.TRUNCATED:
            if reply is None:
                raise TypeError("a call that is carried out has an answer")
            return reply if self.fault is None else Reply(body=reply.body[: len(reply.body) // 2], http=reply.http)
        return _answer(self.fault, row, settings, self.failure_http)


def _answer(fault: Fault, row: Endpoint, settings: Settings, failure_http: int | None) -> Reply:
    retry_after = {"retry-after": f"{fault.seconds:.0f}"}
    match fault.kind:
        case FaultKind.SERVER_ERROR if fault.envelope:
            return Refusal(0).reply(settings, 500)
        case FaultKind.SERVER_ERROR:
            return Reply(body=b"Internal Server Error", http=500, media="text/plain")
        case FaultKind.HTML:
            return Reply(body=b"<html><body><h1>502 Bad Gateway</h1></body></html>", http=502, media="text/html")
        case FaultKind.UNAVAILABLE:
            page = b"<html><body><h1>503 Service Unavailable</h1></body></html>"
            return Reply(body=page, http=503, media="text/html", headers=retry_after)
        case FaultKind.TOO_MANY:
            limited = json_reply({"message": "Too Many Attempts."}, http=429)
            return Reply(body=limited.body, http=429, headers=retry_after)
        case FaultKind.EXPIRED_KEY:
            return _expired(row, settings).reply(settings, failure_http)
        case kind:
            return Refusal(_STATUS.get(kind, fault.status)).reply(settings, failure_http)


def _expired(row: Endpoint, settings: Settings) -> Refusal:
    return Refusal("unauthenticated") if row.realm is Realm.GATEWAY else refused_key(settings, expired=True)


@define
class Faults:
    """The faults that were ordered, and the dice that decide whom they hit."""

    dice: random.Random
    ordered: list[Fault] = field(factory=list[Fault])

    def order(self, fault: Fault) -> None:
        """Let it go wrong from now on.

        Raises:
            ConfigurationError: ``MAX_FAULTS`` are still to come.
        """
        if len(self.ordered) >= MAX_FAULTS:
            raise ConfigurationError(f"{MAX_FAULTS} faults are still to come", hint="clear some first")
        if fault.times != 0:
            self.ordered.append(fault)

    def clear(self, endpoint: str | None = None, kind: FaultKind | None = None) -> None:
        """Let nothing go wrong any more, or not this: what is None names all."""
        self.ordered[:] = [
            fault for fault in self.ordered if endpoint not in (None, fault.endpoint) or kind not in (None, fault.kind)
        ]

    def refuses(self, row: Endpoint) -> bool:
        """Whether this call finds no connection; asked before anything is sent."""
        return any(fault.kind is FaultKind.REFUSED and self._hits(fault, row) for fault in list(self.ordered))

    def draw(self, row: Endpoint) -> Plan:
        """What goes wrong with this call, once there is a connection."""
        drawn: dict[str, Fault] = {}
        for fault in list(self.ordered):
            aspect = _ASPECTS.get(fault.kind, "fault")
            if aspect not in drawn and fault.kind is not FaultKind.REFUSED and self._hits(fault, row):
                drawn[aspect] = fault
        return Plan(drawn.get("latency"), drawn.get("style"), drawn.get("fault"))

    def _hits(self, fault: Fault, row: Endpoint) -> bool:
        if fault.endpoint not in (None, row.id):
            return False
        if fault.rate < 1 and self.dice.random() >= fault.rate:
            return False
        if fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                self.ordered.remove(fault)
        return True
