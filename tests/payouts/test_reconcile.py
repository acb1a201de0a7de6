"""The ledger beside the bank's list, which is long, grows while it is read, and may hold more than was asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import evolve

from paystar_async.endpoint import Response
from paystar_async.errors import InvalidInput, InvalidValue, NoResponse
from paystar_async.models.base import Call
from paystar_async.models.transfers import FindTransfers, Settlement, TransferStatus
from paystar_async.models.wallet import FindWalletTransfers
from paystar_async.payouts import channels, reconcile
from paystar_async.payouts.channels import MAX_CONCURRENT_FINDS, BankTransferChannel, WalletChannel
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger import observations
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy, TransferState
from paystar_async.payouts.reconcile import Mismatch, Reconciliation
from paystar_async.sandbox import Sandbox
from tests.payouts.backends import Backend
from tests.payouts.bank import FakeBank, PayoutFixture, answering, each, raising, wallet_transfer
from tests.payouts.bank import transfer as numbered
from tests.payouts.bank import transfers as paid
from tests.payouts.test_service import Client, client, sandbox, transfer, transfers

__all__ = ["client", "sandbox"]


async def test_reconcile_reports_orphans_and_missing(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        await paystar.transfers.settle(transfers=[transfer(77)])  # before all others: not within the window
        await (await paystar.payouts.submit(transfers(3), batch_id="b")).wait()
        assert (await paystar.payouts.reconcile(3600)).ok
        await paystar.transfers.settle(transfers=[transfer(78)])
        found = await paystar.payouts.reconcile(3600)
        assert [one.track_id for one in found.orphans] == ["t-78"]
        assert (found.compared, found.ok) == (3, False)
        with pytest.raises(InvalidValue, match="window"):
            await paystar.payouts.reconcile(0)
        sandbox.reset()
        assert (await paystar.payouts.reconcile(3600)).missing == ("t-0", "t-1", "t-2")


async def test_reconcile_learns_what_the_bank_has_decided(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="b")
        while (await batch.report()).of(TransferState.PENDING).count < 2:
            await batch.wait(timeout=0.05)
        await paystar.payouts.pause()
        sandbox.advance(7200)
        found = await paystar.payouts.reconcile(3600)
        assert (found.learned, found.ok) == (2, True)
        assert (await batch.report()).succeeded.count == 2


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return a list that needs many requests."""
    monkeypatch.setattr(channels, "PAGE_SIZE", 3)


Listed = Callable[[Sequence[Settlement]], Sequence[Settlement]]


def rewrite(monkeypatch: pytest.MonkeyPatch, change: Listed) -> None:
    """Let the bank's list say something else."""
    told = BankTransferChannel.list

    async def changed(self: BankTransferChannel, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:
        entries = await told(self, deposit, skip, timeout)
        return entries and change(entries)

    monkeypatch.setattr(BankTransferChannel, "list", changed)


@pytest.mark.usefixtures("short_pages")
async def test_reconcile_reads_all_pages(client: Client) -> None:
    async with client() as paystar:
        await paystar.transfers.settle(transfers=[transfer(70)])  # before all others
        await (await paystar.payouts.submit(transfers(4), batch_id="a")).wait()
        await paystar.transfers.settle(transfers=[transfer(71)])
        await (await paystar.payouts.submit([transfer(number) for number in range(10, 14)], batch_id="b")).wait()
        found = await paystar.payouts.reconcile(3600)
    assert (found.compared, found.missing, found.mismatches) == (8, (), ())
    assert [one.track_id for one in found.orphans] == ["t-71"]


@pytest.mark.usefixtures("short_pages")
async def test_reconcile_growing_list_reports_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(2), batch_id="a")).wait()
        await paystar.transfers.settle(transfers=[transfer(71)])
        await (await paystar.payouts.submit([transfer(2), transfer(3)], batch_id="b")).wait()
        told = BankTransferChannel.list

        async def growing(self: BankTransferChannel, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:
            found = await told(self, deposit, skip, timeout)
            await paystar.transfers.settle(transfers=[transfer(80 + skip)])
            return found

        monkeypatch.setattr(BankTransferChannel, "list", growing)
        found = await paystar.payouts.reconcile(3600)
    assert (found.compared, found.missing, found.mismatches) == (4, (), ())
    assert [one.track_id for one in found.orphans] == ["t-71"]


async def test_reconcile_other_amount_is_mismatch(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Settlement(track_id="t-0", status=TransferStatus.SUCCESS, extra={"amount": "999"})
    rewrite(monkeypatch, lambda found: [said] if found else found)
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(1), batch_id="a")).wait()
        found = await paystar.payouts.reconcile(3600)
    assert found.mismatches == (Mismatch(track_id="t-0", field="amount", ledger="1000", bank="999"),)
    assert not found.ok


