"""The sweeper: ``sweeping`` and ``run``."""

import asyncio
from typing import Any

import pytest

from paystar_async.errors import InvalidValue, StorageUnavailable
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.order_store import OrderStore
from tests.payments.shop import Shop, wait_until
from tests.support import RunningClock


async def test_sweeping_runs_until_left(shop: Shop) -> None:
    clock = RunningClock()
    paystar = shop.worker(clock=clock)
    notified: list[Any] = []
    paystar.payments.on_verified(notified.append)
    async with clock.running(), paystar:
        async with paystar.payments.sweeping(every=20):
            shop.pay(await shop.start())
            shop.clock.advance(60)
            clock.jump(shop.clock.time() - clock.time())
            await wait_until(lambda: bool(notified))
        assert (await shop.order()).state is OrderStatus.VERIFIED
        assert clock.sleepers == 0


async def test_sweeping_ends_when_client_closes(shop: Shop) -> None:
    clock = RunningClock()
    paystar = shop.worker(clock=clock)
    run_task = asyncio.create_task(paystar.payments.run(every=3600))
    async with paystar.payments.sweeping(every=3600):
        await wait_until(lambda: clock.sleepers == 2)

        await paystar.aclose()

        await run_task
        assert clock.sleepers == 0


async def test_run_survives_failed_sweeps_until_cancelled(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    passes: list[int] = []

    async def fail_on_full_disk(*_: object) -> list[str]:
        passes.append(1)
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(OrderStore, "due_order_ids", fail_on_full_disk)
    clock = RunningClock()
    paystar = shop.worker(clock=clock)
    async with clock.running(), paystar:
        task = asyncio.create_task(paystar.payments.run(every=1))
        await wait_until(lambda: len(passes) >= 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert "a sweep failed" in caplog.text


async def test_sweeping_full_pass_is_followed_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.payments.service.SWEEP_LIMIT", 2)
    for number in range(5):
        shop.pay(await shop.start(f"o-{number}"))
    shop.clock.advance(60)
    paystar = shop.worker(max_retries=0)

    async with paystar, paystar.payments.sweeping(every=3600):
        await wait_until(lambda: shop.clock.slept[-1:] == [3600])

    for number in range(5):
        assert (await shop.order(f"o-{number}")).state is OrderStatus.VERIFIED


@pytest.mark.parametrize("every", [0, -1, True, "15", None])
async def test_run_invalid_interval_is_refused(shop: Shop, every: Any) -> None:
    with pytest.raises(InvalidValue, match="every"):
        await shop.paystar.payments.run(every=every)
