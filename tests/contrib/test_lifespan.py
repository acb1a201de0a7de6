"""``open_client``: a client that is open as long as its host, with or without a sweeper."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paystar_async import ManualClock, Paystar
from paystar_async.contrib._lifespan import open_client
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment
from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import paid
from tests.support import wait_all_tasks_blocked


async def wait_until(condition: Callable[[], bool]) -> None:
    """Let tasks and threads run until a condition holds."""
    for _ in range(2_000):
        if condition():
            return
        await wait_all_tasks_blocked()
    raise AssertionError("the condition stays false")


async def test_open_client_with_handler_sweeps(tmp_path: Path) -> None:
    notified: list[str] = []

    def hand_over(payment: Payment) -> None:
        notified.append(payment.order_id)

    clock, sandbox = ManualClock(), Sandbox()

    def make() -> Paystar:
        return Paystar(gateway=sandbox.gateway, engine=sandbox.engine(), database=tmp_path / "orders.db", clock=clock)

    async with open_client(make, hand_over) as paystar:
        started = await paystar.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
        paid(sandbox, started.url)
        await wait_until(lambda: clock.sleepers > 0)
        assert not notified

        clock.advance(61)
        await wait_until(lambda: bool(notified))

    assert notified == ["o-1"]


async def test_open_client_without_handler_sweeps_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    client = Paystar(database=tmp_path / "orders.db", clock=clock)
    async with open_client(client) as paystar:
        assert paystar is client
        await wait_all_tasks_blocked()
        assert clock.sleepers == 0


async def test_open_client_creates_client_at_each_start() -> None:
    clients: list[Paystar] = []

    def make() -> Paystar:
        clients.append(Paystar())
        return clients[-1]

    for _ in range(2):
        async with open_client(make) as paystar:
            assert paystar is clients[-1]
    assert len(clients) == 2


def _make_nothing() -> None: ...


def _make_for(_: object) -> Paystar:
    raise AssertionError


@pytest.mark.parametrize("make", [5, "paystar", _make_nothing, _make_for, Sandbox])
async def test_open_client_without_client_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"make .*– make=Paystar"):
        async with open_client(make):
            raise AssertionError


async def test_open_client_names_async_factory() -> None:
    async def make() -> Paystar:
        raise AssertionError

    factory: Any = make
    with pytest.warns(RuntimeWarning, match="never awaited"), pytest.raises(ConfigurationError, match="not awaited"):
        async with open_client(factory):
            raise AssertionError
