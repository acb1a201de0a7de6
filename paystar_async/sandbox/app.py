"""The sandbox's ASGI application: a route for each endpoint of the table, the payment page and the controls."""

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from paystar_async.credentials import Realm
from paystar_async.endpoint import Endpoint
from paystar_async.sandbox.authentication import INVALID_INPUT, INVALID_REQUEST
from paystar_async.sandbox.body_limit import BodyLimitMiddleware
from paystar_async.sandbox.control import control_routes, exact_route
from paystar_async.sandbox.pages.order import order_routes
from paystar_async.sandbox.pages.payment import payment_page
from paystar_async.sandbox.pages.render import asset_routes
from paystar_async.sandbox.requests import UnsupportedBody, read_fields
from paystar_async.sandbox.responses import Refusal, SandboxResponse, json_response
from paystar_async.sandbox.state import RunOnce, SandboxState
from paystar_async.table import TABLE

_SCOPE_KEY = "paystar_sandbox.connection"


class Connection(Protocol):
    """The connection on which a request arrived.

    Attributes:
        is_connected: True if the fault ``refused`` was checked before the request was sent.
        client_timeout: seconds until the client stops waiting; None if unknown.
    """

    @property
    def is_connected(self) -> bool: ...  # noqa: D102

    @property
    def client_timeout(self) -> float | None: ...  # noqa: D102

    async def drop(self) -> None:
        """Break the connection instead of responding."""
        ...


class UnknownServerConnection:
    """The connection of a server that the sandbox does not know; an exception is the only way to break it."""

    is_connected = False
    client_timeout: float | None = None

    async def drop(self) -> None:
        """Break the connection instead of responding."""
        raise ConnectionResetError("dropped by the sandbox")


def set_connection(scope: Scope, connection: Connection) -> None:
    """Store a request's connection in its ASGI scope."""
    scope.setdefault("extensions", {})[_SCOPE_KEY] = connection


def get_connection(scope: Scope) -> Connection:
    """Return the connection of a request from its ASGI scope."""
    return cast("Connection", scope.get("extensions", {}).get(_SCOPE_KEY) or UnknownServerConnection())


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def make_app(state: SandboxState) -> ASGIApp:
    """Return the application of a sandbox: the endpoints under ``/api``, the controls under ``/_sandbox``."""
    # No Mount: Mount would redirect from /_sandbox to /_sandbox/, which are the same resource here.
    return Starlette(
        exception_handlers={HTTPException: _handle_http_error},
        routes=[*table_routes(state, TABLE), *control_routes(state), *order_routes(state), *asset_routes()],
        middleware=[Middleware(TrailingSlashMiddleware), Middleware(BodyLimitMiddleware)],
    )


def table_routes(state: SandboxState, table: Iterable[Endpoint]) -> Iterator[Route]:
    """Yield a route for each path of each endpoint."""
    for endpoint in table:
        is_page = endpoint.kind == "page"
        handler = _page_handler(state) if is_page else _call_handler(state, endpoint)
        for path in endpoint.paths:
            yield exact_route("/api" + path, handler, ["GET", "POST"] if is_page else [endpoint.method])


async def _handle_http_error(_: HttpRequest, error: Exception) -> HttpResponse:
    """Respond to an unknown path or method like a web framework: with a message and without an envelope."""
    if not isinstance(error, HTTPException):
        raise error
    response = json_response({"message": error.detail}, http_status=error.status_code)
    return HttpResponse(response.body, response.http_status, error.headers, response.media_type)


class TrailingSlashMiddleware:
    """ASGI middleware that removes a trailing slash; a redirect would lose the body of a POST."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on without its trailing slash."""
        if scope["type"] == "http":
            scope["path"] = scope["path"].rstrip("/") or "/"
        await self._app(scope, receive, send)


class EmptyResponse(HttpResponse):
    """No response, for a client that has stopped waiting."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


class ConnectionDropped(HttpResponse):
    """A broken connection instead of a response."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        """Break the connection."""
        await self._connection.drop()


def _call_handler(state: SandboxState, endpoint: Endpoint) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        connection = get_connection(request.scope)
        state.run_due()
        if not connection.is_connected and state.faults.refuses_connection(endpoint):
            return ConnectionDropped(connection)
        try:
            raw = await read_fields(request)
        except UnsupportedBody:
            return _refuse_unsupported_body(state, endpoint)
        bearer = _bearer_token(request)
        logged = state.log_request(endpoint, raw)
        plan = state.faults.plan(endpoint)
        logged.record_faults(plan)
        responses: list[SandboxResponse] = []

        def execute() -> None:
            responses.append(state.handle(endpoint, bearer, raw, plan.failure_http, path=request.url.path))

        execute_once = RunOnce(execute)
        if plan.latency:
            if plan.latency.executed and plan.executes_call:
                execute_once()
            elif plan.executes_call:
                # A slow server executes the call even if the client stops waiting.
                state.schedule(plan.latency.seconds, execute_once)
            if not await _wait_for_latency(state, connection, plan.latency.seconds):
                return EmptyResponse()
        if plan.executes_call:
            execute_once()
        elif plan.is_refusal and state.settings.partial_execution:
            state.bank.execute_first_half(endpoint, bearer, raw)
        if plan.drops_connection:
            return ConnectionDropped(connection)
        response = plan.final_response(endpoint, responses[0] if responses else None, state.settings)
        logged.response = response
        return _http_response(response)

    return handle


def _refuse_unsupported_body(state: SandboxState, endpoint: Endpoint) -> HttpResponse:
    status = INVALID_REQUEST if endpoint.realm is Realm.GATEWAY else INVALID_INPUT
    message = "multipart is not supported here: send JSON or application/x-www-form-urlencoded"
    response = Refusal(status, message, http_status=415).to_response(state.settings)
    state.log_request(endpoint, {}).response = response
    return _http_response(response)


def _http_response(response: SandboxResponse) -> HttpResponse:
    return HttpResponse(response.body, response.http_status, dict(response.headers), response.media_type)


async def _wait_for_latency(state: SandboxState, connection: Connection, seconds: float) -> bool:
    """Sleep for the latency; return False if the client stopped waiting before."""
    client_timeout = math.inf if connection.client_timeout is None else connection.client_timeout
    await state.clock.sleep(min(seconds, client_timeout))
    return seconds < client_timeout


def _bearer_token(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _page_handler(state: SandboxState) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        try:
            fields = await read_fields(request)
        except UnsupportedBody:
            fields = {}
        return payment_page(state.bank.payments, request, fields)

    return handle
