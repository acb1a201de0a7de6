"""The sweeper: ``sweeping`` and ``run``."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from paystar_async.errors import InvalidValue, StorageUnavailable, UnknownOrder
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.order_store import OrderStore
from tests.payments.shop import Shop, open_shop, wait_until
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


def restore(backup: Path, path: Path) -> None:
    """Put a backup in the place of a SQLite file."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    backup.rename(path)


async def test_sweep_of_restored_backup_finds_paid_order(tmp_path: Path) -> None:
    """Yesterday's store: what was verified since is found again, and notified again under the same id."""
    path, backup = tmp_path / "paystar.db", tmp_path / "backup.db"
    async with open_shop(path) as shop:
        started = await shop.start("o-1")
        await shop.paystar.aclose()
        shutil.copy(path, backup)
        await shop.confirm(shop.pay(started))
        since = shop.pay(await shop.start("o-2"))
        await shop.confirm(since)
        notified = shop.fulfilled.copy()
        await shop.paystar.aclose()
        restore(backup, path)

        shop.clock.advance(86_400)
        async with shop.worker() as paystar:
            paystar.payments.on_verified(shop.fulfil)
            await paystar.payments.sweep()
            order = await paystar.payments.find(order_id="o-1")
            with pytest.raises(UnknownOrder):  # never called a failed payment
                await paystar.payments.confirm(since)
        assert order is not None
        assert order.state is OrderStatus.VERIFIED
        assert shop.fulfilled == [*notified, notified[0]]
        assert shop.request_counts["verify"] == 2
