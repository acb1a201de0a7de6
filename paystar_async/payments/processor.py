"""Processing of stored orders: verify their payments, store the results, notify handlers.

Every result is stored first, by a compare-and-set, and notified afterwards; where a process ends in between, the next
sweep continues.
"""

from collections.abc import Callable
from typing import Any, cast

import anyio
from attrs import asdict, frozen

from paystar_async.errors import (
    ForeignRecord,
    InvalidResponse,
    OrderConflict,
    OrderPaid,
    PaystarError,
    StorageError,
)
from paystar_async.models.gateway import Created, CreatePayment
from paystar_async.payments.callback import Callback
from paystar_async.payments.models import Order, OrderStatus, PaymentAttempt
from paystar_async.payments.notifier import Notifier
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.outcomes import AmountMismatch, Declined, Payment, PaymentOutcome, Undecided, Verified
from paystar_async.payments.payment_page import StartedPayment
from paystar_async.payments.verification import PaymentVerifier
from paystar_async.payments.verification_models import STORED_ORDER, VerificationRequest, VerificationResult
from paystar_async.runtime.events import logger
from paystar_async.runtime.tasks import BackgroundTask
from paystar_async.services import GatewayCalls
from paystar_async.values.field_type import FieldType, find_field_type, short_repr
from paystar_async.values.masking import mask_text
from paystar_async.values.numbers import LIMIT
from paystar_async.values.text import OrderId

LEASE_SECONDS = 180.0
"""Time after which a worker that checks an order is regarded as dead."""
MAX_CONCURRENT_ORDERS = 8
"""Orders that one sweep checks at once."""
_ORDER_ID = cast("FieldType", find_field_type(OrderId))
_BUSY = "another payment of this order is being decided"


@frozen(kw_only=True)
class ProcessingResult:
    """The result of processing one payment.

    Attributes:
        outcome: the outcome for the caller.
        unpaid: True if the gateway says that the payer has not paid, or not yet.
        depends_on_receipt: True if the outcome depends on the card and tracking code that the callback claims.
        notifications: notifications that processing began; they have not been waited for.
    """

    outcome: PaymentOutcome
    unpaid: bool = False
    depends_on_receipt: bool = False
    notifications: tuple[BackgroundTask[None], ...] = ()


