"""Outcomes of a payment: a union type, so that a type checker demands a case for ``Undecided``."""

from attrs import field, frozen

from paystar_async.errors import PaystarError


@frozen(kw_only=True)
class Verified:
    """A verified payment of the amount you asked for: fulfil the order.

    Attributes:
        tracking_code: the payer's receipt number.
        card_number: the payer's card, masked.
        hashed_card_number: the payer's card as the gateway hashes it.
    """

    tracking_code: str | None = None
    card_number: str | None = field(default=None, repr=False)
    hashed_card_number: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Cancelled:
    """A payment that the payer cancelled; nothing was paid."""


@frozen(kw_only=True)
class Declined:
    """A payment that failed or is not this order's: you receive nothing.

    Attributes:
        reason: the reason, in words.
    """

    reason: str


@frozen(kw_only=True)
class Expired:
    """A payment not verified within ten minutes, or never made; what was paid goes back to the payer.

    Attributes:
        reason: the gateway's reason.
    """

    reason: str = ""


@frozen(kw_only=True)
class AmountMismatch:
    """A payment of another amount than you asked for: do not fulfil; check Rial and Toman first.

    Attributes:
        expected: Rial you asked for.
        got: Rial the gateway names, if any.
    """

    expected: int
    got: int | None = None


@frozen(kw_only=True)
class Undecided:
    """A payment whose outcome is not known yet. Do not fulfil; confirm again later.

    Attributes:
        reason: why the outcome is not known.
        error: the error of the call without a response, if any.
    """

    reason: str
    error: PaystarError | None = field(default=None, eq=False)


PaymentOutcome = Verified | Cancelled | Declined | Expired | AmountMismatch | Undecided


@frozen(kw_only=True)
class Payment:
    """A payment with its outcome.

    Attributes:
        outcome: the outcome.
        order_id: your order.
        ref_num: the gateway's transaction.
        amount: Rial you asked for.
    """

    outcome: PaymentOutcome
    order_id: str
    ref_num: str
    amount: int

    @property
    def id(self) -> str:
        """Return the payment's id, the same in every notification: handlers use it to fulfil the order only once."""
        return f"{self.order_id}:{self.ref_num}"
