"""A simulated shop for test_machine: orders, a gateway, and workers that may be killed between any two steps.

Each worker is the real ``Payments``. Each call of the store or the gateway waits for a scheduled step before and after
its effect, so that every interleaving is possible.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal

from attrs import define, evolve, field

from paystar_async.errors import (
    AlreadyVerified,
    ForeignRecord,
    InvalidRequest,
    NoResponse,
    NotSent,
    NotVerifiable,
    ParameterMismatch,
    PaystarError,
    UnknownRefNum,
)
from paystar_async.models.gateway import Created, GatewayStatus, GatewayTransaction, Verified
from paystar_async.payments import Payment
from paystar_async.payments.models import Order, OrderStatus
from paystar_async.payments.service import Payments
from paystar_async.runtime.clock import ManualClock
from paystar_async.runtime.tasks import BackgroundTasks

AMOUNT = 50_000
VERIFY_WINDOW_SECONDS = 600.0
IN_FLIGHT_SECONDS = 60.0
"""Time that an abandoned verify may be in flight; half of VERIFY_IN_FLIGHT_SECONDS."""

Fault = Literal["none", "refused", "lost before", "lost after", "late"]
FAULTS: tuple[Fault, ...] = ("none", "none", "none", "refused", "lost before", "lost after", "late")


@define(eq=False)
class BankPayment:
    """A payment at the gateway."""

    order_id: str
    ref_num: str
    amount: int
    status: GatewayStatus = GatewayStatus.INIT
    paid_at: float = 0.0
    captured: int = 0

    @property
    def card(self) -> str:
        return f"502229******{self.ref_num[-1] * 4}"

    @property
    def tracking_code(self) -> str:
        return f"tracking {self.ref_num}"


@define(eq=False)
class World:
    """All state outside of the workers' memory."""

    clock: ManualClock = field(factory=ManualClock)
    orders: dict[str, Order] = field(factory=dict[str, Order])
    bank_payments: dict[str, BankPayment] = field(factory=dict[str, BankPayment])
    notified: dict[str, list[str]] = field(factory=lambda: defaultdict[str, list[str]](list))
    """The ref_nums that handlers were notified of, by order."""
    times_verified: dict[str, int] = field(factory=lambda: defaultdict[str, int](int))
    faults: list[Fault] = field(factory=list[Fault])
    """The faults of the next calls of the gateway."""
    in_flight: list[tuple[float, Callable[[], object]]] = field(factory=list[tuple[float, Callable[[], object]]])
    waiting: list[tuple["Worker", asyncio.Future[None]]] = field(factory=list[Any])
    unscheduled: bool = False
    """True at the end of an example: calls no longer wait for steps."""
    errors: list[str] = field(factory=list[str])

    def advance(self, seconds: float) -> None:
        """Advance the clock: late calls arrive, payments that were not verified in time are reversed."""
        end = self.clock.time() + seconds
        while self.clock.time() < end:
            self.clock.advance(min(5.0, end - self.clock.time()))
            for sent_at, execute in tuple(self.in_flight):
                if self.clock.time() >= sent_at + IN_FLIGHT_SECONDS:
                    self.arrive((sent_at, execute))
            for payment in self.bank_payments.values():
                if (
                    payment.status == GatewayStatus.UNVERIFIED
                    and self.clock.time() > payment.paid_at + VERIFY_WINDOW_SECONDS
                ):
                    payment.status = GatewayStatus.REVERSED

    def arrive(self, late_call: tuple[float, Callable[[], object]]) -> None:
        """Execute a call that was in flight."""
        self.in_flight.remove(late_call)
        _, execute = late_call
        with suppress(PaystarError):
            execute()

    def verify(self, ref_num: str, amount: int, card: str, tracking_code: str) -> Verified:
        payment = self.bank_payments.get(ref_num)
        if payment is None:
            raise UnknownRefNum(-5)
        if payment.status in (
            GatewayStatus.INIT,
            GatewayStatus.REVERSED,
            GatewayStatus.CANCELLED,
            GatewayStatus.FAILED,
        ):
            raise NotVerifiable(-8)
        if (card, tracking_code) != (payment.card, payment.tracking_code):
            raise InvalidRequest(-1)
        if amount != payment.amount:
            raise ParameterMismatch(-7)
        if payment.captured:
            raise AlreadyVerified(-6)
        payment.captured, payment.status = 1, GatewayStatus.SUCCEED
        return Verified(price=payment.amount, ref_num=ref_num, card_number=payment.card)

    def inquiry(self, ref_num: str) -> GatewayTransaction:
        payment = self.bank_payments.get(ref_num)
        if payment is None:
            raise UnknownRefNum(-5)
        paid = payment.paid_at > 0
        return GatewayTransaction(
            status=payment.status,
            ref_num=ref_num,
            order_id=payment.order_id,
            payment_amount=payment.amount + 1200,
            card_number=payment.card if paid else None,
            tracking_code=payment.tracking_code if paid else None,
        )


