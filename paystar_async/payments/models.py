"""An order and its payments, as values: every change of an order is made here.

Each method that changes an order returns the changed order. The store replaces an order only if its ``version`` is
unchanged, so concurrent changes by two workers are serialized, or one of them is refused.

An order is reserved for one of its payments (``reserved_ref_num``) before that payment is verified, and no other
payment is verified until the order is free: that keeps an order from being paid twice.
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
from paystar_async.payments.verification_models import VerificationResult

VERIFY_WINDOW_SECONDS = 600.0
"""A payment can be verified until this long after it was made (reference: "within 10 minutes")."""
VERIFY_MARGIN_SECONDS = 30.0
"""Part of that window left unused, for the time a request takes and for clocks that differ."""
CHECK_SCHEDULE_SECONDS = (60.0, 120.0, 240.0, 360.0, 480.0, 540.0)
"""Seconds between the start of a payment and its checks while it is open."""
RECHECK_SECONDS = 300.0
"""Interval of the checks after those: two of them fall into the window in which a late payment can be verified."""
ORDER_LIFETIME_SECONDS = 1800.0  # assumed (page-lifetime)
"""Age at which an unpaid payment is given up: the payment page has long closed."""
MAX_CHECK_INTERVAL_SECONDS = 6 * 3600.0
VERIFY_IN_FLIGHT_SECONDS = 120.0
"""Time after which no verify that was sent can still arrive at the gateway."""
RETRY_SECONDS = 60.0
"""Time until a payment is checked again after a verify was sent for it."""
MAX_RETRY_SECONDS = 3600.0
"""Longest backoff between two notifications of one order."""


class OrderStatus(StrEnum):
    """The status of a payment, or of an order."""

    OPEN = "open"
    VERIFIED = "verified"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"
    MISMATCH = "mismatch"


_STATUS_BY_OUTCOME: dict[type[PaymentOutcome], OrderStatus] = {
    Cancelled: OrderStatus.CANCELLED,
    Declined: OrderStatus.DECLINED,
    Expired: OrderStatus.EXPIRED,
    AmountMismatch: OrderStatus.MISMATCH,
}


@frozen(kw_only=True)
class PaymentAttempt:
    """A payment that was started for an order.

    Attributes:
        ref_num: the gateway's transaction.
        payment_amount: Rial the payer pays, where the create response named it.
        paid_amount: Rial that the gateway named instead of the order's amount, once that is final.
        state: the status of the payment.
        reason: why the payment ended, in words.
        created_at: when the payment was started.
        last_unpaid_at: when the gateway last reported the payment as unpaid: the verify window began no earlier.
        next_check_at: when the payment is checked next; None once it has ended.
    """

    ref_num: str
    payment_amount: int | None = None
    paid_amount: int | None = None
    state: OrderStatus = OrderStatus.OPEN
    reason: str = ""
    created_at: float = 0.0
    last_unpaid_at: float = 0.0
    next_check_at: float | None = None

    def is_verifiable(self, now: float) -> bool:
        """Return True if verify is surely still allowed, should the payment have been made."""
        return now < self.last_unpaid_at + VERIFY_WINDOW_SECONDS - VERIFY_MARGIN_SECONDS

    def next_check_after(self, now: float) -> float:
        """Return when to check the payment after a check at ``now``."""
        for seconds in CHECK_SCHEDULE_SECONDS:
            if self.created_at + seconds > now:
                return self.created_at + seconds
        overdue = now - self.created_at - ORDER_LIFETIME_SECONDS
        return now + min(max(RECHECK_SECONDS, overdue / 2), MAX_CHECK_INTERVAL_SECONDS)

    def outcome(self, amount: int) -> PaymentOutcome:
        """Return the outcome of the payment, as far as it is stored.

        Args:
            amount: Rial the order asks for.
        """
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
                return Undecided(reason="the payment is not decided yet")


@frozen(kw_only=True)
class Order:
    """An order as it is stored.

    Attributes:
        order_id: your order.
        amount: Rial the order asks for.
        version: number of changes; 0 for an order that is not stored yet.
        now: the store's time when the order was read.
        created_at: when the order was first stored.
        reserved_ref_num: the ref_num of the only payment that may be verified.
        reserved_at: when the order was reserved for that payment: no verify was sent later.
        verified: the payment's receipt, once it is verified.
        verified_at: when it was verified.
        notified_at: when all handlers had been notified.
        notify_at: when to notify handlers next; while a process notifies them, when its lease expires.
        notify_attempts: how often notifying handlers failed.
        attempts: the payments that were started for the order, oldest first.
    """

    order_id: str
    amount: int
    version: int = 0
    now: float = 0.0
    created_at: float = 0.0
    reserved_ref_num: str | None = None
    reserved_at: float = 0.0
    verified: Verified | None = field(default=None, repr=False)
    verified_at: float = 0.0
    notified_at: float | None = None
    notify_at: float = 0.0
    notify_attempts: int = 0
    attempts: tuple[PaymentAttempt, ...] = ()

    @property
    def state(self) -> OrderStatus:
        """Return the status of the order: open while a payment of the order is open, else that of the last payment."""
        if self.verified is not None:
            return OrderStatus.VERIFIED
        if not self.attempts or any(attempt.state is OrderStatus.OPEN for attempt in self.attempts):
            return OrderStatus.OPEN
        return self.attempts[-1].state

    @property
    def reason(self) -> str:
        """Return the reason why the order ended, in words; empty for an open or verified order."""
        return self.attempts[-1].reason if self.state not in (OrderStatus.OPEN, OrderStatus.VERIFIED) else ""

    @property
    def next_check_at(self) -> float | None:
        """Return when the order is due, or None if it never is."""
        if self.verified is not None:
            return self.notify_at if self.notified_at is None else None
        times = [attempt.next_check_at for attempt in self.attempts if attempt.next_check_at is not None]
        return min(times, default=None)

    @property
    def due_attempts(self) -> list[PaymentAttempt]:
        """Return the payments that are due for a check."""
        if self.verified is not None:
            return []
        return [
            attempt
            for attempt in self.attempts
            if attempt.next_check_at is not None and attempt.next_check_at <= self.now
        ]

    def attempt(self, ref_num: str) -> PaymentAttempt | None:
        """Return the order's payment with this ref_num, or None."""
        return next((attempt for attempt in self.attempts if attempt.ref_num == ref_num), None)

    def payment(self, ref_num: str, outcome: PaymentOutcome) -> Payment:
        """Return a payment of the order, with its outcome, for the caller."""
        return Payment(outcome=outcome, order_id=self.order_id, ref_num=ref_num, amount=self.amount)

    def outcome(self, ref_num: str) -> PaymentOutcome:
        """Return the outcome of one of the order's payments, as far as it is stored."""
        if self.verified is not None:
            if self.reserved_ref_num == ref_num:
                return self.verified
            return Declined(reason="the order was paid by another payment; what was paid here goes back to the payer")
        attempt = self.attempt(ref_num)
        return (
            attempt.outcome(self.amount) if attempt else Declined(reason="the ref_num is not a payment of this order")
        )

    def add_attempt(self, ref_num: str, payment_amount: int | None) -> "Order":
        """Add an open payment; replace a payment of the same ref_num.

        Args:
            ref_num: the gateway's transaction.
            payment_amount: Rial the payer pays, if the create response named it.
        """
        started = PaymentAttempt(
            ref_num=ref_num,
            payment_amount=payment_amount,
            created_at=self.now,
            last_unpaid_at=self.now,
            next_check_at=self.now + CHECK_SCHEDULE_SECONDS[0],
        )
        other_attempts = (attempt for attempt in self.attempts if attempt.ref_num != ref_num)
        return evolve(self, attempts=(*other_attempts, started))

    def reserve(self, ref_num: str) -> "Order":
        """Reserve the order for a payment that is about to be verified, and schedule the next check of the payment."""
        attempt = self.attempt(ref_num)
        assert attempt is not None, "a payment of another order was to be verified"  # noqa: S101
        retry_at = self.now + RETRY_SECONDS
        next_check_at = min(attempt.next_check_at or retry_at, retry_at)
        reopened = evolve(attempt, state=OrderStatus.OPEN, reason="", next_check_at=next_check_at)
        return evolve(self._replace_attempt(reopened), reserved_ref_num=ref_num, reserved_at=self.now)

    def lease_checks(self, seconds: float) -> "Order":
        """Lease the due payments: no other worker checks them for ``seconds``."""
        expires_at = self.now + seconds
        due = {attempt.ref_num for attempt in self.due_attempts}
        attempts = tuple(
            evolve(attempt, next_check_at=expires_at) if attempt.ref_num in due else attempt
            for attempt in self.attempts
        )
        return evolve(self, attempts=attempts)

    def apply_result(
        self, ref_num: str, result: VerificationResult, *, scheduled: bool, notify_after_seconds: float
    ) -> "Order":
        """Apply the result of a verification of one of the order's payments.

        Args:
            ref_num: the payment.
            result: the result of the verification.
            scheduled: True if the payment was checked because it was due, so that its next check is scheduled.
            notify_after_seconds: lease of the process that notifies handlers, where the result verifies the order.
        """
        attempt = self.attempt(ref_num)
        if attempt is None or self.verified is not None or attempt.state is OrderStatus.MISMATCH:
            return self  # a verdict on the amount is final
        if isinstance(result.outcome, Verified):
            if self.reserved_ref_num in (None, ref_num):
                return self._mark_verified(ref_num, result.outcome, notify_after_seconds)
            reopened = evolve(attempt, state=OrderStatus.OPEN, next_check_at=self.now + RETRY_SECONDS)
            return self._replace_attempt(reopened)
        if result.settled:
            if isinstance(result.outcome, AmountMismatch):
                attempt = evolve(attempt, paid_amount=result.outcome.got)
            return self._end_attempt(attempt, _STATUS_BY_OUTCOME[type(result.outcome)], result.reason)
        # An unpaid payment may be made a moment later, and a verify that is still in flight be executed then.
        no_verify_in_flight = self.reserved_ref_num != ref_num or self.now > self.reserved_at + VERIFY_IN_FLIGHT_SECONDS
        is_too_old = self.now >= attempt.created_at + ORDER_LIFETIME_SECONDS
        if scheduled and result.may_expire and is_too_old and (no_verify_in_flight or not result.unpaid):
            reason = "the order was never paid" if result.unpaid else result.reason
            return self._end_attempt(attempt, OrderStatus.EXPIRED, reason)
        if result.unpaid:
            attempt = evolve(attempt, last_unpaid_at=max(attempt.last_unpaid_at, result.checked_at))
        if scheduled:
            # The payment was made and verify did not succeed: there is not much time left to retry.
            is_urgent = not result.unpaid and not no_verify_in_flight and attempt.is_verifiable(self.now)
            next_check_at = self.now + RETRY_SECONDS if is_urgent else attempt.next_check_after(self.now)
            attempt = evolve(attempt, next_check_at=next_check_at)
        order = self._replace_attempt(attempt)
        if result.unpaid and no_verify_in_flight and self.reserved_ref_num == ref_num:
            return evolve(order, reserved_ref_num=None)
        return order

    def claim_notification(self, seconds: float) -> "Order":
        """Lease the notification of handlers for ``seconds``."""
        return evolve(self, notify_at=self.now + seconds)

    def notified(self) -> "Order":
        """Record that all handlers have been notified."""
        return evolve(self, notified_at=self.now)

    def notification_failed(self) -> "Order":
        """Schedule the next notification with exponential backoff."""
        backoff = min(RETRY_SECONDS * 2**self.notify_attempts, MAX_RETRY_SECONDS)
        return evolve(self, notify_attempts=self.notify_attempts + 1, notify_at=self.now + backoff)

    def _replace_attempt(self, replacement: PaymentAttempt) -> "Order":
        """Replace the payment of the same ref_num."""
        attempts = tuple(
            replacement if attempt.ref_num == replacement.ref_num else attempt for attempt in self.attempts
        )
        return evolve(self, attempts=attempts)

    def _mark_verified(self, ref_num: str, receipt: Verified, notify_after_seconds: float) -> "Order":
        """Record the verified payment, and schedule no further check."""
        attempts = tuple(
            evolve(
                attempt,
                next_check_at=None,
                state=OrderStatus.VERIFIED if attempt.ref_num == ref_num else attempt.state,
            )
            for attempt in self.attempts
        )
        return evolve(
            self,
            reserved_ref_num=ref_num,
            verified=receipt,
            verified_at=self.now,
            notify_at=self.now + notify_after_seconds,
            attempts=attempts,
        )

    def _end_attempt(self, attempt: PaymentAttempt, state: OrderStatus, reason: str) -> "Order":
        """End a payment, and free the order if it was reserved for that payment."""
        ended = evolve(attempt, state=state, reason=reason, next_check_at=None)
        is_reserved = self.reserved_ref_num == attempt.ref_num
        return evolve(self._replace_attempt(ended), reserved_ref_num=None if is_reserved else self.reserved_ref_num)
