"""For payers who paid and never came back, and for those who never paid."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from paystar_async.errors import InvalidValue, StorageError, StorageUnavailable
from paystar_async.payments import AmountMismatch, Declined, Expired, Undecided, Verified
from paystar_async.payments.models import ORDER_LIFETIME_SECONDS, OrderStatus
from paystar_async.payments.order_store import OrderStore
from tests.payments.shop import AMOUNT, BACK, Shop
from tests.support import Engine, RunningClock, Sent, client, in_turn, ok, refused, settled


async def until(so: Callable[[], bool]) -> None:
    """Let everything go on, the threads of files too, until something is so."""
    for _ in range(5000):
        if so():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never was")


async def looks_of(shop: Shop, seconds: float) -> list[float]:
    """When the gateway was asked, in seconds from now."""
    begun, asked, looks = shop.clock.time(), 0, list[float]()
    for _ in range(int(seconds / 15)):
        await shop.pass_by(15)
        if shop.asked.get("inquiry", 0) > asked:
            asked = shop.asked["inquiry"]
            looks.append(shop.clock.time() - begun)
    return looks


async def test_an_open_payment_is_looked_after_at_1_2_4_6_8_9_minutes_and_then_ever_more_rarely(shop: Shop) -> None:
    await shop.start()

    looks = await looks_of(shop, 2 * ORDER_LIFETIME_SECONDS)

    assert [look / 60 for look in looks] == [1, 2, 4, 6, 8, 9, 14, 19, 24, 29, 34]


async def test_what_is_never_paid_expires(shop: Shop) -> None:
    await shop.start()

    [payment] = await shop.pass_by(ORDER_LIFETIME_SECONDS + 600)

    assert payment.outcome == Expired(reason="it was never paid")
    assert (await shop.order()).state is OrderStatus.EXPIRED
    assert shop.fulfilled == []


@pytest.mark.parametrize("paid_after", [5, 100, 200, 400, 590])
async def test_a_payment_whose_callback_is_lost_is_verified(shop: Shop, paid_after: float) -> None:
    started = await shop.start()
    await shop.pass_by(paid_after)
    shop.pay(started)

    [payment] = await shop.pass_by(600)

    assert isinstance(payment.outcome, Verified)
    assert payment.outcome.card_number
    assert payment.outcome.tracking_code
    assert shop.fulfilled == [payment.id] == [f"o-1:{started.ref_num}"]
    assert shop.asked["verify"] == 1


@pytest.mark.parametrize("choice", ["cancel", "fail", "expire"])
async def test_what_came_to_nothing_is_found_out_without_a_callback(shop: Shop, choice: str) -> None:
    shop.pay(await shop.start(), choice)

    [payment] = await shop.pass_by(60)

    assert not isinstance(payment.outcome, Verified | Undecided)
    assert (await shop.order()).next_check_at is None


async def test_after_the_deadline_nothing_is_fulfilled_that_the_inquiry_does_not_call_ours(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.clock.advance(601)

    [payment] = await shop.paystar.payments.sweep()

    assert payment.outcome == Expired(reason="the money went back to the payer")
    assert shop.fulfilled == []


@pytest.mark.parametrize("says", ["UNVERIFIED", "VERIFY_PENDING", "INIT", "SOMETHING_NEW", None])
async def test_a_gateway_that_verifies_too_late_is_not_believed_without_its_inquiry(tmp_path: Any, says: str) -> None:
    """Its verify says yes to everything; only the inquiry tells what is true."""
    words: list[Any] = []

    def play(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        if sent.path.endswith("verify"):
            return ok({"price": AMOUNT, "ref_num": "ref-1"})
        found = {"ref_num": "ref-1", "payment_amount": AMOUNT}
        return ok({"status": words.pop(0), **found}) if words[0] else refused(11)

    shop_clock = RunningClock()
    async with client(Engine(play), database=tmp_path / "p.db", clock=shop_clock, max_retries=0) as paystar:
        told: list[Any] = []
        paystar.payments.on_verified(told.append)
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=BACK)
        shop_clock.advance(580)
        words[:] = ["UNVERIFIED", says]

        assert await paystar.payments.sweep() == []

        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert (order.state, told) == (OrderStatus.OPEN, [])
        shop_clock.advance(300)
        words[:] = ["SUCCEED"]
        [payment] = await paystar.payments.sweep()
        assert isinstance(payment.outcome, Verified)
        assert told == [payment]


async def test_a_payment_that_was_given_up_is_not_verified_any_more(shop: Shop) -> None:
    """The shop has sold it to somebody else by now; the money goes back by itself."""
    started = await shop.start()
    await shop.pass_by(ORDER_LIFETIME_SECONDS + 600)

    payment = await shop.confirm(shop.pay(started))

    assert payment.outcome == Expired(reason="it was paid after it had expired")
    assert "verify" not in shop.asked
    assert (await shop.order()).state is OrderStatus.EXPIRED


async def test_a_payment_that_was_given_up_and_is_ours_all_the_same_is_fulfilled(shop: Shop) -> None:
    started = await shop.start()
    await shop.pass_by(ORDER_LIFETIME_SECONDS + 600)
    callback = shop.pay(started)
    await shop.worker(database=None).payments.confirm(callback, amount=AMOUNT, order_id="o-1")

    assert isinstance((await shop.confirm(callback)).outcome, Verified)
    assert len(shop.fulfilled) == 1


async def test_a_silent_gateway_is_asked_until_it_answers(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.sandbox.fail("gateway.inquiry", "server_error")

    assert await shop.pass_by(4 * 3600) == []
    assert 12 < shop.asked["inquiry"] < 30
    assert (await shop.order()).state is OrderStatus.OPEN
    shop.sandbox.heal()
    [payment] = await shop.pass_by(6 * 3600, every=300)
    assert isinstance(payment.outcome, Expired)


async def test_a_gateway_that_refuses_us_is_noted_and_asked_again(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.pay(await shop.start())
    shop.sandbox.fail("gateway.inquiry", "status", status="unauthenticated", times=1)

    with caplog.at_level(logging.WARNING):
        assert await shop.pass_by(60) == []

    assert "cannot be checked" in caplog.text
    [payment] = await shop.pass_by(240)
    assert isinstance(payment.outcome, Verified)


async def test_a_payment_the_gateway_does_not_know_is_declined(shop: Shop) -> None:
    await shop.start()
    shop.sandbox.fail("gateway.inquiry", "status", status=-5)

    [payment] = await shop.pass_by(60)

    assert isinstance(payment.outcome, Declined)


async def test_several_sweepers_ask_once(shop: Shop) -> None:
    for number in range(5):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)
    others = [shop.worker(max_retries=0) for _ in range(2)]

    passes = await asyncio.gather(*[one.payments.sweep() for one in (shop.paystar, *others)])

    assert sorted(one.order_id for decided in passes for one in decided) == [f"o-{number}" for number in range(5)]
    assert shop.asked == {"create": 5, "inquiry": 5, "verify": 5}
    for one in others:
        await one.aclose()


async def test_a_sweeper_that_dies_is_followed_by_another(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.clock.advance(60)
    for rounds in range(0, 80, 8):
        task = asyncio.create_task(shop.paystar.payments.sweep())
        await settled(rounds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await shop.pass_by(240)

    assert (await shop.order()).state is OrderStatus.VERIFIED
    assert len(set(shop.fulfilled)) == 1


async def test_a_sweep_looks_after_so_many_at_the_most(shop: Shop) -> None:
    for number in range(5):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)

    assert [len(await shop.paystar.payments.sweep(limit=2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_store_that_fails_is_raised(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.pay(await shop.start())
    shop.clock.advance(60)

    async def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(OrderStore, "update", full)
        with pytest.raises(StorageError, match="disk"):
            await shop.paystar.payments.sweep()
    assert len(await shop.paystar.payments.sweep()) == 1


# --- what verify refuses ----------------------------------------------------------------------------------------------

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
async def test_what_verify_refuses_for_good_expires_with_its_reason(tmp_path: Any, status: int, kind: type) -> None:
    def play(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        return refused(status, "no") if sent.path.endswith("verify") else ok({**PAID, "payment_amount": 1})

    clock = RunningClock()
    async with client(Engine(play), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=BACK)
        ends: list[Any] = []
        for _ in range(int((ORDER_LIFETIME_SECONDS + 900) / 60)):
            clock.advance(60)
            ends += await paystar.payments.sweep()

        [end] = ends
        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert isinstance(end.outcome, Expired)
        assert order.state is OrderStatus.EXPIRED
        assert order.reason or kind is AmountMismatch


@pytest.mark.parametrize("price", [AMOUNT - 1, AMOUNT * 10])
async def test_another_price_than_was_asked_for_is_never_fulfilled(
    tmp_path: Any, price: int, caplog: pytest.LogCaptureFixture
) -> None:
    answers = in_turn(ok({"token": "t", "ref_num": "ref-1"}), ok(PAID), ok({"price": price}))
    clock = RunningClock()
    async with client(Engine(answers), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=BACK)
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
async def test_an_inquiry_counts_for_its_own_order_and_amount(tmp_path: Any, change: Any, state: OrderStatus) -> None:
    answers = in_turn(ok({"token": "t", "ref_num": "ref-1"}), ok({**PAID, "status": "SUCCEED", **change}))
    clock = RunningClock()
    async with client(Engine(answers), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=BACK)
        clock.advance(60)

        await paystar.payments.sweep()

        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert order.state is state


async def test_a_service_that_wants_inquiries_signed_gets_them_signed(tmp_path: Any) -> None:
    def play(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        return ok({**PAID, "status": "SUCCEED"}) if "sign" in sent.fields else refused(-1)

    clock = RunningClock()
    engine = Engine(play)
    async with client(engine, database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=BACK)
        clock.advance(60)

        [payment] = await paystar.payments.sweep()

    assert isinstance(payment.outcome, Verified)
    assert [one.fields.get("amount") for one in engine.to("inquiry")] == [None, AMOUNT]


async def test_a_verify_that_is_not_answered_is_tried_again_every_minute_while_there_is_time(shop: Shop) -> None:
    shop.pay(await shop.start())
    shop.sandbox.fail("gateway.verify", "reset_before", times=4)

    await shop.pass_by(300)

    assert (await shop.order()).state is OrderStatus.VERIFIED
    assert shop.asked["verify"] == 5


async def test_whatever_a_ring_raises_the_other_orders_are_looked_after(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[object] = []

    async def ring(request: Any, next: Any) -> Any:  # noqa: A002
        if request.endpoint.name == "inquiry" and not raised:
            raised.append(request)
            raise RuntimeError("a ring of mine")
        return await next(request)

    for number in range(2):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)
    worker = shop.worker(middleware=[ring], max_retries=0)

    assert len(await worker.payments.sweep()) == 1
    assert "a ring of mine" in caplog.text
    await shop.pass_by(240)
    assert len(shop.fulfilled) == 2
    await worker.aclose()


async def test_one_who_stops_in_the_middle_of_a_pass_leaves_the_rest_to_others(shop: Shop) -> None:
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

    decided = await shop.pass_by(240)
    assert 0 < len(decided) < 20
    assert {(await shop.order(f"o-{number}")).state for number in range(20)} == {OrderStatus.VERIFIED}


async def test_two_payments_of_an_order_that_both_became_ours_are_called_out(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes somebody who verifies past the store; the order is fulfilled once, and a person is told."""
    pages = [await shop.start(), await shop.start()]
    callbacks = [shop.pay(one) for one in pages]
    past = shop.worker(database=None)
    await past.payments.confirm(callbacks[1], amount=AMOUNT, order_id="o-1")

    async def meanwhile(request: Any, next: Any) -> Any:  # noqa: A002
        answer = await next(request)
        await shop.confirm(callbacks[0])
        return answer

    worker = shop.worker(middleware=[meanwhile], max_retries=0)
    payment = await worker.payments.confirm(evolve(callbacks[1], status="-98"))

    assert isinstance(payment.outcome, Declined)
    assert "two payments of one order are verified" in caplog.text
    assert len(shop.fulfilled) == 1
    await worker.aclose()


