"""``confirm`` for stored orders: callbacks are hints, and an order is verified once."""

import asyncio
import logging
import time
from typing import Any

import anyio
import pytest
from attrs import evolve

from paystar_async import Callback, ManualClock
from paystar_async.errors import (
    ConfigurationError,
    GatewayInactive,
    InvalidValue,
    NoResponse,
    StorageError,
    Unauthenticated,
    UnknownOrder,
)
from paystar_async.payments import AmountMismatch, Cancelled, Declined, Expired, Undecided, Verified
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.order_store import OrderStore
from tests.payments.shop import AMOUNT, Shop, open_shop, token_of
from tests.support import wait_all_tasks_blocked

FORGED = {"card_number": "111111******1111", "tracking_code": "999999"}


async def test_confirm_paid_order_is_verified_by_one_request(shop: Shop) -> None:
    started = await shop.start()
    callback = shop.pay(started)

    payment = await shop.confirm(callback)

    assert payment.outcome == Verified(
        tracking_code=callback.tracking_code,
        card_number=callback.card_number,
        hashed_card_number=callback.hashed_card_number,
    )
    assert (payment.order_id, payment.ref_num, payment.amount) == ("o-1", started.ref_num, AMOUNT)
    assert shop.request_counts == {"create": 1, "verify": 1}
    order = await shop.order()
    assert (order.state, order.reserved_ref_num, order.verified_at) == (
        OrderStatus.VERIFIED,
        started.ref_num,
        shop.clock.time(),
    )


