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

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from paystar_async import payments
from paystar_async.client import Paystar
from paystar_async.contrib import starlette
from paystar_async.contrib._callback import AmountOf, NoPayment, name_of
from paystar_async.contrib._responses import result
from paystar_async.contrib.starlette import (
    HandlerFailed,
    Next,
    answer_failures,
    called,
    exception_handlers,
    onward,
    page,
    paystar_lifespan,
)
from paystar_async.errors import ConfigurationError, PaystarError
from paystar_async.payments import Payment, PaymentOutcome

try:
    from fastapi import APIRouter, Depends, HTTPException, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.requests import HTTPConnection
    from fastapi.routing import APIRoute
    from starlette.types import Receive, Scope, Send
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
            except (RequestValidationError, PaystarError) as error:
                # FastAPI, or our exception_handlers, would answer in JSON, and with a 4xx, to a payer who has paid.
                raise HandlerFailed(error) from error

        return handler

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_failures(super().handle, scope, receive, send)


def payment_router(
    on_payment: Callable[..., Awaitable[Next] | Next], *, path: str = "/pay/callback", amount_of: AmountOf | None = None
) -> APIRouter:
    """A router with the callback, for a query (GET) and a form (POST).

    Args:
        on_payment: ``async (payment: Payment, …) -> address``, told of every payment of an order of yours, whatever its
            outcome; what else it asks for is given as in any route (the request, dependencies). It says where the payer
            goes next; what is bought is handed over in ``payments.on_verified``, since not every payer comes back, and
            some come twice. A Response of its own is taken too, and None shows the result on a short page. Instead of
            the Payment it may ask for the outcome, ``outcome: Verified | Undecided``; a payment with an outcome that
            is not named there is not given to it, and its payer sees the short page.
        path: where it lives; the ``callback`` given to ``payments.start`` must lead there.
        amount_of: gives the Rial of an order you keep yourself; without it the client's ``database`` holds the orders.

    Returns:
        A router that answers 303, or a page: 400 for what is no callback or names no order of yours, 503 when it
        cannot be decided now, or when ``amount_of``, ``on_payment`` or a dependency fails. An HTTPException, and
        whatever else the application has an exception handler for, is answered as in any route. The router is left
        out of the OpenAPI schema: no client of yours calls it.

    Raises:
        ConfigurationError: no parameter of ``on_payment`` is annotated with Payment or with outcomes.
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
    """Return the route: ``on_payment`` with the payment injected, and what it returns made a response."""
    parameters = _parameters(on_payment)
    payment_names = [parameter.name for parameter in parameters if _is_payment(parameter)]
    outcomes = {parameter.name: types for parameter in parameters if (types := _outcomes(parameter))}
    if not payment_names and not outcomes:
        raise ConfigurationError(
            f"on_payment {name_of(on_payment)} takes no payment: FastAPI reads a parameter without an annotation from "
            "the query",
            hint="async def on_payment(payment: Payment) -> str, with Payment from paystar_async.payments",
        )

    @wraps(on_payment)
    async def endpoint(paystar_payment: Payment, **others: Any) -> Response:
        if not all(isinstance(paystar_payment.outcome, types) for types in outcomes.values()):
            return page(result(paystar_payment))
        injected: dict[str, object] = dict.fromkeys(payment_names, paystar_payment)
        injected |= dict.fromkeys(outcomes, paystar_payment.outcome)
        return onward(await called(on_payment, **injected, **others), paystar_payment)

    payment = inspect.Parameter("paystar_payment", inspect.Parameter.KEYWORD_ONLY, annotation=given)
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
    # Linters move Payment under TYPE_CHECKING, too: it is known here whether the module imports it or not.
    names = {**vars(payments), "PaymentDep": PaymentDep, **getattr(inspect.unwrap(plain), "__globals__", {})}
    return [
        parameter.replace(annotation=_evaluated(parameter.annotation, names))
        for parameter in signature.parameters.values()
    ]


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
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
    """Return the outcomes that a parameter is annotated with, none if it is annotated with anything else."""
    annotation = parameter.annotation
    types = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return types if all(each in get_args(PaymentOutcome) for each in types) else ()
