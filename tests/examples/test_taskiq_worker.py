"""The worker: a transfer is sent once and waited for, however often its job runs."""

from paystar_async import Paystar, new_track_id
from paystar_async.sandbox import Sandbox
from tests.examples.taskiq_worker import broker, wait_for_transfer
from tests.support import transfer


async def test_taskiq_worker_waits_for_transfer(sandbox: Sandbox) -> None:
    track_id = new_track_id()
    await broker.startup()
    async with Paystar.from_env() as paystar:
        await paystar.transfers.settle(transfers=[transfer(track_id)])
    results = [await (await wait_for_transfer.kiq(track_id)).wait_result() for _ in range(2)]
    await broker.shutdown()

    assert [result.return_value.partition(":")[0] for result in results] == ["paid", "paid"]
    assert sandbox.ledger[track_id].count == 1
