"""Test operations: pause, resume, review decisions, recovery and queues."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from paystar_async import Application, ManualClock, Paystar, Policy, WalletTransfer
from paystar_async.errors import InvalidValue
from paystar_async.outcomes import Pending
from paystar_async.payouts.models import TransferState
from paystar_async.payouts.report import Subtotal
from paystar_async.sandbox import Sandbox
from tests.payouts.files import DEPOSIT, IBAN
from tests.payouts.sandbox_clients import OTHER_DEPOSIT, QUICK, Client, transfer, transfers, wallet_transfer


async def test_resume_after_insufficient_funds_sends_unsent(client: Client, sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", "funds", times=1)
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(3), batch_id="b", policy=Policy(quiet_window=1.0))
        outcomes = [outcome async for outcome in batch.outcomes()]
        assert {type(outcome) for outcome in outcomes} == {Pending}
        assert (await batch.report()).paused_funds.count == 3
        assert await paystar.payouts.resume() == 3
        assert (await batch.wait()).succeeded.count == 3
    assert {line.count for line in sandbox.ledger.values()} == {1}


async def test_pause_deposit_keeps_other_deposits_paying(client: Client) -> None:
    async with client() as paystar:
        await paystar.payouts.pause(deposit=DEPOSIT)
        batch_transfers = [*transfers(3), transfer(7, deposit=OTHER_DEPOSIT)]
        batch = await paystar.payouts.submit(batch_transfers, batch_id="b")
        outcomes = [outcome async for outcome in batch.outcomes()]
        assert Counter(type(outcome).__name__ for outcome in outcomes) == {"Pending": 3, "Succeeded": 1}
        assert await paystar.payouts.resume(deposit=DEPOSIT) == 0
        assert (await batch.wait()).succeeded.count == 4
        await paystar.payouts.pause()
        assert (await (await paystar.payouts.submit([wallet_transfer()], batch_id="w")).wait()).under_way.count == 1


async def test_holds_and_totals_show_paused_deposit(client: Client) -> None:
    async with client() as paystar:
        assert await paystar.payouts.holds() == []
        assert set((await paystar.payouts.totals()).values()) == {Subtotal()}
        await paystar.payouts.pause(deposit=DEPOSIT)
        for batch_id, batch_transfers in (("b", transfers(3)), ("w", [wallet_transfer()])):
            await (await paystar.payouts.submit(batch_transfers, batch_id=batch_id)).wait()
        (hold,) = await paystar.payouts.holds()
        assert (hold.product, hold.deposit, hold.paused) == ("bank", DEPOSIT, True)
        totals = await paystar.payouts.totals()
        assert set(totals) == set(TransferState)
        assert {state: total.count for state, total in totals.items() if total.count} == {
            TransferState.PLANNED: 3,
            TransferState.SUCCESS: 1,
        }
        assert totals[TransferState.PLANNED].amount == sum(value.amount for value in transfers(3))
        await paystar.payouts.resume()
        assert await paystar.payouts.holds() == []


async def test_pause_deposit_accepts_any_spelling(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        await paystar.payouts.pause(deposit=" ۰۱۰۰ 123456789 ")
        batch = await paystar.payouts.submit([transfer(0)], batch_id="b")
        assert (await batch.wait()).under_way.count == 1
        assert not sandbox.ledger
        for no_account in ("", "salaries"):
            with pytest.raises(InvalidValue, match="deposit"):
                await paystar.payouts.pause(deposit=no_account)
            with pytest.raises(InvalidValue, match="deposit"):
                await paystar.payouts.resume(deposit=no_account)
        await paystar.payouts.resume(deposit="0100 1234 56789")
        assert (await batch.wait()).done


async def test_resolve_decides_transfers_in_review(client: Client, sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", "reset_before", times=1)
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(6), batch_id="b", policy=QUICK)
        outcomes = {outcome.track_id: outcome async for outcome in batch.outcomes()}
        assert Counter(type(outcome).__name__ for outcome in outcomes.values()) == {"Succeeded": 4, "Unknown": 2}
        [first, second] = await paystar.payouts.review()
        assert (first.state, first.batch_id) == (TransferState.NEEDS_REVIEW, "b")
        decided = await paystar.payouts.resolve(
            track_id=first.track_id, verdict="success", ref_code="r-1", note="in the statement"
        )
        assert (decided.state, decided.ref_code) == (TransferState.SUCCESS, "r-1")
        await paystar.payouts.resolve(track_id=second.track_id, verdict="resend", product="bank")
        assert (await batch.wait()).succeeded.count == 6
        history = await paystar.payouts.history(track_id=first.track_id)
        assert [event.after for event in history][-1] is TransferState.SUCCESS
        assert "in the statement" in history[-1].detail
        assert (await paystar.payouts.find(track_id=second.track_id)).attempt == 2
    assert {line.count for line in sandbox.ledger.values()} == {1}
    assert first.track_id not in sandbox.ledger


async def test_resolve_transfer_not_in_review_is_refused(client: Client) -> None:
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(1), batch_id="b")).wait()
        with pytest.raises(InvalidValue, match='"success", "failed" or "resend"'):
            await paystar.payouts.resolve(track_id="t-0", verdict="yes")  # type: ignore[arg-type]
        with pytest.raises(InvalidValue, match="needs review, got one that is success"):
            await paystar.payouts.resolve(track_id="t-0", verdict="failed")
        with pytest.raises(InvalidValue, match="a transfer on record, got 'none'"):
            await paystar.payouts.resolve(track_id="none", verdict="failed")


async def test_find_ambiguous_track_id_needs_product(client: Client) -> None:
    async with client() as paystar:
        same = WalletTransfer(
            amount=5, destination_number=IBAN, destination_firstname="a", destination_lastname="b", track_id="t-0"
        )
        await (await paystar.payouts.submit(transfers(1), batch_id="b")).wait()
        await (await paystar.payouts.submit([same], batch_id="w")).wait()
        with pytest.raises(InvalidValue, match="product"):
            await paystar.payouts.find(track_id="t-0")
        assert (await paystar.payouts.find(track_id="t-0", product="wallet")).amount == 5


async def test_recover_continues_after_restart(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        await paystar.payouts.submit(transfers(30), batch_id="b", policy=QUICK)
    sandbox.settings.settle_seconds = 0.0
    sandbox.advance(7200)
    async with client() as paystar:
        await paystar.payouts.recover()
        batch = await paystar.payouts.batch("b")
        assert (await batch.wait()).succeeded.count == 30
    assert {line.count for line in sandbox.ledger.values()} == {1}


async def test_use_own_queue_advances_chunks(client: Client, sandbox: Sandbox) -> None:
    class Queue:
        def __init__(self) -> None:
            self.woken: list[str] = []
            self.starts = 0

        async def wake(self, chunk_ids: Any, connection: Any = None) -> None:
            assert connection is None
            self.woken += chunk_ids

        def start(self) -> None:
            self.starts += 1

        async def aclose(self) -> None: ...

    async with client() as paystar:
        queue = Queue()
        paystar.payouts.use(queue)
        batch = await paystar.payouts.submit(transfers(5), batch_id="b", policy=QUICK)
        assert len(queue.woken) == 3
        assert not sandbox.ledger
        for chunk_id in queue.woken:
            assert await paystar.payouts.advance(chunk_id) is None
        assert await paystar.payouts.advance(queue.woken[0]) is None
        assert (await batch.report()).succeeded.count == 5
        await paystar.payouts.recover()
        assert len(queue.woken) == 3


async def test_recover_ignores_batch_of_other_application(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        await paystar.payouts.pause()
        await paystar.payouts.submit(transfers(2), batch_id="b")
    async with client(application=Application(id="another", access_password="p", api_key="k")) as paystar:
        with pytest.raises(InvalidValue, match="batch_id"):
            await paystar.payouts.submit(transfers(2), batch_id="b")
        await paystar.payouts.recover()
    assert not sandbox.ledger


def test_now_uses_given_clock(sandbox: Sandbox, tmp_path: Path) -> None:
    paystar = Paystar(sandbox.application, engine=sandbox.engine(), database=tmp_path / "a.db", clock=ManualClock())

    async def now() -> float:
        async with paystar:
            return await paystar.payouts.now()

    assert asyncio.run(now()) == ManualClock().time()
