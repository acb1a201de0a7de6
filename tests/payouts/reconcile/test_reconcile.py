"""Reconcile: reading a list that has many pages, grows at the same time and has foreign entries."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from paystar_async.errors import InvalidInput, InvalidValue, NoResponse
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts import channels
from paystar_async.payouts.channels import MAX_CONCURRENT_FINDS, BankTransferChannel, WalletChannel
from paystar_async.payouts.ledger import observations
from paystar_async.payouts.models import TransferState
from paystar_async.payouts.reconcile import Mismatch
from paystar_async.sandbox import Sandbox
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, raising, responding, wallet_transfer
from tests.payouts.bank import transfers as stored_transfers
from tests.payouts.reconcile.bank import (
    BankWithList,
    change_entry,
    listed,
    mismatches,
    plan_and_send,
    plan_batch,
    run_reconcile,
    transfers_numbered,
)
from tests.payouts.sandbox_clients import Client, transfer, transfers


async def test_reconcile_reports_orphans_and_missing(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        await paystar.transfers.settle(transfers=[transfer(77)])  # before all others: not within the window
        await (await paystar.payouts.submit(transfers(3), batch_id="b")).wait()
        assert (await paystar.payouts.reconcile(3600)).ok
        await paystar.transfers.settle(transfers=[transfer(78)])
        result = await paystar.payouts.reconcile(3600)
        assert [orphan.track_id for orphan in result.orphans] == ["t-78"]
        assert (result.compared, result.ok) == (3, False)
        with pytest.raises(InvalidValue, match="window"):
            await paystar.payouts.reconcile(0)
        sandbox.reset()
        assert (await paystar.payouts.reconcile(3600)).missing == ("t-0", "t-1", "t-2")


async def test_reconcile_pending_transfers_take_bank_status(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="b")
        while (await batch.report()).of(TransferState.PENDING).count < 2:
            await batch.wait(timeout=0.05)
        await paystar.payouts.pause()
        sandbox.advance(7200)
        result = await paystar.payouts.reconcile(3600)
        assert (result.learned, result.ok) == (2, True)
        assert (await batch.report()).succeeded.count == 2


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the bank's list need many requests."""
    monkeypatch.setattr(channels, "PAGE_SIZE", 3)


Rewrite = Callable[[Sequence[Settlement]], Sequence[Settlement]]


def rewrite(monkeypatch: pytest.MonkeyPatch, change: Rewrite) -> None:
    """Change each page of the bank's list."""
    list_entries = BankTransferChannel.list

    async def list_changed(self: BankTransferChannel, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:
        entries = await list_entries(self, deposit, skip, timeout)
        return entries and change(entries)

    monkeypatch.setattr(BankTransferChannel, "list", list_changed)


@pytest.mark.usefixtures("short_pages")
async def test_reconcile_reads_all_pages(client: Client) -> None:
    async with client() as paystar:
        await paystar.transfers.settle(transfers=[transfer(70)])  # before all others
        await (await paystar.payouts.submit(transfers(4), batch_id="a")).wait()
        await paystar.transfers.settle(transfers=[transfer(71)])
        await (await paystar.payouts.submit([transfer(number) for number in range(10, 14)], batch_id="b")).wait()
        result = await paystar.payouts.reconcile(3600)
    assert (result.compared, result.missing, result.mismatches) == (8, (), ())
    assert [orphan.track_id for orphan in result.orphans] == ["t-71"]


@pytest.mark.usefixtures("short_pages")
async def test_reconcile_growing_list_reports_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(2), batch_id="a")).wait()
        await paystar.transfers.settle(transfers=[transfer(71)])
        await (await paystar.payouts.submit([transfer(2), transfer(3)], batch_id="b")).wait()
        list_entries = BankTransferChannel.list

        async def list_and_pay(
            self: BankTransferChannel, deposit: str, skip: int, timeout: float
        ) -> Sequence[Settlement]:
            entries = await list_entries(self, deposit, skip, timeout)
            await paystar.transfers.settle(transfers=[transfer(80 + skip)])
            return entries

        monkeypatch.setattr(BankTransferChannel, "list", list_and_pay)
        result = await paystar.payouts.reconcile(3600)
    assert (result.compared, result.missing, result.mismatches) == (4, (), ())
    assert [orphan.track_id for orphan in result.orphans] == ["t-71"]


