"""Test the codec: payloads are encrypted or masked, and verified by their digest."""

import pytest

from paystar_async.errors import StorageCorrupt, TrackIdConflict, WrongStorageKey
from paystar_async.models.transfers import TransferStatus
from paystar_async.payouts.ledger import observations, queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy, TransferState
from paystar_async.storage.encryption import Crypto
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, transfer, transfers
from tests.payouts.ledger.tables import dump_ledger, entry_of

CARD = "6037990000000006"

KEY = Crypto.new_key()


async def test_encode_with_key_stores_no_plain_payload(backend: Backend) -> None:
    payout = PayoutFixture(backend.ledger(Crypto([KEY])), backend.clock)
    values = [transfer(0), transfer(1, destination_account=CARD)]
    await insert_batch(payout.ledger, payout.channel, "b", each(values))
    contents = dump_ledger(backend)
    for personal in (CARD, values[0].destination_account, "Ahmadi", "Sara"):
        assert personal not in contents
    plain = backend.ledger()
    with pytest.raises(WrongStorageKey):
        await queries.find_batch(plain, "b")
    with pytest.raises(WrongStorageKey):
        await queries.find_batch(backend.ledger(Crypto([Crypto.new_key()])), "b")
    newer = PayoutFixture(backend.ledger(Crypto([Crypto.new_key(), KEY])), backend.clock, payout.bank)
    assert await insert_batch(newer.ledger, newer.channel, "b", each(values)) == await queries.find_batch(
        payout.ledger, "b"
    )
    await newer.worker.advance((await newer.chunks())[0])
    assert await payout.states() == ["success"] * 2


async def test_encode_without_key_masks_final_card_numbers(backend: Backend, payout: PayoutFixture) -> None:
    values = [transfer(0, destination_account=CARD), transfer(1, destination_account=CARD), transfer(2)]
    await insert_batch(payout.ledger, payout.channel, "b", each(values), policy=Policy(chunk=1))
    assert "603799******0006" in dump_ledger(backend)
    chunks = await payout.chunks()
    await payout.worker.advance(chunks[0])
    payout.bank.status = TransferStatus.FAILED
    await payout.worker.advance(chunks[1])
    await payout.worker.advance(chunks[2])
    backend.advance_clock(2)
    await payout.worker.advance(chunks[1])
    assert CARD not in dump_ledger(backend)
    assert values[2].destination_account in dump_ledger(backend)
    # The masked transfer is still recognised, and still compared with the bank's list.
    await insert_batch(payout.ledger, payout.channel, "c", each(values))
    with pytest.raises(TrackIdConflict):
        await insert_batch(
            payout.ledger, payout.channel, "d", each([transfer(0, destination_account="6037990000000014")])
        )
    [record] = await observations.apply_observations(payout.ledger, payout.channel, [entry_of("t-00000", "failed")])
    assert record.state is TransferState.REVERSED


async def test_decode_changed_payload_is_corrupt(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    backend.sql("UPDATE paystar_payout_transfers SET payload = REPLACE(payload, '10001', '90001')")
    [chunk] = await payout.chunks()
    with pytest.raises(StorageCorrupt):
        await payout.worker.advance(chunk)
    assert payout.bank.calls == []
    assert await payout.states() == ["planned"] * 2
