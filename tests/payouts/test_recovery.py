"""Recovered work is looked up at the bank before its first send: what a ledger has forgotten is not paid again."""

from typing import Any

import pytest

from paystar_async.errors import InvalidResponse, NoResponse
from paystar_async.listing import PAGE_SIZE
from paystar_async.models.transfers import FindTransfers, Settlement, TransferStatus
from paystar_async.payouts.channels import WalletChannel
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Place
from tests.payouts.bank import FakeBank, PayoutFixture, each, raising, transfers, wallet_transfer


class ListingTeller(FakeBank):
    """A bank that keeps its list newest first, in pages."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[tuple[int, int]] = []

    async def _answer(self, value: Any, before_send: Any) -> object:
        if not isinstance(value, FindTransfers) or value.track_id is not None or self.finds:
            return await super()._answer(value, before_send)
        skip, limit = value.skip or 0, value.limit or PAGE_SIZE
        listed = [self.entry(name) for name in reversed(self.statuses)][skip : skip + limit]
        self.pages.append((skip, len(listed)))
        return listed


@pytest.fixture
def desk(place: Place) -> PayoutFixture:
    return PayoutFixture(place.ledger(), place.clock, ListingTeller())


def restarted(desk: PayoutFixture, place: Place) -> PayoutFixture:
    """Return a process that goes on where ``desk`` was ended."""
    return PayoutFixture(place.ledger(), place.clock, desk.teller)


def pages_of(desk: PayoutFixture) -> list[tuple[int, int]]:
    assert isinstance(desk.teller, ListingTeller)
    return desk.teller.pages


async def work_off(desk: PayoutFixture) -> None:
    while due := [chunk for chunk, at in await desk.worker.due() if at <= await desk.ledger.time()]:
        await desk.worker.advance(due[0])


async def planned(desk: PayoutFixture, count: int, **policy: Any) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(count)), policy=Policy(**policy))


async def test_step_recovered_chunk_sends_what_bank_lacks(place: Place, desk: PayoutFixture) -> None:
    await planned(desk, 6, chunk=3)
    desk.teller.execute(transfers(2))  # by a life of this ledger that it has forgotten
    desk.teller.execute(transfers(4)[3:], TransferStatus.FAILED)
    desk.teller.execute(transfers(5)[4:], TransferStatus.PENDING)
    other = restarted(desk, place)
    await work_off(other)
    assert await other.states() == ["success", "success", "success", "failed", "pending", "success"]
    assert set(desk.teller.executed.values()) == {1}
    assert (await other.causes("t-00000"))[-1] == "recovered"


async def test_step_own_work_is_not_looked_up(desk: PayoutFixture) -> None:
    await planned(desk, 4, chunk=2)
    await work_off(desk)
    assert pages_of(desk) == []


async def test_step_recovered_work_costs_one_list_call_a_chunk(place: Place, desk: PayoutFixture) -> None:
    await planned(desk, 8, chunk=2)
    other = restarted(desk, place)
    await work_off(other)
    # The first walk ends at an empty page; from then on each ends at what the one before has seen.
    assert pages_of(desk) == [(0, 0), (0, 2), (2, 0), (0, 4), (0, 6)]
    assert set(desk.teller.executed.values()) == {1}


async def test_walk_ends_where_older_work_was_decided(place: Place, desk: PayoutFixture) -> None:
    desk.teller.execute(transfers(PAGE_SIZE + 10))
    await insert_batch(desk.ledger, desk.product, "old", each(transfers(PAGE_SIZE + 11)[-1:]))
    await work_off(desk)
    place.passes(10)
    new = transfers(PAGE_SIZE + 14)[-2:]
    await insert_batch(desk.ledger, desk.product, "b", each(new))
    pages_of(desk).clear()
    await work_off(restarted(desk, place))
    assert pages_of(desk) == [(0, PAGE_SIZE)]
    assert await desk.states("b") == ["success"] * 2


@pytest.mark.parametrize(("look", "count"), [("always", 1), ("never", 0)])
async def test_policy_says_whether_own_work_is_looked_up(
    place: Place, desk: PayoutFixture, look: str, count: int
) -> None:
    await planned(desk, 2, look_before_send=look)
    await work_off(desk if look == "always" else restarted(desk, place))
    assert len(pages_of(desk)) == count
    assert await desk.states() == ["success"] * 2


@pytest.mark.parametrize("error", [NoResponse("no answer"), InvalidResponse("$", "HTML"), OSError("x")])
async def test_step_sends_nothing_while_bank_cannot_be_asked(
    place: Place, desk: PayoutFixture, error: Exception
) -> None:
    await planned(desk, 2)
    other = restarted(desk, place)
    [chunk] = await desk.chunks()

    def broken(_: str | None) -> object:
        raise error

    desk.teller.finds.extend([broken, broken])
    for pause in (1.0, 2.0):
        due = await other.worker.advance(chunk)
        assert due is not None
        assert due - await other.ledger.time() == pytest.approx(pause, abs=0.5)
        assert desk.teller.calls == []
        place.passes(pause)
    await other.worker.advance(chunk)
    assert await desk.states() == ["success"] * 2


async def test_step_recovered_wallet_is_looked_up_one_by_one(place: Place) -> None:
    desk = PayoutFixture(place.ledger(), place.clock, product=WalletChannel, account="w")
    values = [wallet_transfer(number) for number in range(3)]
    await insert_batch(desk.ledger, desk.product, "b", each(values))
    desk.teller.execute(values[:1])
    other = PayoutFixture(place.ledger(), place.clock, desk.teller, product=WalletChannel, account="w")
    await other.worker.advance((await desk.chunks())[0])
    assert desk.teller.asked == [one.track_id for one in values]
    assert desk.teller.calls == [["w-00001", "w-00002"]]


async def test_step_recovered_other_amount_needs_review(place: Place, desk: PayoutFixture) -> None:
    await planned(desk, 1)
    said = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, hashid="h", extra={"amount": 7})
    desk.teller.finds.extend([lambda _: [said], lambda _: []])
    await work_off(restarted(desk, place))
    assert await desk.states() == ["needs_review"]
    assert desk.teller.calls == []


async def test_restored_backup_pays_nothing_twice(place: Place, desk: PayoutFixture) -> None:
    """The guide's procedure: stop, restore, start anew; what was paid since the backup is found at the bank."""
    await planned(desk, 10, chunk=2)
    tables = place.tables()
    for table in tables:
        place.sql(f"CREATE TABLE backup_{table} AS SELECT * FROM {table}")
    chunks = await desk.chunks()
    for chunk in chunks[:2]:
        await desk.worker.advance(chunk)
    desk.teller.script.append(raising(NoResponse("no answer"), executed=True))
    await desk.worker.advance(chunks[2])
    for table in tables:
        place.sql(f"DELETE FROM {table}")
        place.sql(f"INSERT INTO {table} SELECT * FROM backup_{table}")
    other = restarted(desk, place)
    await work_off(other)
    assert await other.states() == ["success"] * 10
    assert desk.teller.executed == {f"t-{number:05d}": 1 for number in range(10)}


