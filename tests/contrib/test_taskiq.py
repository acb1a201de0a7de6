"""taskiq: one client per worker, injected into tasks."""

from typing import Any, cast

from taskiq import InMemoryBroker

from paystar_async import Paystar
from paystar_async.contrib.taskiq import PAYSTAR, PaystarDep, setup_paystar
from tests.contrib.shops import Shop


async def test_setup_paystar_tasks_share_one_client() -> None:
    injected: list[Paystar] = []
    broker = InMemoryBroker()
    clients: list[Paystar] = []

    def make() -> Paystar:
        clients.append(Shop().client())
        return clients[-1]

    setup_paystar(broker, make)

    @broker.task
    async def job(paystar: Paystar = PAYSTAR) -> None:
        injected.append(paystar)

    @broker.task
    async def annotated(paystar: PaystarDep) -> None:
        injected.append(paystar)

    assert not clients
    await broker.startup()
    for kick in (job.kiq, cast("Any", annotated).kiq):
        result = await (await kick()).wait_result()
        assert result.error is None
    await broker.shutdown()

    assert injected == [clients[0], clients[0]]


async def test_paystar_of_without_setup_is_refused() -> None:
    broker = InMemoryBroker()

    @broker.task
    async def job(paystar: Paystar = PAYSTAR) -> None:
        raise AssertionError

    await broker.startup()
    result = await (await job.kiq()).wait_result()
    await broker.shutdown()

    assert "setup_paystar" in str(result.error)
