"""Test inserts: a batch is put on record as a whole or not at all."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from paystar_async.errors import InvalidValue, StorageError, TrackIdConflict
from paystar_async.models.transfers import Transfer
from paystar_async.payouts.channels import WalletChannel
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger import insert, queries
from paystar_async.payouts.ledger.insert import delete_abandoned, insert_batch
from paystar_async.payouts.models import Policy, TransferState
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, transfer, transfers, wallet_transfer
from tests.payouts.ledger.tables import count_rows, dump_ledger, filled_tables


async def test_insert_batch_returns_stored_record(payout: PayoutFixture) -> None:
    policy = Policy(chunk=2, concurrency=3, rate=1.5, quiet_window=60.0, resend=True)
    record = await insert_batch(payout.ledger, payout.channel, "payroll 07", each(transfers(5)), policy=policy)
    assert (record.count, record.amount, record.policy) == (5, 50_010, policy)
    assert (record.product, record.account) == ("bank", "app-1")
    assert await queries.find_batch(payout.ledger, "payroll 07") == record
    assert await queries.batches(payout.ledger) == [record]
    assert await queries.find_batch(payout.ledger, "another") is None
    assert await queries.totals(payout.ledger, "payroll 07") == {TransferState.PLANNED: (5, 50_010)}


async def test_insert_batch_chunks_have_one_deposit(payout: PayoutFixture) -> None:
    values = [transfer(number, deposit=f"011{number % 2}34567890") for number in range(10)]
    await insert_batch(payout.ledger, payout.channel, "b", each(values), policy=Policy(chunk=3))
    assert len(await payout.chunks()) == 4
    for chunk in await payout.chunks():
        await payout.worker.advance(chunk)
    sizes = sorted(len(call) for call in payout.bank.calls)
    assert sizes == [2, 2, 3, 3]
    assert all(len({name[-1] in "02468" for name in call}) == 1 for call in payout.bank.calls)


async def test_insert_batch_again_changes_nothing(backend: Backend, payout: PayoutFixture) -> None:
    first = await insert_batch(payout.ledger, payout.channel, "b", each(transfers(5)))
    before = dump_ledger(backend)
    other = backend.ledger()
    assert await insert_batch(other, payout.channel, "b", each(transfers(5))) == first
    assert await insert_batch(other, payout.channel, "b", each(transfers(5)[::-1])) == first  # in any order
    assert dump_ledger(backend) == before


async def test_insert_batch_again_updates_policy(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(5)), policy=Policy(chunk=2))
    faster = Policy(chunk=5, concurrency=9)
    assert (await insert_batch(payout.ledger, payout.channel, "b", each(transfers(5)), policy=faster)).policy == faster
    stored = await queries.find_batch(payout.ledger, "b")
    assert stored is not None
    assert stored.policy == faster
    assert len(await payout.chunks()) == 3


@pytest.mark.parametrize(
    ("contents", "named"),
    [
        (transfers(4), "4 transfers"),
        (transfers(6), "t-00005"),
        ([*transfers(4), transfer(9)], "t-00009"),
    ],
)
async def test_insert_batch_same_name_other_contents_is_refused(
    backend: Backend, payout: PayoutFixture, contents: list[Transfer], named: str
) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(5)))
    before = dump_ledger(backend)
    with pytest.raises(InvalidValue, match=named) as refusal:
        await insert_batch(payout.ledger, payout.channel, "b", each(contents), policy=Policy(chunk=1))
    assert refusal.value.field == "batch_id"
    assert dump_ledger(backend) == before


async def test_insert_batch_same_name_other_account_is_refused(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(5)))
    other = PayoutFixture(backend.ledger(), backend.clock, account="app-2")
    with pytest.raises(InvalidValue, match="app-1"):
        await insert_batch(other.ledger, other.channel, "b", each(transfers(5)))
    # Each account has its own track_ids.
    await insert_batch(other.ledger, other.channel, "c", each(transfers(5)))
    assert count_rows(backend, "transfers") == 10


async def test_insert_batch_shared_transfer_is_sent_once(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    await insert_batch(payout.ledger, payout.channel, "c", each(transfers(5)))
    assert await payout.states("c") == ["success"] * 3 + ["planned"] * 2
    for chunk in await payout.chunks("c"):
        await payout.worker.advance(chunk)
    assert payout.bank.executed == {f"t-0000{number}": 1 for number in range(5)}
    await insert_batch(payout.ledger, payout.channel, "d", each(transfers(5)))
    assert await payout.chunks("d") == []
    assert await payout.states("d") == ["success"] * 5
    assert count_rows(backend, "transfers") == 5


@pytest.mark.parametrize("field", ["amount", "deposit", "destination_account", "destination_lastname", "pay_id"])
async def test_insert_batch_conflicting_track_id_stores_nothing(
    backend: Backend, payout: PayoutFixture, field: str
) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    before = dump_ledger(backend)
    other: dict[str, object] = {
        "amount": 1,
        "deposit": "0119999999999",
        "destination_account": "0112223334445",
        "destination_lastname": "Ahmady",
        "pay_id": "12",
    }
    with pytest.raises(TrackIdConflict, match="t-00001"):
        await insert_batch(
            payout.ledger, payout.channel, "c", each([transfer(7), transfer(1, **{field: other[field]})])
        )
    assert dump_ledger(backend) == before
    assert await queries.find_batch(payout.ledger, "c") is None


async def test_insert_batch_repeated_track_id_is_refused(backend: Backend, payout: PayoutFixture) -> None:
    with pytest.raises(InvalidValue) as refusal:
        await insert_batch(payout.ledger, payout.channel, "b", each([*transfers(3), transfer(1)]))
    assert refusal.value.field == "transfers[3].track_id"
    assert "transfers[1]" in refusal.value.got
    assert filled_tables(backend) == []


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 40])
async def test_insert_batch_long_batch_is_stored_atomically(
    backend: Backend, payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(insert, "MAX_BUFFERED_TRANSFERS", 8)
    monkeypatch.setattr(insert, "MAX_STATEMENT_ROWS", 3)
    monkeypatch.setattr(insert, "MAX_MOVED_ROWS", 5)
    other = backend.ledger()
    visible_rows: list[int] = []

    async def watched() -> AsyncIterator[AnyTransfer]:
        for value in transfers(count):
            visible_rows.append(
                len(await queries.batches(other)) + count_rows(backend, "transfers") + count_rows(backend, "chunks")
            )
            yield value

    record = await insert_batch(payout.ledger, payout.channel, "b", watched(), policy=Policy(chunk=4))
    assert record.count == count
    assert set(visible_rows) == {0}
    assert [count_rows(backend, table) for table in ("transfers", "batch_items", "events", "staging")] == [
        count
    ] * 3 + [0]
    assert [record.track_id for _, record in await queries.page(payout.ledger, "b")] == [
        value.track_id for value in transfers(count)
    ]
    assert len(await payout.chunks()) == -(-count // 4)
    with pytest.raises(InvalidValue, match=f"t-{count:05d}"):
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(count + 9)))
    assert await insert_batch(payout.ledger, payout.channel, "b", each(transfers(count))) == record


async def test_insert_batch_failing_source_stores_nothing(
    backend: Backend, payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insert, "MAX_BUFFERED_TRANSFERS", 8)

    async def broken() -> AsyncIterator[AnyTransfer]:
        for value in transfers(20):
            yield value
        raise OSError("the file ended")

    with pytest.raises(OSError, match="ended"):
        await insert_batch(payout.ledger, payout.channel, "b", broken())
    assert filled_tables(backend) == []


async def test_delete_abandoned_deletes_old_staged_rows(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    at = await payout.ledger.time()
    backend.sql(
        "INSERT INTO paystar_payout_staging (plan, position, at, track_id, chunk_id, amount, deposit, destination,"
        f" digest, payload) VALUES ('dead', 0, {at}, 't', 'c', 1, 'd', 'd', 'd', 'p')"
    )
    assert await delete_abandoned(payout.ledger) == 0
    backend.advance_clock(3601)
    assert await delete_abandoned(payout.ledger) == 1
    assert count_rows(backend, "transfers") == 2


async def test_insert_batch_deleted_staging_is_refused(
    backend: Backend, payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insert, "MAX_BUFFERED_TRANSFERS", 8)

    async def slow() -> AsyncIterator[AnyTransfer]:
        for number, value in enumerate(transfers(12)):
            if number == 10:
                backend.advance_clock(3601)
                assert await delete_abandoned(payout.ledger) == 8
            yield value

    with pytest.raises(StorageError, match="submit it again"):
        await insert_batch(payout.ledger, payout.channel, "b", slow())
    assert await queries.find_batch(payout.ledger, "b") is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ([], "transfers"),
        ([transfer(0), wallet_transfer(1)], "transfers[1].transfers"),
        ([transfer(0, amount=2**62), transfer(1, amount=2**62)], "transfers"),
    ],
)
async def test_insert_batch_invalid_transfers_are_refused(
    backend: Backend, payout: PayoutFixture, values: list[AnyTransfer], field: str
) -> None:
    with pytest.raises(InvalidValue) as refusal:
        await insert_batch(payout.ledger, payout.channel, "b", each(values))
    assert refusal.value.field == field
    assert filled_tables(backend) == []


async def test_insert_batch_ambiguous_wallet_track_id_is_refused(backend: Backend) -> None:
    payout = PayoutFixture(backend.ledger(), backend.clock, channel=WalletChannel, account="w123")
    with pytest.raises(InvalidValue, match="would be ambiguous"):
        await insert_batch(payout.ledger, payout.channel, "b", each([wallet_transfer(0, track_id="w123*a*1")]))


async def test_insert_batch_concurrent_submits_insert_once(backend: Backend, payout: PayoutFixture) -> None:
    ledgers = [payout.ledger, *(backend.ledger() for _ in range(3))]
    records = await asyncio.gather(
        *(insert_batch(ledger, payout.channel, "b", each(transfers(30))) for ledger in ledgers for _ in range(3))
    )
    assert len({record.batch_id for record in records}) == 1
    assert len(set(map(str, records))) == 1
    assert [count_rows(backend, table) for table in ("transfers", "batch_items", "events", "batches")] == [
        30,
        30,
        30,
        1,
    ]


async def test_insert_batch_concurrent_shared_transfers_sent_once(backend: Backend, payout: PayoutFixture) -> None:
    ledgers = [payout.ledger, backend.ledger()]
    values = transfers(60)
    await asyncio.gather(
        *(
            insert_batch(ledger, payout.channel, f"{number}", each(values[number:][:: -1 if number % 2 else 1]))
            for number, ledger in enumerate(ledgers * 4)
        )
    )
    assert count_rows(backend, "transfers") == 60
    for number in range(8):
        for chunk in await payout.chunks(f"{number}"):
            await payout.worker.advance(chunk)
    assert payout.bank.executed == {value.track_id: 1 for value in values}


@pytest.mark.parametrize("database_location", ["postgres"], indirect=True)
async def test_insert_batch_joins_transaction_of_caller(backend: Backend, payout: PayoutFixture) -> None:
    async with await psycopg.AsyncConnection.connect(backend.location) as connection:
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)), connection=connection)
        async with payout.ledger.transaction(connection) as transaction:
            assert len(await queries.chunk_ids(transaction, "b")) == 1
        assert await queries.find_batch(payout.ledger, "b") is None
        await connection.rollback()
        assert await queries.find_batch(payout.ledger, "b") is None
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)), connection=connection)
        with pytest.raises(InvalidValue):  # a refusal leaves the caller's transaction usable
            await insert_batch(payout.ledger, payout.channel, "b", each(transfers(4)), connection=connection)
        with pytest.raises(TrackIdConflict):
            await insert_batch(payout.ledger, payout.channel, "c", each([transfer(0, amount=1)]), connection=connection)
        await connection.commit()
    assert await payout.states() == ["planned"] * 3
    assert count_rows(backend, "staging") == 0
    assert [batch.batch_id for batch in await queries.batches(payout.ledger)] == ["b"]
