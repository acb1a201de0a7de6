"""Endpoints, requests and the middleware stack.

An endpoint knows no client, and a middleware knows only ``next``. A request contains no password, signature or query
string; the request encoder adds them.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from inspect import isawaitable
from typing import Any, Generic, Literal, NoReturn, Protocol, TypeVar

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
from paystar_async.errors.text import describe_type
from paystar_async.models.base import Call
from paystar_async.response import Response
from paystar_async.values.secret import Secret

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Safety(Enum):
    """The effect of repeating a call."""

    READ = "read"
    """Reads only: may be repeated."""
    ONCE = "once"
    """Has an effect: never repeated once the request may have been sent."""


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


@frozen(kw_only=True)
class Endpoint:
    """An endpoint of the API.

    Attributes:
        service: the client attribute with the endpoint's method (``transfers``).
        name: the name of the method (``settle``).
        method: the HTTP method.
        path: the path under the base URL; ``{gateway}`` is filled in from the gateway's credentials.
        request: the request class, which names the response type.
        realm: the realm of the bearer key.
        safety: the effect of repeating a call.
        lookup: the id of the endpoint that returns the status of a call without a response.
        signed_fields: the signed fields, in order.
        refresh_token_field: the body field of the refresh token, on an endpoint that refreshes the realm's key.
        aliases: other paths of the same endpoint.
        kind: ``call``, or ``page``, which builds a URL and sends nothing.
        since: the version that added the endpoint.
        doc: a one-line description, by default that of the request class.
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
    doc: str = field(default=Factory(lambda endpoint: _first_line(endpoint.request), takes_self=True))

    def __str__(self) -> str:
        return self.id

    @property
    def paths(self) -> tuple[str, ...]:
        """Return all paths: the usual path, that of a direct gateway, and the aliases."""
        paths = (
            path.format(gateway=gateway)
            for path in (self.path, *self.aliases)
            for gateway in (GATEWAY_PATH, DIRECT_GATEWAY_PATH)
        )
        return tuple(dict.fromkeys(paths))

    @property
    def id(self) -> str:
        """Return ``service.name``, the name in errors, logs and commands."""
        return f"{self.service}.{self.name}"


# assumed (key-refused-first): a key is refused before a request is executed, so the request may be sent again.
KEY_REFUSALS = (InvalidToken, ExpiredToken, Unauthenticated)
"""Errors after which the auth middleware sends a call again with another key."""


@define(eq=False)
class Dispatch:
    """The record of the requests that a call has sent, shared by all copies of the call's request.

    Only requests that are not READ count. A call sends at most one of them, whatever a user middleware does.

    Attributes:
        is_sent: whether a request was passed to the engine and is not provably unsent.
        may_have_executed: whether a request may have had an effect.
    """

    is_sent: bool = False
    may_have_executed: bool = False

    def begin(self) -> None:
        """Record that a request is about to be sent.

        Raises:
            ConfigurationError: a request of this call may already have been sent; ``executed`` is "maybe".
        """
        if self.is_sent:
            raise ConfigurationError(
                "a user middleware tried to send a call a second time",
                executed="maybe",
                hint="the first request may have been executed: check its status before calling again; "
                "a user middleware may repeat only calls that raised NotSent, and calls that only read",
            )
        self.is_sent = self.may_have_executed = True

    def fail(self, error: PaystarError) -> None:
        """Record the failure of the current request, which may prove that the request had no effect or was not sent."""
        if error.executed == "no":
            self.may_have_executed = False
            self.is_sent = isinstance(error, StatusError) and not isinstance(error, KEY_REFUSALS)


@define(kw_only=True)
class Observation:
    """The shape of a response, without any value of it: the argument of ``Request.observe``.

    Attributes:
        endpoint: the endpoint's id (``transfers.settle``).
        http_status: the HTTP status.
        status: the envelope's status if the reference lists it, otherwise ``other``; None without an envelope status.
        sent: ``none``, ``one`` or ``several``: the transfers of the request.
        shape: the shape of the whole body as JSON text, see ``values.shapes``.
        facts: comparisons, each a name and a word, such as ``order: newest first``.
    """

    endpoint: str
    http_status: int
    status: int | str | None
    sent: Literal["none", "one", "several"]
    shape: str
    facts: dict[str, str]