@pytest.mark.parametrize("says", ["REVERSED", "FAILED", "CANCELLED"])
async def test_a_late_verify_that_the_inquiry_contradicts_is_not_decided(tmp_path: Any, says: str) -> None:
    words = ["UNVERIFIED", says]

    def play(sent: Sent) -> Any:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1"})
        return ok({"price": AMOUNT} if sent.path.endswith("verify") else {"status": words.pop(0)})

    clock = RunningClock()
    async with client(Engine(play), database=tmp_path / "p.db", clock=clock, max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=BACK)
        clock.advance(580)

        assert await paystar.payments.sweep() == []

        order = await paystar.payments.find(order_id="o-1")
        assert order is not None
        assert order.state is OrderStatus.OPEN


# --- in the background ------------------------------------------------------------------------------------------------


async def test_it_sweeps_in_the_background_until_it_is_left(shop: Shop) -> None:
    clock = RunningClock()
    paystar = shop.worker(clock=clock)
    told: list[Any] = []
    paystar.payments.on_verified(told.append)
    async with clock.running(), paystar:
        async with paystar.payments.sweeping(every=20):
            shop.pay(await shop.start())
            shop.clock.advance(60)
            clock.jump(shop.clock.time() - clock.time())
            await until(lambda: bool(told))
        assert (await shop.order()).state is OrderStatus.VERIFIED
        assert clock.sleepers == 0