async def test_reconcile_other_amount_is_mismatch(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Settlement(track_id="t-0", status=TransferStatus.SUCCESS, extra={"amount": "999"})
    rewrite(monkeypatch, lambda result: [entry] if result else result)
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(1), batch_id="a")).wait()
        result = await paystar.payouts.reconcile(3600)
    assert result.mismatches == (Mismatch(track_id="t-0", field="amount", ledger="1000", bank="999"),)
    assert not result.ok


async def test_reconcile_double_payment_is_mismatch(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(3), batch_id="a")
        await batch.wait()
        await paystar.transfers.settle(transfers=[transfer(1)])  # by a program without the ledger
        assert sandbox.ledger["t-1"].count == 2
        result = await paystar.payouts.reconcile(3600)
        assert (await batch.report()).succeeded.count == 3
    [mismatch] = result.mismatches
    assert (mismatch.track_id, mismatch.field) == ("t-1", "payment")
    assert mismatch.ledger != mismatch.bank
    assert (result.compared, result.missing, result.orphans) == (3, (), ())


@pytest.mark.parametrize("is_pending", [False, True])
async def test_reconcile_failed_attempt_hides_no_success(
    client: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, is_pending: bool
) -> None:
    """The failed entry is alone on its page."""
    monkeypatch.setattr(channels, "PAGE_SIZE", 1)
    sandbox.settings.settle_seconds = 3600.0 if is_pending else 0.0
    failed = Settlement(hashid="of-before", track_id="t-0", status=TransferStatus.FAILED)
    list_entries = BankTransferChannel.list

    async def list_with_failed_entry(self: BankTransferChannel, deposit: str, skip: int, timeout: float) -> Any:
        return [failed] if skip == 1 else await list_entries(self, deposit, max(0, skip - 1), timeout)

    monkeypatch.setattr(BankTransferChannel, "list", list_with_failed_entry)
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="a")
        expected = TransferState.PENDING if is_pending else TransferState.SUCCESS
        while (await batch.report()).of(expected).count < 2:
            await batch.wait(timeout=0.05)
        await paystar.payouts.pause()
        result = await paystar.payouts.reconcile(3600)
        report = await batch.report()
    assert result.ok
    assert (result.compared, report.of(expected).count) == (2, 2)


