"""The shapes everything else is written in: a row of the table, what travels, and the ring it travels through.

An endpoint knows no client, a ring knows only ``next``, and a request never holds a password, a signature or
a query string: those are added in ``transport.encoder``, the innermost room.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Generic, Literal, Protocol, TypeVar

from attrs import Factory, define, field, fields_dict, frozen

from paystar_async.credentials import DIRECT_GATEWAY_PATH, GATEWAY_PATH, Realm
from paystar_async.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidToken,
    PaystarError,
    StatusError,
    Unauthenticated,
)
from paystar_async.models.base import Call
from paystar_async.values.secret import Secret

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Safety(Enum):
    """What a repetition would do."""

    READ = "read"
    """Changes nothing: repeat freely."""
    ONCE = "once"
    """Changes something: never repeat after it may have left."""


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


@frozen(kw_only=True)
class Endpoint:
    """A row of the table: plain data.

    Attributes:
        service: the client's attribute it shows up under (``transfers``).
        name: the method's name there (``settle``).
        method: the HTTP method.
        path: the path under the base URL; ``{gateway}`` is filled in from the gateway account.
        request: the request class; it names the answer's type.
        realm: whose key opens it.
        safety: what a repetition would do.
        ask: the row that tells what became of an unanswered call of this one.
        sign: the fields that are signed, in order.
        renews: the body field that carries the refresh token, on a row that renews its realm's key.
        aliases: other paths where the same call lives.
        kind: ``page`` builds an address and sends nothing.
        since: the version it came with.
        doc: one line on what it does; the request class says it.
    """

    service: str
    name: str
    method: Literal["GET", "POST"]
    path: str
    request: type[Call[Any]]
    realm: Realm
    safety: Safety
    lookup: str | None = None
    signed_fields: tuple[str, ...] = ()
    refresh_token_field: str | None = None
    aliases: tuple[str, ...] = ()
    kind: Literal["call", "page"] = "call"
    since: str = "0.1"
    doc: str = field(default=Factory(lambda row: _first_line(row.request), takes_self=True))

    def __str__(self) -> str:
        return self.id

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path it lives at: the usual one, a direct gateway's, aliases."""
        paths = (
            path.format(gateway=gateway)
            for path in (self.path, *self.aliases)
            for gateway in (GATEWAY_PATH, DIRECT_GATEWAY_PATH)
        )
        return tuple(dict.fromkeys(paths))

    @property
    def id(self) -> str:
        """``service.name``, as errors, logs and commands call it."""
        return f"{self.service}.{self.name}"


KEY_REFUSALS = (InvalidToken, ExpiredToken, Unauthenticated)
"""Refusals after which the auth middleware sends a call again with another key."""


@define(eq=False)
class Dispatch:
    """What one call has sent so far; all copies of its request share it.

    Only requests that are not READ count. One of them leaves a call once, whatever a user middleware does with it.

    Attributes:
        is_sent: whether a request was handed to the engine and is not known to have stayed here.
        may_have_executed: whether a request may have had an effect.
    """

    is_sent: bool = False
    may_have_executed: bool = False

    def begin(self) -> None:
        """Record that a request is about to be sent.

        Raises:
            ConfigurationError: one of this call may have been sent before; ``executed`` is "maybe".
        """
        if self.is_sent:
            raise ConfigurationError(
                "a user middleware tried to send a call a second time",
                executed="maybe",
                hint="the first request may have been carried out: check its status before you call again; "
                "a user middleware may repeat only what raised NotSent, and calls that only read",
            )
        self.is_sent = self.may_have_executed = True

    def fail(self, error: PaystarError) -> None:
        """Record how the request that was begun failed: what provably had no effect, or was not sent at all."""
        if error.executed == "no":
            self.may_have_executed = False
            self.is_sent = isinstance(error, StatusError) and not isinstance(error, KEY_REFUSALS)


@define(kw_only=True)
class Request(Generic[T_co]):
    """A call on its way through the middleware stack.

    Attributes:
        value: the request value.
        endpoint: its endpoint.
        account: the id of the account that calls, not its secrets.
        timeout: seconds the whole call may take; the deadline middleware turns it into ``deadline``.
        deadline: when the call must be over, on the client's monotonic clock.
        attempt: 1 for the first try.
        key: the bearer key, or the refresh token on an endpoint that refreshes a key; set by the auth middleware.
        before_send: called right before the first byte is sent; what it raises keeps the request from being sent.
        dispatch: what the call has sent until now, shared by all copies of its request.
    """

    value: Call[T_co]
    endpoint: Endpoint
    account: str
    timeout: float
    deadline: float | None = None
    attempt: int = 1
    key: Secret | None = None
    before_send: Callable[[], None] | None = field(default=None, repr=False, eq=False)
    dispatch: Dispatch = field(factory=Dispatch, repr=False, eq=False)

    def replace(self, **changes: Any) -> "Request[T_co]":
        """Return a copy with the named attributes changed.

        Args:
            changes: new values by attribute, such as ``timeout=5.0``.
        """
        for name in _REQUEST_FIELDS:
            changes.setdefault(name, getattr(self, name))
        return Request(**changes)

    def time_left(self, now: float) -> float:
        """Return the seconds until the deadline at ``now``, on the same clock; the timeout if none is set."""
        if self.deadline is None:
            return self.timeout
        return self.deadline - now if now < self.deadline else 0.0


