"""Payments of a sandbox, receivers and handlers."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from paystar_async.contrib.django import get_blocking_paystar
from paystar_async.payments import Payment
from paystar_async.sandbox import Sandbox


def pay(sandbox: Sandbox, order_id: str = "o-1") -> dict[str, str]:
    started = get_blocking_paystar().payments.start(
        amount=50_000, order_id=order_id, callback="https://shop.example/pay/callback"
    )
    return sandbox.pay(started.url)


def recorder(received: list[Payment]) -> Callable[..., None]:
    """Return a receiver that appends the payments to a list."""

    def record(payment: Payment, **_: Any) -> None:
        received.append(payment)

    return record


def address(request: HttpRequest, payment: Payment) -> str:
    return f"/orders/{payment.order_id}"
