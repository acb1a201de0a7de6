"""FastAPI: the client as a dependency, the callback as a router, errors as answers.

    app = FastAPI(lifespan=paystar_lifespan(), exception_handlers=exception_handlers)

    @app.get("/balance/{account}")
    async def balance(account: str, paystar: PaystarDep) -> int:
        return (await paystar.transfers.balance(account_number=account)).balance

    async def on_payment(payment: Payment) -> str:
        return f"/orders/{payment.order_id}"

    app.include_router(payment_router(on_payment=on_payment, path="/pay/callback"))

A payer who comes back by a POSTed form comes from another site, so the browser leaves out cookies that are
``SameSite=Lax``, and with them the session. Hence the callback asks for no session, and answers with a redirect
(303) to a page of the shop's own: on that GET the session is there again. It asks for no CSRF token either.
In tests, ``app.dependency_overrides[paystar_of]`` gives every route another client, the callback's too.
"""

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any

from paystar_async.client import Paystar
from paystar_async.contrib import starlette
from paystar_async.contrib.callback import AmountOf, NoPayment
from paystar_async.contrib.starlette import Next, called, exception_handlers, onward, page, paystar_lifespan
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment

try:
    from fastapi import APIRouter, Depends, HTTPException, Request, Response
    from fastapi.requests import HTTPConnection
    from fastapi.routing import APIRoute
except ImportError:
    raise ConfigurationError(
        "paystar_async.contrib.fastapi needs the fastapi extra", hint="pip install 'paystar-async[fastapi]'"
    ) from None

__all__ = [
    "CallbackRefused",
    "PaymentDep",
    "PaystarDep",
    "exception_handlers",
    "payment_router",
    "paystar_lifespan",
    "paystar_of",
]


async def paystar_of(connection: HTTPConnection) -> Paystar:
    """The application's client; override this in tests.

    Raises:
        ConfigurationError: the application was not started with ``paystar_lifespan``.
    """
    return starlette.paystar_of(connection)


PaystarDep = Annotated[Paystar, Depends(paystar_of)]
"""The application's client, as a parameter of a route: ``paystar: PaystarDep``."""


class CallbackRefused(HTTPException):
    """A request to a callback that brings no payment: 400 or 503, and ``page`` to show."""

    def __init__(self, error: NoPayment) -> None:
        super().__init__(error.page.status, error.page.en)
        self.page = error.page


def _payment(amount_of: AmountOf | None) -> Callable[..., Awaitable[Payment]]:
    async def payment(request: Request, paystar: PaystarDep) -> Payment:
        try:
            return await starlette.payment_of(request, paystar, amount_of)
        except NoPayment as error:
            raise CallbackRefused(error) from error

    return payment


PaymentDep = Annotated[Payment, Depends(_payment(None))]
"""The payment that a request to a callback brings, for a route of your own on GET and POST."""


class _Route(APIRoute):
    """Answers with a page where a client of an API would get JSON: it is a person who comes here."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except CallbackRefused as error:
                return page(error.page)

        return handler


def payment_router(
    on_payment: Callable[..., Awaitable[Next] | Next], *, path: str = "/pay/callback", amount_of: AmountOf | None = None
) -> APIRouter:
    """A router with the callback, for a query (GET) and a form (POST).

    Args:
        on_payment: ``async (payment: Payment, …) -> address``, told of every payment of an order of yours, whatever its
            outcome; what else it asks for is given as in any route (the request, dependencies). It says where the payer
            goes next; what is bought is handed over in ``payments.on_verified``, since not every payer comes back, and
            some come twice. A Response of its own is taken too, and None shows the result on a short page.
        path: where it lives; the ``callback`` given to ``payments.start`` must lead there.
        amount_of: gives the Rial of an order you keep yourself; without it the client's ``database`` holds the orders.

    Returns:
        A router that answers 303, or a page: 400 for what is no callback or names no order of yours, 503 when it
        cannot be decided now. It is left out of the OpenAPI schema: no client of yours calls it.
    """
    router = APIRouter(route_class=_Route)
    router.add_api_route(
        path,
        _endpoint(on_payment, Annotated[Payment, Depends(_payment(amount_of))]),
        methods=["GET", "POST"],
        include_in_schema=False,
        response_model=None,
        name="paystar_callback",
    )
    return router


def _endpoint(on_payment: Callable[..., Awaitable[Next] | Next], given: Any) -> Callable[..., Awaitable[Response]]:
    """The route: ``on_payment`` with the payment injected, and what it says made an answer."""
    signature = inspect.signature(on_payment, eval_str=True)
    wanted = [name for name, one in signature.parameters.items() if one.annotation in (Payment, PaymentDep)]

    @wraps(on_payment)
    async def endpoint(paystar_payment: Payment, **others: Any) -> Response:
        said = await called(on_payment, **dict.fromkeys(wanted, paystar_payment), **others)
        return onward(said, paystar_payment)

    kept = [one for name, one in signature.parameters.items() if name not in wanted]
    payment = inspect.Parameter("paystar_payment", inspect.Parameter.KEYWORD_ONLY, annotation=given)
    endpoint.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in kept), payment],
        return_annotation=Response,
    )
    return endpoint
