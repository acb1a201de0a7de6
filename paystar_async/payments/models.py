"""An order and the payments that were started for it: what is stored, and what may become of it.

Values only. Every change is made here, by a method that gives the order after it, and stored by a compare-and-set on
``version``; so what two workers do at once is done one after the other, or not at all.

An order is bound to one of its payments (``chosen``) before that one is verified, and no other is verified while it
is: that is what keeps an order from being paid twice.
"""

from enum import StrEnum

from attrs import evolve, field, frozen

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


@frozen(kw_only=True)
class VerificationResult:
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


VERIFY_SECONDS = 600.0
"""A payment can be verified so long after it was made (reference: "within 10 minutes")."""
MARGIN = 30.0
"""Taken off for the way there and for clocks that differ."""
LOOKS = (60.0, 120.0, 240.0, 360.0, 480.0, 540.0)
"""When an open payment is looked after, in seconds after it was started."""
LOOK_AGAIN = 300.0
"""Seconds between the looks after those: two in the time a late payment can be verified."""
ORDER_LIFETIME_SECONDS = 1800.0
"""Seconds after which a payment that was not made never will be: the page has long closed."""
LONGEST_PAUSE = 6 * 3600.0
QUIET = 120.0
"""Seconds after which no verify that was sent can still be on its way."""
SOON = 60.0
"""Seconds after which a payment is looked after again when a verify was sent for it."""


class OrderStatus(StrEnum):
    """Where a payment, or an order, stands."""

    OPEN = "open"
    VERIFIED = "verified"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"
    MISMATCH = "mismatch"


_STATE_OF: dict[type[PaymentOutcome], OrderStatus] = {
    Cancelled: OrderStatus.CANCELLED,
    Declined: OrderStatus.DECLINED,
    Expired: OrderStatus.EXPIRED,
    AmountMismatch: OrderStatus.MISMATCH,
}


@frozen(kw_only=True)
class PaymentAttempt:
    """One payment that was started for an order.

    Attributes:
        ref_num: the gateway's transaction.
        payment_amount: Rial the payer pays, where create said so.
        paid_amount: Rial that the gateway named instead of the order's amount, once that is settled.
        state: where it stands.
        reason: why it ended, in words.
        created_at: when it was started.
        unpaid_at: when the gateway last said that it was not paid yet: its time to verify began no earlier.
        next_look: when it is looked after next; None when it has ended.
    """

    ref_num: str
    payment_amount: int | None = None
    paid_amount: int | None = None
    state: OrderStatus = OrderStatus.OPEN
    reason: str = ""
    created_at: float = 0.0
    unpaid_at: float = 0.0
    next_look: float | None = None

    def in_time(self, now: float) -> bool:
        """Whether it can surely be verified, if it was paid."""
        return now < self.unpaid_at + VERIFY_SECONDS - MARGIN

    def look_after(self, now: float) -> float:
        """When to look after it next."""
        for seconds in LOOKS:
            if self.created_at + seconds > now:
                return self.created_at + seconds
        over = now - self.created_at - ORDER_LIFETIME_SECONDS
        return now + min(max(LOOK_AGAIN, over / 2), LONGEST_PAUSE)

    def outcome(self, amount: int) -> PaymentOutcome:
        """What became of it, as far as it is stored."""
        match self.state:
            case OrderStatus.CANCELLED:
                return Cancelled()
            case OrderStatus.DECLINED:
                return Declined(reason=self.reason)
            case OrderStatus.EXPIRED:
                return Expired(reason=self.reason)
            case OrderStatus.MISMATCH:
                return AmountMismatch(expected=amount, got=self.paid_amount)
            case _:
                return Undecided(reason="it is not decided yet")


