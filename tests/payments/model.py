"""Orders, payers, callbacks, a gateway, and workers that crash: everything that happens, happens one step at a time.

Each worker is the real ``Payments``. What it asks of the store and of the gateway waits for its turn before and after
it takes effect, and somebody else says whose turn it is: so every interleaving is possible, and a worker can die
between any two steps.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal

from attrs import define, evolve, field

from paystar_async.background import Background
from paystar_async.clock import ManualClock
from paystar_async.errors import (
    AlreadyVerified,
    ForeignRecord,
    InvalidRequest,
    NotSent,
    NotVerifiable,
    ParameterMismatch,
    PaystarError,
    Unanswered,
    UnknownRefNum,
)
from paystar_async.models.gateway import Created, GatewayStatus, GatewayTransaction, Verified
from paystar_async.payments import Payment
from paystar_async.payments.models import Order, OrderStatus
from paystar_async.payments.service import Payments

AMOUNT = 50_000
SIGN_SECONDS = 600.0
ON_ITS_WAY = 60.0
"""Seconds a verify can be on its way that nobody waits for any more; half of what the code reckons with."""

Trouble = Literal["none", "refused", "lost before", "lost after", "late"]
TROUBLES: tuple[Trouble, ...] = ("none", "none", "none", "refused", "lost before", "lost after", "late")


@define(eq=False)
class Money:
    """One payment, as the gateway has it."""

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
    """All there is beside the workers' own memory."""

    clock: ManualClock = field(factory=ManualClock)
    orders: dict[str, Order] = field(factory=dict[str, Order])
    money: dict[str, Money] = field(factory=dict[str, Money])
    told: dict[str, list[str]] = field(factory=lambda: defaultdict[str, list[str]](list))
    """The payments that handlers were told of, by order."""
    flips: dict[str, int] = field(factory=lambda: defaultdict[str, int](int))
    troubles: list[Trouble] = field(factory=list[Trouble])
    """What happens to the next calls of the gateway."""
    under_way: list[tuple[float, Callable[[], object]]] = field(factory=list[tuple[float, Callable[[], object]]])
    waiting: list[tuple["Worker", asyncio.Future[None]]] = field(factory=list[Any])
    free: bool = False
    """Whether everybody may go on: at the end."""
    wrong: list[str] = field(factory=list[str])

    def advance(self, seconds: float) -> None:
        """Let time pass: what is on its way arrives, what nobody verified goes back."""
        end = self.clock.time() + seconds
        while self.clock.time() < end:
            self.clock.advance(min(5.0, end - self.clock.time()))
            for at, arrive in tuple(self.under_way):
                if self.clock.time() >= at + ON_ITS_WAY:
                    self.arrive((at, arrive))
            for one in self.money.values():
                if one.status == GatewayStatus.UNVERIFIED and self.clock.time() > one.paid_at + SIGN_SECONDS:
                    one.status = GatewayStatus.REVERSED

    def arrive(self, late: tuple[float, Callable[[], object]]) -> None:
        self.under_way.remove(late)
        with suppress(PaystarError):
            late[1]()

    def verify(self, ref_num: str, amount: int, card: str, tracking_code: str) -> Verified:
        one = self.money.get(ref_num)
        if one is None:
            raise UnknownRefNum(-5)
        if one.status in (GatewayStatus.INIT, GatewayStatus.REVERSED, GatewayStatus.CANCELLED, GatewayStatus.FAILED):
            raise NotVerifiable(-8)
        if (card, tracking_code) != (one.card, one.tracking_code):
            raise InvalidRequest(-1)
        if amount != one.amount:
            raise ParameterMismatch(-7)
        if one.captured:
            raise AlreadyVerified(-6)
        one.captured, one.status = 1, GatewayStatus.SUCCEED
        return Verified(price=one.amount, ref_num=ref_num, card_number=one.card)

    def inquiry(self, ref_num: str) -> GatewayTransaction:
        one = self.money.get(ref_num)
        if one is None:
            raise UnknownRefNum(-5)
        paid = one.paid_at > 0
        return GatewayTransaction(
            status=one.status,
            ref_num=ref_num,
            order_id=one.order_id,
            payment_amount=one.amount + 1200,
            card_number=one.card if paid else None,
            tracking_code=one.tracking_code if paid else None,
        )