@define(eq=False)
class Worker:
    """One process of the shop."""

    world: World
    name: int
    tasks: set[asyncio.Task[Any]] = field(factory=set[Any])
    handler_fails: bool = False
    background: BackgroundTasks = field(factory=BackgroundTasks)
    payments: Payments = field(init=False)

    def __attrs_post_init__(self) -> None:
        store: Any = FakeOrderStore(self)
        gateway: Any = FakeGateway(self)
        self.payments = Payments(gateway, lambda: store, lambda: self.background, self.world.clock, 30.0)
        self.payments.on_verified(self.notified)

    async def wait_for_step(self) -> None:
        """Wait until this worker's next step is scheduled."""
        if self.world.unscheduled:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self.world.waiting.append((self, future))
        await future

    async def notified(self, payment: Payment) -> None:
        await self.wait_for_step()
        self.world.notified[payment.order_id].append(payment.ref_num)
        if self.handler_fails and not self.world.unscheduled:
            raise RuntimeError("the handler failed")
        await self.wait_for_step()

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Start a call in the background."""

        async def run() -> None:
            try:
                await work
            except PaystarError:
                pass
            except Exception as error:
                self.world.errors.append(repr(error))

        task = asyncio.get_running_loop().create_task(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def kill(self) -> None:
        """Kill the worker between two steps."""
        for task in (*self.tasks, *self.background._asyncio_tasks):  # pyright: ignore[reportPrivateUsage]
            task.cancel()
        self.world.waiting = [(worker, future) for worker, future in self.world.waiting if worker is not self]


@define(eq=False)
class FakeGateway:
    """The gateway's endpoints for one worker."""

    worker: Worker

    async def create(self, *, amount: int, order_id: str, **_: Any) -> Created:
        def execute() -> Created:
            ref_num = f"ref-{len(self.worker.world.bank_payments)}"
            self.worker.world.bank_payments[ref_num] = BankPayment(order_id, ref_num, amount)
            return Created(token=ref_num, ref_num=ref_num, order_id=order_id, payment_amount=amount + 1200)

        created: Created = await self._call(execute)
        return created

    def payment_url(self, *, token: str) -> str:
        return f"https://bank.example/payment?token={token}"

    async def verify(self, *, ref_num: str, amount: int, card_number: str, tracking_code: str, timeout: float) -> Any:
        world = self.worker.world
        order = next(order for order in world.orders.values() if order.attempt(ref_num))
        if order.verified is not None and order.reserved_ref_num != ref_num:
            world.errors.append("a verify is sent for an order that another payment has paid")
        return await self._call(lambda: world.verify(ref_num, amount, card_number, tracking_code), may_be_late=True)

    async def inquiry(self, *, ref_num: str, **_: Any) -> GatewayTransaction:
        transaction: GatewayTransaction = await self._call(lambda: self.worker.world.inquiry(ref_num))
        return transaction

    async def _call(self, execute: Callable[[], Any], *, may_be_late: bool = False) -> Any:
        world = self.worker.world
        await self.worker.wait_for_step()
        fault = world.faults.pop(0) if world.faults and not world.unscheduled else "none"
        if fault == "refused":
            raise NotSent("no connection")
        if fault == "lost before" or (fault == "late" and not may_be_late):
            raise NoResponse("no response")
        if fault == "late":
            world.in_flight.append((world.clock.time(), execute))
            await self.worker.wait_for_step()
            raise NoResponse("no response")
        try:
            response = execute()
        finally:
            await self.worker.wait_for_step()
        if fault == "lost after":
            raise NoResponse("no response")
        return response


@define(eq=False)
class FakeOrderStore:
    """The order store for one worker: ``OrderStore`` in a dictionary."""

    worker: Worker

    async def get_or_create(self, order_id: str, amount: int) -> Order:
        await self.worker.wait_for_step()
        world = self.worker.world
        world.orders.setdefault(order_id, Order(order_id=order_id, amount=amount, version=1))
        await self.worker.wait_for_step()
        return evolve(world.orders[order_id], now=world.clock.time())

    async def find(self, order_id: str) -> Order | None:
        await self.worker.wait_for_step()
        order = self.worker.world.orders.get(order_id)
        return order and evolve(order, now=self.worker.world.clock.time())

    async def update(self, before: Order, after: Order) -> Order | None:
        if before == after:
            return before
        await self.worker.wait_for_step()
        world = self.worker.world
        current = world.orders[after.order_id]
        if current.version != before.version:
            return None
        ref_nums = {
            attempt.ref_num for order in world.orders.values() if order is not current for attempt in order.attempts
        }
        if ref_nums & {attempt.ref_num for attempt in after.attempts}:
            raise ForeignRecord("another order's")
        if current.verified is None and after.verified is not None:
            world.times_verified[after.order_id] += 1
        stored = world.orders[after.order_id] = evolve(after, version=after.version + 1)
        await self.worker.wait_for_step()
        return stored

    async def due_order_ids(self, state: OrderStatus, limit: int) -> list[str]:
        await self.worker.wait_for_step()
        now = self.worker.world.clock.time()
        due = [
            order
            for order in self.worker.world.orders.values()
            if order.state is state and order.next_check_at is not None
        ]
        return [order.order_id for order in due if (order.next_check_at or 0.0) <= now][:limit]
