"""Where an order, what the gateway says of its payments, and those who want to know come together.

What is found out is stored first and told afterwards, each by a compare-and-set; a process that ends in between
leaves an order that the next sweep goes on with.
"""

from collections.abc import Callable
from typing import Any, cast

import anyio
from attrs import asdict, frozen

from paystar_async.background import Job
from paystar_async.errors import (
    BadAnswer,
    ForeignRecord,
    OrderConflict,
    OrderPaid,
    PaystarError,
    StorageError,
)
from paystar_async.events import logger
from paystar_async.models.gateway import Created, CreatePayment
from paystar_async.payments.callback import Callback
from paystar_async.payments.models import Order, OrderStatus
from paystar_async.payments.notifier import Notifier
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.outcomes import AmountMismatch, Declined, Payment, PaymentOutcome, Undecided, Verified
from paystar_async.payments.payment_page import StartedPayment
from paystar_async.payments.verification import PaymentVerifier, VerificationRequest
from paystar_async.services import GatewayCalls
from paystar_async.values.integer import integer
from paystar_async.values.kind import Kind, kind_of, shown
from paystar_async.values.mask import scrub
from paystar_async.values.text import OrderId

LEASE = 180.0
"""Seconds after which somebody who looks after an order is taken for dead."""
AT_ONCE = 8
"""Orders that one sweep looks after at the same time."""
_ORDER_ID = cast("Kind", kind_of(OrderId))
_LIMIT = integer("limit", least=1, example=100)
_BUSY = "another payment of this order is being decided"


def _ignore_request() -> None:
    """Take no note of a request."""


@frozen(kw_only=True)
class Examined:
    """What is known of a payment after a check.

    Attributes:
        outcome: what the caller is told.
        unpaid: whether the gateway says that its payer has not paid, or not yet.
        by_receipt: whether it depends on what the callback claims of the card and the receipt.
        notifications: those the check has begun; nobody has waited for them.
    """

    outcome: PaymentOutcome
    unpaid: bool = False
    by_receipt: bool = False
    notifications: tuple[Job[None], ...] = ()