async def test_closing_the_client_ends_the_sweeper(shop: Shop) -> None:
    clock = RunningClock()
    paystar = shop.worker(clock=clock)
    own = asyncio.create_task(paystar.payments.run(every=3600))
    async with paystar.payments.sweeping(every=3600):
        await until(lambda: clock.sleepers == 2)

        await paystar.aclose()

        await own
        assert clock.sleepers == 0


async def test_run_goes_on_when_a_pass_breaks_off_and_ends_when_it_is_cancelled(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    passes: list[int] = []

    async def broken(*_: object) -> list[str]:
        passes.append(1)
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(OrderStore, "due_order_ids", broken)
    clock = RunningClock()
    paystar = shop.worker(clock=clock)
    async with clock.running(), paystar:
        task = asyncio.create_task(paystar.payments.run(every=1))
        await until(lambda: len(passes) >= 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert "a sweep failed" in caplog.text


async def test_a_full_pass_is_followed_by_the_next_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.payments.service.SWEEP_LIMIT", 2)
    for number in range(5):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)
    paystar = shop.worker(max_retries=0)

    async with paystar, paystar.payments.sweeping(every=3600):
        await until(lambda: shop.clock.slept[-1:] == [3600])

    for number in range(5):
        assert (await shop.order(f"o-{number}")).state is OrderStatus.VERIFIED


@pytest.mark.parametrize("every", [0, -1, True, "15", None])
async def test_the_time_between_passes_is_a_number_of_seconds(shop: Shop, every: Any) -> None:
    with pytest.raises(InvalidValue, match="every"):
        await shop.paystar.payments.run(every=every)


async def test_the_time_of_a_server_is_its_own(shop: Shop) -> None:
    """A worker whose clock is an hour ahead does not give up what is open."""
    await shop.start()
    order = await shop.order()

    assert evolve(order, now=order.now + 1).due_attempts == []


@pytest.mark.parametrize("limit", [0, -1, "1", True, None])
async def test_a_sweep_of_no_orders_is_refused(shop: Shop, limit: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^limit: expected an int, 1 or more"):
        await shop.paystar.payments.sweep(limit=limit)
