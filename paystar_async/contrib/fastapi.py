"""FastAPI: the client as a dependency, the callback as a router, and responses to errors.

    app = FastAPI(lifespan=paystar_lifespan(), exception_handlers=exception_handlers)

    @app.get("/balance/{account}")
    async def balance(account: str, paystar: PaystarDep) -> int:
        return (await paystar.transfers.balance(account_number=account)).balance

    async def on_payment(payment: Payment) -> str:
        return f"/orders/{payment.order_id}"

    app.include_router(payment_router(on_payment=on_payment, path="/pay/callback"))

A POSTed callback comes from another site, so the browser omits ``SameSite=Lax`` cookies, and with them the session.
Hence the callback needs no session, and responds with a redirect (303) to a page of the shop: that GET has the session
again. The callback needs no CSRF token either.
In tests, the fixture ``paystar_env`` leads ``paystar_lifespan()``, and with it every route, to a sandbox;
``app.dependency_overrides[paystar_of]`` replaces the client of the routes alone, not the sweeper's.
"""

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from paystar_async.errors import ConfigurationError, MissingExtra, PaystarError

try:
    from fastapi import APIRouter, Depends, HTTPException, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.requests import HTTPConnection
    from fastapi.routing import APIRoute
    from starlette.types import Receive, Scope, Send
except ImportError:
    raise MissingExtra("paystar_async.contrib.fastapi", "fastapi") from None

from paystar_async import payments
from paystar_async.client import Paystar
from paystar_async.contrib import starlette
from paystar_async.contrib._callback import AmountOf, NoPayment, check_amount_of, function_name
from paystar_async.contrib._responses import result_page
from paystar_async.contrib.starlette import (
    HandlerFailed,
    Next,
    call_handler,
    exception_handlers,
    page_response,
    payer_response,
    paystar_lifespan,
    respond_to_failures,
)
from paystar_async.payments import Payment, PaymentOutcome

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
    """Return the application's client.

    Raises:
        ConfigurationError: the application was not started with ``paystar_lifespan``.
    """
    return starlette.paystar_of(connection)


PaystarDep = Annotated[Paystar, Depends(paystar_of)]
"""The application's client, as a parameter of a route: ``paystar: PaystarDep``."""


class CallbackRefused(HTTPException):
    """A request to a callback that confirms no payment: 400 or 503, and ``page`` to show."""

    def __init__(self, error: NoPayment) -> None:
        super().__init__(error.page.status, error.page.en)
        self.page = error.page


def _payment(amount_of: AmountOf | None) -> Callable[..., Awaitable[Payment]]:
    check_amount_of(amount_of)

    async def payment(request: Request, paystar: PaystarDep) -> Payment:
        try:
            return await starlette.payment_of(request, paystar, amount_of)
        except NoPayment as error:
            raise CallbackRefused(error) from error

    return payment


PaymentDep = Annotated[Payment, Depends(_payment(None))]
"""The payment of a request to a callback, for your own route on GET and POST."""


