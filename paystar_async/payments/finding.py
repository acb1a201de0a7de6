"""What was found out of one payment, and how sure it is."""

from attrs import frozen

from paystar_async.payments.outcomes import PaymentOutcome


@frozen(kw_only=True)
class Finding:
    """What the gateway says of a payment.

    Attributes:
        outcome: what a caller is told.
        settled: whether that is for good; what is not is asked about again. Verified always is.
        unpaid: whether the gateway says that its payer has not paid, or not yet.
        lapses: whether it comes to nothing when its time is over: the gateway answered, and has no money of it.
        asked_at: the store's time before the gateway was asked.
        by_receipt: whether it depends on the card and the receipt of the callback, so that it says nothing of others.
    """

    outcome: PaymentOutcome
    settled: bool = False
    unpaid: bool = False
    lapses: bool = False
    asked_at: float = 0.0
    by_receipt: bool = False

    @property
    def reason(self) -> str:
        """Why, in words."""
        reason: str = getattr(self.outcome, "reason", "")
        return reason
