"""Test releases: a decision is written only for transfers that have not changed."""

import asyncio

from paystar_async.payouts.ledger import observations
from paystar_async.payouts.ledger.insert import insert_batch
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, responding, transfers
from tests.payouts.ledger.tables import entry_of


async def test_release_checks_transfer_listed_since(backend: Backend, payout: PayoutFixture) -> None:
    """The bank's list ends the review of one transfer while another transfer of the chunk is being checked."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    [chunk] = await payout.chunks()
    wrong = entry_of("t-00001", "success", extra={"amount": 1})
    payout.bank.script.append(responding(wrong))
    await payout.worker.advance(chunk)
    assert await payout.states() == ["unknown", "needs_review"]
    payout.bank.execute(transfers(1))
    look_up_started, look_up_allowed = asyncio.Event(), asyncio.Event()

    async def wait_until_allowed() -> None:
        look_up_started.set()
        await look_up_allowed.wait()

    payout.bank.on_find = wait_until_allowed
    backend.advance_clock(2)
    task = asyncio.create_task(payout.worker.advance(chunk))
    await look_up_started.wait()
    await observations.apply_observations(payout.ledger, payout.channel, [entry_of("t-00001", "pending")])
    look_up_allowed.set()
    assert await task is not None
    assert await payout.states() == ["success", "pending"]
    assert [chunk_id for chunk_id, _ in await payout.worker.due()] == [chunk]
