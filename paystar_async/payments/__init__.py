"""Payments through the gateway: callbacks, orders and payment outcomes."""

from paystar_async.payments.callback import Callback
from paystar_async.payments.models import Order, OrderStatus
from paystar_async.payments.outcomes import (
    AmountMismatch,
    Cancelled,
    Declined,
    Expired,
    Payment,
    PaymentOutcome,
    Undecided,
    Verified,
)
from paystar_async.payments.payment_page import StartedPayment

__all__ = [
    "AmountMismatch",
    "Callback",
    "Cancelled",
    "Declined",
    "Expired",
    "Order",
    "OrderStatus",
    "Payment",
    "PaymentOutcome",
    "StartedPayment",
    "Undecided",
    "Verified",
]
