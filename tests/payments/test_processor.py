"""The processor: sweeps and confirms of payments without a callback, and their check schedule."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from paystar_async import Callback
from paystar_async.errors import InvalidValue, StorageError
from paystar_async.payments import AmountMismatch, Declined, Expired, Undecided, Verified
from paystar_async.payments.models import ORDER_LIFETIME_SECONDS, OrderStatus
from paystar_async.payments.order_store import OrderStore
from tests.payments.shop import AMOUNT, CALLBACK_URL, Shop, open_shop
from tests.support import Engine, RunningClock, Sent, client, in_turn, ok, refused, wait_all_tasks_blocked


async def check_times(shop: Shop, seconds: float) -> list[float]:
    """Return the times of the inquiries during ``seconds``, in seconds from now."""
    started_at, count, times = shop.clock.time(), 0, list[float]()
    for _ in range(int(seconds / 15)):
        await shop.advance(15)
        if shop.request_counts.get("inquiry", 0) > count:
            count = shop.request_counts["inquiry"]
            times.append(shop.clock.time() - started_at)
    return times


async def test_sweep_check_schedule_of_open_payment(shop: Shop) -> None:
    await shop.start()

    times = await check_times(shop, 2 * ORDER_LIFETIME_SECONDS)

    assert [time / 60 for time in times] == [1, 2, 4, 6, 8, 9, 14, 19, 24, 29, 34]


async def test_sweep_never_paid_order_expires(shop: Shop) -> None:
    await shop.start()

    [payment] = await shop.advance(ORDER_LIFETIME_SECONDS + 600)

    assert payment.outcome == Expired(reason="the order was never paid")
    assert (await shop.order()).state is OrderStatus.EXPIRED
    assert shop.fulfilled == []


@pytest.mark.parametrize("paid_after", [5, 100, 200, 400, 590])
async def test_sweep_lost_callback_is_verified(shop: Shop, paid_after: float) -> None:
    started = await shop.start()
    await shop.advance(paid_after)
    shop.pay(started)

    [payment] = await shop.advance(600)

    assert isinstance(payment.outcome, Verified)
    assert payment.outcome.card_number
    assert payment.outcome.tracking_code
    assert shop.fulfilled == [payment.id] == [f"o-1:{started.ref_num}"]
    assert shop.request_counts["verify"] == 1


@pytest.mark.parametrize("choice", ["cancel", "fail", "expire"])
async def test_sweep_ended_payment_without_callback_is_found(shop: Shop, choice: str) -> None:
    shop.pay(await shop.start(), choice)

    [payment] = await shop.advance(60)

    assert not isinstance(payment.outcome, Verified | Undecided)
    assert (await shop.order()).next_check_at is None


async def test_sweep_after_deadline_fulfils_nothing_reversed(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.clock.advance(601)

    [payment] = await shop.paystar.payments.sweep()

    assert payment.outcome == Expired(reason="the money went back to the payer")
    assert shop.fulfilled == []


@pytest.mark.parametrize("status", ["UNVERIFIED", "VERIFY_PENDING", "INIT", "SOMETHING_NEW", None])
async def test_sweep_late_verify_needs_inquiry(tmp_path: Any, status: str) -> None:
    """This gateway accepts every verify; only its inquiry returns the true status."""
    statuses: list[Any] = []

    def script(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        if sent.path.endswith("verify"):
            return ok({"price": AMOUNT, "ref_num": "ref-1"})
        transaction = {"ref_num": "ref-1", "payment_amount": AMOUNT}
        return ok({"status": statuses.pop(0), **transaction}) if statuses[0] else refused(11)

    shop_clock = RunningClock()
    async with client(Engine(script), database=tmp_path / "p.db", clock=shop_clock, max_retries=0) as paystar:
        notified: list[Any] = []
        paystar.payments.on_verified(notified.append)
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        shop_clock.advance(580)
        statuses[:] = ["UNVERIFIED", status]

        assert await paystar.payments.sweep() == []

        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert (order.state, notified) == (OrderStatus.OPEN, [])
        shop_clock.advance(300)
        statuses[:] = ["SUCCEED"]
        [payment] = await paystar.payments.sweep()
        assert isinstance(payment.outcome, Verified)
        assert notified == [payment]


async def test_confirm_expired_order_is_not_verified(shop: Shop) -> None:
    """The goods may have been sold to another payer; the gateway returns the money."""
    started = await shop.start()
    await shop.advance(ORDER_LIFETIME_SECONDS + 600)

    payment = await shop.confirm(shop.pay(started))

    assert payment.outcome == Expired(reason="the payment was made after the order had expired")
    assert "verify" not in shop.request_counts
    assert (await shop.order()).state is OrderStatus.EXPIRED


async def test_confirm_verified_after_order_was_reserved_is_undecided(tmp_path: Path) -> None:
    """The order was reserved for another payment while verify was in flight: that payment is decided first."""

    async def reserve_other(request: Any, next: Any) -> Any:  # noqa: A002
        response = await next(request)
        if request.endpoint.name == "verify":
            order = await shop.order()
            store = shop.paystar.payments._processor().store  # pyright: ignore[reportPrivateUsage]
            assert await store.update(order, order.reserve(other.ref_num))
        return response

    async with open_shop(tmp_path / "p.db", max_retries=0, middleware=[reserve_other]) as shop:
        other, callback = await shop.start(), shop.pay(await shop.start())

        payment = await shop.confirm(callback)

        assert isinstance(payment.outcome, Undecided)
        assert (await shop.order()).state is OrderStatus.OPEN
        assert shop.fulfilled == []


async def test_confirm_notified_order_again_notifies_nobody(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    for _ in range(3):
        assert isinstance((await shop.confirm(callback)).outcome, Verified)
        shop.clock.advance(3600)

    assert len(shop.fulfilled) == 1


async def test_confirm_unpaid_order_is_logged_as_nothing(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    started = await shop.start()
    forged = Callback(status="1", order_id="o-1", ref_num=started.ref_num, tracking_code="1")

    with caplog.at_level(logging.INFO):
        assert isinstance((await shop.confirm(forged)).outcome, Undecided)
        assert not [message for message in caplog.messages if "verified" in message]
        await shop.confirm(shop.pay(started))

    assert caplog.messages.count("payments: order o-1 is verified") == 1


async def test_confirm_expired_order_verified_elsewhere_is_fulfilled(shop: Shop) -> None:
    started = await shop.start()
    await shop.advance(ORDER_LIFETIME_SECONDS + 600)
    callback = shop.pay(started)
    await shop.worker(database=None).payments.confirm(callback, amount=AMOUNT, order_id="o-1")

    assert isinstance((await shop.confirm(callback)).outcome, Verified)
    assert len(shop.fulfilled) == 1


async def test_sweep_unresponsive_gateway_is_retried(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.sandbox.fail("gateway.inquiry", "server_error")

    assert await shop.advance(4 * 3600) == []
    assert 12 < shop.request_counts["inquiry"] < 30
    assert (await shop.order()).state is OrderStatus.OPEN
    shop.sandbox.heal()
    [payment] = await shop.advance(6 * 3600, every=300)
    assert isinstance(payment.outcome, Expired)


async def test_sweep_refused_merchant_is_logged_and_retried(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.pay(await shop.start())
    shop.sandbox.fail("gateway.inquiry", "status", status="unauthenticated", times=1)

    with caplog.at_level(logging.WARNING):
        assert await shop.advance(60) == []

    assert "cannot be checked" in caplog.text
    [payment] = await shop.advance(240)
    assert isinstance(payment.outcome, Verified)


async def test_sweep_unknown_ref_num_is_declined(shop: Shop) -> None:
    await shop.start()
    shop.sandbox.fail("gateway.inquiry", "status", status=-5)

    [payment] = await shop.advance(60)

    assert isinstance(payment.outcome, Declined)


async def test_sweep_concurrently_checks_once(shop: Shop) -> None:
    for number in range(5):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)
    other_workers = [shop.worker(max_retries=0) for _ in range(2)]

    passes = await asyncio.gather(*[worker.payments.sweep() for worker in (shop.paystar, *other_workers)])

    assert sorted(payment.order_id for decided in passes for payment in decided) == [
        f"o-{number}" for number in range(5)
    ]
    assert shop.request_counts == {"create": 5, "inquiry": 5, "verify": 5}
    for worker in other_workers:
        await worker.aclose()


async def test_sweep_cancelled_is_continued_by_next(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.clock.advance(60)
    for rounds in range(0, 80, 8):
        task = asyncio.create_task(shop.paystar.payments.sweep())
        await wait_all_tasks_blocked(rounds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await shop.advance(240)

    assert (await shop.order()).state is OrderStatus.VERIFIED
    assert len(set(shop.fulfilled)) == 1


async def test_sweep_limit_bounds_orders(shop: Shop) -> None:
    for number in range(5):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)

    assert [len(await shop.paystar.payments.sweep(limit=2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_sweep_store_failure_is_raised(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.pay(await shop.start())
    shop.clock.advance(60)

    async def fail_on_full_disk(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(OrderStore, "update", fail_on_full_disk)
        with pytest.raises(StorageError, match="disk"):
            await shop.paystar.payments.sweep()
    assert len(await shop.paystar.payments.sweep()) == 1


# --- refusals of verify -----------------------------------------------------------------------------------------------

PAID = {
    "status": "UNVERIFIED",
    "ref_num": "ref-1",
    "payment_amount": AMOUNT,
    "card_number": "502229******6708",
    "tracking_code": "123456",
}


@pytest.mark.parametrize(
    ("status", "kind"), [(-7, AmountMismatch), (-8, Expired), (-9, Declined), (-98, Declined), (-5, Declined)]
)
async def test_sweep_refused_verify_expires_with_reason(tmp_path: Any, status: int, kind: type) -> None:
    def script(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        return refused(status, "no") if sent.path.endswith("verify") else ok({**PAID, "payment_amount": 1})

    clock = RunningClock()
    async with client(Engine(script), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        decided: list[Any] = []
        for _ in range(int((ORDER_LIFETIME_SECONDS + 900) / 60)):
            clock.advance(60)
            decided += await paystar.payments.sweep()

        [payment] = decided
        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert isinstance(payment.outcome, Expired)
        assert order.state is OrderStatus.EXPIRED
        assert order.reason or kind is AmountMismatch


@pytest.mark.parametrize("price", [AMOUNT - 1, AMOUNT * 10])
async def test_sweep_other_price_is_never_fulfilled(
    tmp_path: Any, price: int, caplog: pytest.LogCaptureFixture
) -> None:
    responses = in_turn(ok({"token": "t", "ref_num": "ref-1"}), ok(PAID), ok({"price": price}))
    clock = RunningClock()
    async with client(Engine(responses), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        clock.advance(60)

        [payment] = await paystar.payments.sweep()

        assert isinstance(payment.outcome, AmountMismatch)
        assert "another amount" in caplog.text
        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert (order.state, order.verified) == (OrderStatus.MISMATCH, None)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"payment_amount": AMOUNT - 1}, OrderStatus.MISMATCH),
        ({"payment_amount": AMOUNT + 900}, OrderStatus.VERIFIED),
        ({"payment_amount": AMOUNT * 10}, OrderStatus.MISMATCH),
        ({"payment_amount": None}, OrderStatus.OPEN),
        ({"ref_num": None}, OrderStatus.OPEN),
        ({"ref_num": None, "order_id": "o-1"}, OrderStatus.VERIFIED),
        ({"order_id": "o-2"}, OrderStatus.OPEN),
        ({"ref_num": "ref-2"}, OrderStatus.OPEN),
        ({"order_id": "o-1"}, OrderStatus.VERIFIED),
    ],
)
async def test_sweep_inquiry_counts_for_own_order_and_amount(tmp_path: Any, change: Any, state: OrderStatus) -> None:
    responses = in_turn(ok({"token": "t", "ref_num": "ref-1"}), ok({**PAID, "status": "SUCCEED", **change}))
    clock = RunningClock()
    async with client(Engine(responses), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        clock.advance(60)

        await paystar.payments.sweep()

        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert order.state is state


async def test_sweep_inquiry_is_signed_if_required(tmp_path: Any) -> None:
    def script(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        return ok({**PAID, "status": "SUCCEED"}) if "sign" in sent.fields else refused(-1)

    clock = RunningClock()
    engine = Engine(script)
    async with client(engine, database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        clock.advance(60)

        [payment] = await paystar.payments.sweep()

    assert isinstance(payment.outcome, Verified)
    assert [request.fields.get("amount") for request in engine.sent_to("inquiry")] == [None, AMOUNT]


async def test_sweep_lost_verify_is_retried_every_minute(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.sandbox.fail("gateway.verify", "reset_before", times=4)

    await shop.advance(300)

    assert (await shop.order()).state is OrderStatus.VERIFIED
    assert shop.request_counts["verify"] == 5


async def test_sweep_failing_middleware_leaves_other_orders(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    raised: list[object] = []

    async def failing_middleware(request: Any, next: Any) -> Any:  # noqa: A002
        if request.endpoint.name == "inquiry" and not raised:
            raised.append(request)
            raise RuntimeError("an error of a user middleware")
        return await next(request)

    for number in range(2):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)
    worker = shop.worker(middleware=[failing_middleware], max_retries=0)

    assert len(await worker.payments.sweep()) == 1
    assert "an error of a user middleware" in caplog.text
    await shop.advance(240)
    assert len(shop.fulfilled) == 2
    await worker.aclose()


async def test_sweeping_stopped_leaves_rest_to_others(shop: Shop) -> None:
    for number in range(20):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)
    paystar = shop.worker(max_retries=0)

    @paystar.payments.on_verified
    async def close(_: Any) -> None:
        leaving.set()

    leaving = asyncio.Event()
    async with paystar.payments.sweeping(every=3600):
        await leaving.wait()
    await paystar.aclose()

    decided = await shop.advance(240)
    assert 0 < len(decided) < 20
    assert {(await shop.order(f"o-{number}")).state for number in range(20)} == {OrderStatus.VERIFIED}


async def test_confirm_second_verified_payment_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Another client verified without the store; the order is fulfilled once, and the second payment is logged."""
    pages = [await shop.start(), await shop.start()]
    callbacks = [shop.pay(page) for page in pages]
    without_store = shop.worker(database=None)
    await without_store.payments.confirm(callbacks[1], amount=AMOUNT, order_id="o-1")

    async def confirm_other(request: Any, next: Any) -> Any:  # noqa: A002
        response = await next(request)
        await shop.confirm(callbacks[0])
        return response

    worker = shop.worker(middleware=[confirm_other], max_retries=0)
    payment = await worker.payments.confirm(evolve(callbacks[1], status="-98"))

    assert isinstance(payment.outcome, Declined)
    assert "two payments of one order are verified" in caplog.text
    assert len(shop.fulfilled) == 1
    await worker.aclose()


@pytest.mark.parametrize("status", ["REVERSED", "FAILED", "CANCELLED"])
async def test_sweep_contradicted_late_verify_is_undecided(tmp_path: Any, status: str) -> None:
    statuses = ["UNVERIFIED", status]

    def script(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        return ok({"price": AMOUNT} if sent.path.endswith("verify") else {"status": statuses.pop(0)})

    clock = RunningClock()
    async with client(Engine(script), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        clock.advance(580)

        assert await paystar.payments.sweep() == []

        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert order.state is OrderStatus.OPEN


@pytest.mark.parametrize("limit", [0, -1, "1", True, None])
async def test_sweep_invalid_limit_is_refused(shop: Shop, limit: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^limit: expected an int, 1 or more"):
        await shop.paystar.payments.sweep(limit=limit)