@define(eq=False)
class Worker:
    """One process of the shop."""

    world: World
    name: int
    tasks: set[asyncio.Task[Any]] = field(factory=set[Any])
    handler_fails: bool = False
    background: Background = field(factory=Background)
    payments: Payments = field(init=False)

    def __attrs_post_init__(self) -> None:
        store: Any = Store(self)
        gateway: Any = Bank(self)
        self.payments = Payments(gateway, lambda: store, lambda: (self.background, None), self.world.clock, 30.0)
        self.payments.on_verified(self.told)

    async def turn(self) -> None:
        """Wait until it is this one's turn."""
        if self.world.free:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self.world.waiting.append((self, future))
        await future

    async def told(self, payment: Payment) -> None:
        await self.turn()
        self.world.told[payment.order_id].append(payment.ref_num)
        if self.handler_fails and not self.world.free:
            raise RuntimeError("the shop's own trouble")
        await self.turn()

    def do(self, work: Coroutine[Any, Any, object]) -> None:
        """Begin something."""

        async def run() -> None:
            try:
                await work
            except PaystarError:
                pass
            except Exception as error:
                self.world.wrong.append(repr(error))

        task = asyncio.get_running_loop().create_task(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def die(self) -> None:
        """End without a word, wherever it is."""
        for task in (*self.tasks, *self.background._tasks):  # pyright: ignore[reportPrivateUsage]
            task.cancel()
        self.world.waiting = [(one, future) for one, future in self.world.waiting if one is not self]


@define(eq=False)
class Bank:
    """The gateway as a worker reaches it."""

    worker: Worker

    async def create(self, *, amount: int, order_id: str, **_: Any) -> Created:
        def act() -> Created:
            ref_num = f"ref-{len(self.worker.world.money)}"
            self.worker.world.money[ref_num] = Money(order_id, ref_num, amount)
            return Created(token=ref_num, ref_num=ref_num, order_id=order_id, payment_amount=amount + 1200)

        created: Created = await self._call(act)
        return created

    def payment_url(self, *, token: str) -> str:
        return f"https://bank.example/payment?token={token}"

    async def verify(self, *, ref_num: str, amount: int, card_number: str, tracking_code: str, timeout: float) -> Any:
        world = self.worker.world
        order = next(one for one in world.orders.values() if one.attempt(ref_num))
        if order.verified is not None and order.reserved_ref_num != ref_num:
            world.wrong.append("a verify is sent for an order that another payment has paid")
        return await self._call(lambda: world.verify(ref_num, amount, card_number, tracking_code), may_be_late=True)

    async def inquiry(self, *, ref_num: str, **_: Any) -> GatewayTransaction:
        found: GatewayTransaction = await self._call(lambda: self.worker.world.inquiry(ref_num))
        return found

    async def _call(self, act: Callable[[], Any], *, may_be_late: bool = False) -> Any:
        world = self.worker.world
        await self.worker.turn()
        trouble = world.troubles.pop(0) if world.troubles and not world.free else "none"
        if trouble == "refused":
            raise NotSent("no connection")
        if trouble == "lost before" or (trouble == "late" and not may_be_late):
            raise Unanswered("no answer")
        if trouble == "late":
            world.under_way.append((world.clock.time(), act))
            await self.worker.turn()
            raise Unanswered("no answer")
        try:
            answer = act()
        finally:
            await self.worker.turn()
        if trouble == "lost after":
            raise Unanswered("no answer")
        return answer


@define(eq=False)
class Store:
    """The order store as a worker reaches it: what ``OrderStore`` does, in a dictionary."""

    worker: Worker

    async def get_or_create(self, order_id: str, amount: int) -> Order:
        await self.worker.turn()
        world = self.worker.world
        world.orders.setdefault(order_id, Order(order_id=order_id, amount=amount, version=1))
        await self.worker.turn()
        return evolve(world.orders[order_id], now=world.clock.time())

    async def find(self, order_id: str) -> Order | None:
        await self.worker.turn()
        order = self.worker.world.orders.get(order_id)
        return order and evolve(order, now=self.worker.world.clock.time())

    async def update(self, before: Order, after: Order) -> Order | None:
        if before == after:
            return before
        await self.worker.turn()
        world = self.worker.world
        held = world.orders[after.order_id]
        if held.version != before.version:
            return None
        refs = {one.ref_num for order in world.orders.values() if order is not held for one in order.attempts}
        if refs & {one.ref_num for one in after.attempts}:
            raise ForeignRecord("another order's")
        if held.verified is None and after.verified is not None:
            world.flips[after.order_id] += 1
        stored = world.orders[after.order_id] = evolve(after, version=after.version + 1)
        await self.worker.turn()
        return stored

    async def due_order_ids(self, state: OrderStatus, limit: int) -> list[str]:
        await self.worker.turn()
        now = self.worker.world.clock.time()
        due = [one for one in self.worker.world.orders.values() if one.state is state and one.next_check_at is not None]
        return [one.order_id for one in due if (one.next_check_at or 0.0) <= now][:limit]
