"""Test transitions: they compare and set the version of a record."""

from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.updates import Transition, transition_transfers
from paystar_async.payouts.models import TransferState
from tests.payouts.bank import PayoutFixture, each, transfers


async def test_transition_transfers_stale_record_is_noop(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    stale = await payout.record()
    await payout.worker.advance((await payout.chunks())[0])
    async with payout.ledger.transaction() as transaction:
        change = Transition(record=stale, after=TransferState.FAILED)
        assert await transition_transfers(transaction, "bank", "app-1", [change], at=1.0, cause="late") == set()
    assert await payout.states() == ["success"]
    assert await payout.causes("t-00000") == ["submit", "intent", "response"]
