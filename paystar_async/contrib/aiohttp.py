"""aiohttp: a client opened with the application, the callback's routes, and responses to errors.

    app = web.Application(middlewares=[paystar_errors])
    app.cleanup_ctx.append(paystar_ctx())
    app.add_routes(payment_routes("/pay/callback", on_payment))

    async def balance(request: web.Request) -> web.Response:
        paystar = request.config_dict[PAYSTAR]

A POSTed callback comes from another site, so the browser omits ``SameSite=Lax`` cookies, and with them the session.
Hence the callback needs no session, and responds with a redirect (303) to a page of the shop: that GET has the session
again. The callback needs no CSRF token either.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isawaitable
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
from paystar_async.errors import MissingExtra, PaystarError
from paystar_async.payments import Payment

try:
    from aiohttp import web
    from aiohttp.typedefs import Handler
    from yarl import URL
except ImportError:
    raise MissingExtra("paystar_async.contrib.aiohttp", "aiohttp") from None

PAYSTAR: web.AppKey[Paystar] = web.AppKey("paystar", Paystar)
"""Key of an application's client: ``request.config_dict[PAYSTAR]``, in sub-applications too."""

Next = str | web.StreamResponse | None
"""Where the payer goes next: an address, your own response, or None for a short page with the result."""
OnPayment = Callable[[web.Request, Payment], Awaitable[Next] | Next]


def paystar_ctx(
    make: ClientOrFactory = None, *, on_verified: OnVerified | None = None
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that opens one client with the application and closes it after the last request.

    Args:
        make: a client, or a function called at start-up that returns a client (``lambda: Paystar(gateway=...,
            database=...)``), so that importing the application needs no configuration; default: ``Paystar.from_env``.
        on_verified: fulfils an order; called for each verified payment at least once (``payments.on_verified``). With
            a handler, orders whose payer never came back are checked in the background; needs ``database=``.
    """

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        async with open_client(make, on_verified) as paystar:
            app[PAYSTAR] = paystar
            yield

    return ctx


def payment_routes(
    path: str, on_payment: OnPayment = show_result, *, amount_of: AmountOf | None = None
) -> list[web.RouteDef]:
    """Return the routes of the callback, for a query (GET) and a form (POST); both are named ``paystar_callback``.

    Args:
        path: the path; the ``callback`` given to ``payments.start`` must lead to it.
        on_payment: ``async (request, payment) -> address``, called for every payment of a known order, whatever its
            outcome; it returns where the payer goes next, or None for a short page with the result, which is the
            default. Fulfil the order in ``payments.on_verified`` instead, since not every payer comes back, and some
            come twice.
        amount_of: returns the Rial of an order in your own store; by default orders are in the client's ``database``.

    Returns:
        Routes that respond with 303, or with a page: 400 if the request is not a callback or names an unknown order,
        503 if the payment cannot be decided now, or ``amount_of`` or ``on_payment`` fails. ``on_payment`` may raise
        aiohttp's HTTPException, as any handler.

    Raises:
        ConfigurationError: ``on_payment`` does not take a request and a payment, or ``amount_of`` an order_id.
    """
    callback = payment_handler(on_payment, amount_of=amount_of)
    return [
        web.get(path, callback, allow_head=False, name="paystar_callback"),
        web.post(path, callback),
    ]


def payment_handler(on_payment: OnPayment, *, amount_of: AmountOf | None = None) -> Handler:
    """Return the handler of the callback, for your own routes; see ``payment_routes``."""
    check_handler(on_payment)
    check_amount_of(amount_of)

    async def callback(request: web.Request) -> web.StreamResponse:
        try:
            payment = await confirm_request(
                request.config_dict[PAYSTAR],
                method=request.method,
                query=request.rel_url.raw_query_string.encode(),
                content_type=request.headers.get("content-type"),
                body=_body(request) if request.method == "POST" else None,
                amount_of=amount_of,
            )
        except NoPayment as error:
            return _page_response(error.page)
        try:
            returned = on_payment(request, payment)
            return _payer_response(await returned if isawaitable(returned) else returned, payment)
        except web.HTTPException:
            raise
        except Exception as error:
            return _page_response(log_handler_failure(request.path, error))

    return callback


def _payer_response(returned: object, payment: Payment) -> web.StreamResponse:
    if isinstance(returned, web.StreamResponse):
        return returned
    if returned is None:
        return _page_response(result_page(payment))
    if isinstance(returned, str):
        return web.Response(status=303, headers={**HEADERS, "location": str(URL(returned))})
    raise TypeError(f"on_payment must return an address, a response or None, not a {type(returned).__name__}")


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    read = bytearray()
    try:
        if request.content.at_eof():
            read += await request.read() or await _form_read_before(request)  # kept by aiohttp
            yield bytes(read)
        else:
            async for chunk in request.content.iter_any():
                read += chunk
                yield chunk
            # request.read() itself is bounded by client_max_size alone, which a shop with uploads sets to gigabytes;
            # without the copy on_payment could not call request.post().
            request._read_bytes = bytes(read)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    except (web.RequestPayloadError, ConnectionError):
        raise ValueError("the body is incomplete, or not encoded as declared") from None
    if not read and request.content_length:
        raise BodyConsumed


async def _form_read_before(request: web.Request) -> bytes:
    """Return the form that ``request.post()`` has cached, urlencoded; aiohttp keeps no copy of a multipart body."""
    try:
        form = await request.post()
    except ValueError:
        return b""  # other code has read the body without keeping it
    return urlencode([(name, text) for name, text in form.items() if isinstance(text, str)]).encode()


def _page_response(page: Page) -> web.Response:
    return web.Response(text=page.html, status=page.status, content_type="text/html", headers=HEADERS)


@web.middleware
async def paystar_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the response to a request that failed with an error of the SDK; the details are only logged."""
    try:
        return await handler(request)
    except PaystarError as error:
        response = error_response(error, f"{request.method} {request.path}")
        return web.json_response(dict(response.body), status=response.status, headers=response.headers)
