"""Where an order, what the gateway says of its payments, and those who want to know come together.

What is found out is stored first and told afterwards, each by a compare-and-set; a process that ends in between
leaves an order that the next sweep goes on with.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import cast

import anyio

from paystar_async.errors import PaystarError, StorageError
from paystar_async.events import logger
from paystar_async.payments.callback import Callback
from paystar_async.payments.judge import Case, Judge
from paystar_async.payments.order import Order, State
from paystar_async.payments.orders import OrderStore
from paystar_async.payments.outcomes import AmountMismatch, Declined, Payment, PaymentOutcome, Undecided, Verified
from paystar_async.services import GatewayCalls
from paystar_async.values.integer import integer
from paystar_async.values.kind import Kind, kind_of, shown
from paystar_async.values.mask import scrub
from paystar_async.values.text import OrderId

Handler = Callable[[Payment], Awaitable[object] | object]
"""Told of a verified payment; a plain function or a coroutine function."""

LEASE = 180.0
"""Seconds after which somebody who looks after an order, or tells of it, is taken for dead."""
AT_ONCE = 8
"""Orders that one sweep looks after at the same time."""
_ORDER_ID = cast("Kind", kind_of(OrderId))
_LIMIT = integer("limit", least=1, example=100)
_BUSY = "another payment of this order is being decided"


class Desk:
    """What is done about the orders of one store.

    Args:
        store: the orders.
        gateway: who is asked about payments.
        timeout: seconds one call may take.
        handlers: who is told of verified payments.
    """

    def __init__(self, store: OrderStore, gateway: GatewayCalls, timeout: float, handlers: list[Handler]) -> None:
        self.store = store
        self._gateway, self._timeout, self._handlers = gateway, timeout, handlers

    async def find(self, order_id: str) -> Order | None:
        """The stored order; raises InvalidValue for what no order is called: out of an address it may be anything."""
        return await self.store.find(_ORDER_ID.convert(order_id, "order_id"))

    async def examine(
        self, order: Order, ref_num: str, callback: Callback | None = None, *, looked: bool = False
    ) -> PaymentOutcome:
        """Find out what a payment of an order is worth, and store it.

        Args:
            order: as it was just read.
            ref_num: which of its payments.
            callback: what the payer came back with, if they did.
            looked: whether the payment was due, so that its next look is set.

        Raises:
            GatewayError: the gateway refuses us, not the payment.
            StorageError: the store cannot be used; what was found out is found again.
        """
        one = order.attempt(ref_num)
        if one is None or order.verified is not None:
            return order.outcome(ref_num)
        case = Case(
            order_id=order.order_id,
            ref_num=ref_num,
            amount=order.amount,
            callback=callback,
            in_time=one.state is State.OPEN and one.in_time(order.now),
            closed=one.state in (State.EXPIRED, State.MISMATCH),
            at=order.now,
        )

        async def claim() -> PaymentOutcome | None:
            return await self._bind(order.order_id, ref_num)

        finding = await Judge(self._gateway, self._timeout, case, claim).find_out()
        tell_in = LEASE if self._handlers else 0.0
        while True:
            fresh = await self._fresh(order.order_id)
            after = fresh.learning(ref_num, finding, looked=looked, tell_in=tell_in)
            stored = await self.store.put(fresh, after)
            if stored is not None:
                break
        if stored.verified is None:
            # Proved, and the order is bound to another by now: that one is decided first.
            return Undecided(reason=_BUSY) if isinstance(finding.outcome, Verified) else finding.outcome
        if fresh.verified is None:
            logger.info("payments: order %s is verified", scrub(order.order_id))
            await self._tell(stored)
        return stored.outcome(ref_num)

    async def tell(self, order: Order) -> None:
        """Tell of a verified order, if nobody was told and nobody is at it."""
        if self._handlers and order.verified is not None and order.told_at is None and order.tell_at <= order.now:
            claimed = await self.store.put(order, order.telling(LEASE))
            if claimed is not None:
                await self._tell(claimed)

    async def sweep(self, limit: int, stop: Callable[[], bool]) -> tuple[int, list[Payment]]:
        """Do what is due; how many orders that were, and the payments that were decided."""
        limit = _LIMIT.convert(limit, "limit")
        open_ones = await self.store.due(State.OPEN, limit)
        untold = await self.store.due(State.VERIFIED, limit) if self._handlers else []
        decided: list[Payment] = []
        broken: list[StorageError] = []
        slots = anyio.Semaphore(AT_ONCE)

        async def look(order_id: str) -> None:
            async with slots:
                if stop() or broken:
                    return
                try:
                    decided.extend(await self._look_after(order_id))
                except StorageError as error:
                    broken.append(error)

        async with anyio.create_task_group() as group:
            for order_id in (*open_ones, *untold):
                group.start_soon(look, order_id)
        if broken:
            raise broken[0]
        return len(open_ones) + len(untold), decided

    async def _look_after(self, order_id: str) -> list[Payment]:
        order = await self._fresh(order_id)
        if order.verified is not None:
            await self.tell(order)
            return []
        due = [one.ref_num for one in order.due]
        leased = await self.store.put(order, order.leased(LEASE))
        if leased is None:
            return []  # another is at it
        order, decided = leased, list[Payment]()
        for ref_num in due:
            try:
                await self.examine(order, ref_num, looked=True)
            except StorageError:
                raise
            except PaystarError as error:
                logger.warning("payments: order %s cannot be looked after: %s", scrub(order_id), error)
            except Exception:
                # Whatever it is – a ring may raise anything – the other orders are looked after all the same.
                logger.exception("payments: order %s cannot be looked after", scrub(order_id))
            order = await self._fresh(order_id)
            one = order.attempt(ref_num)
            if one is not None and one.state is not State.OPEN:
                decided.append(order.payment(ref_num, order.outcome(ref_num)))
        return decided

    async def _bind(self, order_id: str, ref_num: str) -> PaymentOutcome | None:
        """Bind an order to a payment that is about to be verified; an outcome where that cannot be."""
        asked = False
        while True:
            order = await self._fresh(order_id)
            if order.verified is not None:
                return order.outcome(ref_num)
            if order.chosen in (None, ref_num):
                if await self.store.put(order, order.binding(ref_num)) is not None:
                    return None
            elif asked:
                return Undecided(reason=_BUSY)
            else:
                asked = True
                await self.examine(order, order.chosen)

    async def _fresh(self, order_id: str) -> Order:
        order = await self.store.find(order_id)
        if order is None:
            raise StorageError("an order that was stored is gone", hint="does somebody delete them?")
        return order

    async def _tell(self, order: Order) -> None:
        """Tell everyone who wants to know; this process has the lease."""
        if not self._handlers or order.chosen is None or order.verified is None:
            return
        payment = order.payment(order.chosen, order.verified)
        try:
            for handler in self._handlers:
                answer = handler(payment)
                if isawaitable(answer):
                    await answer
        except Exception:
            logger.exception("on_verified raised on payment %s; it is told again", scrub(payment.id))
            change = Order.untold
        else:
            change = Order.told
        while await self.store.put(order, change(order)) is None:
            order = await self._fresh(order.order_id)


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
