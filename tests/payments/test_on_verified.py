"""How a shop hears of a verified payment: at least once, by the same id, and never of any other."""

import asyncio
import logging
from typing import Any

import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment, Verified
from tests.payments.shop import Shop
from tests.support import settled


async def test_it_is_told_before_confirm_returns(shop: Shop) -> None:
    told: list[Payment] = []

    @shop.paystar.payments.on_verified
    def plain(payment: Payment) -> None:
        told.append(payment)

    payment = await shop.confirm(shop.pay(await shop.start()))

    assert told == [payment]
    assert payment.id == f"o-1:{payment.ref_num}"
    assert shop.fulfilled == [payment.id]
    assert plain(payment) is None


async def test_only_verified_payments_are_told(shop: Shop) -> None:
    for choice in ("cancel", "fail", "expire"):
        await shop.confirm(shop.pay(await shop.start(choice), choice))

    assert shop.fulfilled == []


async def test_a_handler_that_fails_is_told_again_and_confirm_goes_on(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    troubles = [RuntimeError("a"), RuntimeError("b")]

    @shop.paystar.payments.on_verified
    async def failing(_: Payment) -> None:
        if troubles:
            raise troubles.pop()

    payment = await shop.confirm(shop.pay(await shop.start()))

    assert isinstance(payment.outcome, Verified)
    assert "on_verified raised" in caplog.text
    assert shop.fulfilled == [payment.id]
    assert await shop.pass_by(59) == []
    assert shop.fulfilled == [payment.id]
    await shop.pass_by(300)
    assert shop.fulfilled == [payment.id] * 3
    await shop.pass_by(7200)
    assert shop.fulfilled == [payment.id] * 3


async def test_what_a_process_did_not_live_to_tell_another_one_tells(shop: Shop) -> None:
    dying = shop.worker()

    @dying.payments.on_verified
    async def dies(_: Payment) -> None:
        await asyncio.Event().wait()

    callback = shop.pay(await shop.start())
    task = asyncio.create_task(dying.payments.confirm(callback))
    while (await shop.order()).verified is None:
        await settled()

    assert isinstance((await shop.confirm(callback)).outcome, Verified)
    assert shop.fulfilled == []
    await shop.pass_by(240)
    assert len(shop.fulfilled) == 1
    task.cancel()
    for job in asyncio.all_tasks() - {asyncio.current_task()}:
        job.cancel()


async def test_a_payment_verified_where_nobody_listens_is_told_where_somebody_does(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    deaf = shop.worker()
    payment = await deaf.payments.confirm(callback)
    assert await deaf.payments.sweep() == []
    assert shop.fulfilled == []

    await shop.pass_by(15)

    assert shop.fulfilled == [payment.id]
    await deaf.aclose()


async def test_a_replayed_callback_tells_what_was_not_told(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    deaf = shop.worker()
    await deaf.payments.confirm(callback)

    await asyncio.gather(*[shop.confirm(callback) for _ in range(5)])

    assert len(shop.fulfilled) == 1
    await deaf.aclose()


async def test_a_handler_may_ask_about_its_payment(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    seen: list[Any] = []

    @shop.paystar.payments.on_verified
    async def asking(payment: Payment) -> None:
        seen.append(await shop.paystar.payments.confirm(callback))
        assert payment == seen[0]

    await shop.confirm(callback)

    assert len(seen) == 1


async def test_what_is_no_function_is_refused(shop: Shop) -> None:
    handler: Any = "fulfil"

    with pytest.raises(ConfigurationError, match="function"):
        shop.paystar.payments.on_verified(handler)


async def test_a_handler_s_error_names_no_card(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    @shop.paystar.payments.on_verified
    def failing(payment: Payment) -> None:
        raise RuntimeError(f"cannot fulfil {payment}")

    callback = shop.pay(await shop.start())

    with caplog.at_level(logging.DEBUG):
        await shop.confirm(callback)

    assert str(callback.card_number) not in caplog.text
    assert str(callback.hashed_card_number) not in caplog.text
