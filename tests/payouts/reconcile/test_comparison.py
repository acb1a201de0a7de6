"""Comparison of the bank's entries with the ledger: payments made twice, and states that differ."""

import pytest

from paystar_async.errors import NoResponse
from paystar_async.models.transfers import TransferStatus
from paystar_async.payouts.ledger import observations
from paystar_async.payouts.reconcile import Reconciliation
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, raising
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


class TestPaidTwice:
    """Every track_id the bank has paid twice is reported."""

    async def test_reconcile_reports_every_double_payment(self, payout: PayoutFixture, bank: BankWithList) -> None:
        """The ledger has the later payments; the earlier payments are on later pages."""
        for value in stored_transfers(12):
            bank.pay(value.track_id)
        await plan_and_send(payout, "b", stored_transfers(12))
        result = await run_reconcile(payout)
        assert len(mismatches(result, "payment")) == 12
        assert mismatches(result, "payment")["t-00000"] == ("h12", "h0")
        assert not result.ok

    async def test_reconcile_foreign_double_payment_is_mismatch(
        self, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        await plan_batch(payout, "b", stored_transfers(1))
        for number in (1, 2, 3, 1, 4):
            bank.pay(f"x-{number}")
        result = await run_reconcile(payout)
        assert mismatches(result, "payment") == {"x-1": ("h3", "h0")}
        assert len(result.orphans) == 5

    async def test_reconcile_other_ref_code_walks_on(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        bank.is_without_hashids = True
        await plan_and_send(payout, "old", transfers_numbered(90))
        backend.advance_clock(7200)
        bank.pay("x-1")
        await plan_and_send(payout, "b", stored_transfers(4))
        bank.pay("t-00090", None)
        result = await run_reconcile(payout)
        assert mismatches(result, "payment") == {"t-00090": ("r6", "r0")}

    async def test_reconcile_planned_paid_twice_is_mismatch(self, payout: PayoutFixture, bank: BankWithList) -> None:
        await plan_batch(payout, "b", stored_transfers(8))
        for value in (*stored_transfers(8), *stored_transfers(8)):
            bank.pay(value.track_id)
        result = await run_reconcile(payout)
        assert (
            set(mismatches(result, "payment"))
            == set(mismatches(result, "status"))
            == {value.track_id for value in stored_transfers(8)}
        )

    async def test_reconcile_failed_attempt_is_no_double(self, payout: PayoutFixture, bank: BankWithList) -> None:
        bank.pay("t-00000", status=TransferStatus.FAILED)
        await plan_and_send(payout, "b", stored_transfers(1))
        bank.pay("t-00000", status=TransferStatus.FAILED)
        assert (await run_reconcile(payout)).ok

    @pytest.mark.parametrize("hashid", ["", None])
    async def test_reconcile_double_without_hashids_is_mismatch(
        self, payout: PayoutFixture, bank: BankWithList, hashid: str | None
    ) -> None:
        await plan_batch(payout, "b", stored_transfers(1))
        for number in (1, 2, 3, 1, 4, 5):
            bank.pay(f"x-{number}", hashid)
        assert mismatches(await run_reconcile(payout), "payment") == {"x-1": ("r3", "r0")}

    async def test_reconcile_double_of_older_without_hashid_is_mismatch(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        """The first payment is behind the window, and its hashid is not on record."""
        await plan_and_send(payout, "old", transfers_numbered(80, 90))
        backend.advance_clock(7200)
        backend.sql("UPDATE paystar_payout_transfers SET hashid = NULL WHERE track_id = 't-00080'")
        bank.entries.reverse()
        await plan_and_send(payout, "b", stored_transfers(1))
        bank.pay("t-00080")
        bank.entries[2:2] = [bank.entries.pop(3)]
        result = await run_reconcile(payout)
        assert bank.queries[-1] == "t-00080"
        assert set(mismatches(result, "payment")) == {"t-00080"}

    async def test_reconcile_resent_is_looked_up_behind_window(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        bank.pay("t-00000", "first")
        await plan_and_send(payout, "old", transfers_numbered(90))
        backend.advance_clock(7200)
        await plan_and_send(payout, "b", stored_transfers(2))
        backend.sql("UPDATE paystar_payout_transfers SET ambiguous_attempts = 1 WHERE track_id = 't-00000'")
        result = await run_reconcile(payout)
        assert bank.queries == [0, "t-00000"]
        assert mismatches(result, "payment") == {"t-00000": ("h2", "first")}
        assert (result.compared, result.missing, result.orphans) == (2, (), ())


class TestStatus:
    """The updated state of the ledger is compared with the bank's status."""

    async def test_reconcile_sending_is_unchanged(self, payout: PayoutFixture) -> None:
        await plan_and_send(payout, "b", stored_transfers(1))
        await plan_batch(payout, "c", transfers_numbered(1))
        payout.bank.on_response = lambda: compare_within(payout)
        within: list[Reconciliation] = []

        async def compare_within(payout: PayoutFixture) -> None:
            within.append(await run_reconcile(payout))

        [chunk] = await payout.chunks("c")
        await payout.worker.advance(chunk)
        assert within[0].ok
        assert await payout.states("c") == ["success"]

    async def test_reconcile_change_after_page_is_no_mismatch(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        """A worker records a newer status while an older page is being received."""
        bank.status = TransferStatus.PENDING
        await plan_and_send(payout, "b", stored_transfers(1))

        async def record_success() -> None:
            backend.advance_clock(1)
            await observations.apply_observations(
                payout.ledger, payout.channel, [listed("success", bank.entries[0].hashid)]
            )

        backend.advance_clock(1)
        bank.on_find = record_success
        result = await run_reconcile(payout)
        assert await payout.states() == ["success"]
        assert result.ok

    async def test_reconcile_failed_waits_for_rest_of_list(self, payout: PayoutFixture, bank: BankWithList) -> None:
        """Another page may list an attempt that did not fail."""
        payout.bank.script.append(raising(NoResponse("no response")))
        await plan_and_send(payout, "b", stored_transfers(1))
        bank.pay("t-00000", "first")
        for number in range(4):
            bank.pay(f"x-{number}")
        bank.pay("t-00000", "second", status=TransferStatus.FAILED)
        result = await run_reconcile(payout)
        assert (await payout.causes("t-00000"))[-2:] == ["response", "reconcile"]
        assert await payout.states() == ["success"]
        assert (result.compared, result.learned, result.ok) == (1, 1, False)
        assert all(isinstance(query, int) for query in bank.queries)

    async def test_reconcile_contradicted_failure_is_reviewed(self, payout: PayoutFixture, bank: BankWithList) -> None:
        """The entry is last on one page as failed, and first on the next page as paid."""
        await plan_batch(payout, "b", stored_transfers(1), chunk=1)
        bank.pay("t-00000", "h", status=TransferStatus.FAILED)
        for number in (1, 2):
            bank.pay(f"x-{number}")

        async def shift_entry() -> None:
            if bank.queries == [0]:
                bank.entries[2] = change_entry(bank.entries[2], status=TransferStatus.SUCCESS)
                bank.pay("x-3")

        bank.on_find = shift_entry
        await run_reconcile(payout)
        assert await payout.states() == ["needs_review"]

    async def test_reconcile_failed_before_window_is_looked_up(
        self, backend: Backend, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        """The walk ends before the entry of the paid attempt."""
        bank.pay("t-00000", "first")
        await plan_and_send(payout, "old", transfers_numbered(90))
        backend.advance_clock(7200)
        payout.bank.script.append(raising(NoResponse("no response")))
        await plan_and_send(payout, "b", stored_transfers(1))
        bank.pay("t-00000", "second", status=TransferStatus.FAILED)
        await run_reconcile(payout)
        assert bank.queries == [0, "t-00000"]
        assert await payout.states() == ["success"]

    async def test_reconcile_many_failed_need_no_look_up(self, payout: PayoutFixture, bank: BankWithList) -> None:
        payout.bank.script.append(raising(NoResponse("no response")))
        await plan_and_send(payout, "b", stored_transfers(9))
        for value in stored_transfers(9):
            bank.pay(value.track_id, status=TransferStatus.FAILED)
        result = await run_reconcile(payout)
        assert await payout.states() == ["failed"] * 9
        assert (result.ok, result.learned, result.requests) == (True, 9, 4)

    async def test_reconcile_resent_after_failure_is_no_mismatch(
        self, payout: PayoutFixture, bank: BankWithList
    ) -> None:
        bank.status = TransferStatus.FAILED
        await plan_and_send(payout, "b", stored_transfers(1))
        place_state = "UPDATE paystar_payout_transfers SET state = 'planned'"
        await payout.ledger.fetch(place_state + " WHERE track_id = 't-00000' RETURNING track_id")
        assert (await run_reconcile(payout)).ok
