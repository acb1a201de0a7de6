"""aiohttp: the client for the life of an application, the callback's routes, and errors as answers.

    app = web.Application(middlewares=[paystar_errors])
    app.cleanup_ctx.append(paystar_ctx())
    app.add_routes(payment_routes("/pay/callback", on_payment))

    async def balance(request: web.Request) -> web.Response:
        paystar = request.config_dict[PAYSTAR]

A payer who comes back by a POSTed form comes from another site, so the browser leaves out cookies that are
``SameSite=Lax``, and with them the session. Hence the callback asks for no session, and answers with a redirect
(303) to a page of the shop's own: on that GET the session is there again. It asks for no CSRF token either.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isawaitable

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
    from aiohttp import web
    from aiohttp.typedefs import Handler
    from yarl import URL
except ImportError:
    raise ConfigurationError(
        "paystar_async.contrib.aiohttp needs the aiohttp extra", hint="pip install 'paystar-async[aiohttp]'"
    ) from None

PAYSTAR: web.AppKey[Paystar] = web.AppKey("paystar", Paystar)
"""Where an application holds its client: ``request.config_dict[PAYSTAR]``, in sub-applications too."""

Next = str | web.StreamResponse | None
"""Where the payer goes from here: an address, an answer of your own, or None for a short page with the result."""
OnPayment = Callable[[web.Request, Payment], Awaitable[Next] | Next]


def paystar_ctx(
    make: Make = None, *, on_verified: OnVerified | None = None
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context that opens one client with the application and closes it after its last request.

    Args:
        make: a client, or what makes one (``lambda: Paystar(gateway=..., database=...)``) at start-up, so that
            importing the application needs no configuration; ``Paystar.from_env`` by default.
        on_verified: fulfils an order, told of each verified payment at least once (``payments.on_verified``). With it
            the orders whose payer never came back are looked after in the background; needs ``database=``.
    """

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        async with opened(make, on_verified) as paystar:
            app[PAYSTAR] = paystar
            yield

    return ctx


def payment_routes(path: str, on_payment: OnPayment, *, amount_of: AmountOf | None = None) -> list[web.RouteDef]:
    """The routes of the callback, for a query (GET) and a form (POST); both are named ``paystar_callback``.

    Args:
        path: where it lives; the ``callback`` given to ``payments.start`` must lead there.
        on_payment: ``async (request, payment) -> address``, told of every payment of an order of yours, whatever its
            outcome. It says where the payer goes next; what is bought is handed over in ``payments.on_verified``, since
            not every payer comes back, and some come twice.
        amount_of: gives the Rial of an order you keep yourself; without it the client's ``database`` holds the orders.

    Returns:
        Routes that answer 303, or a page: 400 for what is no callback or names no order of yours, 503 when it
        cannot be decided now, or when ``amount_of`` or ``on_payment`` fails. What aiohttp calls an HTTPException may
        be raised by ``on_payment`` as in any handler.

    Raises:
        ConfigurationError: ``on_payment`` does not take a request and a payment.
    """
    callback = payment_handler(on_payment, amount_of=amount_of)
    return [
        web.get(path, callback, allow_head=False, name="paystar_callback"),
        web.post(path, callback),
    ]


def payment_handler(on_payment: OnPayment, *, amount_of: AmountOf | None = None) -> Handler:
    """The handler alone, for routes of your own; see ``payment_routes``."""
    check_handler(on_payment)

    async def callback(request: web.Request) -> web.StreamResponse:
        try:
            payment = await returned(
                request.config_dict[PAYSTAR],
                query=request.rel_url.raw_query_string.encode(),
                content_type=request.headers.get("content-type"),
                body=_body(request) if request.method == "POST" else None,
                amount_of=amount_of,
            )
        except NoPayment as error:
            return _page(error.page)
        try:
            where = on_payment(request, payment)
            return _onward(await where if isawaitable(where) else where, payment)
        except web.HTTPException:
            raise
        except Exception as error:
            return _page(handler_failed(request.path, error))

    return callback


def _onward(where: object, payment: Payment) -> web.StreamResponse:
    if isinstance(where, web.StreamResponse):
        return where
    if where is None:
        return _page(result(payment))
    if isinstance(where, str):
        return web.Response(status=303, headers={**HEADERS, "location": str(URL(where))})
    raise TypeError(f"on_payment returns an address, a response or None, not a {type(where).__name__}")


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    read = bytearray()
    try:
        if request.content.at_eof():
            read += await request.read()  # kept by aiohttp, if read() or post() was called before
            yield bytes(read)
        else:
            async for chunk in request.content.iter_any():
                read += chunk
                yield chunk
            # request.read() itself is bounded by client_max_size alone, which a shop with uploads sets to gigabytes;
            # without the copy on_payment could not call request.post().
            request._read_bytes = bytes(read)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    except (web.RequestPayloadError, ConnectionError):
        raise ValueError("it broke off, or is not encoded as it says") from None
    if not read and request.content_length:
        raise BodyConsumed


def _page(shown: Page) -> web.Response:
    return web.Response(text=shown.html, status=shown.status, content_type="text/html", headers=HEADERS)


@web.middleware
async def paystar_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer to a request that ended in an error of ours; logged, with nothing of it told to the browser."""
    try:
        return await handler(request)
    except PaystarError as error:
        answer = answer_to(error, f"{request.method} {request.path}")
        return web.json_response(dict(answer.body), status=answer.status, headers=answer.headers)