async def test_reconcile_double_payment_is_mismatch(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(3), batch_id="a")
        await batch.wait()
        await paystar.transfers.settle(transfers=[transfer(1)])  # by a program without the ledger
        assert sandbox.ledger["t-1"].count == 2
        found = await paystar.payouts.reconcile(3600)
        assert (await batch.report()).succeeded.count == 3
    [told] = found.mismatches
    assert (told.track_id, told.field) == ("t-1", "payment")
    assert told.ledger != told.bank
    assert (found.compared, found.missing, found.orphans) == (3, (), ())


@pytest.mark.parametrize("waits", [False, True])
async def test_reconcile_failed_attempt_hides_no_success(
    client: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """On a page of its own, where nothing beside it says otherwise."""
    monkeypatch.setattr(channels, "PAGE_SIZE", 1)
    sandbox.settings.settle_seconds = 3600.0 if waits else 0.0
    failed = Settlement(hashid="of-before", track_id="t-0", status=TransferStatus.FAILED)
    told = BankTransferChannel.list

    async def with_another(self: BankTransferChannel, deposit: str, skip: int, timeout: float) -> Any:
        return [failed] if skip == 1 else await told(self, deposit, max(0, skip - 1), timeout)

    monkeypatch.setattr(BankTransferChannel, "list", with_another)
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="a")
        expected = TransferState.PENDING if waits else TransferState.SUCCESS
        while (await batch.report()).of(expected).count < 2:
            await batch.wait(timeout=0.05)
        await paystar.payouts.pause()
        found = await paystar.payouts.reconcile(3600)
        report = await batch.report()
    assert found.ok
    assert (found.compared, report.of(expected).count) == (2, 2)


def altered(entry: Settlement, **fields: Any) -> Settlement:
    changed: Settlement = evolve(cast("Any", entry), **fields)
    return changed


def listed(status: str, hashid: str | None) -> Settlement:
    return Settlement(track_id="t-00000", status=TransferStatus(status), hashid=hashid)


