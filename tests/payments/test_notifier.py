"""The notifier: handlers have a timeout, and a handler that hangs delays no other payment."""

import asyncio
import threading
import time
from typing import Any

import anyio
import pytest

from paystar_async.errors import InvalidValue, StorageError
from paystar_async.payments import Payment, Verified
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.notifier import MIN_LEASE_SECONDS
from paystar_async.payments.order_store import OrderStore
from tests.payments.shop import Shop, open_shop, wait_until
from tests.support import RunningClock

PREFIX = "paystar_async.payments.notifier"


class HangingHandler:
    """A handler that hangs for one order and records the orders of all calls."""

    def __init__(self) -> None:
        self.order_id, self.cancelled = "hangs", 0
        self.called = list[str]()

    async def __call__(self, payment: Payment) -> None:
        self.called.append(payment.order_id)
        if payment.order_id != self.order_id:
            return
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1


async def test_on_verified_hanging_handler_blocks_no_sweep(shop: Shop) -> None:
    """Each sweep verifies due orders, though a handler of an earlier sweep never returned."""
    clock, hanging = RunningClock(), HangingHandler()
    worker = shop.worker(clock=clock, max_retries=0)
    worker.payments.on_verified(hanging)
    shop.pay(await shop.start("hangs"))
    shop.clock.advance(60)
    clock.jump(shop.clock.time() - clock.time())
    async with worker:
        task = asyncio.create_task(worker.payments.run(every=30))
        await wait_until(lambda: hanging.called == ["hangs"])
        for number in range(3):
            shop.pay(await shop.start(f"o-{number}"))
        await wait_until(lambda: clock.sleepers == 1)
        shop.clock.advance(60)
        clock.jump(60)
        clock.advance(30)
        await wait_until(lambda: len(hanging.called) == 4)
        assert hanging.cancelled == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for number in range(3):
            while (await shop.order(f"o-{number}")).notified_at is None:  # noqa: ASYNC110
                await asyncio.sleep(0)
        for other_task in asyncio.all_tasks() - {asyncio.current_task()}:
            other_task.cancel()


async def test_on_verified_hanging_handler_blocks_no_confirm(shop: Shop) -> None:
    hanging = HangingHandler()
    shop.paystar.payments.on_verified(hanging, timeout=0.2)
    slow = asyncio.create_task(shop.confirm(shop.pay(await shop.start("hangs"))))
    await wait_until(lambda: hanging.called == ["hangs"])

    quick = await shop.confirm(shop.pay(await shop.start("o-1")))

    assert isinstance(quick.outcome, Verified)
    assert hanging.called == ["hangs", "o-1"]
    assert not slow.done()
    assert isinstance((await slow).outcome, Verified)


