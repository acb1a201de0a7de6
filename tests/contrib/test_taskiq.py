"""taskiq: one client a worker, and tasks that are given it."""

from typing import Any, cast

from taskiq import InMemoryBroker

from paystar_async import Paystar
from paystar_async.contrib.taskiq import PAYSTAR, PaystarDep, setup_paystar
from tests.contrib.shops import Shop


async def test_tasks_of_a_worker_share_one_client_from_start_to_stop() -> None:
    seen: list[Paystar] = []
    broker = InMemoryBroker()
    made: list[Paystar] = []

    def make() -> Paystar:
        made.append(Shop().client())
        return made[-1]

    setup_paystar(broker, make)

    @broker.task
    async def job(paystar: Paystar = PAYSTAR) -> None:
        seen.append(paystar)

    @broker.task
    async def annotated(paystar: PaystarDep) -> None:
        seen.append(paystar)

    assert not made
    await broker.startup()
    for kick in (job.kiq, cast("Any", annotated).kiq):
        result = await (await kick()).wait_result()
        assert result.error is None
    await broker.shutdown()

    assert seen == [made[0], made[0]]


async def test_a_task_of_a_worker_without_a_client_says_what_is_missing() -> None:
    broker = InMemoryBroker()

    @broker.task
    async def job(paystar: Paystar = PAYSTAR) -> None:
        raise AssertionError

    await broker.startup()
    result = await (await job.kiq()).wait_result()
    await broker.shutdown()

    assert "setup_paystar" in str(result.error)
