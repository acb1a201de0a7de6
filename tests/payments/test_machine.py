"""A state machine of the payment flows: no order is fulfilled unpaid or twice, and none stays open."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paystar_async import Callback
from paystar_async.models.gateway import GatewayStatus
from paystar_async.payments.models import ORDER_LIFETIME_SECONDS, OrderStatus
from tests.payments.simulated_shop import AMOUNT, FAULTS, BankPayment, Worker, World

WORKERS = 2
ORDERS = st.sampled_from(["o-1", "o-1", "o-2"])
WORKER_NUMBERS = st.integers(0, WORKERS - 1)
INDEXES = st.integers(0, 30)
STEPS = st.one_of(st.just([0] * 60), st.lists(st.integers(0, 5), max_size=30))
"""Indexes of the waiting calls that run next: sometimes enough steps for all calls to finish, sometimes too few."""


class ShopMachine(RuleBasedStateMachine):
    """Two workers, a few orders, and payers in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.workers: list[Worker] = []

    # --- scheduling ---------------------------------------------------------------------------------------------------

    def _run_until_blocked(self) -> None:
        async def rounds() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(rounds())

    def _start_call(self, worker_number: int, steps: list[int], method: str, *args: Any, **options: Any) -> None:
        async def begin() -> None:
            worker = self.workers[worker_number]
            worker.start(getattr(worker.payments, method)(*args, **options))

        self.loop.run_until_complete(begin())
        self._run_until_blocked()
        self._run_steps(steps)

    def _run_steps(self, steps: list[int]) -> None:
        for index in steps:
            if self.world.waiting:
                _, future = self.world.waiting.pop(index % len(self.world.waiting))
                if not future.done():
                    future.set_result(None)
                self._run_until_blocked()

    def _finish_calls(self) -> None:
        for _ in range(300):
            if not self.world.waiting:
                break
            self._run_steps([0])

    @initialize(payments=st.lists(ORDERS, min_size=1, max_size=4), handler_fails=st.booleans())
    def start_payments(self, payments: list[str], handler_fails: bool) -> None:
        self.workers = [Worker(self.world, name, handler_fails=handler_fails) for name in range(WORKERS)]
        for order_id in payments:
            self.start_payment(0, order_id, [])
            self._finish_calls()

    @precondition(lambda self: self.world.waiting)
    @rule(steps=STEPS)
    def run_some_steps(self, steps: list[int]) -> None:
        self._run_steps(steps)

    @precondition(lambda self: self.world.waiting)
    @rule()
    def finish_all_calls(self) -> None:
        self._finish_calls()

    # --- events -------------------------------------------------------------------------------------------------------

    @rule(worker_number=WORKER_NUMBERS, order_id=ORDERS, steps=STEPS)
    def start_payment(self, worker_number: int, order_id: str, steps: list[int]) -> None:
        self._start_call(
            worker_number, steps, "start", amount=AMOUNT, order_id=order_id, callback="https://shop.example/back"
        )

    def _open_payments(self) -> list[BankPayment]:
        stored_ref_nums = {attempt.ref_num for order in self.world.orders.values() for attempt in order.attempts}
        return [
            payment
            for payment in self.world.bank_payments.values()
            if payment.status == GatewayStatus.INIT and payment.ref_num in stored_ref_nums
        ]

    @precondition(lambda self: self._open_payments())
    @rule(index=INDEXES, choice=st.sampled_from(["pay", "pay", "pay", "pay", "cancel", "fail"]))
    def payer_chooses(self, index: int, choice: str) -> None:
        payment = self._open_payments()[index % len(self._open_payments())]
        statuses = {"pay": GatewayStatus.UNVERIFIED, "cancel": GatewayStatus.CANCELLED, "fail": GatewayStatus.FAILED}
        payment.status = statuses[choice]
        payment.paid_at = self.world.clock.time() if choice == "pay" else 0.0

    @precondition(lambda self: self.world.bank_payments)
    @rule(worker_number=WORKER_NUMBERS, index=INDEXES, steps=STEPS)
    def payer_returns(self, worker_number: int, index: int, steps: list[int]) -> None:
        payment = list(self.world.bank_payments.values())[index % len(self.world.bank_payments)]
        self._start_call(worker_number, steps, "confirm", callback_of(payment))

    @precondition(lambda self: any(len(order.attempts) > 1 for order in self.world.orders.values()))
    @rule(index=INDEXES, steps=STEPS)
    def pay_every_page_of_an_order(self, index: int, steps: list[int]) -> None:
        orders = [order for order in self.world.orders.values() if len(order.attempts) > 1]
        for worker_number, attempt in enumerate(orders[index % len(orders)].attempts):
            payment = self.world.bank_payments[attempt.ref_num]
            if payment.status == GatewayStatus.INIT:
                payment.status, payment.paid_at = GatewayStatus.UNVERIFIED, self.world.clock.time()
            self._start_call(worker_number % WORKERS, [], "confirm", callback_of(payment))
        self._run_steps(steps)

    @precondition(lambda self: self.world.bank_payments)
    @rule(
        worker_number=WORKER_NUMBERS,
        index=INDEXES,
        order_id=ORDERS,
        status=st.sampled_from(["1", "1", "-98", "-9"]),
        steps=STEPS,
    )
    def forge_callback(self, worker_number: int, index: int, order_id: str, status: str, steps: list[int]) -> None:
        payment = list(self.world.bank_payments.values())[index % len(self.world.bank_payments)]
        forged = Callback(
            status=status,
            order_id=payment.order_id if index % 3 else order_id,
            ref_num=payment.ref_num,
            card_number="111111******1111",
            tracking_code="forged",
        )
        self._start_call(worker_number, steps, "confirm", forged)

    @rule(worker_number=WORKER_NUMBERS, steps=STEPS)
    def sweep(self, worker_number: int, steps: list[int]) -> None:
        self._start_call(worker_number, steps, "sweep")

    @rule(seconds=st.sampled_from([1.0, 20.0, 70.0, 130.0, 300.0, 580.0, 1000.0]))
    def advance_time(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=6))
    def set_faults(self, faults: list[Any]) -> None:
        self.world.faults = faults

    @precondition(lambda self: self.world.in_flight)
    @rule(index=INDEXES)
    def late_verify_arrives(self, index: int) -> None:
        self.world.arrive(self.world.in_flight[index % len(self.world.in_flight)])

    @rule(worker_number=WORKER_NUMBERS, handler_fails=st.booleans())
    def replace_worker(self, worker_number: int, handler_fails: bool) -> None:
        self.workers[worker_number].kill()
        self._run_until_blocked()
        self.workers[worker_number] = Worker(self.world, worker_number, handler_fails=handler_fails)

    # --- invariants ---------------------------------------------------------------------------------------------------

    @invariant()
    def only_paid_orders_are_fulfilled(self) -> None:
        for order_id, ref_nums in self.world.notified.items():
            for ref_num in ref_nums:
                payment = self.world.bank_payments[ref_num]
                assert payment.captured, "fulfilled without an executed verify"
                assert payment.order_id == order_id, "fulfilled with another order's payment"
                assert payment.amount == self.world.orders[order_id].amount, "fulfilled for another amount"

    @invariant()
    def no_order_is_fulfilled_twice(self) -> None:
        assert all(len(set(ref_nums)) == 1 for ref_nums in self.world.notified.values()), (
            "two payments fulfilled for one order"
        )
        assert all(count == 1 for count in self.world.times_verified.values()), "an order became verified twice"
        captured = [payment.order_id for payment in self.world.bank_payments.values() if payment.captured]
        assert len(captured) == len(set(captured)), "an order was paid twice"

    @invariant()
    def no_unexpected_error_is_raised(self) -> None:
        assert not self.world.errors

    def teardown(self) -> None:
        try:
            if self.workers:
                self._decide_open_orders()
        finally:
            for worker in self.workers:
                worker.kill()
            self._run_until_blocked()
            self.loop.close()

    def _decide_open_orders(self) -> None:
        """Remove all faults: the sweeper alone decides the open orders."""
        self.world.unscheduled = True
        for _, future in self.world.waiting:
            if not future.done():
                future.set_result(None)
        self.world.waiting.clear()
        self.world.faults.clear()
        self.workers[0].handler_fails = False
        for _ in range(int((ORDER_LIFETIME_SECONDS + 3600) / 60)):
            self.loop.run_until_complete(self.workers[0].payments.sweep())
            self.world.advance(60)
            if all(order.next_check_at is None for order in self.world.orders.values()):
                break
        self.only_paid_orders_are_fulfilled()
        self.no_order_is_fulfilled_twice()
        self.no_unexpected_error_is_raised()
        for order in self.world.orders.values():
            assert order.next_check_at is None, "an order is left open"
            captured = [
                payment.ref_num
                for payment in self.world.bank_payments.values()
                if payment.order_id == order.order_id and payment.captured
            ]
            assert self.world.notified[order.order_id][:1] == captured, (
                "a captured payment was not fulfilled, or none was captured"
            )
            assert (order.state is OrderStatus.VERIFIED) == bool(captured)
            for attempt in order.attempts:
                paid = self.world.bank_payments[attempt.ref_num].paid_at > 0
                if paid and order.verified is None:
                    assert attempt.state is OrderStatus.EXPIRED, "a paid order is neither verified nor expired"
                    assert attempt.reason


def callback_of(payment: BankPayment) -> Callback:
    """Return the callback of a payment."""
    if payment.paid_at:
        return Callback(
            status="1",
            order_id=payment.order_id,
            ref_num=payment.ref_num,
            card_number=payment.card,
            tracking_code=payment.tracking_code,
        )
    return Callback(status="-98", order_id=payment.order_id, ref_num=payment.ref_num)


TestShopMachine = ShopMachine.TestCase
TestShopMachine.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
