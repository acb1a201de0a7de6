"""Test recovery: chunks of earlier processes are looked up before their first send, so that nothing is paid twice."""

from typing import Any

import pytest

from paystar_async.errors import InsufficientBalance, InvalidResponse, NoResponse
from paystar_async.listing import PAGE_SIZE
from paystar_async.models.transfers import FindTransfers, Settlement, TransferStatus
from paystar_async.payouts.channels import WalletChannel
from paystar_async.payouts.ledger import queries, updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Backend
from tests.payouts.bank import FakeBank, PayoutFixture, each, raising, transfers, wallet_transfer
from tests.payouts.ledger.tables import TABLES


class ListingBank(FakeBank):
    """A bank that keeps its list newest first, in pages."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[tuple[int, int]] = []

    async def _respond(self, value: Any, before_send: Any) -> object:
        if not isinstance(value, FindTransfers) or value.track_id is not None or self.finds:
            return await super()._respond(value, before_send)
        skip, limit = value.skip or 0, value.limit or PAGE_SIZE
        listed = [self.entry(name) for name in reversed(self.statuses)][skip : skip + limit]
        self.pages.append((skip, len(listed)))
        return listed


@pytest.fixture
def payout(backend: Backend) -> PayoutFixture:
    return PayoutFixture(backend.ledger(), backend.clock, ListingBank())


def restart(payout: PayoutFixture, backend: Backend) -> PayoutFixture:
    """Return a new process that continues the payout of ``payout``."""
    return PayoutFixture(backend.ledger(), backend.clock, payout.bank)


def list_requests(payout: PayoutFixture) -> list[tuple[int, int]]:
    assert isinstance(payout.bank, ListingBank)
    return payout.bank.pages


async def run_due_chunks(payout: PayoutFixture) -> None:
    while due := [chunk for chunk, at in await payout.worker.due() if at <= await payout.ledger.time()]:
        await payout.worker.advance(due[0])


async def plan_transfers(payout: PayoutFixture, count: int, **policy: Any) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(count)), policy=Policy(**policy))


async def test_advance_recovered_chunk_sends_unlisted(backend: Backend, payout: PayoutFixture) -> None:
    await plan_transfers(payout, 6, chunk=3)
    payout.bank.execute(transfers(2))  # by a process whose records were lost
    payout.bank.execute(transfers(4)[3:], TransferStatus.FAILED)
    payout.bank.execute(transfers(5)[4:], TransferStatus.PENDING)
    other = restart(payout, backend)
    await run_due_chunks(other)
    assert await other.states() == ["success", "success", "success", "failed", "pending", "success"]
    assert set(payout.bank.executed.values()) == {1}
    assert (await other.causes("t-00000"))[-1] == "recovered"


async def test_advance_own_chunk_is_not_looked_up(payout: PayoutFixture) -> None:
    await plan_transfers(payout, 4, chunk=2)
    await run_due_chunks(payout)
    assert list_requests(payout) == []


async def test_advance_recovered_chunks_read_one_page_each(backend: Backend, payout: PayoutFixture) -> None:
    await plan_transfers(payout, 8, chunk=2)
    other = restart(payout, backend)
    await run_due_chunks(other)
    # The first walk ends at an empty page; each later walk ends at entries of the walk before.
    assert list_requests(payout) == [(0, 0), (0, 2), (2, 0), (0, 4), (0, 6)]
    assert set(payout.bank.executed.values()) == {1}


async def test_advance_recovered_list_ends_at_decided_transfer(backend: Backend, payout: PayoutFixture) -> None:
    payout.bank.execute(transfers(PAGE_SIZE + 10))
    await insert_batch(payout.ledger, payout.channel, "old", each(transfers(PAGE_SIZE + 11)[-1:]))
    await run_due_chunks(payout)
    backend.advance_clock(10)
    new = transfers(PAGE_SIZE + 14)[-2:]
    await insert_batch(payout.ledger, payout.channel, "b", each(new))
    list_requests(payout).clear()
    await run_due_chunks(restart(payout, backend))
    assert list_requests(payout) == [(0, PAGE_SIZE)]
    assert await payout.states("b") == ["success"] * 2


async def test_advance_recovered_list_covers_paused_transfers(backend: Backend, payout: PayoutFixture) -> None:
    """A later walk ends where this walk began, so that a transfer that waits for money is looked up by now."""
    values = transfers(PAGE_SIZE + 3)
    await insert_batch(payout.ledger, payout.channel, "old", each(values[:1]))
    payout.bank.execute(values[:-2])  # the first of them by a process whose records were lost
    backend.advance_clock(10)
    await insert_batch(payout.ledger, payout.channel, "middle", each(values[-2:-1]))
    await payout.worker.advance((await payout.chunks("middle"))[0])
    payout.bank.script.append(raising(InsufficientBalance(9, "no money")))
    await payout.worker.advance((await payout.chunks("old"))[0])
    assert await payout.states("old") == ["paused_funds"]
    backend.advance_clock(10)
    await insert_batch(payout.ledger, payout.channel, "new", each(values[-1:]))
    other = restart(payout, backend)
    await run_due_chunks(other)
    await updates.resume(other.ledger, "bank", "app-1")
    await run_due_chunks(other)
    assert await payout.states("old") == await payout.states("new") == ["success"]
    assert set(payout.bank.executed.values()) == {1}


@pytest.mark.parametrize(("look_before_send", "count"), [("always", 1), ("never", 0)])
async def test_advance_look_before_send_follows_policy(
    backend: Backend, payout: PayoutFixture, look_before_send: str, count: int
) -> None:
    await plan_transfers(payout, 2, look_before_send=look_before_send)
    await run_due_chunks(payout if look_before_send == "always" else restart(payout, backend))
    assert len(list_requests(payout)) == count
    assert await payout.states() == ["success"] * 2


@pytest.mark.parametrize("error", [NoResponse("no response"), InvalidResponse("$", "HTML"), OSError("x")])
async def test_advance_failed_look_up_sends_nothing(backend: Backend, payout: PayoutFixture, error: Exception) -> None:
    await plan_transfers(payout, 2)
    other = restart(payout, backend)
    [chunk] = await payout.chunks()

    def fail_look_up(_: str | None) -> object:
        raise error

    payout.bank.finds.extend([fail_look_up, fail_look_up])
    for pause in (1.0, 2.0):
        due = await other.worker.advance(chunk)
        assert due is not None
        assert due - await other.ledger.time() == pytest.approx(pause, abs=0.5)
        assert payout.bank.calls == []
        backend.advance_clock(pause)
    await other.worker.advance(chunk)
    assert await payout.states() == ["success"] * 2


async def test_advance_recovered_wallet_looks_up_each(backend: Backend) -> None:
    payout = PayoutFixture(backend.ledger(), backend.clock, channel=WalletChannel, account="w")
    values = [wallet_transfer(number) for number in range(3)]
    await insert_batch(payout.ledger, payout.channel, "b", each(values))
    payout.bank.execute(values[:1])
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank, channel=WalletChannel, account="w")
    await other.worker.advance((await payout.chunks())[0])
    assert payout.bank.look_ups == [value.track_id for value in values]
    assert payout.bank.calls == [["w-00001", "w-00002"]]


async def test_advance_recovered_other_amount_needs_review(backend: Backend, payout: PayoutFixture) -> None:
    await plan_transfers(payout, 1)
    entry = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, hashid="h", extra={"amount": 7})
    payout.bank.finds.extend([lambda _: [entry], lambda _: []])
    await run_due_chunks(restart(payout, backend))
    assert await payout.states() == ["needs_review"]
    assert payout.bank.calls == []


async def test_advance_restored_backup_pays_once(backend: Backend, payout: PayoutFixture) -> None:
    """The guide's procedure: stop, restore, restart; payments made since the backup are found at the bank."""
    await plan_transfers(payout, 10, chunk=2)
    for table in TABLES:
        backend.sql(f"CREATE TABLE backup_{table} AS SELECT * FROM paystar_payout_{table}")
    chunks = await payout.chunks()
    for chunk in chunks[:2]:
        await payout.worker.advance(chunk)
    payout.bank.script.append(raising(NoResponse("no response"), executed=True))
    await payout.worker.advance(chunks[2])
    for table in TABLES:
        backend.sql(f"DELETE FROM paystar_payout_{table}")
        backend.sql(f"INSERT INTO paystar_payout_{table} SELECT * FROM backup_{table}")
    other = restart(payout, backend)
    await run_due_chunks(other)
    assert await other.states() == ["success"] * 10
    assert payout.bank.executed == {f"t-{number:05d}": 1 for number in range(10)}