class PaymentProcessor:
    """What is done about the orders of one store, in one event loop.

    Args:
        store: the orders.
        gateway: who is asked about payments.
        timeout: seconds one call may take.
        notifier: notifies the handlers of verified payments.
    """

    def __init__(self, store: OrderStore, gateway: GatewayCalls, timeout: float, notifier: Notifier) -> None:
        self.store, self.notifier = store, notifier
        self._gateway, self._timeout = gateway, timeout

    async def find(self, order_id: str) -> Order | None:
        """The stored order; raises InvalidValue for what no order is called: out of an address it may be anything."""
        return await self.store.find(_ORDER_ID.convert(order_id, "order_id"))

    async def process(
        self,
        order: Order,
        ref_num: str,
        callback: Callback | None = None,
        *,
        looked: bool = False,
        on_request: Callable[[], object] = _ignore_request,
    ) -> Examined:
        """Find out what a payment of an order is worth, and store it. Handlers are notified in the background.

        Args:
            order: as it was just read.
            ref_num: which of its payments.
            callback: what the payer came back with, if they did.
            looked: whether the payment was due, so that its next look is set.
            on_request: called right before each request to the gateway.

        Raises:
            GatewayError: the gateway refuses us, not the payment.
            StorageError: the store cannot be used; what was found out is found again.
        """
        one = order.attempt(ref_num)
        if one is None or order.verified is not None or one.state is OrderStatus.MISMATCH:
            return Examined(outcome=order.outcome(ref_num))
        notifications: list[Job[None]] = []
        case = VerificationRequest(
            order_id=order.order_id,
            ref_num=ref_num,
            amount=order.amount,
            payment_amount=one.payment_amount,
            callback=callback,
            in_time=one.state is OrderStatus.OPEN and one.in_time(order.now),
            closed=one.state is OrderStatus.EXPIRED,
            is_only_one=all(other is one or other.state is not OrderStatus.OPEN for other in order.attempts),
            at=order.now,
            on_request=on_request,
        )

        async def claim() -> PaymentOutcome | None:
            return await self._bind(order.order_id, ref_num, notifications)

        finding = await PaymentVerifier(self._gateway, self._timeout, case, claim).find_out()
        tell_in = 0.0 if self.notifier.is_idle else self.notifier.lease_seconds
        while True:
            fresh = await self.load(order.order_id)
            after = fresh.learning(ref_num, finding, looked=looked, tell_in=tell_in)
            stored = await self.store.put(fresh, after)
            if stored is not None:
                break
        one = stored.attempt(ref_num)
        if stored.verified is not None and fresh.verified is None:
            logger.info("payments: order %s is verified", scrub(order.order_id))
            if not self.notifier.is_idle:
                notifications.append(self.notifier.notify(stored))
        outcome = finding.outcome
        if stored.verified is not None or (one is not None and one.state is OrderStatus.MISMATCH):
            outcome = stored.outcome(ref_num)
        elif isinstance(outcome, Verified):
            # Proved, and the order is bound to another by now: that one is decided first.
            outcome = Undecided(reason=_BUSY)
        from_finding = outcome is finding.outcome
        return Examined(
            outcome=outcome,
            unpaid=from_finding and finding.unpaid,
            by_receipt=from_finding and finding.by_receipt,
            notifications=tuple(notifications),
        )

    async def notify(self, order: Order) -> tuple[Job[None], ...]:
        """Notify the handlers of a verified order in the background, unless it is done, or somebody is at it."""
        if self.notifier.is_idle or order.verified is None or order.told_at is not None or order.tell_at > order.now:
            return ()
        leased = await self.store.put(order, order.claim_notification(self.notifier.lease_seconds))
        return (self.notifier.notify(leased),) if leased is not None else ()

    async def sweep(self, limit: int, stop: Callable[[], bool], *, wait: bool = True) -> tuple[int, list[Payment]]:
        """Do what is due; how many orders that were, and the payments that were decided.

        Args:
            limit: how many orders are looked after at most, and how many are notified of.
            stop: whether to leave the rest to others.
            wait: whether to wait for handlers; otherwise notifications that find no room are left to the next sweep.
        """
        limit = _LIMIT.convert(limit, "limit")
        self.notifier.cancel_overdue()
        open_ones = await self.store.due(OrderStatus.OPEN, limit)
        untold = [] if self.notifier.is_idle else await self.store.due(OrderStatus.VERIFIED, limit)
        decided: list[Payment] = []
        notifications: list[Job[None]] = []
        broken: list[StorageError] = []
        slots, notified = anyio.Semaphore(AT_ONCE), 0

        async def look(order_id: str) -> None:
            async with slots:
                if stop() or broken:
                    return
                try:
                    decided.extend(await self._look_after(order_id, notifications))
                except StorageError as error:
                    broken.append(error)

        async with anyio.create_task_group() as group:
            for order_id in open_ones:
                group.start_soon(look, order_id)
            for order_id in untold:
                if wait:
                    await self.notifier.wait_for_room()
                if stop() or broken or self.notifier.is_full:
                    break
                notified += 1
                try:
                    notifications.extend(await self.notify(await self.load(order_id)))
                except StorageError as error:
                    broken.append(error)
        if broken:
            raise broken[0]
        if wait:
            await self.notifier.wait(notifications)
        return len(open_ones) + notified, decided

    async def _look_after(self, order_id: str, notifications: list[Job[None]]) -> list[Payment]:
        order = await self.load(order_id)
        due = [one.ref_num for one in order.due]
        leased = await self.store.put(order, order.leased(LEASE))
        if leased is None:
            return []  # another is at it
        order, decided = leased, list[Payment]()
        for ref_num in due:
            try:
                notifications.extend((await self.process(order, ref_num, looked=True)).notifications)
            except StorageError:
                raise
            except PaystarError as error:
                logger.warning("payments: order %s cannot be looked after: %s", scrub(order_id), error)
            except Exception:
                # Whatever it is – a ring may raise anything – the other orders are looked after all the same.
                logger.exception("payments: order %s cannot be looked after", scrub(order_id))
            order = await self.load(order_id)
            one = order.attempt(ref_num)
            if one is not None and one.state is not OrderStatus.OPEN:
                decided.append(order.payment(ref_num, order.outcome(ref_num)))
        return decided

    async def _bind(self, order_id: str, ref_num: str, notifications: list[Job[None]]) -> PaymentOutcome | None:
        """Bind an order to a payment that is about to be verified; an outcome where that cannot be."""
        asked = False
        while True:
            order = await self.load(order_id)
            one = order.attempt(ref_num)
            if order.verified is not None or (one is not None and one.state is OrderStatus.MISMATCH):
                return order.outcome(ref_num)
            if order.reserved_ref_num in (None, ref_num):
                if await self.store.put(order, order.reserve(ref_num)) is not None:
                    return None
            elif asked:
                return Undecided(reason=_BUSY)
            else:
                asked = True
                notifications.extend((await self.process(order, order.reserved_ref_num)).notifications)

    async def load(self, order_id: str) -> Order:
        """Return an order that was stored; raise StorageError where it is gone."""
        order = await self.store.find(order_id)
        if order is None:
            raise StorageError("an order that was stored is gone", hint="does somebody delete them?")
        return order


