"""The application: it delivers what is paid."""

from typing import Any

from django.apps import AppConfig

from paystar_async.contrib.django import payment_verified
from paystar_async.payments import Payment


class ShopConfig(AppConfig):
    name = "tests.examples.django_shop"
    label = "shop"

    def ready(self) -> None:
        payment_verified.connect(deliver, dispatch_uid="shop")


def deliver(payment: Payment, **_: Any) -> None:
    """Record the delivery of an order; called at least once for each payment, so unique by its id."""
    from tests.examples.django_shop.models import Delivery

    Delivery.objects.get_or_create(payment_id=payment.id, defaults={"order_id": payment.order_id})
