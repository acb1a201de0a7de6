"""Starlette: the client for the life of an application, the callback's route, and errors as answers.

    app = Starlette(
        routes=[payment_route("/pay/callback", on_payment)],
        lifespan=paystar_lifespan(),
        exception_handlers=exception_handlers,
    )

A payer who comes back by a POSTed form comes from another site, so the browser leaves out cookies that are
``SameSite=Lax``, and with them the session. Hence the callback asks for no session, and answers with a redirect
(303) to a page of the shop's own: on that GET the session is there again. It asks for no CSRF token either.
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
    check_handler,
    handler_failed,
    returned,
)
from paystar_async.contrib._lifespan import Make, OnVerified, opened
from paystar_async.contrib._responses import Page, answer_to, result
from paystar_async.errors import ConfigurationError, PaystarError
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
    raise ConfigurationError(
        "paystar_async.contrib.starlette needs Starlette", hint="pip install 'paystar-async[starlette]'"
    ) from None

A = TypeVar("A", bound=Starlette)

Next = str | Response | None
"""Where the payer goes from here: an address, an answer of your own, or None for a short page with the result."""
OnPayment = Callable[[Request, Payment], Awaitable[Next] | Next]
Lifespan = Callable[[A], AbstractAsyncContextManager[Mapping[str, Any] | None]]


def paystar_lifespan(
    make: Make = None, *, on_verified: OnVerified | None = None, around: Lifespan[A] | None = None
) -> Callable[[A], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """A lifespan that opens one client with the application and closes it after its last request.

    Args:
        make: a client, or what makes one (``lambda: Paystar(gateway=..., database=...)``) at start-up, so that
            importing the application needs no configuration; ``Paystar.from_env`` by default.
        on_verified: fulfils an order, told of each verified payment at least once (``payments.on_verified``). With it
            the orders whose payer never came back are looked after in the background; needs ``database=``.
        around: a lifespan you have already; it runs while the client is open and finds it in ``app.state.paystar``.

    Raises:
        ConfigurationError: at start-up, when a setting is wrong.
    """

    @asynccontextmanager
    async def lifespan(app: A) -> AsyncGenerator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            paystar = await stack.enter_async_context(opened(make, on_verified))
            app.state.paystar = paystar
            more = await stack.enter_async_context(around(app)) if around is not None else None
            # Both: a mounted application has its own ``app.state``, and sees the state of the request.
            yield {**(more or {}), "paystar": paystar}

    return lifespan


def paystar_of(connection: HTTPConnection) -> Paystar:
    """The client of the application that a request came to.

    Raises:
        ConfigurationError: the application was not started with ``paystar_lifespan``.
    """
    for state in (connection.state, connection.app.state):
        paystar = getattr(state, "paystar", None)
        if isinstance(paystar, Paystar):
            return paystar
    raise ConfigurationError("this application holds no client", hint="give it lifespan=paystar_lifespan()")


def payment_route(path: str, on_payment: OnPayment, *, amount_of: AmountOf | None = None) -> Route:
    """The route of the callback, for a query (GET) and a form (POST).

    Args:
        path: where it lives; the ``callback`` given to ``payments.start`` must lead there.
        on_payment: ``async (request, payment) -> address``, told of every payment of an order of yours, whatever its
            outcome. It says where the payer goes next; what is bought is handed over in ``payments.on_verified``, since
            not every payer comes back, and some come twice.
        amount_of: gives the Rial of an order you keep yourself; without it the client's ``database`` holds the orders.

    Returns:
        A route that answers 303, or a page: 400 for what is no callback or names no order of yours, 503 when it
        cannot be decided now, or when ``amount_of`` or ``on_payment`` fails. An HTTPException of ``on_payment``, and
        whatever else the application has an exception handler for, is answered as in any route.

    Raises:
        ConfigurationError: ``on_payment`` does not take a request and a payment.
    """
    check_handler(on_payment)

    async def callback(request: Request) -> Response:
        try:
            payment = await payment_of(request, paystar_of(request), amount_of)
            return onward(await called(on_payment, request, payment), payment)
        except NoPayment as error:
            return page(error.page)
        except PaystarError as error:
            raise HandlerFailed(error) from error

    return _Route(path, callback, methods=["GET", "POST"], name="paystar_callback")


class HandlerFailed(Exception):
    """An error in ``on_payment`` for which the application's own exception handlers have no page for a payer."""


class _Route(Route):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_failures(super().handle, scope, receive, send)


async def answer_failures(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run ``app``, and answer with a page what neither it nor the application's exception handlers could answer.

    This is outside of the framework's own handling, so that dependencies see the exception and roll back.
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
        await page(handler_failed(scope["path"], cause))(scope, receive, send)


async def payment_of(request: Request, paystar: Paystar, amount_of: AmountOf | None = None) -> Payment:
    """The payment a request to a callback brings, for a route of your own; raises NoPayment with the page to show."""
    return await returned(
        paystar,
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
        raise ValueError("it broke off") from None
    except RuntimeError:  # the stream was read before
        yield await _form_read_before(request)
        return
    if not read and request.headers.get("content-length", "0") != "0":
        raise BodyConsumed
    # request.body() itself is not bounded; without the copy on_payment could not call request.form().
    request._body = bytes(read)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _form_read_before(request: Request) -> bytes:
    """Return the form that ``request.form()`` has kept, encoded again; raise BodyConsumed if it was not called."""
    try:
        form = await request.form()
    except RuntimeError:
        raise BodyConsumed from None
    return urlencode([(name, text) for name, text in form.multi_items() if isinstance(text, str)]).encode()


def page(shown: Page) -> Response:
    """A page as an answer."""
    return HTMLResponse(shown.html, shown.status, HEADERS)


async def called(function: Callable[..., Awaitable[Next] | Next], *args: Any, **kwargs: Any) -> Next:
    """Call an ``on_payment``; a plain function in a thread, as the framework calls plain endpoints."""
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        said = function(*args, **kwargs)
    else:
        said = await run_in_threadpool(function, *args, **kwargs)
    return await said if isawaitable(said) else said


def onward(where: object, payment: Payment) -> Response:
    """What ``on_payment`` said, as an answer."""
    if isinstance(where, Response):
        return where
    if where is None:
        return page(result(payment))
    if isinstance(where, str):
        return RedirectResponse(where, 303, HEADERS)
    raise TypeError(f"on_payment returns an address, a response or None, not a {type(where).__name__}")


async def on_paystar_error(request: Request, error: Exception) -> Response:
    """The answer to a request that ended in an error of ours; logged, with nothing of it told to the browser."""
    answer = answer_to(error, f"{request.method} {request.scope.get('path')}")
    return JSONResponse(answer.body, answer.status, answer.headers)


exception_handlers: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    PaystarError: on_paystar_error
}
"""For ``Starlette(exception_handlers=...)`` and FastAPI's."""