class TestWindow:
    """How far the list is read: its entries have no times."""

    async def test_reconcile_planned_paid_by_bank_is_reported(self, payout: PayoutFixture, bank: BankWithList) -> None:
        """A backup was restored: the ledger says planned, the bank has paid."""
        await plan_batch(payout, "b", stored_transfers(20))
        for value in stored_transfers(20):
            bank.pay(value.track_id)
        result = await run_reconcile(payout)
        assert mismatches(result, "status") == {
            value.track_id: ("planned", "success") for value in stored_transfers(20)
        }
        assert (result.ok, result.learned, result.compared, result.missing) == (False, 20, 20, ())
        assert bank.queries == [0, 3, 6, 9, 12, 15, 18, 20]
        assert (result.requests, result.listed) == (8, 20)
        assert await payout.states() == ["success"] * 20
        second = await run_reconcile(payout)
        assert (second.ok, second.learned, second.compared) == (True, 0, 20)

    async def test_reconcile_planned_failed_at_bank_is_reported(
        self, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        await plan_batch(payout, "b", stored_transfers(1))
        bank.pay("t-00000", status=TransferStatus.FAILED)
        assert mismatches(await run_reconcile(payout), "status") == {"t-00000": ("planned", "failed")}

    async def test_reconcile_planned_not_at_bank_is_ok(self, payout: PayoutFixture, bank: BankWithList) -> None:
        await plan_batch(payout, "b", stored_transfers(5))
        result = await run_reconcile(payout)
        assert (result.ok, result.compared, result.requests) == (True, 0, 1)
        assert bank.queries == [0]
        assert await payout.states() == ["planned"] * 5

    async def test_reconcile_pages_of_foreign_entries_walks_on(self, payout: PayoutFixture, bank: BankWithList) -> None:
        await plan_and_send(payout, "b", stored_transfers(4))
        for number in range(30):
            bank.pay(f"x-{number}")
        result = await run_reconcile(payout)
        assert [query.track_id for query in result.orphans] == [f"x-{number}" for number in reversed(range(30))]
        assert (result.compared, result.missing, result.mismatches) == (4, (), ())
        assert all(isinstance(query, int) for query in bank.queries)

    async def test_reconcile_stops_behind_older_payment(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        for number in range(30):
            bank.pay(f"x-{number}")
        await plan_and_send(payout, "old", transfers_numbered(90))
        backend.advance_clock(7200)
        bank.pay("x-new")
        await plan_and_send(payout, "b", stored_transfers(2))
        result = await run_reconcile(payout)
        assert (result.compared, result.undated) == (2, 0)
        assert [orphan.track_id for orphan in result.orphans] == ["x-new"]
        assert bank.queries == [0, 3]

    async def test_reconcile_list_without_hashids_stops_at_known(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        for number in range(9):
            bank.pay(f"x-{number}", None)
        bank.is_without_hashids = True
        await plan_and_send(payout, "old", transfers_numbered(90))
        backend.advance_clock(7200)
        await plan_and_send(payout, "b", stored_transfers(2))
        result = await run_reconcile(payout)
        assert (result.compared, result.ok, bank.queries) == (2, True, [0])

    async def test_reconcile_second_payment_of_older_walks_on(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        """An entry with an unrecorded hashid may be newer than the window."""
        await plan_and_send(payout, "old", transfers_numbered(90))
        backend.advance_clock(7200)
        await plan_and_send(payout, "b", stored_transfers(4))
        bank.pay("x-new")
        bank.pay("t-00090")
        result = await run_reconcile(payout)
        assert mismatches(result, "payment") == {"t-00090": ("h0", "h6")}
        assert [orphan.track_id for orphan in result.orphans] == ["x-new"]
        assert result.compared == 4

    async def test_reconcile_planned_before_window_walks_back(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        """A planned transfer may have been paid at any time since it was planned."""
        await plan_and_send(payout, "oldest", transfers_numbered(90))
        backend.advance_clock(7200)
        await plan_batch(payout, "b", stored_transfers(1))
        bank.pay("t-00000")
        backend.advance_clock(7200)
        for number in range(70, 75):
            await plan_and_send(payout, f"old-{number}", transfers_numbered(number))
        backend.advance_clock(7200)
        result = await run_reconcile(payout)
        assert mismatches(result, "status") == {"t-00000": ("planned", "success")}
        assert result.orphans == ()

    async def test_reconcile_sent_not_shown_walks_on(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        """An older payment does not end the walk: the order of the list is only assumed."""
        await plan_and_send(payout, "old", transfers_numbered(90))
        backend.advance_clock(7200)
        for number in range(4):
            bank.pay(f"x-{number}")
        await plan_and_send(payout, "b", stored_transfers(1))
        bank.entries.reverse()
        result = await run_reconcile(payout)
        assert (result.compared, result.missing) == (1, ())
        assert bank.queries == [0, 3]

    async def test_reconcile_foreign_without_landmark_is_orphan(
        self, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        await plan_batch(payout, "b", stored_transfers(3))
        bank.pay("x-1")
        result = await run_reconcile(payout)
        assert [orphan.track_id for orphan in result.orphans] == ["x-1"]
        assert not result.ok

    async def test_reconcile_foreign_behind_all_is_undated(self, payout: PayoutFixture, bank: BankWithList) -> None:
        bank.pay("x-1")
        await plan_and_send(payout, "b", stored_transfers(3))
        result = await run_reconcile(payout)
        assert (result.orphans, result.undated, result.ok) == ((), 1, True)

    async def test_reconcile_quiet_window_still_asks(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        await plan_and_send(payout, "b", stored_transfers(3))
        backend.advance_clock(7200)
        assert (await run_reconcile(payout)).ok
        assert bank.queries == [0]
        bank.pay("x-1")
        assert [orphan.track_id for orphan in (await run_reconcile(payout)).orphans] == ["x-1"]

    async def test_reconcile_empty_ledger_is_never_ok(self, payout: PayoutFixture, bank: BankWithList) -> None:
        result = await run_reconcile(payout)
        assert (result.ok, result.requests, bank.queries) == (False, 0, [])


class TestLookUps:
    """Transfers that are not listed are looked up, a few at a time."""

    async def test_reconcile_missing_is_looked_up_first(self, payout: PayoutFixture, bank: BankWithList) -> None:
        await plan_and_send(payout, "b", stored_transfers(12))
        bank.unlisted = {value.track_id for value in stored_transfers(11)}
        del bank.entries[-2:]
        result = await run_reconcile(payout)
        assert result.missing == ("t-00000", "t-00001")
        assert (result.compared, result.mismatches, result.requests) == (10, (), 2 + 11)
        assert bank.max_at_once == MAX_CONCURRENT_FINDS

    async def test_reconcile_failed_look_up_raises(self, payout: PayoutFixture, bank: BankWithList) -> None:
        await plan_and_send(payout, "b", stored_transfers(9))
        bank.entries.clear()
        bank.failure = NoResponse("reset")
        with pytest.raises(NoResponse):
            await run_reconcile(payout)
        assert len(bank.queries) <= 1 + MAX_CONCURRENT_FINDS

    async def test_reconcile_refused_transfer_is_not_missing(self, payout: PayoutFixture) -> None:
        payout.bank.script.append(raising(InvalidInput(10, "no", endpoint="transfers.settle")))
        await plan_and_send(payout, "b", stored_transfers(1))
        assert await payout.states() == ["failed"]
        assert (await run_reconcile(payout)).ok

    async def test_reconcile_wallet_planned_are_looked_up(self, backend: Backend, bank: BankWithList) -> None:
        payout = PayoutFixture(backend.ledger(), backend.clock, bank, channel=WalletChannel, account="w-1")
        await plan_batch(payout, "b", [wallet_transfer(number) for number in range(3)])
        bank.pay("w-00001")
        result = await run_reconcile(payout)
        assert sorted(map(str, bank.queries)) == ["w-00000", "w-00001", "w-00002"]
        assert mismatches(result, "status") == {"w-00001": ("planned", "success")}
        assert (result.compared, result.missing, result.requests) == (1, (), 3)

    async def test_reconcile_look_up_of_another_leaves_missing(self, payout: PayoutFixture, bank: BankWithList) -> None:
        """A response about another transfer proves nothing about the transfer that was looked up."""
        await plan_and_send(payout, "b", stored_transfers(1))
        bank.entries = [Settlement(hashid="h9", status=TransferStatus.SUCCESS)]
        assert (await run_reconcile(payout)).missing == ("t-00000",)

    async def test_reconcile_entry_matches_by_recorded_hashid(self, payout: PayoutFixture, bank: BankWithList) -> None:
        await plan_and_send(payout, "b", stored_transfers(3))
        bank.entries = [change_entry(entry, track_id=None) for entry in bank.entries]
        result = await run_reconcile(payout)
        assert (result.ok, result.compared, result.requests) == (True, 3, 2)
        bank.pay("x-1", "hx")
        bank.entries[0] = change_entry(bank.entries[0], track_id=None)
        assert [entry.hashid for entry in (await run_reconcile(payout)).orphans] == ["hx"]

    async def test_reconcile_shared_hashid_matches_neither(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        await plan_and_send(payout, "b", stored_transfers(2))
        backend.sql("UPDATE paystar_payout_transfers SET hashid = 'shared'")
        bank.entries = [change_entry(entry, track_id=None, hashid="shared") for entry in bank.entries]
        assert (await run_reconcile(payout)).missing == ("t-00000", "t-00001")

    async def test_reconcile_unfiltered_look_up_is_no_double(self, payout: PayoutFixture, bank: BankWithList) -> None:
        """The service ignores the requested track_id."""
        await plan_and_send(payout, "b", stored_transfers(3))
        bank.entries = [change_entry(entry, hashid=None) for entry in bank.entries]
        bank.unlisted, bank.filters = {"t-00000", "t-00001"}, False
        result = await run_reconcile(payout)
        assert (result.mismatches, result.missing, result.compared) == ((), (), 3)

    async def test_reconcile_unlisted_unknown_is_missing(self, payout: PayoutFixture) -> None:
        payout.bank.script.append(raising(NoResponse("no response")))
        await plan_and_send(payout, "b", stored_transfers(1))
        assert (await run_reconcile(payout)).missing == ("t-00000",)
        assert await payout.states() == ["unknown"]

    async def test_reconcile_decided_during_run_is_not_missing(self, payout: PayoutFixture, bank: BankWithList) -> None:
        payout.bank.script.append(responding(change_entry(listed("success", "h0"), extra={"amount": 1})))
        await plan_and_send(payout, "b", stored_transfers(1))
        assert await payout.states() == ["needs_review"]
        bank.on_look_up = lambda: observations.resolve(payout.ledger, "bank", "app-1", "t-00000", "failed")
        assert (await run_reconcile(payout)).missing == ()

    async def test_reconcile_only_other_hashid_is_mismatch_and_missing(
        self, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        """The recorded payment is missing, and the bank has another payment."""
        await plan_and_send(payout, "b", stored_transfers(1))
        bank.entries = [change_entry(bank.entries[0], hashid="other")]
        result = await run_reconcile(payout)
        assert mismatches(result, "payment") == {"t-00000": ("h0", "other")}
        assert (result.missing, result.compared) == (("t-00000",), 0)