class PaymentProcessor:
    """The processing of one store's orders, in one event loop.

    Args:
        store: the orders.
        gateway: the gateway's endpoints.
        timeout: seconds one call may take.
        notifier: notifies the handlers of verified payments.
    """

    def __init__(self, store: OrderStore, gateway: GatewayCalls, timeout: float, notifier: Notifier) -> None:
        self.store, self.notifier = store, notifier
        self._gateway, self._timeout = gateway, timeout

    async def find(self, order_id: str) -> Order | None:
        """Return a stored order, or None.

        Raises:
            InvalidValue: ``order_id`` is not a valid order_id; taken from an address, it may be anything.
        """
        return await self.store.find(_ORDER_ID.convert(order_id, "order_id"))

    async def process(
        self,
        order: Order,
        ref_num: str,
        callback: Callback | None = None,
        *,
        scheduled: bool = False,
        on_request: Callable[[], object] = lambda: None,
    ) -> ProcessingResult:
        """Verify a payment of an order and store the result. Handlers are notified in the background.

        Args:
            order: the order as it was just read.
            ref_num: the payment.
            callback: the callback that the payer came back with, if any.
            scheduled: True if the payment was due, so that its next check is scheduled.
            on_request: called right before each request to the gateway.

        Raises:
            GatewayError: the gateway refuses the merchant, not the payment.
            StorageError: the store cannot be used; processing again finds the same result.
        """
        attempt = order.attempt(ref_num)
        if attempt is None or order.verified is not None or attempt.state is OrderStatus.MISMATCH:
            return ProcessingResult(outcome=order.outcome(ref_num))
        notifications: list[BackgroundTask[None]] = []
        request = _verification_request(order, attempt, callback, on_request)

        async def reserve() -> PaymentOutcome | None:
            return await self._reserve(order.order_id, ref_num, notifications)

        verifier = PaymentVerifier(self._gateway, request, STORED_ORDER, timeout=self._timeout, reserve=reserve)
        result = await verifier.check()
        before, stored = await self._store_result(order.order_id, ref_num, result, scheduled=scheduled)
        if stored.verified is not None and before.verified is None:
            logger.info("payments: order %s is verified", mask_text(order.order_id))
            if not self.notifier.is_idle:
                notifications.append(self.notifier.notify(stored))
        outcome, attempt = result.outcome, stored.attempt(ref_num)
        if stored.verified is not None or (attempt is not None and attempt.state is OrderStatus.MISMATCH):
            outcome = stored.outcome(ref_num)
        elif isinstance(outcome, Verified):
            # Proven, but the order was reserved for another payment by then: that payment is decided first.
            outcome = Undecided(reason=_BUSY)
        is_result_outcome = outcome is result.outcome
        return ProcessingResult(
            outcome=outcome,
            unpaid=is_result_outcome and result.unpaid,
            depends_on_receipt=is_result_outcome and result.depends_on_receipt,
            notifications=tuple(notifications),
        )

    async def notify(self, order: Order) -> tuple[BackgroundTask[None], ...]:
        """Notify the handlers of a verified order in the background, unless they were notified or a process does so."""
        is_due = order.verified is not None and order.notified_at is None and order.notify_at <= order.now
        if self.notifier.is_idle or not is_due:
            return ()
        leased = await self.store.update(order, order.claim_notification(self.notifier.lease_seconds))
        return (self.notifier.notify(leased),) if leased is not None else ()

    async def sweep(self, limit: int, stop: Callable[[], bool], *, wait: bool = True) -> tuple[int, list[Payment]]:
        """Check and notify the orders that are due; return their number and the payments that were decided.

        Args:
            limit: maximum of orders to check, and of orders to notify.
            stop: returns True to leave the rest to other workers.
            wait: True to wait for handlers; if False, notifications without a free slot are left to the next sweep.
        """
        limit = LIMIT.convert(limit, "limit")
        self.notifier.cancel_overdue()
        to_check = await self.store.due_order_ids(OrderStatus.OPEN, limit)
        to_notify = [] if self.notifier.is_idle else await self.store.due_order_ids(OrderStatus.VERIFIED, limit)
        decided: list[Payment] = []
        notifications: list[BackgroundTask[None]] = []
        errors: list[StorageError] = []
        slots, notified = anyio.Semaphore(MAX_CONCURRENT_ORDERS), 0

        async def check(order_id: str) -> None:
            async with slots:
                if stop() or errors:
                    return
                try:
                    decided.extend(await self._check_order(order_id, notifications))
                except StorageError as error:
                    errors.append(error)

        async with anyio.create_task_group() as group:
            for order_id in to_check:
                group.start_soon(check, order_id)
            for order_id in to_notify:
                if wait:
                    await self.notifier.wait_for_slot()
                if stop() or errors or self.notifier.is_full:
                    break
                notified += 1
                try:
                    notifications.extend(await self.notify(await self.load(order_id)))
                except StorageError as error:
                    errors.append(error)
        if errors:
            raise errors[0]
        if wait:
            await self.notifier.wait(notifications)
        return len(to_check) + notified, decided

    async def load(self, order_id: str) -> Order:
        """Return an order that was stored; raise StorageError if the order is gone."""
        order = await self.store.find(order_id)
        if order is None:
            raise StorageError("an order that was stored is gone", hint="does another program delete orders?")
        return order

    async def _store_result(
        self, order_id: str, ref_num: str, result: VerificationResult, *, scheduled: bool
    ) -> tuple[Order, Order]:
        """Store the result of a verification; return the order before and after."""
        notify_after_seconds = 0.0 if self.notifier.is_idle else self.notifier.lease_seconds
        while True:
            before = await self.load(order_id)
            after = before.apply_result(ref_num, result, scheduled=scheduled, notify_after_seconds=notify_after_seconds)
            stored = await self.store.update(before, after)
            if stored is not None:
                return before, stored

    async def _check_order(self, order_id: str, notifications: list[BackgroundTask[None]]) -> list[Payment]:
        """Check the due payments of an order; return the decided payments."""
        order = await self.load(order_id)
        due = [attempt.ref_num for attempt in order.due_attempts]
        leased = await self.store.update(order, order.lease_checks(LEASE_SECONDS))
        if leased is None:
            return []  # leased by another worker
        order, decided = leased, list[Payment]()
        for ref_num in due:
            try:
                notifications.extend((await self.process(order, ref_num, scheduled=True)).notifications)
            except StorageError:
                raise
            except PaystarError as error:
                logger.warning("payments: order %s cannot be checked: %s", mask_text(order_id), error)
            except Exception:
                # A user middleware may raise any error; the other orders are still checked.
                logger.exception("payments: order %s cannot be checked", mask_text(order_id))
            order = await self.load(order_id)
            attempt = order.attempt(ref_num)
            if attempt is not None and attempt.state is not OrderStatus.OPEN:
                decided.append(order.payment(ref_num, order.outcome(ref_num)))
        return decided

    async def _reserve(
        self, order_id: str, ref_num: str, notifications: list[BackgroundTask[None]]
    ) -> PaymentOutcome | None:
        """Reserve an order for a payment to verify and return None, or return the outcome that forbids verifying."""
        has_processed_other = False
        while True:
            order = await self.load(order_id)
            attempt = order.attempt(ref_num)
            if order.verified is not None or (attempt is not None and attempt.state is OrderStatus.MISMATCH):
                return order.outcome(ref_num)
            if order.reserved_ref_num in (None, ref_num):
                if await self.store.update(order, order.reserve(ref_num)) is not None:
                    return None
            elif has_processed_other:
                return Undecided(reason=_BUSY)
            else:
                has_processed_other = True
                notifications.extend((await self.process(order, order.reserved_ref_num)).notifications)


