"""Test queries: pages, totals and events, and rows with unknown values."""

from pathlib import Path

import pytest

from paystar_async.errors import StorageCorrupt
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import TransferState
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.backends import Backend
from tests.payouts.bank import DEPOSIT, PayoutFixture, each, raising, transfer, transfers


async def test_page_returns_transfers_in_order(payout: PayoutFixture) -> None:
    values = transfers(7)[::-1]
    await insert_batch(payout.ledger, payout.channel, "b", each(values))
    track_ids: list[str] = []
    after = -1
    while page := await queries.page(payout.ledger, "b", after=after, limit=3):
        track_ids += [record.track_id for _, record in page]
        after = page[-1][0]
    assert track_ids == [value.track_id for value in values]
    [(_, first)] = await queries.page(payout.ledger, "b", limit=1)
    assert (first.amount, first.deposit, first.state) == (10_006, DEPOSIT, TransferState.PLANNED)
    assert first.destination == "IR********************9001"


async def test_events_are_appended_in_order(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    payout.bank.script.append(raising(OSError("x")))
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    events = await queries.events(payout.ledger, "bank", "app-1", "t-00000")
    assert [(event.version, event.before, event.after.value, event.cause) for event in events] == [
        (1, None, "planned", "submit"),
        (2, TransferState.PLANNED, "sending", "intent"),
        (3, TransferState.SENDING, "unknown", "response"),
    ]
    assert events[-1].detail == "the call ended with OSError"
    before = list(events)
    payout.bank.execute(transfers(1))
    backend.advance_clock(2)
    await payout.worker.advance(chunk)
    after = await queries.events(payout.ledger, "bank", "app-1", "t-00000")
    assert [event.cause for event in after] == ["submit", "intent", "response", "found"]
    assert [(event.version, event.cause) for event in after[:3]] == [(event.version, event.cause) for event in before]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE paystar_payout_transfers SET state = 'paid'",
        "UPDATE paystar_payout_events SET after = 'paid'",
        "UPDATE paystar_payout_events SET before = 'paid'",
        "UPDATE paystar_payout_chunks SET phase = 'pay'",
        "UPDATE paystar_payout_batches SET policy = '{}x'",
        """UPDATE paystar_payout_batches SET policy = '{"chunk": "many"}'""",
        "UPDATE paystar_payout_chunks SET lease_expires_at = 'Infinity'",
        "UPDATE paystar_payout_holds SET next_send_at = 'Infinity'",
        "UPDATE paystar_payout_transfers SET unknown_since = 'Infinity'",
        "UPDATE paystar_payout_events SET at = 'Infinity'",
    ],
)
async def test_queries_damaged_row_is_corrupt(backend: Backend, payout: PayoutFixture, damage: str) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    [chunk] = await payout.chunks()
    backend.sql(damage)

    async def read_all() -> None:
        await payout.worker.advance(chunk)
        await queries.events(payout.ledger, "bank", "app-1", "t-00000")
        await queries.totals(payout.ledger, "b")
        await queries.page(payout.ledger, "b")

    with pytest.raises(StorageCorrupt):
        await read_all()


@pytest.mark.parametrize("table", ["batches", "transfers"])
async def test_queries_text_as_amount_is_corrupt(tmp_path: Path, table: str) -> None:
    database = SqliteDatabase(tmp_path / "payouts.db")
    payout = PayoutFixture(LedgerDatabase(database), ManualClock())
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    await database.execute(f"UPDATE paystar_payout_{table} SET amount = 'many'")

    async def read_all() -> None:
        await queries.find_batch(payout.ledger, "b")
        await queries.totals(payout.ledger, "b")

    with pytest.raises(StorageCorrupt, match="invalid amount"):
        await read_all()
    await database.aclose()


async def test_due_text_as_time_is_corrupt(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    backend.sql("UPDATE paystar_payout_chunks SET due_at = 'Infinity'")

    with pytest.raises(StorageCorrupt, match="due_at"):
        await queries.due(payout.ledger, [("bank", "app-1")])


async def test_totals_unknown_state_is_corrupt(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    backend.sql("UPDATE paystar_payout_transfers SET state = 'paid'")
    for read in (queries.totals, queries.page):
        with pytest.raises(StorageCorrupt, match="unknown state"):
            await read(payout.ledger, "b")


async def test_account_totals_sum_every_batch_of_the_account(payout: PayoutFixture) -> None:
    assert await queries.account_totals(payout.ledger, "bank", "app-1") == {}
    for batch_id, values in (("a", transfers(5)), ("b", [transfer(9, amount=7)])):
        await insert_batch(payout.ledger, payout.channel, batch_id, each(values))
    totals = await queries.account_totals(payout.ledger, "bank", "app-1")
    assert totals == {TransferState.PLANNED: (6, 50_010 + 7)}
    assert {type(number) for subtotal in totals.values() for number in subtotal} == {int}
    assert await queries.account_totals(payout.ledger, "wallet", "app-1") == {}
