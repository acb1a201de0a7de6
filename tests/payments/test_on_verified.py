"""``on_verified``: handlers are notified of each verified payment at least once, always by the same id."""

import asyncio
import logging
from typing import Any

import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment, Verified
from tests.payments.shop import Shop
from tests.support import wait_all_tasks_blocked


async def test_on_verified_is_called_before_confirm_returns(shop: Shop) -> None:
    notified: list[Payment] = []

    @shop.paystar.payments.on_verified
    def plain(payment: Payment) -> None:
        notified.append(payment)

    payment = await shop.confirm(shop.pay(await shop.start()))

    assert notified == [payment]
    assert payment.id == f"o-1:{payment.ref_num}"
    assert shop.fulfilled == [payment.id]
    assert plain(payment) is None


async def test_on_verified_other_outcomes_are_not_notified(shop: Shop) -> None:
    for choice in ("cancel", "fail", "expire"):
        await shop.confirm(shop.pay(await shop.start(choice), choice))

    assert shop.fulfilled == []


async def test_on_verified_failed_handler_is_called_again(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    errors = [RuntimeError("a"), RuntimeError("b")]

    @shop.paystar.payments.on_verified
    async def failing(_: Payment) -> None:
        if errors:
            raise errors.pop()

    payment = await shop.confirm(shop.pay(await shop.start()))

    assert isinstance(payment.outcome, Verified)
    assert "on_verified raised" in caplog.text
    assert shop.fulfilled == [payment.id]
    assert await shop.advance(59) == []
    assert shop.fulfilled == [payment.id]
    await shop.advance(300)
    assert shop.fulfilled == [payment.id] * 3
    await shop.advance(7200)
    assert shop.fulfilled == [payment.id] * 3


async def test_on_verified_dead_process_is_replaced(shop: Shop) -> None:
    dying = shop.worker()

    @dying.payments.on_verified
    async def never_returns(_: Payment) -> None:
        await asyncio.Event().wait()

    callback = shop.pay(await shop.start())
    task = asyncio.create_task(dying.payments.confirm(callback))
    while (await shop.order()).verified is None:
        await wait_all_tasks_blocked()

    assert isinstance((await shop.confirm(callback)).outcome, Verified)
    assert shop.fulfilled == []
    await shop.advance(240)
    assert len(shop.fulfilled) == 1
    task.cancel()
    for other_task in asyncio.all_tasks() - {asyncio.current_task()}:
        other_task.cancel()


async def test_on_verified_without_handler_is_left_to_other_process(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    without_handler = shop.worker()
    payment = await without_handler.payments.confirm(callback)
    assert await without_handler.payments.sweep() == []
    assert shop.fulfilled == []

    await shop.advance(15)

    assert shop.fulfilled == [payment.id]
    await without_handler.aclose()


async def test_on_verified_replayed_callback_notifies(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    without_handler = shop.worker()
    await without_handler.payments.confirm(callback)

    await asyncio.gather(*[shop.confirm(callback) for _ in range(5)])

    assert len(shop.fulfilled) == 1
    await without_handler.aclose()


async def test_on_verified_handler_may_confirm_its_payment(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    payments: list[Any] = []

    @shop.paystar.payments.on_verified
    async def confirm_again(payment: Payment) -> None:
        payments.append(await shop.paystar.payments.confirm(callback))
        assert payment == payments[0]

    await shop.confirm(callback)

    assert len(payments) == 1


async def test_on_verified_other_than_function_is_refused(shop: Shop) -> None:
    handler: Any = "fulfil"

    with pytest.raises(ConfigurationError, match="function"):
        shop.paystar.payments.on_verified(handler)


async def test_on_verified_handler_error_logs_no_card(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    @shop.paystar.payments.on_verified
    def failing(payment: Payment) -> None:
        raise RuntimeError(f"cannot fulfil {payment}")

    callback = shop.pay(await shop.start())

    with caplog.at_level(logging.DEBUG):
        await shop.confirm(callback)

    assert str(callback.card_number) not in caplog.text
    assert str(callback.hashed_card_number) not in caplog.text
