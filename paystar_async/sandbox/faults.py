"""Fault injection: faults per endpoint, by probability or for a number of calls."""

import random
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, cast

from attrs import define, field, frozen

from paystar_async.credentials import Realm
from paystar_async.endpoint import Endpoint
from paystar_async.errors import ConfigurationError
from paystar_async.sandbox.authentication import key_refusal
from paystar_async.sandbox.responses import Refusal, SandboxResponse, json_response
from paystar_async.sandbox.settings import MAX_SECONDS, Settings, is_flag, is_number
from paystar_async.table import BY_ID
from paystar_async.values.field_type import short_repr


class FaultKind(StrEnum):
    """A kind of fault. ``doc`` describes its effect."""

    doc: str

    def __new__(cls, value: str, doc: str) -> "FaultKind":  # noqa: D102
        member = str.__new__(cls, value)
        member._value_, member.doc = value, doc
        return member

    REFUSED = "refused", "no connection: in process the request is provably not sent; on a server like reset_before"
    LATENCY = "latency", "the call is executed and its response sent after a delay, even if the client stops waiting"
    RESET_BEFORE = "reset_before", "the connection breaks before the call is executed"
    RESET_AFTER = "reset_after", "the call is executed, then the connection breaks"
    SERVER_ERROR = "server_error", "HTTP 500, with an envelope of status 0 or without an envelope"
    HTML = "html", "HTTP 502 with an HTML page of a proxy"
    TRUNCATED = "truncated", "the call is executed, and half of the response's JSON arrives"
    UNAVAILABLE = "unavailable", "HTTP 503 with Retry-After"
    TOO_MANY = "too_many", "HTTP 429 with Retry-After"
    STATUS = "status", "a refusal with any status"
    STATUS_0 = "status_0", "status 0, internal server error"
    STATUS_11 = "status_11", "status 11, the bank behind Paystar fails"
    EXPIRED_KEY = "expired_key", "the key is refused, with the message of its realm"
    IP = "ip", "status 7, the address is not on the whitelist"
    FUNDS = "funds", "status 9, insufficient balance"
    ALREADY_VERIFIED = "already_verified", "status -6, verified before"
    HTTP_200 = "http_200", "refusals are sent with HTTP 200"
    HTTP_400 = "http_400", "refusals are sent with HTTP 400"


KINDS: Mapping[str, FaultKind] = {str(kind): kind for kind in FaultKind}
"""Name → kind."""

_REFUSAL_STATUS = {
    FaultKind.STATUS_0: 0,
    FaultKind.STATUS_11: 11,
    FaultKind.IP: 7,
    FaultKind.FUNDS: 9,
    FaultKind.ALREADY_VERIFIED: -6,
}
_REFUSAL_HTTP_STATUS = {FaultKind.HTTP_200: 200, FaultKind.HTTP_400: 400}
_EXECUTED_KINDS = frozenset({FaultKind.RESET_AFTER, FaultKind.TRUNCATED})
_ASPECTS = {FaultKind.LATENCY: "latency", **dict.fromkeys(_REFUSAL_HTTP_STATUS, "http_status")}
"""Kind → the aspect of a call it changes; any other kind is the call's ``failure``."""
_CALLS = tuple(endpoint.id for endpoint in BY_ID.values() if endpoint.kind == "call")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


MAX_NUMBER, MAX_STATUS_CHARACTERS, MAX_FAULTS = 1_000_000, 100, 1000
"""Limits: an integer of a fault, the characters of a text status, the number of active faults."""

_VALIDATORS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda value: isinstance(value, FaultKind), f"one of {', '.join(KINDS)}"),
    "endpoint": (lambda value: value is None or value in _CALLS, f"one of {', '.join(_CALLS)}, or None for all"),
    "rate": (lambda value: is_number(value) and value <= 1, "a number from 0 to 1"),
    "times": (
        lambda value: value is None or (_is_integer(value) and 0 <= value <= MAX_NUMBER),
        f"an integer up to {MAX_NUMBER}, or None for no limit",
    ),
    "seconds": (is_number, f"a number from 0 to {MAX_SECONDS}"),
    "executed": (is_flag, "true or false"),
    "status": (
        lambda value: (
            len(value) <= MAX_STATUS_CHARACTERS
            if isinstance(value, str)
            else _is_integer(value) and -MAX_NUMBER <= value <= MAX_NUMBER
        ),
        f"an integer up to {MAX_NUMBER} or a text of up to {MAX_STATUS_CHARACTERS} characters",
    ),
    "envelope": (is_flag, "true or false"),
}
"""Attribute of a fault → its check, and the allowed values for the error message."""


def _to_kind(name: Any) -> Any:
    # An unknown name is returned unchanged: the validators report it.
    return KINDS.get(name, cast("Any", name)) if isinstance(name, str) else name


@define(kw_only=True)
class Fault:
    """An active fault.

    Attributes:
        kind: kind of fault.
        endpoint: id of the affected endpoint (``transfers.settle``); None for all.
        rate: share of the calls that are affected, 0 to 1.
        times: number of calls still to affect; None for no limit.
        seconds: delay (latency), or the value of Retry-After (unavailable, too_many).
        executed: whether the call is executed before the fault.
        status: status of kind ``status``.
        envelope: whether ``server_error`` has an envelope.
    """

    kind: FaultKind = field(converter=_to_kind)
    endpoint: str | None = None
    rate: float = 1.0
    times: int | None = None
    seconds: float = 1.0
    executed: bool = False
    status: int | str = 0
    envelope: bool = True

    def __attrs_post_init__(self) -> None:
        for name, (is_allowed, expected) in _VALIDATORS.items():
            value = getattr(self, name)
            if not is_allowed(value):
                raise ConfigurationError(f"a fault's {name} cannot be {short_repr(value)}", hint=expected)