async def test_confirm_replayed_callback_sends_nothing(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    first = await shop.confirm(callback)
    shop.sandbox.fail(kind="reset_before")

    for worker in (shop.paystar, shop.worker()):
        assert await worker.payments.confirm(callback) == first

    assert shop.fulfilled == [first.id]
    assert shop.request_counts["verify"] == 1


@pytest.mark.parametrize("workers", [1, 3])
async def test_confirm_concurrently_verifies_once(shop: Shop, workers: int) -> None:
    callback = shop.pay(await shop.start())
    clients = [shop.paystar, *(shop.worker(max_retries=0) for _ in range(workers - 1))]
    for worker in clients[1:]:
        worker.payments.on_verified(shop.fulfil)

    payments = await asyncio.gather(*[worker.payments.confirm(callback) for worker in clients for _ in range(6)])

    assert {type(payment.outcome) for payment in payments} == {Verified}
    assert len(shop.fulfilled) == 1
    for worker in clients[1:]:
        await worker.aclose()


async def test_confirm_cancelled_continues_without_caller(shop: Shop) -> None:
    for rounds in range(0, 120, 8):
        callback = shop.pay(await shop.start(f"o-{rounds}"))
        task = asyncio.create_task(shop.confirm(callback))
        await wait_all_tasks_blocked(rounds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert isinstance((await shop.confirm(callback)).outcome, Verified)

    await shop.paystar.aclose()  # the cancelled confirm may still be notifying
    assert len(shop.fulfilled) == len(set(shop.fulfilled)) == 15


# --- callbacks that prove nothing -------------------------------------------------------------------------------------


async def test_confirm_unknown_order_logs_one_line(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    callback = Callback(status="1", order_id="0912345678901234", ref_num="ref-1", card_number="502229******6708")

    with caplog.at_level(logging.WARNING), pytest.raises(UnknownOrder) as refusal:
        await shop.confirm(callback)

    assert isinstance(refusal.value, InvalidValue)
    assert refusal.value.executed == "no"
    assert "pass amount and order_id" in refusal.value.hint
    [line] = caplog.messages
    assert "no such order" in line
    for text in (line, str(refusal.value)):
        assert "0912345678901234" not in text
        assert "6708" not in text
    assert shop.request_counts == {}


async def test_confirm_other_orders_payment_is_declined(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    first, other, third = await shop.start("o-1"), await shop.start("o-2"), await shop.start("o-3")
    paid, relabelled = shop.pay(first), evolve(shop.pay(third), order_id="o-2")
    before = await shop.order("o-2")

    with caplog.at_level(logging.WARNING):
        for forged in (evolve(paid, order_id="o-2"), relabelled, evolve(paid, order_id="o-2", ref_num="made up")):
            payment = await shop.confirm(forged)
            assert payment.outcome == Declined(reason="the ref_num is not a payment of this order")
            assert (payment.order_id, payment.amount) == ("o-2", AMOUNT)

    assert len(caplog.messages) == 3
    assert evolve(await shop.order("o-2"), now=before.now) == before
    assert "verify" not in shop.request_counts
    assert isinstance((await shop.confirm(shop.pay(other))).outcome, Verified)
    assert isinstance((await shop.confirm(paid)).outcome, Verified)
    assert third.ref_num == relabelled.ref_num


@pytest.mark.parametrize("status", ["1", "-98", "-1", "anything"])
async def test_confirm_forged_callback_of_unpaid_order_is_noop(shop: Shop, status: str) -> None:
    started = await shop.start()
    forged = Callback(status=status, order_id="o-1", ref_num=started.ref_num, **FORGED)

    payment = await shop.confirm(forged)

    expected = {"1": Undecided, "-98": Cancelled}.get(status, Declined)
    assert isinstance(payment.outcome, expected)
    assert (await shop.order()).state is OrderStatus.OPEN
    assert isinstance((await shop.confirm(shop.pay(started))).outcome, Verified)


@pytest.mark.parametrize("status", ["1", "-98", "-1"])
async def test_confirm_forged_callback_of_paid_order_is_verified(shop: Shop, status: str) -> None:
    started = await shop.start()
    real = shop.pay(started)
    forged = Callback(status=status, order_id="o-1", ref_num=started.ref_num, **FORGED)

    payment = await shop.confirm(forged)

    assert payment.outcome == Verified(
        tracking_code=real.tracking_code, card_number=real.card_number, hashed_card_number=real.hashed_card_number
    )


async def test_confirm_forged_callback_leaves_other_page_payable(shop: Shop) -> None:
    first, second = await shop.start(), await shop.start()
    forged = Callback(status="1", order_id="o-1", ref_num=first.ref_num, **FORGED)
    callback = shop.pay(second)
    await asyncio.gather(*[shop.confirm(forged) for _ in range(20)])

    assert (await shop.order()).reserved_ref_num is None
    assert isinstance((await shop.confirm(callback)).outcome, Verified)


async def test_confirm_forged_callback_delays_page_for_minutes(shop: Shop) -> None:
    """The order was reserved for its only page and verify was sent: another page has to wait for the result."""
    first = await shop.start()
    forged = Callback(status="1", order_id="o-1", ref_num=first.ref_num, **FORGED)
    await shop.confirm(forged)
    callback = shop.pay(await shop.start())

    assert isinstance((await shop.confirm(callback)).outcome, Undecided)
    for _ in range(12):
        await shop.confirm(forged)
        await shop.advance(15)

    assert isinstance((await shop.confirm(callback)).outcome, Verified)


async def test_confirm_failed_payment_frees_order(shop: Shop) -> None:
    first = await shop.start()
    await shop.confirm(Callback(status="1", order_id="o-1", ref_num=first.ref_num, **FORGED))
    assert (await shop.order()).reserved_ref_num == first.ref_num
    second = await shop.start()
    shop.pay(first, "cancel")

    assert isinstance((await shop.confirm(shop.pay(second))).outcome, Verified)


async def test_confirm_with_two_pages_and_no_inquiry_is_verified(shop: Shop) -> None:
    """The gateway refuses every inquiry: verify alone decides, though another page is open."""
    pages = [await shop.start(), await shop.start()]
    shop.sandbox.fail("gateway.inquiry", "status", status=-1)

    assert isinstance((await shop.confirm(shop.pay(pages[1]))).outcome, Verified)


@pytest.mark.parametrize("card", ["5022291234566708", "5022-2912-3456-6708", "۵۰۲۲۲۹۱۲۳۴۵۶۶۷۰۸"])
async def test_confirm_full_card_number_sends_nothing(shop: Shop, card: str) -> None:
    callback = evolve(shop.pay(await shop.start()), card_number=card)

    with pytest.raises(InvalidValue, match="masked") as refusal:
        await shop.confirm(callback)

    assert "1234566708" not in str(refusal.value)
    assert shop.request_counts == {"create": 1}
    assert (await shop.order()).reserved_ref_num is None


async def test_confirm_oversized_fields_are_refused(shop: Shop) -> None:
    callback = shop.pay(await shop.start())

    for change in ({"tracking_code": "1" * 65}, {"ref_num": "r" * 300}, {"card_number": "*" * 65}):
        with pytest.raises(InvalidValue):
            await shop.confirm(evolve(callback, **change))  # pyright: ignore
    assert "verify" not in shop.request_counts


# --- values compared with the stored order ----------------------------------------------------------------------------


async def test_confirm_given_values_are_compared_with_stored(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    confirm = shop.paystar.payments.confirm

    wrong_amount = await confirm(callback, amount=AMOUNT * 10)
    other_order = await confirm(callback, order_id="o-2")
    toman_amount = await confirm(callback, amount=AMOUNT // 10, order_id="o-1")
    assert wrong_amount.outcome == AmountMismatch(expected=AMOUNT * 10, got=AMOUNT)
    assert other_order.outcome == Declined(reason="the callback is another order's")
    assert toman_amount.outcome == AmountMismatch(expected=AMOUNT // 10, got=AMOUNT)
    assert "verify" not in shop.request_counts
    assert (await shop.order()).state is OrderStatus.OPEN

    matching = await confirm(callback, amount=AMOUNT, order_id="o-1")
    assert isinstance(matching.outcome, Verified)
    assert len(shop.fulfilled) == 1


@pytest.mark.parametrize("amount", [True, 50_000.0, "50000", 0])
async def test_confirm_invalid_amount_is_refused(shop: Shop, amount: Any) -> None:
    callback = shop.pay(await shop.start())

    with pytest.raises(InvalidValue, match="amount"):
        await shop.paystar.payments.confirm(callback, amount=amount)

    assert "verify" not in shop.request_counts


async def test_confirm_caller_order_beside_stored_orders(shop: Shop) -> None:
    created = await shop.paystar.gateway.create(amount=AMOUNT, order_id="own", callback="https://shop.example/back")
    callback = Callback.parse(shop.sandbox.pay(created.token))

    payment = await shop.paystar.payments.confirm(callback, amount=AMOUNT, order_id="own")

    assert isinstance(payment.outcome, Verified)
    assert shop.fulfilled == []
    assert await shop.paystar.payments.find(order_id="own") is None


@pytest.mark.parametrize("order_id", ["", "a\0b", "\ud800", "x" * 256, 123, 10**30, None, ["o-1"]])
async def test_find_invalid_order_id_is_refused(shop: Shop, order_id: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^order_id: expected a text of 1 to 255 characters"):
        await shop.paystar.payments.find(order_id=order_id)


async def test_confirm_other_than_callback_is_refused(shop: Shop) -> None:
    fields: Any = {"status": "1", "order_id": "o-1", "ref_num": "ref-1"}

    compared: dict[str, Any] = {"amount": AMOUNT, "order_id": "o-1"}
    for values in ({}, compared):
        with pytest.raises(InvalidValue, match=r"Callback\.parse"):
            await shop.paystar.payments.confirm(fields, **values)


# --- choices of the payer ---------------------------------------------------------------------------------------------


async def test_confirm_ended_payment_is_stored_with_reason(shop: Shop) -> None:
    endings = {
        "cancel": (Cancelled, OrderStatus.CANCELLED),
        "fail": (Declined, OrderStatus.DECLINED),
        "expire": (Expired, OrderStatus.EXPIRED),
    }
    for choice, (kind, state) in endings.items():
        callback = shop.pay(await shop.start(choice), choice)

        first, second = await shop.confirm(callback), await shop.confirm(callback)

        assert isinstance(first.outcome, kind)
        assert isinstance(second.outcome, kind)
        order = await shop.order(choice)
        assert (order.state, order.next_check_at) == (state, None)
        assert order.reason or state is OrderStatus.CANCELLED
    assert shop.fulfilled == []


async def test_confirm_late_callback_is_expired(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    shop.clock.advance(11 * 60)

    payment = await shop.confirm(callback)

    assert payment.outcome == Expired(reason="the money went back to the payer")
    assert "verify" not in shop.request_counts


async def test_confirm_slow_payer_is_verified_by_inquiry(shop: Shop) -> None:
    """Without a sweep it is unknown when the payment was made: the inquiry has to name the order."""
    started = await shop.start()
    shop.clock.advance(12 * 60)

    payment = await shop.confirm(shop.pay(started))

    assert isinstance(payment.outcome, Verified)
    assert shop.request_counts == {"create": 1, "inquiry": 2, "verify": 1}


# --- kinds of gateway and payment -------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("lost", [False, True])
async def test_confirm_every_kind_of_gateway_is_verified(tmp_path: Any, direct: bool, signed: bool, lost: bool) -> None:
    async with open_shop(tmp_path / "p.db", direct=direct, signed=signed) as shop:
        started = await shop.start()
        assert ("/api/direct/payment?" in started.url) is direct
        callback = shop.pay(started)
        if lost:
            await shop.advance(60)
        else:
            await shop.confirm(callback)

        assert shop.fulfilled == [f"o-1:{started.ref_num}"]


async def test_confirm_payer_fee_is_verified(shop: Shop) -> None:
    shop.sandbox.settings.payer_fee = 1_200
    started, lost = await shop.start(), await shop.start("o-2")
    assert (started.amount, started.payment_amount) == (AMOUNT, AMOUNT + 1_200)
    shop.sandbox.fail("gateway.verify", "reset_after", times=1)

    assert isinstance((await shop.confirm(shop.pay(started))).outcome, Verified)
    shop.pay(lost)
    [payment] = await shop.advance(60)
    assert isinstance(payment.outcome, Verified)
    assert payment.amount == AMOUNT


async def test_confirm_payment_bound_to_card_is_verified(shop: Shop) -> None:
    payment = await shop.confirm(shop.pay(await shop.start(card_number="6037990000000006")))

    assert isinstance(payment.outcome, Verified)
    assert payment.outcome.card_number == "603799******0006"


async def test_confirm_payment_with_allotment_is_verified(shop: Shop) -> None:
    started = await shop.start(allotment=[{"id": 1, "sheba_id": "s-1", "amount": AMOUNT}])

    assert isinstance((await shop.confirm(shop.pay(started))).outcome, Verified)


# --- faults -----------------------------------------------------------------------------------------------------------

FAULTS = ["refused", "reset_before", "reset_after", "server_error", "html", "truncated", "status_0", "status_11"]


@pytest.mark.parametrize("kind", [*FAULTS, "already_verified"])
async def test_confirm_doubtful_verify_is_decided_by_inquiry(shop: Shop, kind: str) -> None:
    callback = shop.pay(await shop.start())
    shop.sandbox.fail("gateway.verify", kind, times=1)

    payment = await shop.confirm(callback)

    assert isinstance(payment.outcome, Verified)
    assert len(shop.fulfilled) == 1


@pytest.mark.parametrize("executed", [True, False])
async def test_confirm_without_responses_is_left_to_sweep(shop: Shop, executed: bool) -> None:
    callback = shop.pay(await shop.start())
    shop.sandbox.fail("gateway.verify", "reset_after" if executed else "reset_before", times=1)
    shop.sandbox.fail("gateway.inquiry", "reset_before", times=1)

    payment = await shop.confirm(callback)

    assert isinstance(payment.outcome, Undecided)
    assert payment.outcome.error is not None
    assert "verify failed" in payment.outcome.reason
    assert shop.fulfilled == []
    [decided] = await shop.advance(60)
    assert isinstance(decided.outcome, Verified)
    assert shop.fulfilled == [payment.id]
    assert isinstance((await shop.confirm(callback)).outcome, Verified)


async def test_confirm_second_payment_waits_for_first(shop: Shop) -> None:
    """The first verify may have been executed: a second verified payment would charge the payer twice."""

    async def lose_inquiry(request: Any, next: Any) -> Any:  # noqa: A002
        if request.endpoint.name == "inquiry" and request.value.ref_num == first.ref_num:
            raise NoResponse("lost")
        return await next(request)

    first = shop.pay(await shop.start())
    shop.sandbox.fail("gateway.verify", "reset_after", times=1)
    shop.sandbox.fail("gateway.inquiry", "reset_before")
    assert isinstance((await shop.confirm(first)).outcome, Undecided)
    second = shop.pay(await shop.start())
    shop.sandbox.heal()
    worker = shop.worker(middleware=[lose_inquiry], max_retries=0)

    waiting = await worker.payments.confirm(second)

    await worker.aclose()
    assert waiting.outcome == Undecided(reason="another payment of this order is being decided")
    assert "another payment" in (await shop.confirm(second)).outcome.reason  # type: ignore[union-attr]  # pyright: ignore
    assert isinstance((await shop.confirm(first)).outcome, Verified)
    assert len(shop.fulfilled) == 1
    assert shop.request_counts["verify"] == 1


@pytest.mark.parametrize(("status", "error"), [("unauthenticated", Unauthenticated), (-2, GatewayInactive)])
@pytest.mark.parametrize("endpoint", ["verify", "inquiry"])
async def test_confirm_refused_merchant_decides_nothing(
    shop: Shop, status: Any, error: type[Exception], endpoint: str
) -> None:
    started = await shop.start()
    callback = shop.pay(started)
    shop.sandbox.fail(f"gateway.{endpoint}", "status", status=status, times=1)

    with pytest.raises(error):
        await shop.confirm(callback if endpoint == "verify" else evolve(callback, status="-98"))

    assert (await shop.order()).state is OrderStatus.OPEN
    assert isinstance((await shop.confirm(callback)).outcome, Verified)


async def test_confirm_wrong_sign_key_decides_nothing(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    wrong = shop.worker(gateway=evolve(shop.gateway, sign_key="wrong"), max_retries=0)

    with pytest.raises(Exception, match="-1"):
        await wrong.payments.confirm(callback)

    await wrong.aclose()
    assert isinstance((await shop.confirm(callback)).outcome, Verified)


async def test_confirm_store_failure_after_verify_is_recovered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = shop.pay(await shop.start())
    update, calls = OrderStore.update, list[object]()

    async def fail_on_second_update(store: OrderStore, before: Any, after: Any) -> Any:
        calls.append(after)
        if len(calls) == 2:
            raise StorageError("the disk is full")
        return await update(store, before, after)

    monkeypatch.setattr(OrderStore, "update", fail_on_second_update)
    with pytest.raises(StorageError):
        await shop.confirm(callback)
    assert shop.request_counts["verify"] == 1
    assert shop.fulfilled == []

    assert isinstance((await shop.confirm(callback)).outcome, Verified)
    assert len(shop.fulfilled) == 1


@pytest.mark.parametrize(("refusal", "kind"), [(-7, AmountMismatch), (-8, Expired), (-9, Declined), (-98, Declined)])
async def test_confirm_refusal_without_inquiry_is_not_stored(shop: Shop, refusal: int, kind: type) -> None:
    callback = shop.pay(await shop.start())
    shop.sandbox.fail("gateway.verify", "status", status=refusal, times=1)
    shop.sandbox.fail("gateway.inquiry", "status", status=-1, times=2)

    assert isinstance((await shop.confirm(callback)).outcome, kind)

    assert (await shop.order()).state is OrderStatus.OPEN
    assert isinstance((await shop.confirm(callback)).outcome, Verified)


def test_confirm_on_trio_is_verified(tmp_path: Any) -> None:
    async def confirm_and_sweep() -> None:
        async with open_shop(tmp_path / "p.db") as shop:
            callback = shop.pay(await shop.start())
            assert isinstance((await shop.confirm(callback)).outcome, Verified)
            shop.pay(await shop.start("o-2"))
            await shop.advance(60)
            assert len(shop.fulfilled) == 2
            worker = shop.worker(clock=ManualClock())
            async with worker, worker.payments.sweeping():
                pass

    anyio.run(confirm_and_sweep, backend="trio")


async def test_confirm_on_postgres_uses_server_time(postgres_schema: str) -> None:
    async with open_shop(postgres_schema, max_retries=0) as shop:
        shop.clock.jump(-86_400)
        workers = [shop.paystar, *(shop.worker(max_retries=0) for _ in range(2))]
        for worker in workers[1:]:
            worker.payments.on_verified(shop.fulfil)
        callback = shop.pay(await shop.start())

        payments = await asyncio.gather(*[worker.payments.confirm(callback) for worker in workers for _ in range(4)])

        assert {type(payment.outcome) for payment in payments} == {Verified}
        assert len(shop.fulfilled) == 1
        order = await shop.order()
        assert order.verified_at == pytest.approx(time.time(), abs=60)
        for worker in workers[1:]:
            await worker.aclose()


async def test_confirm_without_database_needs_caller_order(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    without_database = shop.worker(database=None)

    with pytest.raises(ConfigurationError, match=r"database=.*PAYSTAR_DATABASE"):
        await without_database.payments.confirm(callback)
    payment = await without_database.payments.confirm(callback, amount=AMOUNT, order_id="o-1")

    assert isinstance(payment.outcome, Verified)
    assert shop.fulfilled == []
    await without_database.aclose()
    [swept] = await shop.advance(60)
    assert isinstance(swept.outcome, Verified)
    assert shop.fulfilled == [swept.id]


async def test_confirm_logs_nothing_personal(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        started = await shop.start(phone="09121234567", national_code="0012345679")
        callback = shop.pay(started)
        await shop.confirm(callback)
        await shop.confirm(evolve(callback, ref_num="other"))
        repr(await shop.order())

    output = caplog.text + repr(await shop.order()) + repr(started) + repr(await shop.confirm(callback))
    for text in (token_of(started), callback.hashed_card_number, "09121234567", "0012345679", shop.gateway.id.reveal()):
        assert str(text) not in output
    assert str(callback.card_number) not in output
