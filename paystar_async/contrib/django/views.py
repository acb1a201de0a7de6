"""The view of the callback: it confirms a payment and responds to the payer's browser."""

from collections.abc import AsyncIterator, Callable
from inspect import isawaitable, iscoroutinefunction
from typing import Any, cast
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.request import RawPostDataException
from django.http.response import HttpResponseBase
from django.views import View

from paystar_async.contrib._callback import (
    HEADERS,
    AmountOf,
    BodyConsumed,
    NoPayment,
    body_consumed_error,
    check_amount_of,
    check_handler,
    confirm_request,
    confirm_request_blocking,
    log_handler_failure,
)
from paystar_async.contrib._responses import Page, result_page
from paystar_async.contrib.django.clients import get_blocking_paystar, get_paystar
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment


class PaymentCallbackView(View):
    """The view of the callback, for a query (GET) and a form (POST).

    It needs neither a CSRF token nor a session: a POSTed callback comes from another site, so the browser omits
    ``SameSite=Lax`` cookies. Hence it responds with a redirect (303) to a page of the shop: that GET has the session
    again.

    The view responds with a page: 400 if the request is not a callback or names an unknown order, 503 if the payment
    cannot be decided now, or ``amount_of`` or ``on_payment`` fails. ``Http404`` and ``PermissionDenied`` are Django's.

    Attributes:
        amount_of: returns the Rial of an order in your own store; by default orders are in the client's ``database``.
            A coroutine function only if ``on_payment`` is one.
    """

    http_method_names = ["get", "post"]  # noqa: RUF012 - as in View

    amount_of: AmountOf | None = None

    def on_payment(self, request: HttpRequest, payment: Payment) -> Any:
        """Return where the payer goes next: an address, your own response, or None for a short page with the result.

        Called for every payment of a known order, whatever its outcome. Override it, or give ``as_view`` a function. It
        may be a coroutine function. Fulfil the order in a receiver of ``payment_verified`` instead, since not every
        payer comes back, and some come twice.

        Args:
            request: the request.
            payment: the payment, with its outcome.
        """

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        """Return the view; asynchronous if ``on_payment`` is a coroutine function.

        Args:
            **initkwargs: ``on_payment`` and ``amount_of``.

        Raises:
            ConfigurationError: ``on_payment`` does not take a request and a payment, ``amount_of`` does not take an
                order_id, or ``amount_of`` alone is a coroutine function.
        """
        on_payment = initkwargs.get("on_payment")
        if on_payment is not None:
            check_handler(on_payment)
        check_amount_of(initkwargs.get("amount_of"))
        is_async = iscoroutinefunction(on_payment or cls.on_payment)
        if iscoroutinefunction(initkwargs.get("amount_of", cls.amount_of)) and not is_async:
            raise ConfigurationError(
                "amount_of is a coroutine function, and on_payment is not: a plain view cannot await amount_of",
                hint="define both with async def, or both with def",
            )
        view_class = _async_view_class(cls) if is_async else cls
        view: Any = super(PaymentCallbackView, view_class).as_view(**initkwargs)
        view.csrf_exempt = True
        view.login_required = False  # of LoginRequiredMiddleware: the payer may come back without a session
        for alias in connections:
            # Receivers of payment_verified have connections of their own: a transaction here could block them.
            view = transaction.non_atomic_requests(alias)(view)
        return cast("Callable[..., Any]", view)

    def get(self, request: HttpRequest, *_: Any, **__: Any) -> Any:
        """Confirm the payment of the request, and return the response to the payer."""
        try:
            body = _body(request) if request.method == "POST" else None
            payment = confirm_request_blocking(
                get_blocking_paystar(), **_arguments(request), body=body, amount_of=self.amount_of
            )
        except NoPayment as error:
            return page_response(error.page)
        except BodyConsumed:
            return page_response(body_consumed_error().page)
        try:
            return payer_response(self.on_payment(request, payment), payment)
        except Exception as error:
            return _failure_response(request, error)

    def post(self, request: HttpRequest, *_: Any, **__: Any) -> Any:
        """Confirm the payment of the request, and return the response to the payer."""
        return self.get(request)


class _AsyncHandlers:
    """The handlers of an asynchronous view."""

    amount_of: AmountOf | None
    on_payment: Callable[..., Any]

    async def get(self, request: HttpRequest, *_: Any, **__: Any) -> Any:
        body = _chunks(request) if request.method == "POST" else None
        try:
            payment = await confirm_request(get_paystar(), **_arguments(request), body=body, amount_of=self.amount_of)
        except NoPayment as error:
            return page_response(error.page)
        try:
            returned = self.on_payment(request, payment)
            return payer_response(await returned if isawaitable(returned) else returned, payment)
        except Exception as error:
            return _failure_response(request, error)

    async def post(self, request: HttpRequest, *_: Any, **__: Any) -> Any:
        return await self.get(request)


def _async_view_class(view_class: type[PaymentCallbackView]) -> type[PaymentCallbackView]:
    """Return the class with asynchronous handlers: in Django all handlers of a class are of one kind."""
    return type(view_class.__name__, (_AsyncHandlers, view_class), {"__doc__": view_class.__doc__})


def _arguments(request: HttpRequest) -> dict[str, Any]:
    """Return the method, query and content type of a request, as arguments of ``confirm_request``."""
    query = request.META.get("QUERY_STRING", "").encode("latin-1", "replace")
    return {"method": request.method, "query": query, "content_type": request.META.get("CONTENT_TYPE")}


def _body(request: HttpRequest) -> bytes:
    """Return the body, also if other code has read it; raise BodyConsumed if that code has read it as a stream."""
    try:
        return request.body
    except RawPostDataException:
        form = getattr(request, "_post", None)
        if not form:
            raise BodyConsumed from None
        return urlencode([(name, value) for name, values in form.lists() for value in values]).encode()


async def _chunks(request: HttpRequest) -> AsyncIterator[bytes]:
    yield _body(request)


def page_response(page: Page) -> HttpResponse:
    """Return a page as a response."""
    return HttpResponse(page.html, status=page.status, headers=HEADERS)


def payer_response(returned: object, payment: Payment) -> HttpResponseBase:
    """Return the response for the value that ``on_payment`` returned."""
    if isinstance(returned, HttpResponseBase):
        return returned
    if returned is None:
        return page_response(result_page(payment))
    if isinstance(returned, str):
        redirect = HttpResponseRedirect(returned, headers=HEADERS)
        redirect.status_code = 303
        return redirect
    raise TypeError(f"on_payment must return an address, a response or None, not a {type(returned).__name__}")


def _failure_response(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return the page for an error of ``on_payment``; raise an error that Django responds to."""
    if isinstance(error, Http404 | PermissionDenied):
        raise error
    return page_response(log_handler_failure(request.path, error))