async def test_on_verified_past_timeout_is_cancelled_and_called_again(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = HangingHandler()
    shop.paystar.payments.on_verified(hanging, timeout=0.05)

    payment = await shop.confirm(shop.pay(await shop.start("hangs")))

    assert isinstance(payment.outcome, Verified)
    assert "took more than 0.05 s" in caplog.text
    order = await shop.order("hangs")
    assert (order.notified_at, order.notify_attempts, hanging.cancelled) == (None, 1, 1)
    await shop.advance(59)
    assert len(hanging.called) == 1
    hanging.order_id = ""
    await shop.advance(15)
    assert hanging.called == ["hangs"] * 2
    assert (await shop.order("hangs")).notified_at is not None


async def test_on_verified_hanging_handler_leaves_other_handlers(shop: Shop) -> None:
    shop.paystar.payments.on_verified(HangingHandler(), timeout=0.05)

    payment = await shop.confirm(shop.pay(await shop.start("hangs")))

    assert shop.fulfilled == [payment.id]


async def test_on_verified_cancelled_confirm_leaves_its_handler(shop: Shop) -> None:
    entered, release, done = asyncio.Event(), asyncio.Event(), list[str]()

    @shop.paystar.payments.on_verified
    async def slow(payment: Payment) -> None:
        entered.set()
        await release.wait()
        done.append(payment.id)

    task = asyncio.create_task(shop.confirm(shop.pay(await shop.start())))
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    release.set()
    await shop.paystar.aclose()

    assert len(done) == 1
    assert (await shop.order()).notified_at is not None


async def test_on_verified_plain_function_blocks_no_loop(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A plain function runs in a thread, which continues after the timeout."""
    release, called = threading.Event(), list[str]()

    @shop.paystar.payments.on_verified(timeout=0.05)
    def blocking(payment: Payment) -> None:
        called.append(payment.order_id)
        if payment.order_id == "blocks":
            release.wait()

    try:
        blocked = asyncio.create_task(shop.confirm(shop.pay(await shop.start("blocks"))))
        await wait_until(lambda: called == ["blocks"])

        assert isinstance((await shop.confirm(shop.pay(await shop.start("o-1")))).outcome, Verified)
        assert isinstance((await blocked).outcome, Verified)
        assert "took more than" in caplog.text
        assert (await shop.order("blocks")).notified_at is None
    finally:
        release.set()


async def test_on_verified_plain_function_may_return_an_awaitable(shop: Shop) -> None:
    called: list[Payment] = []

    async def fulfil(payment: Payment) -> None:
        called.append(payment)

    @shop.paystar.payments.on_verified
    def begin(payment: Payment) -> object:
        return fulfil(payment)

    assert called == [await shop.confirm(shop.pay(await shop.start()))]


async def test_on_verified_runs_a_bounded_number_at_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PREFIX}.MAX_NOTIFICATIONS", 2)
    running, max_running, called, both_run = 0, 0, list[str](), asyncio.Event()
    async with open_shop(tmp_path / "p.db", max_retries=0) as shop:

        @shop.paystar.payments.on_verified
        async def count(payment: Payment) -> None:
            nonlocal running, max_running
            running, max_running = running + 1, max(max_running, running + 1)
            if running == 2 and not both_run.is_set():
                await anyio.sleep(0.05)  # long enough for a third call to start, if there were no limit
                both_run.set()
            await both_run.wait()
            running -= 1
            called.append(payment.id)

        callbacks = [shop.pay(await shop.start(f"o-{number}")) for number in range(8)]
        payments = await asyncio.gather(*[shop.confirm(callback) for callback in callbacks])

        assert max_running == 2
        assert sorted(called) == sorted(payment.id for payment in payments)
        assert sorted(shop.fulfilled) == sorted(called)


async def test_sweep_without_free_slot_leaves_notifications_due(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog behind handlers that hang stays in the store, not in memory."""
    monkeypatch.setattr(f"{PREFIX}.MAX_NOTIFICATIONS", 2)
    without_handler = shop.worker(max_retries=0)
    for number in range(5):
        await without_handler.payments.confirm(shop.pay(await shop.start(f"o-{number}")))
    await without_handler.aclose()
    clock, entered = RunningClock(), list[str]()
    clock.jump(shop.clock.time() - clock.time())
    worker = shop.worker(clock=clock, max_retries=0)

    @worker.payments.on_verified(timeout=0.1)
    async def hang(payment: Payment) -> None:
        entered.append(payment.id)
        await asyncio.Event().wait()

    async with worker:
        task = asyncio.create_task(worker.payments.run(every=3600))
        await wait_until(lambda: clock.sleepers == 1 and len(entered) == 2)
        orders = [await shop.order(f"o-{number}") for number in range(5)]
        assert sum(order.notify_at <= clock.time() for order in orders) == 3
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_sweep_waits_for_all_notifications(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PREFIX}.MAX_NOTIFICATIONS", 2)
    without_handler = shop.worker(max_retries=0)
    for number in range(5):
        await without_handler.payments.confirm(shop.pay(await shop.start(f"o-{number}")))
    await without_handler.aclose()
    worker, done = shop.worker(max_retries=0), list[str]()

    @worker.payments.on_verified
    async def slow(payment: Payment) -> None:
        await anyio.sleep(0.005)
        done.append(payment.id)

    async with worker:
        await worker.payments.sweep()

        assert len(set(done)) == len(done) == 5


async def test_notify_skips_lease_of_other_process(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notification that waited for a free slot longer than its lease may be sent by another process."""
    monkeypatch.setattr(f"{PREFIX}.MAX_NOTIFICATIONS", 1)
    async with open_shop(tmp_path / "p.db", max_retries=0) as shop:
        release, called = asyncio.Event(), list[str]()

        @shop.paystar.payments.on_verified
        async def slow(payment: Payment) -> None:
            called.append(payment.order_id)
            await release.wait()

        first = asyncio.create_task(shop.confirm(shop.pay(await shop.start("o-1"))))
        await wait_until(lambda: called == ["o-1"])
        second = asyncio.create_task(shop.confirm(shop.pay(await shop.start("o-2"))))
        while (await shop.order("o-2")).verified is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        other, notified_by_other = shop.worker(max_retries=0), list[str]()

        @other.payments.on_verified
        def notify_other(payment: Payment) -> None:
            notified_by_other.append(payment.order_id)

        shop.clock.advance(MIN_LEASE_SECONDS + 1)
        await other.payments.sweep()

        release.set()
        await asyncio.gather(first, second)
        await other.aclose()

        assert called == ["o-1"]
        assert "o-2" in notified_by_other


async def test_aclose_cancels_hanging_handler_for_later(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PREFIX}.CLOSE_TIMEOUT_SECONDS", 0.01)
    worker, hanging = shop.worker(max_retries=0), HangingHandler()
    worker.payments.on_verified(hanging)
    task = asyncio.create_task(worker.payments.confirm(shop.pay(await shop.start("hangs"))))
    await wait_until(lambda: hanging.called == ["hangs"])

    with anyio.fail_after(5):
        await worker.aclose()

    assert hanging.cancelled == 1
    assert isinstance((await task).outcome, Verified)
    await shop.advance(75)
    assert len(shop.fulfilled) == 1


async def test_aclose_leaves_uncancellable_handler(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PREFIX}.CLOSE_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr("paystar_async.client.loop_state.CLOSE_TIMEOUT_SECONDS", 0.05)
    worker, release, entered = shop.worker(max_retries=0), asyncio.Event(), asyncio.Event()

    @worker.payments.on_verified
    async def uncancellable(_: Payment) -> None:
        entered.set()
        with anyio.CancelScope(shield=True):
            await release.wait()

    task = asyncio.create_task(worker.payments.confirm(shop.pay(await shop.start())))
    await entered.wait()

    with anyio.fail_after(5):
        await worker.aclose()

    assert not task.done()
    release.set()
    assert isinstance((await task).outcome, Verified)


async def test_sweep_cancels_handler_overdue_by_client_clock(shop: Shop) -> None:
    """A user's test that advances the clock by hand does not wait a minute."""
    hanging = HangingHandler()
    shop.paystar.payments.on_verified(hanging)
    task = asyncio.create_task(shop.confirm(shop.pay(await shop.start("hangs"))))
    await wait_until(lambda: hanging.called == ["hangs"])

    shop.clock.advance(59)
    await shop.paystar.payments.sweep()
    assert hanging.cancelled == 0
    shop.clock.advance(1)
    await shop.paystar.payments.sweep()
    await task

    assert hanging.cancelled == 1
    assert (await shop.order("hangs")).notify_at == shop.clock.time() + 60


async def test_notify_store_failure_leaves_payment_verified(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The notification cannot be recorded: the payment stays verified, and is notified again."""
    update = OrderStore.update

    async def fail_on_full_disk(store: OrderStore, before: Any, after: Any) -> Any:
        if after.notified_at is not None:
            raise StorageError("the disk is full")
        return await update(store, before, after)

    with monkeypatch.context() as patch:
        patch.setattr(OrderStore, "update", fail_on_full_disk)
        payment = await shop.confirm(shop.pay(await shop.start()))

    assert isinstance(payment.outcome, Verified)
    assert "the disk is full" in caplog.text
    assert (await shop.order()).state is OrderStatus.VERIFIED
    await shop.advance(MIN_LEASE_SECONDS + 15)
    assert shop.fulfilled == [payment.id] * 2


async def test_on_verified_lease_outlasts_the_timeout(shop: Shop) -> None:
    shop.paystar.payments.on_verified(HangingHandler(), timeout=3600)
    worker = shop.worker(max_retries=0)
    notify_times: list[float] = []

    @shop.paystar.payments.on_verified
    async def record_lease(payment: Payment) -> None:
        order = await worker.payments.find(order_id=payment.order_id)
        assert order is not None
        notify_times.append(order.notify_at)

    await shop.confirm(shop.pay(await shop.start()))

    assert notify_times == [shop.clock.time() + 3660]
    await worker.aclose()


async def test_on_verified_decorates_with_and_without_timeout(shop: Shop) -> None:
    called: list[str] = []

    @shop.paystar.payments.on_verified
    async def bare(_: Payment) -> None:
        called.append("bare")

    @shop.paystar.payments.on_verified(timeout=5)
    async def timed(_: Payment) -> None:
        called.append("timed")

    assert shop.paystar.payments.on_verified(timed, timeout=7) is timed
    await shop.confirm(shop.pay(await shop.start()))

    assert sorted(called) == ["bare", "timed"]


@pytest.mark.parametrize("timeout", [0, -1, True, "60", None, float("nan"), float("inf"), 3601])
async def test_on_verified_bad_timeout_is_refused(shop: Shop, timeout: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^timeout: expected"):
        shop.paystar.payments.on_verified(timeout=timeout)


def test_on_verified_timeout_holds_on_trio(tmp_path: Any) -> None:
    async def confirm_with_hanging_handler() -> None:
        async with open_shop(tmp_path / "p.db", max_retries=0) as shop:
            called: list[str] = []

            @shop.paystar.payments.on_verified(timeout=0.05)
            async def hang(payment: Payment) -> None:
                called.append(payment.id)
                await anyio.sleep_forever()

            started_at = time.monotonic()
            payment = await shop.confirm(shop.pay(await shop.start()))
            assert isinstance(payment.outcome, Verified)
            assert called == [payment.id]
            assert time.monotonic() - started_at < 5

    anyio.run(confirm_with_hanging_handler, backend="trio")
