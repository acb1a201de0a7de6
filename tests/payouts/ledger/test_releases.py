"""Releases: a decision is written only for transfers that have not changed."""

import asyncio

from paystar_async.payouts.ledger import observations
from paystar_async.payouts.ledger.insert import insert_batch
from tests.payouts.backends import Place
from tests.payouts.bank import PayoutFixture, answering, each, transfers
from tests.payouts.ledger.tables import entry_of


async def test_release_checks_transfer_listed_since(place: Place, desk: PayoutFixture) -> None:
    """One of a chunk is taken out of review by the bank's list while another one is just being decided."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    [chunk] = await desk.chunks()
    wrong = entry_of("t-00001", "success", extra={"amount": 1})
    desk.teller.script.append(answering(wrong))
    await desk.worker.advance(chunk)
    assert await desk.states() == ["unknown", "needs_review"]
    desk.teller.execute(transfers(1))
    asked, go = asyncio.Event(), asyncio.Event()

    async def dawdle() -> None:
        asked.set()
        await go.wait()

    desk.teller.on_find = dawdle
    place.passes(2)
    task = asyncio.create_task(desk.worker.advance(chunk))
    await asked.wait()
    await observations.apply_observations(desk.ledger, desk.product, [entry_of("t-00001", "pending")])
    go.set()
    assert await task is not None
    assert await desk.states() == ["success", "pending"]
    assert [one for one, _ in await desk.worker.due()] == [chunk]