class _Route(APIRoute):
    """A route that responds to errors with a page instead of JSON, for a payer."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except CallbackRefused as error:
                return page_response(error.page)
            except (RequestValidationError, PaystarError) as error:
                # FastAPI, or exception_handlers, would respond with JSON and a 4xx to a payer who has paid.
                raise HandlerFailed(error) from error

        return handler

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_to_failures(super().handle, scope, receive, send)


async def _show_result(_payment: Payment) -> None:
    """Return None: the payer sees a short page with the result."""


def payment_router(
    on_payment: Callable[..., Awaitable[Next] | Next] = _show_result,
    *,
    path: str = "/pay/callback",
    amount_of: AmountOf | None = None,
) -> APIRouter:
    """Return a router with the callback, for a query (GET) and a form (POST).

    Args:
        on_payment: ``async (payment: Payment, …) -> address``, called for every payment of a known order, whatever its
            outcome; further parameters are injected as in any route (the request, dependencies). It returns where the
            payer goes next; fulfil the order in ``payments.on_verified`` instead, since not every payer comes back, and
            some come twice. It may return a Response, or None for a short page with the result, which is the default.
            Instead of the Payment it may take the outcome, ``outcome: Verified | Undecided``; for other outcomes it is
            not called, and the payer sees the short page.
        path: the path; the ``callback`` given to ``payments.start`` must lead to it.
        amount_of: returns the Rial of an order in your own store; by default orders are in the client's ``database``.

    Returns:
        A router that responds with 303, or with a page: 400 if the request is not a callback or names an unknown order,
        503 if the payment cannot be decided now, or ``amount_of``, ``on_payment`` or a dependency fails. HTTPException,
        and errors with an exception handler in the application, are handled as in any route. The router is not in the
        OpenAPI schema: no API client calls it.

    Raises:
        ConfigurationError: no parameter of ``on_payment`` is annotated with Payment or with outcomes, or ``amount_of``
            does not take an order_id.
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


def _endpoint(
    on_payment: Callable[..., Awaitable[Next] | Next], payment_annotation: Any
) -> Callable[..., Awaitable[Response]]:
    """Return the endpoint: it calls ``on_payment`` with the payment and converts the returned value to a response."""
    parameters = _parameters(on_payment) if callable(on_payment) else []
    payment_names = [parameter.name for parameter in parameters if _is_payment(parameter)]
    outcomes = {parameter.name: types for parameter in parameters if (types := _outcomes(parameter))}
    if not payment_names and not outcomes:
        raise ConfigurationError(
            f"on_payment {function_name(on_payment)} takes no payment: FastAPI reads a parameter without an annotation "
            "from the query",
            hint="async def on_payment(payment: Payment) -> str, with Payment from paystar_async.payments",
        )

    @wraps(on_payment)
    async def endpoint(paystar_payment: Payment, **arguments: Any) -> Response:
        if not all(isinstance(paystar_payment.outcome, types) for types in outcomes.values()):
            return page_response(result_page(paystar_payment))
        injected: dict[str, object] = dict.fromkeys(payment_names, paystar_payment)
        injected |= dict.fromkeys(outcomes, paystar_payment.outcome)
        return payer_response(await call_handler(on_payment, **injected, **arguments), paystar_payment)

    payment = inspect.Parameter("paystar_payment", inspect.Parameter.KEYWORD_ONLY, annotation=payment_annotation)
    endpoint.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *(
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                for parameter in parameters
                if parameter.name not in (*payment_names, *outcomes)
            ),
            payment,
        ],
        return_annotation=Response,
    )
    return endpoint


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    """Return the parameters of a function; an annotation that cannot be evaluated stays as written, as in FastAPI."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        signature = inspect.signature(function, annotation_format=Format.FORWARDREF)
    else:
        signature = inspect.signature(function)
    plain: Any = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    if not inspect.isroutine(plain):
        plain = type(plain).__call__
    # Linters may move the import of Payment under TYPE_CHECKING: its name is known here all the same.
    names = {**vars(payments), "PaymentDep": PaymentDep, **getattr(inspect.unwrap(plain), "__globals__", {})}
    return [
        parameter.replace(annotation=_evaluate(parameter.annotation, names))
        for parameter in signature.parameters.values()
    ]


def _evaluate(annotation: Any, names: dict[str, Any]) -> Any:
    """Return the type that an annotation names; the annotation itself if it cannot be evaluated."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
    if text is None:
        return annotation
    try:
        return eval(text, names)  # noqa: S307 - the source of the user's own module, as inspect.signature evaluates it
    except Exception:
        return annotation


def _is_payment(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    return (get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation) is Payment


def _outcomes(parameter: inspect.Parameter) -> tuple[type, ...]:
    """Return the outcomes that a parameter is annotated with; an empty tuple for any other annotation."""
    annotation = parameter.annotation
    types = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return types if all(each in get_args(PaymentOutcome) for each in types) else ()
