"""The pages of the shop."""

import os
import uuid

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import reverse
from django.views.decorators.http import require_POST

from paystar_async import Toman
from paystar_async.contrib.django import get_blocking_paystar, get_paystar
from paystar_async.payments import Payment
from tests.examples.django_shop.models import Delivery, Order

PRICE = Toman(5_000)
CALLBACK_METHOD = int(os.environ.get("SHOP_CALLBACK_METHOD", "1"))  # 1: the payer comes back by GET, 2: by POST


def home(request: HttpRequest) -> HttpResponse:
    token = f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
    return HttpResponse(f'<form method="post" action="{reverse("buy")}">{token}<button>خرید · Buy</button></form>')


@require_POST
def buy(request: HttpRequest) -> HttpResponse:
    order = Order.objects.create(order_id=uuid.uuid4().hex, amount=PRICE)
    payment = get_blocking_paystar().payments.start(
        amount=order.amount,
        order_id=order.order_id,
        callback=request.build_absolute_uri(reverse("paystar_callback")),
        callback_method=CALLBACK_METHOD,
    )
    return HttpResponseRedirect(payment.url)


@require_POST
async def buy_async(request: HttpRequest) -> HttpResponse:
    order = await Order.objects.acreate(order_id=uuid.uuid4().hex, amount=PRICE)
    payment = await get_paystar().payments.start(
        amount=order.amount,
        order_id=order.order_id,
        callback=request.build_absolute_uri(reverse("paystar_callback_async")),
        callback_method=CALLBACK_METHOD,
    )
    return HttpResponseRedirect(payment.url)


def on_payment(request: HttpRequest, payment: Payment) -> str:
    """Return where the payer goes next; store nothing, since a callback may be forged before the payment is made."""
    return reverse("order", args=[payment.order_id])


async def on_payment_async(request: HttpRequest, payment: Payment) -> str:
    return reverse("order", args=[payment.order_id])


def order(request: HttpRequest, order_id: str) -> HttpResponse:
    if not Order.objects.filter(pk=order_id).exists():
        raise Http404
    stored = get_blocking_paystar().payments.find(order_id=order_id)
    deliveries = Delivery.objects.filter(order_id=order_id).count()
    return HttpResponse(f"{stored.state if stored else 'unknown'}, delivered {deliveries}")
