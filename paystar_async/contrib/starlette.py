"""Starlette: a client opened with the application, the callback's route, and responses to errors.

    app = Starlette(
        routes=[payment_route("/pay/callback", on_payment)],
        lifespan=paystar_lifespan(),
        exception_handlers=exception_handlers,
    )

A POSTed callback comes from another site, so the browser omits ``SameSite=Lax`` cookies, and with them the session.
Hence the callback needs no session, and responds with a redirect (303) to a page of the shop: that GET has the session
again. The callback needs no CSRF token either.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar
from urllib.parse import urlencode

from paystar_async.client import Paystar
from paystar_async.contrib._callback import (
    HEADERS,
    AmountOf,
    BodyConsumed,
    NoPayment,
    check_amount_of,
    check_handler,
    confirm_request,
    log_handler_failure,
    show_result,
)
from paystar_async.contrib._lifespan import ClientOrFactory, OnVerified, open_client
from paystar_async.contrib._responses import Page, error_response, result_page
from paystar_async.errors import ConfigurationError, MissingExtra, PaystarError
from paystar_async.payments import Payment

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, HTTPConnection, Request
    from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError:
    raise MissingExtra("paystar_async.contrib.starlette", "starlette") from None

A = TypeVar("A", bound=Starlette)

Next = str | Response | None
"""Where the payer goes next: an address, your own response, or None for a short page with the result."""
OnPayment = Callable[[Request, Payment], Awaitable[Next] | Next]
Lifespan = Callable[[A], AbstractAsyncContextManager[Mapping[str, Any] | None]]


def paystar_lifespan(
    make: ClientOrFactory = None, *, on_verified: OnVerified | None = None, around: Lifespan[A] | None = None
) -> Callable[[A], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """Return a lifespan that opens one client with the application and closes it after the last request.

    Args:
        make: a client, or a function called at start-up that returns a client (``lambda: Paystar(gateway=...,
            database=...)``), so that importing the application needs no configuration; default: ``Paystar.from_env``.
        on_verified: fulfils an order; called for each verified payment at least once (``payments.on_verified``). With
            a handler, orders whose payer never came back are checked in the background; needs ``database=``.
        around: a further lifespan; it runs while the client is open and finds the client in ``app.state.paystar``.

    Raises:
        ConfigurationError: at start-up, if a setting is wrong.
    """

    @asynccontextmanager
    async def lifespan(app: A) -> AsyncGenerator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            paystar = await stack.enter_async_context(open_client(make, on_verified))
            app.state.paystar = paystar
            more = await stack.enter_async_context(around(app)) if around is not None else None
            # Both: a mounted application has its own ``app.state``, and sees the state of the request.
            yield {**(more or {}), "paystar": paystar}

    return lifespan


def paystar_of(connection: HTTPConnection) -> Paystar:
    """Return the client of the application that received a request.

    Raises:
        ConfigurationError: the application was not started with ``paystar_lifespan``.
    """
    for state in (connection.state, connection.app.state):
        paystar = getattr(state, "paystar", None)
        if isinstance(paystar, Paystar):
            return paystar
    raise ConfigurationError("this application has no client", hint="give it lifespan=paystar_lifespan()")


def payment_route(path: str, on_payment: OnPayment = show_result, *, amount_of: AmountOf | None = None) -> Route:
    """Return the route of the callback, for a query (GET) and a form (POST).

    Args:
        path: the path; the ``callback`` given to ``payments.start`` must lead to it.
        on_payment: ``async (request, payment) -> address``, called for every payment of a known order, whatever its
            outcome; it returns where the payer goes next, or None for a short page with the result, which is the
            default. Fulfil the order in ``payments.on_verified`` instead, since not every payer comes back, and some
            come twice.
        amount_of: returns the Rial of an order in your own store; by default orders are in the client's ``database``.

    Returns:
        A route that responds with 303, or with a page: 400 if the request is not a callback or names an unknown order,
        503 if the payment cannot be decided now, or ``amount_of`` or ``on_payment`` fails. An HTTPException of
        ``on_payment``, and errors with an exception handler in the application, are handled as in any route.

    Raises:
        ConfigurationError: ``on_payment`` does not take a request and a payment, or ``amount_of`` an order_id.
    """
    check_handler(on_payment)
    check_amount_of(amount_of)

    async def callback(request: Request) -> Response:
        try:
            payment = await payment_of(request, paystar_of(request), amount_of)
            return payer_response(await call_handler(on_payment, request, payment), payment)
        except NoPayment as error:
            return page_response(error.page)
        except PaystarError as error:
            raise HandlerFailed(error) from error

    return _Route(path, callback, methods=["GET", "POST"], name="paystar_callback")


class HandlerFailed(Exception):
    """An error in ``on_payment`` without an exception handler in the application that responds with a page."""


class _Route(Route):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_to_failures(super().handle, scope, receive, send)


async def respond_to_failures(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run ``app``; respond with a page to an error that no exception handler of the application handles.

    This runs outside of the framework's own handling, so that dependencies see the exception and roll back.
    """
    started = False

    async def watched(message: Message) -> None:
        nonlocal started
        started = started or message["type"] == "http.response.start"
        await send(message)

    try:
        await app(scope, receive, watched)
    except HTTPException:
        raise
    except Exception as error:
        if started:
            raise
        cause = error.args[0] if isinstance(error, HandlerFailed) else error
        await page_response(log_handler_failure(scope["path"], cause))(scope, receive, send)