@frozen(kw_only=True)
class Order:
    """An order as it is stored.

    Attributes:
        order_id: your order.
        amount: Rial it asks for.
        version: counts its changes; 0 for one that is not stored yet.
        now: the store's time when it was read.
        created_at: when it was stored first.
        chosen: the ref_num of the payment it is bound to; that one alone may be verified.
        chosen_at: when it was bound: no verify was sent later.
        verified: the payment's receipt, once it is verified.
        verified_at: when it was.
        told_at: when everyone who wanted to know had been told.
        tell_at: when to tell them, or to try again; while somebody is at it, when to take it for dead.
        tries: how often telling them failed.
        attempts: the payments that were started for it, oldest first.
    """

    order_id: str
    amount: int
    version: int = 0
    now: float = 0.0
    created_at: float = 0.0
    reserved_ref_num: str | None = None
    chosen_at: float = 0.0
    verified: Verified | None = field(default=None, repr=False)
    verified_at: float = 0.0
    told_at: float | None = None
    tell_at: float = 0.0
    tries: int = 0
    attempts: tuple[PaymentAttempt, ...] = ()

    @property
    def state(self) -> OrderStatus:
        """Where it stands: open while any of its payments is, else as the last one ended."""
        if self.verified is not None:
            return OrderStatus.VERIFIED
        if not self.attempts or any(one.state is OrderStatus.OPEN for one in self.attempts):
            return OrderStatus.OPEN
        return self.attempts[-1].state

    @property
    def reason(self) -> str:
        """Why it ended, in words."""
        return self.attempts[-1].reason if self.state not in (OrderStatus.OPEN, OrderStatus.VERIFIED) else ""

    @property
    def next_look(self) -> float | None:
        """When there is something to do about it; None for never."""
        if self.verified is not None:
            return self.tell_at if self.told_at is None else None
        return min((one.next_look for one in self.attempts if one.next_look is not None), default=None)

    @property
    def due(self) -> list[PaymentAttempt]:
        """Its payments that are to be looked after now."""
        if self.verified is not None:
            return []
        return [one for one in self.attempts if one.next_look is not None and one.next_look <= self.now]

    def attempt(self, ref_num: str) -> PaymentAttempt | None:
        """The payment of this ref_num, if it is one of this order's."""
        return next((one for one in self.attempts if one.ref_num == ref_num), None)

    def payment(self, ref_num: str, outcome: PaymentOutcome) -> Payment:
        """What a caller is told."""
        return Payment(outcome=outcome, order_id=self.order_id, ref_num=ref_num, amount=self.amount)

    def outcome(self, ref_num: str) -> PaymentOutcome:
        """What became of one of its payments, as far as it is stored."""
        if self.verified is not None:
            if self.reserved_ref_num == ref_num:
                return self.verified
            return Declined(reason="the order was paid by another payment; what was paid here goes back to the payer")
        one = self.attempt(ref_num)
        return one.outcome(self.amount) if one else Declined(reason="it is no payment of this order")

    def started(self, ref_num: str, payment_amount: int | None) -> "Order":
        """With a payment that waits for its payer."""
        fresh = PaymentAttempt(
            ref_num=ref_num,
            payment_amount=payment_amount,
            created_at=self.now,
            unpaid_at=self.now,
            next_look=self.now + LOOKS[0],
        )
        return evolve(self, attempts=(*(one for one in self.attempts if one.ref_num != ref_num), fresh))

    def reserve(self, ref_num: str) -> "Order":
        """Bound to a payment that is about to be verified, which is looked after soon, whatever comes of that."""
        one = self.attempt(ref_num)
        assert one is not None, "a payment of another order was to be verified"  # noqa: S101
        soon = self.now + SOON
        again = evolve(one, state=OrderStatus.OPEN, reason="", next_look=min(one.next_look or soon, soon))
        return evolve(self._with(again), reserved_ref_num=ref_num, chosen_at=self.now)

    def leased(self, seconds: float) -> "Order":
        """With what is due now put off: somebody is at it, and another comes in so long if they do not live."""
        until = self.now + seconds
        refs = {one.ref_num for one in self.due}
        attempts = tuple(evolve(one, next_look=until) if one.ref_num in refs else one for one in self.attempts)
        return evolve(self, attempts=attempts)

    def learning(self, ref_num: str, finding: VerificationResult, *, looked: bool, tell_in: float) -> "Order":
        """After what was found out of one of its payments.

        Args:
            ref_num: whose.
            finding: what was found out.
            looked: whether it was looked after because it was due.
            tell_in: seconds until another may tell of it, where this verifies it.
        """
        one = self.attempt(ref_num)
        if one is None or self.verified is not None or one.state is OrderStatus.MISMATCH:
            return self  # a verdict on the amount is final
        if isinstance(finding.outcome, Verified):
            if self.reserved_ref_num in (None, ref_num):
                return self._verified(ref_num, finding.outcome, tell_in)
            return self._with(evolve(one, state=OrderStatus.OPEN, next_look=self.now + SOON))
        if finding.settled:
            if isinstance(finding.outcome, AmountMismatch):
                one = evolve(one, paid_amount=finding.outcome.got)
            return self._ended(one, _STATE_OF[type(finding.outcome)], finding.reason)
        # Unpaid now, it may be paid a moment later, and a verify that is still on its way be carried out then.
        quiet = self.reserved_ref_num != ref_num or self.now > self.chosen_at + QUIET
        over = self.now >= one.created_at + ORDER_LIFETIME_SECONDS and (quiet or not finding.unpaid)
        if looked and finding.lapses and over:
            return self._ended(one, OrderStatus.EXPIRED, "it was never paid" if finding.unpaid else finding.reason)
        if finding.unpaid:
            one = evolve(one, unpaid_at=max(one.unpaid_at, finding.asked_at))
        if looked:
            # Paid, and verify brought nothing: there is not much time to try again.
            hurry = not finding.unpaid and not quiet and one.in_time(self.now)
            one = evolve(one, next_look=self.now + SOON if hurry else one.look_after(self.now))
        free = finding.unpaid and quiet and self.reserved_ref_num == ref_num
        return evolve(self._with(one), reserved_ref_num=None if free else self.reserved_ref_num)

    def claim_notification(self, seconds: float) -> "Order":
        """While somebody tells of it."""
        return evolve(self, tell_at=self.now + seconds)

    def notified(self) -> "Order":
        """When all have been told."""
        return evolve(self, told_at=self.now)

    def notification_failed(self) -> "Order":
        """When telling failed: again in a while, and ever more rarely."""
        return evolve(self, tries=self.tries + 1, tell_at=self.now + min(SOON * 2**self.tries, 3600.0))

    def _with(self, attempt: PaymentAttempt) -> "Order":
        attempts = tuple(attempt if one.ref_num == attempt.ref_num else one for one in self.attempts)
        return evolve(self, attempts=attempts)

    def _verified(self, ref_num: str, receipt: Verified, tell_in: float) -> "Order":
        ended = tuple(
            evolve(one, next_look=None, state=OrderStatus.VERIFIED if one.ref_num == ref_num else one.state)
            for one in self.attempts
        )
        return evolve(
            self,
            reserved_ref_num=ref_num,
            verified=receipt,
            verified_at=self.now,
            tell_at=self.now + tell_in,
            attempts=ended,
        )

    def _ended(self, one: PaymentAttempt, state: OrderStatus, reason: str) -> "Order":
        ended = evolve(one, state=state, reason=reason, next_look=None)
        return evolve(self._with(ended), reserved_ref_num=None if self.reserved_ref_num == one.ref_num else self.reserved_ref_num)
