"""Whatever happens, in whatever order: nothing is fulfilled that is not ours, nothing twice, and nothing stays open."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paystar_async import Callback
from paystar_async.models.gateway import GatewayStatus
from paystar_async.payments.models import ORDER_LIFETIME_SECONDS, OrderStatus
from tests.payments.model import AMOUNT, TROUBLES, Money, Worker, World

WORKERS = 2
ORDERS = st.sampled_from(["o-1", "o-1", "o-2"])
WHO = st.integers(0, WORKERS - 1)
ANY = st.integers(0, 30)
TURNS = st.one_of(st.just([0] * 60), st.lists(st.integers(0, 5), max_size=30))
"""Who goes on, one after the other; often everybody, so that much happens, and often not."""


class Shop(RuleBasedStateMachine):
    """Two workers, a few orders, payers who do as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.workers: list[Worker] = []

    # --- how it moves ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        async def rounds() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(rounds())

    def _do(self, who: int, turns: list[int], what: str, *args: Any, **options: Any) -> None:
        async def begin() -> None:
            worker = self.workers[who]
            worker.do(getattr(worker.payments, what)(*args, **options))

        self.loop.run_until_complete(begin())
        self._settle()
        self._take(turns)

    def _take(self, turns: list[int]) -> None:
        for which in turns:
            if self.world.waiting:
                _, future = self.world.waiting.pop(which % len(self.world.waiting))
                if not future.done():
                    future.set_result(None)
                self._settle()

    def _finish(self) -> None:
        for _ in range(300):
            if not self.world.waiting:
                break
            self._take([0])

    @initialize(payments=st.lists(ORDERS, min_size=1, max_size=4), fails=st.booleans())
    def open(self, payments: list[str], fails: bool) -> None:
        self.workers = [Worker(self.world, name, handler_fails=fails) for name in range(WORKERS)]
        for order_id in payments:
            self.the_payer_goes_to_pay(0, order_id, [])
            self._finish()

    @precondition(lambda self: self.world.waiting)
    @rule(turns=TURNS)
    def time_goes_on_within_a_moment(self, turns: list[int]) -> None:
        self._take(turns)

    @precondition(lambda self: self.world.waiting)
    @rule()
    def everybody_finishes(self) -> None:
        self._finish()

    # --- what happens ---------------------------------------------------------------------------------------------

    @rule(who=WHO, order_id=ORDERS, turns=TURNS)
    def the_payer_goes_to_pay(self, who: int, order_id: str, turns: list[int]) -> None:
        self._do(who, turns, "start", amount=AMOUNT, order_id=order_id, callback="https://shop.example/back")

    def _open(self) -> list[Money]:
        known = {one.ref_num for order in self.world.orders.values() for one in order.attempts}
        return [one for one in self.world.money.values() if one.status == GatewayStatus.INIT and one.ref_num in known]

    @precondition(lambda self: self._open())
    @rule(which=ANY, choice=st.sampled_from(["pay", "pay", "pay", "pay", "cancel", "fail"]))
    def the_payer_chooses(self, which: int, choice: str) -> None:
        one = self._open()[which % len(self._open())]
        statuses = {"pay": GatewayStatus.UNVERIFIED, "cancel": GatewayStatus.CANCELLED, "fail": GatewayStatus.FAILED}
        one.status = statuses[choice]
        one.paid_at = self.world.clock.time() if choice == "pay" else 0.0

    @precondition(lambda self: self.world.money)
    @rule(who=WHO, which=ANY, turns=TURNS)
    def the_payer_comes_back(self, who: int, which: int, turns: list[int]) -> None:
        one = list(self.world.money.values())[which % len(self.world.money)]
        self._do(who, turns, "confirm", callback_of(one))

    @precondition(lambda self: any(len(one.attempts) > 1 for one in self.world.orders.values()))
    @rule(which=ANY, turns=TURNS)
    def every_page_of_an_order_is_paid_at_once(self, which: int, turns: list[int]) -> None:
        orders = [one for one in self.world.orders.values() if len(one.attempts) > 1]
        for who, attempt in enumerate(orders[which % len(orders)].attempts):
            one = self.world.money[attempt.ref_num]
            if one.status == GatewayStatus.INIT:
                one.status, one.paid_at = GatewayStatus.UNVERIFIED, self.world.clock.time()
            self._do(who % WORKERS, [], "confirm", callback_of(one))
        self._take(turns)

    @precondition(lambda self: self.world.money)
    @rule(who=WHO, which=ANY, order_id=ORDERS, status=st.sampled_from(["1", "1", "-98", "-9"]), turns=TURNS)
    def somebody_makes_up_a_callback(self, who: int, which: int, order_id: str, status: str, turns: list[int]) -> None:
        one = list(self.world.money.values())[which % len(self.world.money)]
        made_up = Callback(
            status=status,
            order_id=one.order_id if which % 3 else order_id,
            ref_num=one.ref_num,
            card_number="111111******1111",
            tracking_code="made up",
        )
        self._do(who, turns, "confirm", made_up)

    @rule(who=WHO, turns=TURNS)
    def the_sweeper_comes_by(self, who: int, turns: list[int]) -> None:
        self._do(who, turns, "sweep")

    @rule(seconds=st.sampled_from([1.0, 20.0, 70.0, 130.0, 300.0, 580.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(troubles=st.lists(st.sampled_from(TROUBLES), max_size=6))
    def the_network_has_its_day(self, troubles: list[Any]) -> None:
        self.world.troubles = troubles

    @precondition(lambda self: self.world.under_way)
    @rule(which=ANY)
    def a_late_verify_arrives(self, which: int) -> None:
        self.world.arrive(self.world.under_way[which % len(self.world.under_way)])

    @rule(who=WHO, fails=st.booleans())
    def a_worker_dies_and_another_starts(self, who: int, fails: bool) -> None:
        self.workers[who].die()
        self._settle()
        self.workers[who] = Worker(self.world, who, handler_fails=fails)

    # --- what holds -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_fulfilled_that_is_not_ours(self) -> None:
        for order_id, refs in self.world.told.items():
            for ref_num in refs:
                one = self.world.money[ref_num]
                assert one.captured, "fulfilled without a verify that was carried out"
                assert one.order_id == order_id, "fulfilled with another order's payment"
                assert one.amount == self.world.orders[order_id].amount, "fulfilled for another amount"

    @invariant()
    def nothing_is_fulfilled_twice(self) -> None:
        assert all(len(set(refs)) == 1 for refs in self.world.told.values()), "two payments fulfilled for one order"
        assert all(count == 1 for count in self.world.flips.values()), "an order became verified twice"
        captured = [one.order_id for one in self.world.money.values() if one.captured]
        assert len(captured) == len(set(captured)), "an order was paid twice"

    @invariant()
    def nobody_hears_an_error_of_ours(self) -> None:
        assert not self.world.wrong

    def teardown(self) -> None:
        try:
            if self.workers:
                self._end()
        finally:
            for worker in self.workers:
                worker.die()
            self._settle()
            self.loop.close()

    def _end(self) -> None:
        """Everything is well again: what is left open is decided by the sweeper alone."""
        self.world.free = True
        for _, future in self.world.waiting:
            if not future.done():
                future.set_result(None)
        self.world.waiting.clear()
        self.world.troubles.clear()
        self.workers[0].handler_fails = False
        for _ in range(int((ORDER_LIFETIME_SECONDS + 3600) / 60)):
            self.loop.run_until_complete(self.workers[0].payments.sweep())
            self.world.advance(60)
            if all(one.next_check_at is None for one in self.world.orders.values()):
                break
        self.nothing_is_fulfilled_that_is_not_ours()
        self.nothing_is_fulfilled_twice()
        self.nobody_hears_an_error_of_ours()
        for order in self.world.orders.values():
            assert order.next_check_at is None, "an order is left open"
            ours = [one.ref_num for one in self.world.money.values() if one.order_id == order.order_id and one.captured]
            assert self.world.told[order.order_id][:1] == ours, "what was taken was not fulfilled, or nothing was taken"
            assert (order.state is OrderStatus.VERIFIED) == bool(ours)
            for one in order.attempts:
                paid = self.world.money[one.ref_num].paid_at > 0
                if paid and order.verified is None:
                    assert one.state is OrderStatus.EXPIRED, "a paid order is neither verified nor expired"
                    assert one.reason


def callback_of(one: Money) -> Callback:
    """What the gateway sends the payer back with."""
    if one.paid_at:
        return Callback(
            status="1",
            order_id=one.order_id,
            ref_num=one.ref_num,
            card_number=one.card,
            tracking_code=one.tracking_code,
        )
    return Callback(status="-98", order_id=one.order_id, ref_num=one.ref_num)


TestShop = Shop.TestCase
TestShop.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
