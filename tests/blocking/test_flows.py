"""The flows of the blocking client, against a sandbox: transfers, payments, payouts."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from paystar_async import Callback, Transfer, WalletTransfer
from paystar_async.blocking import BlockingPaystar
from paystar_async.errors import InvalidValue
from paystar_async.outcomes import Succeeded
from paystar_async.payments import Payment, Verified
from paystar_async.payouts.models import TransferState
from paystar_async.sandbox import Sandbox
from tests.blocking.support import loop_threads
from tests.support import transfer


@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    return sandbox


@pytest.fixture
def paystar(sandbox: Sandbox, tmp_path: Path) -> Iterator[BlockingPaystar]:
    with BlockingPaystar(
        application=sandbox.application,
        gateway=sandbox.gateway,
        wallet=sandbox.wallet,
        engine=sandbox.engine(),
        database=tmp_path / "paystar.db",
    ) as paystar:
        yield paystar
    assert not loop_threads()


class Source:
    """Transfers that record where and how far they are read."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error, self.read, self.threads = count, error, 0, set[int]()

    def __iter__(self) -> Iterator[Transfer]:
        for number in range(self.count):
            self.read += 1
            self.threads.add(threading.get_ident())
            yield transfer(f"t-{number}")
        if self.error is not None:
            raise self.error


class TestTransfers:
    def test_wait_returns_outcome(self, paystar: BlockingPaystar) -> None:
        paystar.transfers.settle(transfers=[transfer("t-1")])
        assert isinstance(paystar.transfers.wait(track_id="t-1", timeout=10), Succeeded)

    def test_wallet_wait_returns_outcome(self, paystar: BlockingPaystar) -> None:
        paystar.wallet.settle(
            transfers=[
                WalletTransfer(
                    amount=50_000,
                    destination_number="IR820540102680020817909002",
                    destination_firstname="Sara",
                    destination_lastname="Ahmadi",
                    track_id="w-1",
                )
            ]
        )
        assert isinstance(paystar.wallet.wait(track_id="w-1", timeout=10), Succeeded)

    def test_iterate_yields_entries(self, paystar: BlockingPaystar) -> None:
        paystar.transfers.settle(transfers=[transfer(f"t-{number}") for number in range(5)])
        assert {entry.track_id for entry in paystar.transfers.iterate(page=2)} == {f"t-{number}" for number in range(5)}

    def test_batch_reads_source_in_calling_thread(self, paystar: BlockingPaystar) -> None:
        source = Source(120)
        outcomes = list(paystar.transfers.batch(source, chunk=7))
        assert {outcome.track_id for outcome in outcomes} == {f"t-{number}" for number in range(120)}
        assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
        assert source.threads == {threading.get_ident()}

    def test_batch_source_error_follows_outcomes(self, paystar: BlockingPaystar) -> None:
        outcomes = paystar.transfers.batch(Source(3, OSError("disk")), chunk=1)
        assert {next(outcomes).track_id for _ in range(3)} == {"t-0", "t-1", "t-2"}
        with pytest.raises(OSError, match="disk"):
            next(outcomes)

    def test_batch_left_early_reads_no_further(self, paystar: BlockingPaystar) -> None:
        source = Source(100_000)
        for outcome in paystar.transfers.batch(source, chunk=1):
            assert isinstance(outcome, Succeeded)
            break
        assert source.read < 1_000

    def test_batch_dropped_without_loop_thread_is_closed(self, paystar: BlockingPaystar) -> None:
        outcomes = paystar.transfers.batch([transfer("t-1"), transfer("t-2")], chunk=1)
        next(outcomes)
        paystar.close()
        del outcomes
        gc.collect()

    @pytest.mark.parametrize("source", ["transfers", {"track_id": "t"}, 5])
    def test_batch_wrong_source_is_invalid(self, paystar: BlockingPaystar, source: object) -> None:
        with pytest.raises(InvalidValue, match="an iterable of Transfer"):
            list(paystar.transfers.batch(source))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class TestPayments:
    def buy(self, paystar: BlockingPaystar, sandbox: Sandbox) -> Callback:
        started = paystar.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
        return Callback.parse(sandbox.pay(started.url))

    def test_confirm_verifies_and_notifies_handler(self, paystar: BlockingPaystar, sandbox: Sandbox) -> None:
        notified: list[str] = []

        @paystar.payments.on_verified
        def hand_over(payment: Payment) -> None:
            order = paystar.payments.find(order_id=payment.order_id)  # a handler may use the client
            assert order is not None
            notified.append(order.order_id)

        payment = paystar.payments.confirm(self.buy(paystar, sandbox))
        assert isinstance(payment.outcome, Verified)
        assert notified == ["o-1"]
        assert hand_over is not None

    def test_sweep_of_nothing_due_is_empty(self, paystar: BlockingPaystar) -> None:
        assert paystar.payments.sweep() == []

    def test_sweeping_checks_in_background(self, paystar: BlockingPaystar, sandbox: Sandbox) -> None:
        notified = threading.Event()
        callback = self.buy(paystar, sandbox)
        paystar.payments.confirm(callback)  # verified, and no handler yet: the sweeper notifies

        @paystar.payments.on_verified
        def notify(_: Payment) -> None:
            notified.set()

        with paystar.payments.sweeping(every=0.01):
            assert notified.wait(20)

    def test_sweeping_invalid_interval_is_refused(self, paystar: BlockingPaystar) -> None:
        with pytest.raises(InvalidValue, match="every"), paystar.payments.sweeping(every=0):
            pass


class TestPayouts:
    def test_submit_pays_batch(self, paystar: BlockingPaystar, tmp_path: Path) -> None:
        source = Source(60)
        plan = paystar.payouts.plan(source)
        batch = paystar.payouts.submit(Source(60), batch_id="b", planned=plan)
        assert (batch.id, batch.count, batch.amount, batch.product) == ("b", 60, 60_000, "bank")
        outcomes = list(batch.outcomes())
        assert len(outcomes) == 60
        assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
        assert batch.wait(timeout=10).states[TransferState.SUCCESS].count == 60
        assert len(list(batch.transfers(TransferState.SUCCESS))) == 60
        batch.export(tmp_path / "report.csv")
        assert (tmp_path / "report.csv").exists()
        assert source.threads == {threading.get_ident()}
        assert [each.id for each in paystar.payouts.batches()] == ["b"]
        assert repr(paystar.payouts.batch("b")) == "BlockingBatch('b', 60 transfers, 60,000 Rial)"
        assert paystar.payouts.find(track_id="t-1").state is TransferState.SUCCESS
        assert paystar.payouts.reconcile(3600).ok

    def test_pause_and_resume(self, paystar: BlockingPaystar) -> None:
        paystar.payouts.pause()
        assert paystar.payouts.resume() == 0
        assert paystar.payouts.review() == []