@define(kw_only=True)
class Request(Generic[T_co]):
    """A call that passes through the middleware stack.

    Attributes:
        value: the request value.
        endpoint: its endpoint.
        account: the id of the calling account, without secrets.
        timeout: the timeout of the whole call in seconds, which the deadline middleware converts to ``deadline``.
        deadline: the end of the call on the client's monotonic clock.
        attempt: 1 for the first try.
        key: the bearer key, or the refresh token on an endpoint that refreshes a key; set by the auth middleware.
        before_send: called right before the first byte is sent; an exception keeps the request from being sent.
        observe: called with the shape of each response, also of a refusal and of a key refresh; set by a middleware.
        dispatch: the record of the requests that the call has sent, shared by all copies of this request.
    """

    value: Call[T_co]
    endpoint: Endpoint
    account: str
    timeout: float
    deadline: float | None = None
    attempt: int = 1
    key: Secret | None = None
    before_send: Callable[[], None] | None = field(default=None, repr=False, eq=False)
    observe: Callable[[Observation], None] | None = field(default=None, repr=False, eq=False)
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


class Send(Protocol):
    """The rest of the middleware stack: takes a request, and returns the response or raises."""

    async def __call__(self, request: Request[T], /) -> Response[T]:
        """Send the request through the rest of the stack."""
        ...


class Middleware(Protocol):
    """A middleware: any async callable with this signature, an object or a function."""

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Process the request, call ``next``, and process the response."""
        ...


def build_middleware_stack(innermost: Send, builtin: Sequence[Middleware], user: Sequence[Middleware]) -> Send:
    """Return ``innermost`` wrapped in the built-in and then in the user middlewares; the first of each is outermost."""
    send = innermost
    for middleware in reversed(builtin):
        send = _wrap_builtin(middleware, send)
    if not user:
        return send
    send = _guard_single_send(send)
    for middleware in reversed(user):
        send = _wrap_user(middleware, send)
    return _check_response_type(send)


def _wrap_builtin(middleware: Middleware, next: Send) -> Send:  # noqa: A002
    # No extra coroutine, and a single method lookup: every call would pay for both in each middleware.
    call = middleware.__call__
    return lambda request: call(request, next)


def _wrap_user(middleware: Middleware, next: Send) -> Send:  # noqa: A002
    """Return a user middleware around the rest of the stack, with the effects of user code contained.

    An error that the middleware raises after the request was sent (a full disk of an audit log, a rejected call of the
    middleware itself) must not mean "nothing happened", because the call would be repeated. Any request that the
    middleware passes on, also a new one, belongs to the same call.
    """

    async def send(request: Request[T], /) -> Response[T]:
        dispatch = request.dispatch
        has_called_next = False
        next_errors: list[BaseException] = []

        async def guarded(request: Request[Any], /) -> Response[Any]:
            nonlocal has_called_next
            has_called_next = True
            try:
                return await next(request if request.dispatch is dispatch else request.replace(dispatch=dispatch))
            except BaseException as error:
                next_errors.append(error)
                raise

        try:
            pending = middleware(request, guarded)
            if not isawaitable(pending):
                _refuse_response(pending, request)
            return await pending
        except PaystarError as error:
            if dispatch.may_have_executed and error.executed == "no":
                error.executed = "maybe"
                error.hint = _CHECK_STATUS_HINT
            raise
        except Exception as error:
            if not has_called_next or any(error is exception for exception in next_errors):
                raise  # an engine's exception, such as a mock's without a route; or a middleware that rejects the call
            user_error = error
        finally:
            next_errors.clear()
        raise PaystarError(
            f"a user middleware raised {type(user_error).__name__}",
            executed="maybe" if dispatch.may_have_executed else "no",
            hint=_CHECK_STATUS_HINT if dispatch.may_have_executed else "nothing happened; see the error's __cause__",
        ) from user_error

    return send


_CHECK_STATUS_HINT = "a user middleware raised the error, and the call may have been executed: check its status first"


def _guard_single_send(next: Send) -> Send:  # noqa: A002
    """Return the rest of the stack with a guard against sending a call again after any response."""

    async def send(request: Request[T], /) -> Response[T]:
        if request.endpoint.safety is Safety.READ:
            return await next(request)
        dispatch = request.dispatch
        if request.endpoint.refresh_token_field:
            dispatch.begin()  # the auth middleware refreshes by a separate call with its own dispatch
        try:
            return await next(request)
        except PaystarError as error:
            if request.endpoint.refresh_token_field:
                dispatch.fail(error)
            if isinstance(error, StatusError):
                dispatch.is_sent = True
            raise

    return send


def _check_response_type(next: Send) -> Send:  # noqa: A002
    """Return the stack with a check that user middlewares return a Response; raise ConfigurationError otherwise."""

    async def send(request: Request[T], /) -> Response[T]:
        response = await next(request)
        if isinstance(response, Response):  # pyright: ignore[reportUnnecessaryIsInstance]
            return response
        _refuse_response(response, request)

    return send


def _refuse_response(response: object, request: Request[Any]) -> NoReturn:
    raise ConfigurationError(
        f"a user middleware returned {describe_type(response)}",
        executed="maybe" if request.dispatch.may_have_executed else "no",
        hint="a middleware is an async function, and returns the response of next(request)",
    )
