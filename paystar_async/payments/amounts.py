"""The rule for the amount of a payment, the same for every call and flow.

Three amounts exist: the amount the order asks for, ``price`` of a verify response and ``payment_amount`` of an inquiry
response. Only the inquiry can be repeated, so its amount decides wherever it is known. ``price`` decides alone only if
it equals the order's amount and the create response named no contradicting ``payment_amount``, or if the gateway
responds to no inquiry at all.
"""

from typing import Literal

from paystar_async.payments.outcomes import AmountMismatch

MAX_FEE_FACTOR = 10  # assumed (payer-fee-limit)
"""A ``payment_amount`` from this multiple of the amount on is a mix-up of Rial and Toman, not a fee on the payer."""


def judge_amount(
    amount: int, *, price: int | None = None, payment_amount: int | None = None
) -> AmountMismatch | Literal[True] | None:
    """Compare the amounts of one payment with the amount its order asks for.

    Args:
        amount: Rial the order asks for.
        price: Rial that the verify response named, if any.
        payment_amount: Rial that the inquiry response named, if any.

    Returns:
        True if the amount was paid, AmountMismatch if another amount was paid, None if no amount is known.

    Source: WIRE §4: ``payment_amount`` exceeds the amount by a fee on the payer; ``price`` equals the amount.
    """
    if payment_amount is not None:
        # assumed (payer-fee): a fee on the payer only increases the amount.
        is_paid = amount <= payment_amount < amount * MAX_FEE_FACTOR
        return is_paid or AmountMismatch(expected=amount, got=payment_amount)
    if price is not None:
        # assumed (price-without-fee): price includes no fee. Where it does, the inquiry names the amount paid.
        return price == amount or AmountMismatch(expected=amount, got=price)
    return None