async def payment_of(request: Request, paystar: Paystar, amount_of: AmountOf | None = None) -> Payment:
    """Return the payment of a request to a callback, for your own route; raise NoPayment with the page to show."""
    return await confirm_request(
        paystar,
        method=request.method,
        query=request.scope["query_string"],
        content_type=request.headers.get("content-type"),
        body=_body(request) if request.method == "POST" else None,
        amount_of=amount_of,
    )


async def _body(request: Request) -> AsyncIterator[bytes]:
    read = bytearray()
    try:
        async for chunk in request.stream():
            read += chunk
            yield chunk
    except ClientDisconnect:
        raise ValueError("the body is incomplete") from None
    except RuntimeError:  # the stream was read before
        yield await _form_read_before(request)
        return
    if not read and request.headers.get("content-length", "0") != "0":
        raise BodyConsumed
    # request.body() itself is not bounded; without the copy on_payment could not call request.form().
    request._body = bytes(read)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _form_read_before(request: Request) -> bytes:
    """Return the form that ``request.form()`` has cached, encoded again; raise BodyConsumed if it has none."""
    try:
        form = await request.form()
    except RuntimeError:
        raise BodyConsumed from None
    return urlencode([(name, text) for name, text in form.multi_items() if isinstance(text, str)]).encode()


def page_response(page: Page) -> Response:
    """Return a page as a response."""
    return HTMLResponse(page.html, page.status, HEADERS)


async def call_handler(function: Callable[..., Awaitable[Next] | Next], *args: Any, **kwargs: Any) -> Next:
    """Call ``on_payment``; a plain function in a thread, as the framework calls plain endpoints."""
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        returned = function(*args, **kwargs)
    else:
        returned = await run_in_threadpool(function, *args, **kwargs)
    return await returned if isawaitable(returned) else returned


def payer_response(returned: object, payment: Payment) -> Response:
    """Return the response for the value that ``on_payment`` returned."""
    if isinstance(returned, Response):
        return returned
    if returned is None:
        return page_response(result_page(payment))
    if isinstance(returned, str):
        return RedirectResponse(returned, 303, HEADERS)
    raise TypeError(f"on_payment must return an address, a response or None, not a {type(returned).__name__}")


async def on_paystar_error(request: Request, error: Exception) -> Response:
    """Return the response to a request that failed with an error of the SDK; the details are only logged."""
    response = error_response(error, f"{request.method} {request.scope.get('path')}")
    return JSONResponse(response.body, response.status, response.headers)


exception_handlers: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    PaystarError: on_paystar_error
}
"""For ``Starlette(exception_handlers=...)`` and FastAPI's."""
