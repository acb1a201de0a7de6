"""The page of an order: the state of its payment, and the way to its payment page."""

from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from paystar_async.sandbox.pages.language import request_language
from paystar_async.sandbox.pages.payment import CROSS_ORIGIN, refusal_page
from paystar_async.sandbox.pages.render import render_page
from paystar_async.sandbox.responses import Refusal, is_same_origin
from paystar_async.sandbox.state import SandboxState
from paystar_async.table import TABLE

PAYMENT_PATH = next(f"/api{endpoint.paths[0]}" for endpoint in TABLE if endpoint.kind == "page")


def order_routes(state: SandboxState) -> Iterator[Route]:
    """Yield the route of the orders' pages: GET shows an order, POST opens its payment page."""

    async def handle(request: HttpRequest) -> HttpResponse:
        return order_page(state, request) if request.method == "GET" else open_payment_page(state, request)

    yield Route("/_sandbox/orders/{ref_num}", handle, methods=["GET", "POST"])


def order_page(state: SandboxState, request: HttpRequest) -> HttpResponse:
    """Return the page of an order."""
    language, payments = request_language(request), state.bank.payments
    try:
        payment = payments.find(request.path_params["ref_num"])
    except Refusal as refusal:
        return refusal_page(refusal, language, 404)
    return render_page(
        "order.html",
        language,
        payment=payment,
        status=str(payments.status(payment)),
        shop=urlsplit(payment.request.callback).netloc,
        toman=language.format_toman(payment.payment_amount),
        timestamp=language.format_timestamp,
    )


def open_payment_page(state: SandboxState, request: HttpRequest) -> HttpResponse:
    """Send the browser to an order's payment page, which may have been opened before."""
    language = request_language(request)
    if not is_same_origin(request):
        return refusal_page(CROSS_ORIGIN, language, 403)
    try:
        payment = state.bank.payments.allow_opening(request.path_params["ref_num"])
    except Refusal as refusal:
        return refusal_page(refusal, language, 400)
    return RedirectResponse(f"{PAYMENT_PATH}?{urlencode({'token': payment.token, 'lang': str(language)})}", 303)
