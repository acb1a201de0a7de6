"""Values of a verification: request, policy, receipt and result."""

from collections.abc import Callable

from attrs import field, frozen

from paystar_async.payments.callback import Callback
from paystar_async.payments.outcomes import PaymentOutcome, Verified


@frozen(kw_only=True)
class VerificationPolicy:
    """The points in which the two flows of ``confirm`` differ on purpose.

    Attributes:
        trusts_cancelled: believe a callback that claims no payment, without a request. True where the caller stores the
            order: only its payer can gain from the callback, and loses by it. False for a stored order, which a forged
            callback would close.
        signs_inquiry: sign the inquiry with the callback's card and tracking code from the first time on. False for a
            stored order, where both may be forged, or not known yet: it signs only if the gateway insists.
        always_inquires: send the inquiry after a successful verify too. True where the ref_num came with the callback,
            which anybody can write: verify proves that an amount was paid, and only the inquiry for which order. So the
            inquiry alone proves a payment only if it names the order, and one that names another order declines it.
            False where the ref_num was stored when the payment was created.
        is_final: give the outcome that no later check will correct. True where nothing is stored and no sweep follows:
            what verify refuses is the outcome, and a verify that had no effect is sent once more at once. False for a
            stored order: what verify refuses counts only after the inquiry, with the card and tracking code that the
            inquiry names.
    """

    trusts_cancelled: bool
    signs_inquiry: bool
    always_inquires: bool
    is_final: bool


STORED_ORDER = VerificationPolicy(trusts_cancelled=False, signs_inquiry=False, always_inquires=False, is_final=False)
"""The policy for orders that ``start`` stored."""
CALLER_ORDER = VerificationPolicy(trusts_cancelled=True, signs_inquiry=True, always_inquires=True, is_final=True)
"""The policy for orders that the caller stores: ``confirm`` with amount and order_id."""


@frozen(kw_only=True)
class Receipt:
    """The card and tracking code that verify signs beside the order's own fields.

    Attributes:
        card_number: the payer's card, masked.
        tracking_code: the receipt number.
        hashed_card_number: the payer's card as the gateway hashes it.
    """

    card_number: str = field(default="", repr=False)
    tracking_code: str = ""
    hashed_card_number: str | None = field(default=None, repr=False, eq=False)

    def verified(self, card_number: str | None = None) -> Verified:
        """Return the outcome with this receipt.

        Args:
            card_number: the card that the verify response named, if it named any.
        """
        return Verified(
            tracking_code=self.tracking_code or None,
            card_number=card_number or self.card_number or None,
            hashed_card_number=self.hashed_card_number,
        )


@frozen(kw_only=True)
class VerificationRequest:
    """A payment to verify.

    Attributes:
        order_id: the order the payment was started for.
        ref_num: the gateway's transaction.
        amount: Rial the order asks for.
        payment_amount: Rial the payer pays, if the create response named it.
        callback: the callback that the payer came back with, if any.
        is_verifiable: True if verify is surely still allowed; if not, the inquiry alone proves the payment.
        is_expired: True if the order was given up: the payment is not verified any more.
        is_only_open_attempt: True if no other payment of the order is open.
        now: the store's time.
        on_request: called right before each request to the gateway.
    """

    order_id: str
    ref_num: str
    amount: int
    payment_amount: int | None = None
    callback: Callback | None
    is_verifiable: bool = True
    is_expired: bool = False
    is_only_open_attempt: bool = True
    now: float = 0.0
    on_request: Callable[[], object] = field(default=lambda: None, repr=False, eq=False)

    @property
    def claimed_receipt(self) -> Receipt | None:
        """Return the card and tracking code that the callback claims, or None if the callback claims no payment."""
        if self.callback is None or not self.callback.claims_paid:
            return None
        return Receipt(
            card_number=self.callback.card_number or "",
            tracking_code=self.callback.tracking_code or "",
            hashed_card_number=self.callback.hashed_card_number,
        )


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
        """Return the reason of the outcome, in words."""
        reason: str = getattr(self.outcome, "reason", "")
        return reason
