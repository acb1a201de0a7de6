"""Transitions: compare-and-set on the version of a record."""

from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.updates import Transition, transition_transfers
from paystar_async.payouts.models import TransferState
from tests.payouts.bank import PayoutFixture, each, transfers


async def test_transition_transfers_stale_record_is_noop(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    stale = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert stale is not None
    await desk.worker.advance((await desk.chunks())[0])
    async with desk.ledger.transaction() as transaction:
        change = Transition(record=stale, after=TransferState.FAILED)
        assert await transition_transfers(transaction, "bank", "app-1", [change], at=1.0, cause="late") == set()
    assert await desk.states() == ["success"]
    assert await desk.causes("t-00000") == ["submit", "intent", "answer"]