_REQUEST_FIELDS = tuple(fields_dict(Request))


@define(kw_only=True)
class Response(Generic[T_co]):
    """The response to a call.

    Attributes:
        value: the response model.
        status: the envelope's status as it came (``1`` or ``"ok"``).
        message: the envelope's message.
        http_status: the HTTP status; the envelope is read whatever it is.
        headers: the HTTP headers, names in lower case.
        body: the decoded body.
    """

    value: T_co
    status: int | str
    message: str
    http_status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Send(Protocol):
    """The rest of the way: takes a request, comes back with the answer or raises."""

    async def __call__(self, request: Request[T], /) -> Response[T]:
        """Go the rest of the way."""
        ...


class Middleware(Protocol):
    """A ring: any async callable of this shape, a class or a plain function."""

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Do something before, go on with ``next``, do something after."""
        ...


def build_middleware_stack(innermost: Send, rings: Sequence[Middleware], yours: Sequence[Middleware]) -> Send:
    """The rings around the innermost step, and the user's around them; the first one of each is outermost."""
    send = innermost
    for ring in reversed(rings):
        send = _around(ring, send)
    if not yours:
        return send
    send = _sent_once(send)
    for ring in reversed(yours):
        send = _around_yours(ring, send)
    return _checked(send)


def _around(ring: Middleware, next: Send) -> Send:  # noqa: A002
    # No coroutine of its own, and the method looked up once: a call would pay for either at each ring.
    step = ring.__call__
    return lambda request: step(request, next)


def _around_yours(ring: Middleware, next: Send) -> Send:  # noqa: A002
    """Return a user middleware with the rest of the stack inside it: the border of what a user's code can do.

    What it raises once the call was made – its audit's disk is full, a call of its own was refused – must not read as
    "nothing happened": that would be sent again. Whatever request it passes on, also a new one, belongs to this call.
    """

    async def send(request: Request[T], /) -> Response[T]:
        dispatch = request.dispatch
        is_used = False
        passed: list[BaseException] = []

        async def guarded(request: Request[Any], /) -> Response[Any]:
            nonlocal is_used
            is_used = True
            try:
                return await next(request if request.dispatch is dispatch else request.replace(dispatch=dispatch))
            except BaseException as error:
                passed.append(error)
                raise

        try:
            return await ring(request, guarded)
        except PaystarError as error:
            if dispatch.may_have_executed and error.executed == "no":
                error.executed = "maybe"
                error.hint = _LOOK_FIRST
            raise
        except Exception as error:
            if not is_used or any(error is one for one in passed):
                raise  # an engine's own, such as a mock's that finds no route; or the user's way to refuse a call
            stray = error
        finally:
            passed.clear()
        raise PaystarError(
            f"a user middleware raised {type(stray).__name__}",
            executed="maybe" if dispatch.may_have_executed else "no",
            hint=_LOOK_FIRST if dispatch.may_have_executed else "nothing happened; see the error's __cause__",
        ) from stray

    return send


_LOOK_FIRST = "a user middleware raised it, and the call may have been carried out: check its status before you repeat"


def _sent_once(next: Send) -> Send:  # noqa: A002
    """Return the rest of the stack for a user middleware: what was answered, whatever the answer, is not sent again."""

    async def send(request: Request[T], /) -> Response[T]:
        if request.endpoint.safety is Safety.READ:
            return await next(request)
        dispatch = request.dispatch
        if request.endpoint.refresh_token_field:
            dispatch.begin()  # the auth middleware refreshes by a call of its own, which knows nothing of this one
        try:
            return await next(request)
        except PaystarError as error:
            if request.endpoint.refresh_token_field:
                dispatch.fail(error)
            if isinstance(error, StatusError):
                dispatch.is_sent = True
            raise

    return send


def _checked(next: Send) -> Send:  # noqa: A002
    """What comes back from the user's rings, if it is a response; raises ConfigurationError for anything else."""

    async def send(request: Request[T], /) -> Response[T]:
        response = await next(request)
        if isinstance(response, Response):  # pyright: ignore[reportUnnecessaryIsInstance]
            return response
        raise ConfigurationError(
            f"a ring of yours came back with a {type(response).__name__}",
            executed="maybe" if request.dispatch.may_have_executed else "no",
            hint="a ring returns what next(request) gave it",
        )

    return send
