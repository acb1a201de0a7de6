"""The addresses of the shop."""

from django.urls import path

from paystar_async.contrib.django import PaymentCallbackView
from tests.examples.django_shop import views

urlpatterns = [
    path("", views.home),
    path("buy", views.buy, name="buy"),
    path("buy-async", views.buy_async),
    path("orders/<order_id>", views.order, name="order"),
    path("pay/callback", PaymentCallbackView.as_view(on_payment=views.on_payment), name="paystar_callback"),
    path(
        "pay/callback-async",
        PaymentCallbackView.as_view(on_payment=views.on_payment_async),
        name="paystar_callback_async",
    ),
]
