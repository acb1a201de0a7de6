"""The web application: its routes are the table."""

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

from paystar_async.endpoint import Endpoint, Realm
from paystar_async.sandbox.authentication import INVALID_INPUT, INVALID_REQUEST
from paystar_async.sandbox.body_limit import BodyLimit
from paystar_async.sandbox.control import control_routes, exact_route
from paystar_async.sandbox.pages.payment import payment_page
from paystar_async.sandbox.pages.render import asset_routes
from paystar_async.sandbox.requests import UnsupportedBody, read_fields
from paystar_async.sandbox.responses import Refusal, Reply, json_reply
from paystar_async.sandbox.state import RunOnce, SandboxState
from paystar_async.table import TABLE

_NAME = "paystar_sandbox.connection"


class Connection(Protocol):
    """Where a request came from, and where its answer goes.

    Attributes:
        connected: whether the fault ``refused`` was asked about before the request was sent.
        patience: seconds until the other side stops waiting; None when only it knows.
    """

    @property
    def connected(self) -> bool: ...  # noqa: D102

    @property
    def patience(self) -> float | None: ...  # noqa: D102

    async def drop(self) -> None:
        """Break the connection instead of answering."""
        ...


class AnyServer:
    """A server the sandbox knows nothing of: the best it can do is to fail."""

    connected = False
    patience: float | None = None

    async def drop(self) -> None:
        """Break the connection instead of answering."""
        raise ConnectionResetError("dropped by the sandbox")


def put_connection(scope: Scope, connection: Connection) -> None:
    """Name the connection of this request."""
    scope.setdefault("extensions", {})[_NAME] = connection


def connection_of(scope: Scope) -> Connection:
    """The connection of this request."""
    return cast("Connection", scope.get("extensions", {}).get(_NAME) or AnyServer())


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def make_app(world: SandboxState) -> ASGIApp:
    """The application over a sandbox's state: the table under ``/api``, the controls under ``/_sandbox``."""
    # No Mount: it would redirect from /_sandbox to /_sandbox/, and that names the same here.
    return Starlette(
        exception_handlers={HTTPException: _explain_http_error},
        routes=[*table_routes(world, TABLE), *control_routes(world), *asset_routes()],
        middleware=[Middleware(SlashPassedOver), Middleware(BodyLimit)],
    )


def table_routes(world: SandboxState, table: Iterable[Endpoint]) -> Iterator[Route]:
    """A route for each place each row lives at."""
    for row in table:
        handler = _pages(world) if row.kind == "page" else _calls(world, row)
        for path in row.paths:
            yield exact_route("/api" + path, handler, ["GET", "POST"] if row.kind == "page" else [row.method])


async def _explain_http_error(_: HttpRequest, error: Exception) -> HttpResponse:
    """Answer an unknown path or another method as a web framework does: a message, and no envelope."""
    if not isinstance(error, HTTPException):
        raise error
    reply = json_reply({"message": error.detail}, http=error.status_code)
    return HttpResponse(reply.body, reply.http, error.headers, reply.media)


class SlashPassedOver:
    """A trailing slash names the same call; a redirect would lose the body of a POST."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its plain path."""
        if scope["type"] == "http":
            scope["path"] = scope["path"].rstrip("/") or "/"
        await self._app(scope, receive, send)


class NoResponse(HttpResponse):
    """No answer, to somebody who has stopped waiting for it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


class ConnectionDropped(HttpResponse):
    """No answer: the connection breaks."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        """Let the connection break it."""
        await self._connection.drop()


def _calls(world: SandboxState, row: Endpoint) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        connection = connection_of(request.scope)
        world.catch_up()
        if not connection.connected and world.faults.refuses(row):
            return ConnectionDropped(connection)
        try:
            raw = await read_fields(request)
        except UnsupportedBody:
            return _unsupported_body(world, row)
        bearer = _bearer(request)
        exchange = world.saw(row, raw)
        plan = world.faults.draw(row)
        exchange.meets(plan)
        answered: list[Reply] = []

        def carry_out() -> None:
            answered.append(world.bank.answer(row, bearer, raw, plan.failure_http))

        act = RunOnce(carry_out)
        if plan.latency:
            if plan.latency.executed and plan.executes:
                act()
            elif plan.executes:
                # Whoever stops waiting does not keep a slow server from working.
                world.do_later(plan.latency.seconds, act)
            if not await _wait(world, connection, plan.latency.seconds):
                return NoResponse()
        if plan.executes:
            act()
        elif plan.refuses and world.settings.partial_execution:
            world.bank.execute_part(row, bearer, raw)
        if plan.drops:
            return ConnectionDropped(connection)
        exchange.reply = reply = plan.spoil(row, answered[0] if answered else None, world.settings)
        return _response(reply)

    return handle


def _unsupported_body(world: SandboxState, row: Endpoint) -> HttpResponse:
    status = INVALID_REQUEST if row.realm is Realm.GATEWAY else INVALID_INPUT
    refusal = Refusal(status, "multipart is not read here: send JSON or application/x-www-form-urlencoded", http=415)
    exchange = world.saw(row, {})
    exchange.reply = refusal.reply(world.settings)
    return _response(exchange.reply)


def _response(reply: Reply) -> HttpResponse:
    return HttpResponse(reply.body, reply.http, dict(reply.headers), reply.media)


async def _wait(world: SandboxState, connection: Connection, seconds: float) -> bool:
    """Let time pass; False when the other side has stopped waiting."""
    patience = math.inf if connection.patience is None else connection.patience
    await world.clock.sleep(min(seconds, patience))
    return seconds < patience


def _bearer(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _pages(world: SandboxState) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        try:
            fields = await read_fields(request)
        except UnsupportedBody:
            fields = {}
        return payment_page(world.bank.payments, request, fields)

    return handle