def contradiction(order: Order, callback: Callback, amount: int | None, order_id: str | None) -> PaymentOutcome | None:
    """What a callback is worth that does not fit what is stored, or what was given to compare with."""
    outcome: PaymentOutcome | None = None
    if order_id is not None and str(order_id) != callback.order_id:
        outcome = Declined(reason="the callback is another order's")
    elif order.attempt(callback.ref_num) is None:
        outcome = Declined(reason="it is no payment of this order")
    elif amount is not None and amount != order.amount:
        outcome = AmountMismatch(expected=amount, got=order.amount)
    if outcome is not None:
        refused(callback, getattr(outcome, "reason", "the stored amount is another one"))
    return outcome


def refused(callback: Callback, why: str) -> None:
    """Note a callback that is not believed: one line, and nothing personal in it."""
    logger.warning("payments: a callback for order %s is refused: %s", named(callback.order_id), why)


def named(order_id: str) -> str:
    """An order_id that anybody may have made up, fit for a log."""
    return scrub(shown(order_id))


_START_AGAIN = "nobody has its page, so nobody can pay it: start the order again"


async def start(
    desk: PaymentProcessor, gateway: GatewayCalls, asked: CreatePayment, timeout: float | None
) -> StartedPayment:
    """Start a payment of an order; ``Payments.start`` says what it raises."""
    order = await desk.store.begin(asked.order_id, asked.amount)
    if order.amount != asked.amount:
        raise OrderConflict(
            "amount",
            expected=f"{order.amount} Rial, as this order was stored",
            got=str(asked.amount),
            hint="another amount is another order: give it an order_id of its own",
        )
    await _ask_of_earlier(desk, order)
    created = await _create(gateway, asked, timeout)
    await _keep(desk, asked, created)
    return StartedPayment(
        url=gateway.payment_url(token=created.token),
        order_id=asked.order_id,
        ref_num=created.ref_num,
        amount=asked.amount,
        payment_amount=created.payment_amount,
    )


async def _ask_of_earlier(desk: PaymentProcessor, order: Order) -> None:
    """Whether the payer has paid already and did not come back; refuses an order that is paid."""
    asked = {order.reserved_ref_num, *(one.ref_num for one in order.attempts[-1:] if one.state is OrderStatus.OPEN)} - {
        None
    }
    for ref_num in sorted(filter(None, asked)):
        try:
            await desk.notifier.wait((await desk.process(order, ref_num)).notifications)
        except StorageError:
            raise
        except PaystarError as error:
            logger.info("payments: an earlier payment of the order could not be asked about: %s", error)
        order = await desk.store.begin(order.order_id, order.amount)
    _refuse_paid(order)


async def _create(gateway: GatewayCalls, asked: CreatePayment, timeout: float | None) -> Created:
    fields: dict[str, Any] = asdict(cast("Any", asked), recurse=False)
    try:
        created = await gateway.create(**fields, timeout=timeout)
    except PaystarError as error:
        if error.executed == "maybe":
            error.hint = _START_AGAIN
        raise
    if created.order_id not in (None, asked.order_id):
        raise _bad_answer("order_id", "it is another order's")
    return created


async def _keep(desk: PaymentProcessor, asked: CreatePayment, created: Created) -> None:
    """Store a payment before anybody can pay it."""
    while True:
        order = await desk.store.begin(asked.order_id, asked.amount)
        _refuse_paid(order)
        try:
            if await desk.store.put(order, order.started(created.ref_num, created.payment_amount)) is not None:
                return
        except ForeignRecord:
            raise _bad_answer("ref_num", "it is another order's payment") from None


def _bad_answer(field: str, reason: str) -> BadAnswer:
    error = BadAnswer(f"$.data.{field}", reason)
    error.hint = _START_AGAIN
    return error


def _refuse_paid(order: Order) -> None:
    if order.verified is not None:
        raise OrderPaid("order_id", expected="an order that is not paid", got="one with a verified payment")
