"""The one rule for what a payment is worth, whichever call named the figure and whichever flow asks.

Three figures exist: the amount the order asks for, ``price`` of a verify response and ``payment_amount`` of an inquiry
response. Only the inquiry can be repeated, so its figure decides wherever it is known; ``price`` decides alone only
while it equals the amount and create named no other ``payment_amount`` than an inquiry might, or where the gateway
answers no inquiry at all.
"""

from typing import Literal

from paystar_async.payments.outcomes import AmountMismatch

MAX_FEE_FACTOR = 10  # assumed
"""A ``payment_amount`` of this many times the amount, or more, is Rial taken for Toman and not a fee on the payer."""


def judge_amount(
    amount: int, *, price: int | None = None, payment_amount: int | None = None
) -> AmountMismatch | Literal[True] | None:
    """Judge the figures of one payment against the amount its order asks for.

    Args:
        amount: Rial the order asks for.
        price: Rial that the verify response named, if one was read.
        payment_amount: Rial that the inquiry response named, if it named any.

    Returns:
        True where the amount was paid, AmountMismatch where another one was, None where no figure is known.

    Source: WIRE §4: ``payment_amount`` exceeds the amount by a fee on the payer; ``price`` equals the amount.
    """
    if payment_amount is not None:
        # assumed: a fee on the payer makes it more, never less.
        is_paid = amount <= payment_amount < amount * MAX_FEE_FACTOR
        return is_paid or AmountMismatch(expected=amount, got=payment_amount)
    if price is not None:
        # assumed: price carries no fee. Where it does, the inquiry says how much was paid.
        return price == amount or AmountMismatch(expected=amount, got=price)
    return None