async def test_advance_recovered_failed_entry_reads_all_entries(backend: Backend, payout: PayoutFixture) -> None:
    """The page with the paid attempt may never be read."""
    await plan_transfers(payout, 2)
    repeat = Settlement(track_id="t-00000", status=TransferStatus.FAILED, hashid="second")
    paid = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, hashid="first")
    payout.bank.finds.extend([lambda _: [repeat], lambda _: [], lambda _: [repeat, paid]])
    await run_due_chunks(restart(payout, backend))
    assert await payout.states() == ["success"] * 2
    assert payout.bank.calls == [["t-00001"]]


async def test_insert_batch_after_restore_is_looked_up(backend: Backend, payout: PayoutFixture) -> None:
    """A user submits a lost batch again without knowing that it was paid."""
    await plan_transfers(payout, 2)
    await run_due_chunks(payout)
    backend.sql("UPDATE paystar_payout_settings SET value = 'elsewhere ' WHERE name = 'origin'")
    other = restart(payout, backend)
    lost = transfers(5)[2:]
    payout.bank.execute(lost[:2])
    await insert_batch(other.ledger, other.channel, "lost", each(lost))
    await run_due_chunks(other)
    assert list_requests(payout) == []  # a sender whose lease was lost may still send
    other.ledger.identity.restored_at -= 6
    backend.advance_clock(6)
    await run_due_chunks(other)
    assert await other.states("lost") == ["success"] * 3
    assert set(payout.bank.executed.values()) == {1}


