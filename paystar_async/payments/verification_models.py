"""Values of the verification of a payment."""

from attrs import frozen

from paystar_async.payments.outcomes import PaymentOutcome


@frozen(kw_only=True)
class VerificationResult:
    """The result of a verification.

    Attributes:
        outcome: the outcome for the caller.
        settled: True if the outcome is final; any other payment is checked again. Verified is always final.
        unpaid: True if the gateway says that the payer has not paid, or not yet.
        may_expire: True if the payment may be given up once its time is over: the gateway responded, and has no money.
        checked_at: the store's time before the request to the gateway.
        depends_on_receipt: True if the outcome depends on the card and tracking code that the callback claims, so that
            it does not hold for another callback.
    """

    outcome: PaymentOutcome
    settled: bool = False
    unpaid: bool = False
    may_expire: bool = False
    checked_at: float = 0.0
    depends_on_receipt: bool = False

    @property
    def reason(self) -> str:
        """The reason of the outcome, in words."""
        reason: str = getattr(self.outcome, "reason", "")
        return reason