@frozen
class FaultPlan:
    """The faults of one call: at most a latency, an HTTP status for refusals, and a failure."""

    latency: Fault | None = None
    http_status: Fault | None = None
    failure: Fault | None = None

    @property
    def failure_http(self) -> int | None:
        """HTTP status of refusals, if a fault sets it."""
        return _REFUSAL_HTTP_STATUS[self.http_status.kind] if self.http_status else None

    @property
    def executes_call(self) -> bool:
        """True if the call is executed."""
        return self.failure is None or self.failure.executed or self.failure.kind in _EXECUTED_KINDS

    @property
    def is_refusal(self) -> bool:
        """True if the response is a refusal by Paystar, after which part of the call may have been executed."""
        return self.failure is not None and (
            self.failure.kind in _REFUSAL_STATUS or self.failure.kind is FaultKind.STATUS
        )

    @property
    def drops_connection(self) -> bool:
        """True if the connection breaks instead of a response."""
        return self.failure is not None and self.failure.kind in (FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER)

    def final_response(
        self, endpoint: Endpoint, response: SandboxResponse | None, settings: Settings
    ) -> SandboxResponse:
        """Return the response to send.

        Args:
            endpoint: the called endpoint.
            response: response of the executed call; None if the call was not executed.
            settings: the sandbox's settings.
        """
        if self.failure is None or self.failure.kind is FaultKind.TRUNCATED:
            if response is None:
                raise TypeError("an executed call has a response")
            if self.failure is None:
                return response
            return SandboxResponse(body=response.body[: len(response.body) // 2], http_status=response.http_status)
        return _failure_response(self.failure, endpoint, settings, self.failure_http)


def _failure_response(
    fault: Fault, endpoint: Endpoint, settings: Settings, failure_http: int | None
) -> SandboxResponse:
    retry_after = {"retry-after": f"{fault.seconds:.0f}"}
    match fault.kind:
        case FaultKind.SERVER_ERROR if fault.envelope:
            return Refusal(0).to_response(settings, 500)
        case FaultKind.SERVER_ERROR:
            return SandboxResponse(body=b"Internal Server Error", http_status=500, media_type="text/plain")
        case FaultKind.HTML:
            page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
            return SandboxResponse(body=page, http_status=502, media_type="text/html")
        case FaultKind.UNAVAILABLE:
            page = b"<html><body><h1>503 Service Unavailable</h1></body></html>"
            return SandboxResponse(body=page, http_status=503, media_type="text/html", headers=retry_after)
        case FaultKind.TOO_MANY:
            limited = json_response({"message": "Too Many Attempts."}, http_status=429)
            return SandboxResponse(body=limited.body, http_status=429, headers=retry_after)
        case FaultKind.EXPIRED_KEY:
            return _expired_key_refusal(endpoint, settings).to_response(settings, failure_http)
        case kind:
            return Refusal(_REFUSAL_STATUS.get(kind, fault.status)).to_response(settings, failure_http)


def _expired_key_refusal(endpoint: Endpoint, settings: Settings) -> Refusal:
    return Refusal("unauthenticated") if endpoint.realm is Realm.GATEWAY else key_refusal(settings, expired=True)


@define
class FaultInjector:
    """Selects the faults of each call from the active ones.

    Attributes:
        rng: source of the random choices.
        active: the active faults, oldest first.
    """

    rng: random.Random
    active: list[Fault] = field(factory=list[Fault])

    def add(self, fault: Fault) -> None:
        """Activate a fault.

        Raises:
            ConfigurationError: ``MAX_FAULTS`` faults are active.
        """
        if len(self.active) >= MAX_FAULTS:
            raise ConfigurationError(f"{MAX_FAULTS} faults are active already", hint="clear some first")
        if fault.times != 0:
            self.active.append(fault)

    def clear(self, endpoint: str | None = None, kind: FaultKind | None = None) -> None:
        """Deactivate the faults of an endpoint and of a kind; None selects all."""
        self.active[:] = [
            fault for fault in self.active if endpoint not in (None, fault.endpoint) or kind not in (None, fault.kind)
        ]

    def refuses_connection(self, endpoint: Endpoint) -> bool:
        """Return True if a call gets no connection; to be called before the request is sent."""
        return any(fault.kind is FaultKind.REFUSED and self._applies(fault, endpoint) for fault in list(self.active))

    def plan(self, endpoint: Endpoint) -> FaultPlan:
        """Return the faults of a call that has a connection."""
        selected: dict[str, Fault] = {}
        for fault in list(self.active):
            aspect = _ASPECTS.get(fault.kind, "failure")
            if aspect not in selected and fault.kind is not FaultKind.REFUSED and self._applies(fault, endpoint):
                selected[aspect] = fault
        return FaultPlan(**selected)

    def _applies(self, fault: Fault, endpoint: Endpoint) -> bool:
        if fault.endpoint not in (None, endpoint.id):
            return False
        if fault.rate < 1 and self.rng.random() >= fault.rate:
            return False
        if fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                self.active.remove(fault)
        return True