async def test_check_failed_entry_needs_all_entries(place: Place, desk: PayoutFixture) -> None:
    """The page that shows the attempt that was paid may not be read at all."""
    await planned(desk, 2)
    repeat = Settlement(track_id="t-00000", status=TransferStatus.FAILED, hashid="second")
    paid = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, hashid="first")
    desk.teller.finds.extend([lambda _: [repeat], lambda _: [], lambda _: [repeat, paid]])
    await work_off(restarted(desk, place))
    assert await desk.states() == ["success"] * 2
    assert desk.teller.calls == [["t-00001"]]


async def test_submit_after_restore_is_looked_up(place: Place, desk: PayoutFixture) -> None:
    """A batch that was lost with the newest commits is submitted again, by people who do not know that it was paid."""
    await planned(desk, 2)
    await work_off(desk)
    place.sql("UPDATE paystar_payout_settings SET value = 'elsewhere ' WHERE name = 'origin'")
    other = restarted(desk, place)
    lost = transfers(5)[2:]
    desk.teller.execute(lost[:2])
    await insert_batch(other.ledger, other.product, "lost", each(lost))
    await work_off(other)
    assert pages_of(desk) == []  # a sender whose intent was lost may still be about to send
    other.ledger.identity.restored_at -= 6
    place.passes(6)
    await work_off(other)
    assert await other.states("lost") == ["success"] * 3
    assert set(desk.teller.executed.values()) == {1}


@pytest.mark.parametrize(("days", "is_looked_up"), [(6, True), (7, False)])
async def test_submit_is_looked_up_for_a_week_after_restore(
    place: Place, desk: PayoutFixture, days: int, is_looked_up: bool
) -> None:
    await planned(desk, 1)
    await work_off(desk)
    place.sql("UPDATE paystar_payout_settings SET value = 'elsewhere ' WHERE name = 'origin'")
    await queries.batches(restarted(desk, place).ledger)
    other = restarted(desk, place)  # it was noted by the first one
    await queries.batches(other.ledger)
    other.ledger.identity.restored_at -= days * 86_400.0
    await insert_batch(other.ledger, other.product, "next", each(transfers(2)[1:]))
    await work_off(other)
    assert bool(pages_of(desk)) is is_looked_up
    assert await other.states("next") == ["success"]


async def test_step_copied_ledger_pays_nothing_twice(place: Place, desk: PayoutFixture) -> None:
    """Each process looks up, chunk by chunk, what the other has sent."""
    await planned(desk, 6, chunk=2)
    other = restarted(desk, place)
    chunks = await desk.chunks()
    rows = place.sql("SELECT chunk_id, version FROM paystar_payout_chunks")
    await desk.worker.advance(chunks[0])
    # The copy has not seen that: it is as it was.
    place.sql(
        "UPDATE paystar_payout_chunks SET phase = 'send', due_at = 0, lease_owner = NULL"
        f" WHERE chunk_id = '{chunks[0]}'"
    )
    place.sql("UPDATE paystar_payout_transfers SET state = 'planned', attempt = 0, hashid = NULL")
    assert rows
    await work_off(other)
    assert await other.states() == ["success"] * 6
    assert set(desk.teller.executed.values()) == {1}