@pytest.mark.parametrize(("days", "is_looked_up"), [(6, True), (7, False)])
async def test_insert_batch_is_looked_up_for_week_after_restore(
    backend: Backend, payout: PayoutFixture, days: int, is_looked_up: bool
) -> None:
    await plan_transfers(payout, 1)
    await run_due_chunks(payout)
    backend.sql("UPDATE paystar_payout_settings SET value = 'elsewhere ' WHERE name = 'origin'")
    await queries.batches(restart(payout, backend).ledger)
    other = restart(payout, backend)  # the first process recorded the new origin
    await queries.batches(other.ledger)
    other.ledger.identity.restored_at -= days * 86_400.0
    await insert_batch(other.ledger, other.channel, "next", each(transfers(2)[1:]))
    await run_due_chunks(other)
    assert bool(list_requests(payout)) is is_looked_up
    assert await other.states("next") == ["success"]


async def test_advance_copied_ledger_pays_once(backend: Backend, payout: PayoutFixture) -> None:
    """Each process looks up the transfers that the other process has sent."""
    await plan_transfers(payout, 6, chunk=2)
    other = restart(payout, backend)
    chunks = await payout.chunks()
    rows = backend.sql("SELECT chunk_id, version FROM paystar_payout_chunks")
    await payout.worker.advance(chunks[0])
    # Reset the rows: the copy does not have that send.
    backend.sql(
        "UPDATE paystar_payout_chunks SET phase = 'send', due_at = 0, lease_owner = NULL"
        f" WHERE chunk_id = '{chunks[0]}'"
    )
    backend.sql("UPDATE paystar_payout_transfers SET state = 'planned', attempt = 0, hashid = NULL")
    assert rows
    await run_due_chunks(other)
    assert await other.states() == ["success"] * 6
    assert set(payout.bank.executed.values()) == {1}
