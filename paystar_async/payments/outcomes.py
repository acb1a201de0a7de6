"""What became of a payment. A sum type, so that a type checker asks what you do about ``Undecided``."""

from attrs import field, frozen

from paystar_async.errors import PaystarError


@frozen(kw_only=True)
class Verified:
    """Paid, verified, and the amount is the one you asked for: fulfil the order.

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
    """The payer turned back; nothing was paid."""


@frozen(kw_only=True)
class Declined:
    """Nothing is yours of this payment.

    Attributes:
        reason: why, in words.
    """

    reason: str


@frozen(kw_only=True)
class Expired:
    """Not verified in ten minutes of being paid, or never paid; what was paid goes back to the payer.

    Attributes:
        reason: what the gateway says.
    """

    reason: str = ""


@frozen(kw_only=True)
class AmountMismatch:
    """The amount is not the one you asked for: do not fulfil; look at Rial and Toman first.

    Attributes:
        expected: Rial you asked for.
        got: Rial the gateway names, where it names any.
    """

    expected: int
    got: int | None = None


@frozen(kw_only=True)
class Undecided:
    """Not known yet. Do not fulfil; confirm again, the answer will come.

    Attributes:
        reason: why it is not known.
        error: what came instead of an answer.
    """

    reason: str
    error: PaystarError | None = field(default=None, eq=False)


PaymentOutcome = Verified | Cancelled | Declined | Expired | AmountMismatch | Undecided


@frozen(kw_only=True)
class Payment:
    """A payment and what became of it.

    Attributes:
        outcome: what became of it.
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
        """The payment's own name, the same however often it is told of: what a handler makes its work unique by."""
        return f"{self.order_id}:{self.ref_num}"