class Book(FakeBank):
    """A bank that keeps a list, newest first, each payment under a hashid of its own.

    Attributes:
        entries: the list.
        lost: track_ids the list does not show, though they can be looked up.
        nameless: whether payments get no hashid.
        filters: whether a look-up gives the entries of its track_id alone.
        queries: what was asked: the number of skipped entries, or a track_id.
        most_at_once: how many look-ups were under way at once at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Settlement] = []
        self.lost: set[str] = set()
        self.queries: list[int | str] = []
        self.failure: Exception | None = None
        self.filters, self.nameless = True, False
        self.on_look_up: Callable[[], Awaitable[object]] | None = None
        self.looking = self.most_at_once = 0

    def pay(self, track_id: str, hashid: str | None = "own", **fields: Any) -> Settlement:
        """Put a payment of any payer on the list."""
        given = dict[str, Any](status=self.status, ref_code=f"r{len(self.entries)}") | fields
        if hashid == "own":
            hashid = None if self.nameless else f"h{len(self.entries)}"
        self.entries.insert(0, Settlement(track_id=track_id, hashid=hashid, **given))
        return self.entries[0]

    def execute(self, given: Sequence[AnyTransfer], status: TransferStatus | None = None) -> list[Settlement]:
        return [self.pay(one.track_id, status=status or self.status) for one in given]

    async def deliver(
        self, value: Call[Any], timeout: float | None, before_send: Callable[[], None] | None = None, /
    ) -> Response[Any]:
        if not isinstance(value, FindTransfers | FindWalletTransfers):
            return await super().deliver(value, timeout, before_send)
        if value.track_id is not None:
            self.queries.append(value.track_id)
            self.looking += 1
            self.most_at_once = max(self.most_at_once, self.looking)
            await asyncio.sleep(0)
            self.looking -= 1
            if self.failure is not None:
                raise self.failure
            if self.on_look_up is not None:
                await self.on_look_up()
            found = [one for one in self.entries if not self.filters or one.track_id == value.track_id]
        else:
            assert isinstance(value, FindTransfers)
            self.queries.append(value.skip or 0)
            shown = [one for one in self.entries if one.track_id not in self.lost]
            found = shown[value.skip or 0 :][: value.limit]
            if self.on_find is not None:
                await self.on_find()
        return Response(value=found, status=1, message="", http_status=200, headers={}, body=b"")


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def payout(backend: Backend, book: Book, monkeypatch: pytest.MonkeyPatch) -> PayoutFixture:
    """Return a fixture with a bank whose list needs many requests."""
    monkeypatch.setattr(channels, "PAGE_SIZE", 3)
    return PayoutFixture(backend.ledger(), backend.clock, book)


async def compared(payout: PayoutFixture, window: float = 3600) -> Reconciliation:
    return await reconcile.reconcile(
        cast("Any", SimpleNamespace(ledger=payout.ledger, channels={"x": payout.channel})), window
    )


async def plan(payout: PayoutFixture, batch_id: str, values: Sequence[AnyTransfer], **policy: Any) -> None:
    await insert_batch(payout.ledger, payout.channel, batch_id, each(values), policy=Policy(**policy))


async def pay(payout: PayoutFixture, batch_id: str, values: Sequence[AnyTransfer], **policy: Any) -> None:
    """Plan a batch and send it, as far as that goes at once."""
    await plan(payout, batch_id, values, **policy)
    for chunk in await payout.chunks(batch_id):
        await payout.worker.advance(chunk)


def numbers(*chosen: int) -> list[AnyTransfer]:
    return [numbered(number) for number in chosen]


def named(found: Reconciliation, field: str) -> dict[str, tuple[str, str]]:
    return {one.track_id: (one.ledger, one.bank) for one in found.mismatches if one.field == field}


class TestWindow:
    """How far the list is walked, and what is in the window: it has no times."""

    async def test_reconcile_planned_paid_by_bank_is_reported(self, payout: PayoutFixture, book: Book) -> None:
        """A backup was restored: the ledger says planned, the bank has paid."""
        await plan(payout, "b", paid(20))
        for one in paid(20):
            book.pay(one.track_id)
        found = await compared(payout)
        assert named(found, "status") == {one.track_id: ("planned", "success") for one in paid(20)}
        assert (found.ok, found.learned, found.compared, found.missing) == (False, 20, 20, ())
        assert book.queries == [0, 3, 6, 9, 12, 15, 18, 20]
        assert (found.requests, found.listed) == (8, 20)
        assert await payout.states() == ["success"] * 20
        again = await compared(payout)
        assert (again.ok, again.learned, again.compared) == (True, 0, 20)

    async def test_reconcile_planned_failed_at_bank_is_reported(self, payout: PayoutFixture, book: Book) -> None:
        await plan(payout, "b", paid(1))
        book.pay("t-00000", status=TransferStatus.FAILED)
        assert named(await compared(payout), "status") == {"t-00000": ("planned", "failed")}

    async def test_reconcile_planned_not_at_bank_is_ok(self, payout: PayoutFixture, book: Book) -> None:
        await plan(payout, "b", paid(5))
        found = await compared(payout)
        assert (found.ok, found.compared, found.requests) == (True, 0, 1)
        assert book.queries == [0]
        assert await payout.states() == ["planned"] * 5

    async def test_reconcile_pages_of_foreign_entries_walks_on(self, payout: PayoutFixture, book: Book) -> None:
        await pay(payout, "b", paid(4))
        for number in range(30):
            book.pay(f"x-{number}")
        found = await compared(payout)
        assert [one.track_id for one in found.orphans] == [f"x-{number}" for number in reversed(range(30))]
        assert (found.compared, found.missing, found.mismatches) == (4, (), ())
        assert all(isinstance(one, int) for one in book.queries)

    async def test_reconcile_stops_behind_older_payment(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        for number in range(30):
            book.pay(f"x-{number}")
        await pay(payout, "old", numbers(90))
        backend.passes(7200)
        book.pay("x-new")
        await pay(payout, "b", paid(2))
        found = await compared(payout)
        assert (found.compared, found.undated) == (2, 0)
        assert [one.track_id for one in found.orphans] == ["x-new"]
        assert book.queries == [0, 3]

    async def test_reconcile_stops_without_hashids(self, backend: Backend, payout: PayoutFixture, book: Book) -> None:
        for number in range(9):
            book.pay(f"x-{number}", None)
        book.nameless = True
        await pay(payout, "old", numbers(90))
        backend.passes(7200)
        await pay(payout, "b", paid(2))
        found = await compared(payout)
        assert (found.compared, found.ok, book.queries) == (2, True, [0])

    async def test_reconcile_second_payment_of_older_is_no_end(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        """The entry under a name that is not on record may be new."""
        await pay(payout, "old", numbers(90))
        backend.passes(7200)
        await pay(payout, "b", paid(4))
        book.pay("x-new")
        book.pay("t-00090")
        found = await compared(payout)
        assert named(found, "payment") == {"t-00090": ("h0", "h6")}
        assert [one.track_id for one in found.orphans] == ["x-new"]
        assert found.compared == 4

    async def test_reconcile_planned_before_window_walks_back(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        """It may have been paid ever since it was planned."""
        await pay(payout, "oldest", numbers(90))
        backend.passes(7200)
        await plan(payout, "b", paid(1))
        book.pay("t-00000")
        backend.passes(7200)
        for number in range(70, 75):
            await pay(payout, f"old-{number}", numbers(number))
        backend.passes(7200)
        found = await compared(payout)
        assert named(found, "status") == {"t-00000": ("planned", "success")}
        assert found.orphans == ()

    async def test_reconcile_sent_not_shown_walks_on(self, backend: Backend, payout: PayoutFixture, book: Book) -> None:
        """Though an older payment was seen: the order of the list is assumed."""
        await pay(payout, "old", numbers(90))
        backend.passes(7200)
        for number in range(4):
            book.pay(f"x-{number}")
        await pay(payout, "b", paid(1))
        book.entries.reverse()
        found = await compared(payout)
        assert (found.compared, found.missing) == (1, ())
        assert book.queries == [0, 3]

    async def test_reconcile_foreign_without_landmark_is_orphan(self, payout: PayoutFixture, book: Book) -> None:
        await plan(payout, "b", paid(3))
        book.pay("x-1")
        found = await compared(payout)
        assert [one.track_id for one in found.orphans] == ["x-1"]
        assert not found.ok

    async def test_reconcile_foreign_behind_all_is_undated(self, payout: PayoutFixture, book: Book) -> None:
        book.pay("x-1")
        await pay(payout, "b", paid(3))
        found = await compared(payout)
        assert (found.orphans, found.undated, found.ok) == ((), 1, True)

    async def test_reconcile_quiet_window_still_asks(self, backend: Backend, payout: PayoutFixture, book: Book) -> None:
        await pay(payout, "b", paid(3))
        backend.passes(7200)
        assert (await compared(payout)).ok
        assert book.queries == [0]
        book.pay("x-1")
        assert [one.track_id for one in (await compared(payout)).orphans] == ["x-1"]

    async def test_reconcile_empty_ledger_is_never_ok(self, payout: PayoutFixture, book: Book) -> None:
        found = await compared(payout)
        assert (found.ok, found.requests, book.queries) == (False, 0, [])


class TestPaidTwice:
    """Every track_id the bank has paid twice is reported."""

    async def test_reconcile_reports_every_double_payment(self, payout: PayoutFixture, book: Book) -> None:
        """The ledger knows of the later ones; the earlier ones are pages further down."""
        for one in paid(12):
            book.pay(one.track_id)
        await pay(payout, "b", paid(12))
        found = await compared(payout)
        assert len(named(found, "payment")) == 12
        assert named(found, "payment")["t-00000"] == ("h12", "h0")
        assert not found.ok

    async def test_reconcile_double_unknown_to_ledger(self, payout: PayoutFixture, book: Book) -> None:
        await plan(payout, "b", paid(1))
        for number in (1, 2, 3, 1, 4):
            book.pay(f"x-{number}")
        found = await compared(payout)
        assert named(found, "payment") == {"x-1": ("h3", "h0")}
        assert len(found.orphans) == 5

    async def test_reconcile_nameless_other_ref_code_is_no_end(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        book.nameless = True
        await pay(payout, "old", numbers(90))
        backend.passes(7200)
        book.pay("x-1")
        await pay(payout, "b", paid(4))
        book.pay("t-00090", None)
        found = await compared(payout)
        assert named(found, "payment") == {"t-00090": ("r6", "r0")}

    async def test_reconcile_planned_paid_twice(self, payout: PayoutFixture, book: Book) -> None:
        await plan(payout, "b", paid(8))
        for one in (*paid(8), *paid(8)):
            book.pay(one.track_id)
        found = await compared(payout)
        assert set(named(found, "payment")) == set(named(found, "status")) == {one.track_id for one in paid(8)}

    async def test_reconcile_failed_attempt_is_no_double(self, payout: PayoutFixture, book: Book) -> None:
        book.pay("t-00000", status=TransferStatus.FAILED)
        await pay(payout, "b", paid(1))
        book.pay("t-00000", status=TransferStatus.FAILED)
        assert (await compared(payout)).ok

    @pytest.mark.parametrize("hashid", ["", None])
    async def test_reconcile_double_without_hashids(
        self, payout: PayoutFixture, book: Book, hashid: str | None
    ) -> None:
        await plan(payout, "b", paid(1))
        for number in (1, 2, 3, 1, 4, 5):
            book.pay(f"x-{number}", hashid)
        assert named(await compared(payout), "payment") == {"x-1": ("r3", "r0")}

    async def test_reconcile_double_of_nameless_older_is_found(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        """The first payment is behind the window, and the ledger has no hashid of it to tell the second by."""
        await pay(payout, "old", numbers(80, 90))
        backend.passes(7200)
        backend.sql("UPDATE paystar_payout_transfers SET hashid = NULL WHERE track_id = 't-00080'")
        book.entries.reverse()
        await pay(payout, "b", paid(1))
        book.pay("t-00080")
        book.entries[2:2] = [book.entries.pop(3)]
        found = await compared(payout)
        assert book.queries[-1] == "t-00080"
        assert set(named(found, "payment")) == {"t-00080"}

    async def test_reconcile_resent_first_attempt_behind_window(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        book.pay("t-00000", "first")
        await pay(payout, "old", numbers(90))
        backend.passes(7200)
        await pay(payout, "b", paid(2))
        backend.sql("UPDATE paystar_payout_transfers SET ambiguous_attempts = 1 WHERE track_id = 't-00000'")
        found = await compared(payout)
        assert book.queries == [0, "t-00000"]
        assert named(found, "payment") == {"t-00000": ("h2", "first")}
        assert (found.compared, found.missing, found.orphans) == (2, (), ())


class TestLookUps:
    """Transfers that the list does not show are looked up, a few at once."""

    async def test_reconcile_missing_is_looked_up_first(self, payout: PayoutFixture, book: Book) -> None:
        await pay(payout, "b", paid(12))
        book.lost = {one.track_id for one in paid(11)}
        del book.entries[-2:]
        found = await compared(payout)
        assert found.missing == ("t-00000", "t-00001")
        assert (found.compared, found.mismatches, found.requests) == (10, (), 2 + 11)
        assert book.most_at_once == MAX_CONCURRENT_FINDS

    async def test_reconcile_failed_look_up_is_raised_as_it_is(self, payout: PayoutFixture, book: Book) -> None:
        await pay(payout, "b", paid(9))
        book.entries.clear()
        book.failure = NoResponse("reset")
        with pytest.raises(NoResponse):
            await compared(payout)
        assert len(book.queries) <= 1 + MAX_CONCURRENT_FINDS

    async def test_reconcile_refused_transfer_is_not_missing(self, payout: PayoutFixture, book: Book) -> None:
        payout.bank.script.append(raising(InvalidInput(10, "no", endpoint="transfers.settle")))
        await pay(payout, "b", paid(1))
        assert await payout.states() == ["failed"]
        assert (await compared(payout)).ok

    async def test_reconcile_wallet_looks_planned_up(self, backend: Backend, book: Book) -> None:
        payout = PayoutFixture(backend.ledger(), backend.clock, book, channel=WalletChannel, account="w-1")
        await plan(payout, "b", [wallet_transfer(number) for number in range(3)])
        book.pay("w-00001")
        found = await compared(payout)
        assert sorted(map(str, book.queries)) == ["w-00000", "w-00001", "w-00002"]
        assert named(found, "status") == {"w-00001": ("planned", "success")}
        assert (found.compared, found.missing, found.requests) == (1, (), 3)

    async def test_reconcile_look_up_of_another_says_nothing(self, payout: PayoutFixture, book: Book) -> None:
        """A response about another transfer, or about none, says nothing of the transfer that was looked up."""
        await pay(payout, "b", paid(1))
        book.entries = [Settlement(hashid="h9", status=TransferStatus.SUCCESS)]
        assert (await compared(payout)).missing == ("t-00000",)

    async def test_reconcile_entry_is_known_by_hashid_on_record(self, payout: PayoutFixture, book: Book) -> None:
        await pay(payout, "b", paid(3))
        book.entries = [altered(one, track_id=None) for one in book.entries]
        found = await compared(payout)
        assert (found.ok, found.compared, found.requests) == (True, 3, 2)
        book.pay("x-1", "hx")
        book.entries[0] = altered(book.entries[0], track_id=None)
        assert [one.hashid for one in (await compared(payout)).orphans] == ["hx"]

    async def test_reconcile_hashid_of_two_names_neither(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        await pay(payout, "b", paid(2))
        backend.sql("UPDATE paystar_payout_transfers SET hashid = 'shared'")
        book.entries = [altered(one, track_id=None, hashid="shared") for one in book.entries]
        assert (await compared(payout)).missing == ("t-00000", "t-00001")

    async def test_reconcile_look_up_of_all_is_no_double(self, payout: PayoutFixture, book: Book) -> None:
        """The service ignores which track_id was asked for."""
        await pay(payout, "b", paid(3))
        book.entries = [altered(one, hashid=None) for one in book.entries]
        book.lost, book.filters = {"t-00000", "t-00001"}, False
        found = await compared(payout)
        assert (found.mismatches, found.missing, found.compared) == ((), (), 3)

    async def test_reconcile_unknown_nowhere_is_missing(self, payout: PayoutFixture, book: Book) -> None:
        payout.bank.script.append(raising(NoResponse("no answer")))
        await pay(payout, "b", paid(1))
        assert (await compared(payout)).missing == ("t-00000",)
        assert await payout.states() == ["unknown"]

    async def test_reconcile_decided_during_run_is_not_missing(self, payout: PayoutFixture, book: Book) -> None:
        payout.bank.script.append(answering(altered(listed("success", "h0"), extra={"amount": 1})))
        await pay(payout, "b", paid(1))
        assert await payout.states() == ["needs_review"]
        book.on_look_up = lambda: observations.resolve(payout.ledger, "bank", "app-1", "t-00000", "failed")
        assert (await compared(payout)).missing == ()

    async def test_reconcile_under_other_hashid_alone(self, payout: PayoutFixture, book: Book) -> None:
        """The payment on record is missing, and there is another one."""
        await pay(payout, "b", paid(1))
        book.entries = [altered(book.entries[0], hashid="other")]
        found = await compared(payout)
        assert named(found, "payment") == {"t-00000": ("h0", "other")}
        assert (found.missing, found.compared) == (("t-00000",), 0)


class TestStatus:
    """What the ledger has learned is compared with what the bank says."""

    async def test_reconcile_leaves_sending_alone(self, payout: PayoutFixture, book: Book) -> None:
        await pay(payout, "b", paid(1))
        await plan(payout, "c", numbers(1))
        payout.bank.on_answer = lambda: compare_within(payout)
        within: list[Reconciliation] = []

        async def compare_within(payout: PayoutFixture) -> None:
            within.append(await compared(payout))

        [chunk] = await payout.chunks("c")
        await payout.worker.advance(chunk)
        assert within[0].ok
        assert await payout.states("c") == ["success"]

    async def test_reconcile_newer_than_page_is_no_mismatch(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        """A worker takes in what the bank says while an older page is on its way."""
        book.status = TransferStatus.PENDING
        await pay(payout, "b", paid(1))

        async def decided() -> None:
            backend.passes(1)
            await observations.apply_observations(
                payout.ledger, payout.channel, [listed("success", book.entries[0].hashid)]
            )

        backend.passes(1)
        book.on_find = decided
        found = await compared(payout)
        assert await payout.states() == ["success"]
        assert found.ok

    async def test_reconcile_failed_waits_for_rest_of_list(self, payout: PayoutFixture, book: Book) -> None:
        """Another page may say otherwise."""
        payout.bank.script.append(raising(NoResponse("no answer")))
        await pay(payout, "b", paid(1))
        book.pay("t-00000", "first")
        for number in range(4):
            book.pay(f"x-{number}")
        book.pay("t-00000", "second", status=TransferStatus.FAILED)
        found = await compared(payout)
        assert (await payout.causes("t-00000"))[-2:] == ["answer", "reconcile"]
        assert await payout.states() == ["success"]
        assert (found.compared, found.learned, found.ok) == (1, 1, False)
        assert all(isinstance(one, int) for one in book.queries)

    async def test_reconcile_contradicted_failure_is_reviewed(self, payout: PayoutFixture, book: Book) -> None:
        """The entry ends one page as failed and begins the next, shifted, as paid."""
        await plan(payout, "b", paid(1), chunk=1)
        book.pay("t-00000", "h", status=TransferStatus.FAILED)
        for number in (1, 2):
            book.pay(f"x-{number}")

        async def taken_back() -> None:
            if book.queries == [0]:
                book.entries[2] = altered(book.entries[2], status=TransferStatus.SUCCESS)
                book.pay("x-3")

        book.on_find = taken_back
        await compared(payout)
        assert await payout.states() == ["needs_review"]

    async def test_reconcile_failed_before_window_is_looked_up(
        self, backend: Backend, payout: PayoutFixture, book: Book
    ) -> None:
        """The walk ends before the entry that says otherwise."""
        book.pay("t-00000", "first")
        await pay(payout, "old", numbers(90))
        backend.passes(7200)
        payout.bank.script.append(raising(NoResponse("no answer")))
        await pay(payout, "b", paid(1))
        book.pay("t-00000", "second", status=TransferStatus.FAILED)
        await compared(payout)
        assert book.queries == [0, "t-00000"]
        assert await payout.states() == ["success"]

    async def test_reconcile_many_failed_take_no_look_up(self, payout: PayoutFixture, book: Book) -> None:
        payout.bank.script.append(raising(NoResponse("no answer")))
        await pay(payout, "b", paid(9))
        for one in paid(9):
            book.pay(one.track_id, status=TransferStatus.FAILED)
        found = await compared(payout)
        assert await payout.states() == ["failed"] * 9
        assert (found.ok, found.learned, found.requests) == (True, 9, 4)

    async def test_reconcile_resent_after_failure_is_no_mismatch(self, payout: PayoutFixture, book: Book) -> None:
        book.status = TransferStatus.FAILED
        await pay(payout, "b", paid(1))
        place_state = "UPDATE paystar_payout_transfers SET state = 'planned'"
        await payout.ledger.fetch(place_state + " WHERE track_id = 't-00000' RETURNING track_id")
        assert (await compared(payout)).ok