def _verification_request(
    order: Order, attempt: PaymentAttempt, callback: Callback | None, on_request: Callable[[], object]
) -> VerificationRequest:
    """Return the request to verify a payment of a stored order."""
    is_open = attempt.state is OrderStatus.OPEN
    return VerificationRequest(
        order_id=order.order_id,
        ref_num=attempt.ref_num,
        amount=order.amount,
        payment_amount=attempt.payment_amount,
        callback=callback,
        is_verifiable=is_open and attempt.is_verifiable(order.now),
        is_expired=attempt.state is OrderStatus.EXPIRED,
        is_only_open_attempt=all(other is attempt or other.state is not OrderStatus.OPEN for other in order.attempts),
        now=order.now,
        on_request=on_request,
    )


def find_contradiction(
    order: Order, callback: Callback, amount: int | None, order_id: str | None
) -> PaymentOutcome | None:
    """Return the outcome of a callback that contradicts the stored order or the given values, or None.

    Args:
        order: the stored order that the callback names.
        callback: the callback.
        amount: Rial to compare with the stored amount, if given.
        order_id: order_id to compare with the callback's, if given.
    """
    outcome: PaymentOutcome | None = None
    if order_id is not None and order_id != callback.order_id:
        outcome = Declined(reason="the callback is another order's")
    elif order.attempt(callback.ref_num) is None:
        outcome = Declined(reason="the ref_num is not a payment of this order")
    elif amount is not None and amount != order.amount:
        outcome = AmountMismatch(expected=amount, got=order.amount)
    if outcome is not None:
        log_refused_callback(callback, getattr(outcome, "reason", "the stored amount is another one"))
    return outcome


def log_refused_callback(callback: Callback, reason: str) -> None:
    """Log a refused callback, in one line without personal data."""
    logger.warning("payments: a callback for order %s is refused: %s", masked_order_id(callback.order_id), reason)


def masked_order_id(order_id: str) -> str:
    """Return an order_id, which may be forged, in a form that is safe to log."""
    return mask_text(short_repr(order_id))


_START_AGAIN = "no payer has the payment page, so the payment cannot be made: start the order again"


async def start_payment(
    processor: PaymentProcessor, gateway: GatewayCalls, request: CreatePayment, timeout: float | None
) -> StartedPayment:
    """Start a payment of an order; ``Payments.start`` lists the errors."""
    order = await processor.store.get_or_create(request.order_id, request.amount)
    if order.amount != request.amount:
        raise OrderConflict(
            "amount",
            expected=f"{order.amount} Rial, as this order was stored",
            got=str(request.amount),
            hint="use another order_id for another amount",
        )
    await _check_earlier_payments(processor, order)
    created = await _create(gateway, request, timeout)
    await _store_attempt(processor, request, created)
    return StartedPayment(
        url=gateway.payment_url(token=created.token),
        order_id=request.order_id,
        ref_num=created.ref_num,
        amount=request.amount,
        payment_amount=created.payment_amount,
    )


async def _check_earlier_payments(processor: PaymentProcessor, order: Order) -> None:
    """Check the earlier payments, whose payer may not have come back; raise OrderPaid if one is verified."""
    ref_nums = {order.reserved_ref_num} - {None}
    ref_nums |= {attempt.ref_num for attempt in order.attempts[-1:] if attempt.state is OrderStatus.OPEN}
    for ref_num in sorted(filter(None, ref_nums)):
        try:
            await processor.notifier.wait((await processor.process(order, ref_num)).notifications)
        except StorageError:
            raise
        except PaystarError as error:
            logger.info("payments: an earlier payment of the order cannot be checked: %s", error)
        order = await processor.store.get_or_create(order.order_id, order.amount)
    _refuse_paid(order)


async def _create(gateway: GatewayCalls, request: CreatePayment, timeout: float | None) -> Created:
    """Create the payment at the gateway."""
    fields: dict[str, Any] = asdict(cast("Any", request), recurse=False)
    try:
        created = await gateway.create(**fields, timeout=timeout)
    except PaystarError as error:
        if error.executed == "maybe":
            error.hint = _START_AGAIN
        raise
    if created.order_id not in (None, request.order_id):
        raise _invalid_response("order_id", "the response names another order")
    return created


async def _store_attempt(processor: PaymentProcessor, request: CreatePayment, created: Created) -> None:
    """Store a created payment before its page is returned."""
    while True:
        order = await processor.store.get_or_create(request.order_id, request.amount)
        _refuse_paid(order)
        started = order.add_attempt(created.ref_num, created.payment_amount)
        try:
            if await processor.store.update(order, started) is not None:
                return
        except ForeignRecord:
            raise _invalid_response("ref_num", "the ref_num is a payment of another order") from None


def _invalid_response(field: str, reason: str) -> InvalidResponse:
    """Return the error for a create response that contradicts the stored orders."""
    error = InvalidResponse(f"$.data.{field}", reason)
    error.hint = _START_AGAIN
    return error


def _refuse_paid(order: Order) -> None:
    """Raise OrderPaid if a payment of the order is verified."""
    if order.verified is not None:
        raise OrderPaid("order_id", expected="an order that is not paid", got="an order with a verified payment")
