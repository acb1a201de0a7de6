"""Test ``paystar.payouts``: submit, outcomes, operations and their arguments."""

import asyncio
import csv
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest

from paystar_async import Application, Crypto, ManualClock, Paystar, Policy, Transfer, WalletTransfer
from paystar_async.errors import (
    ConfigurationError,
    InvalidRows,
    InvalidValue,
    NotSent,
    StorageUnavailable,
    TrackIdConflict,
    WrongStorageKey,
)
from paystar_async.outcomes import Failed, Pending, Succeeded
from paystar_async.payouts.models import TransferState
from paystar_async.sandbox import Sandbox
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.files import DEPOSIT, IBAN, row, table, write_csv

OTHER_DEPOSIT = "0100987654321"
QUICK = Policy(chunk=2, quiet_window=0.2)


def transfer(number: int = 1, **other: Any) -> Transfer:
    values: dict[str, Any] = row(number, pay_id=None) | {"amount": 1_000 + 10 * number} | other
    return Transfer(**values)


def transfers(count: int) -> list[Transfer]:
    return [transfer(number) for number in range(count)]


def wallet_transfer(number: int = 1) -> WalletTransfer:
    return WalletTransfer(
        amount=500,
        destination_number=IBAN,
        destination_firstname="علی",
        destination_lastname="نوری",
        track_id=f"w-{number}",
    )


@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    return sandbox


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Paystar]:
    """Return a factory of sandbox clients with their own ledger."""

    def client(**overrides: Any) -> Paystar:
        settings: dict[str, Any] = {"database": tmp_path / "payouts.db", "timeout": 1.0, "engine": sandbox.engine()}
        settings |= {"application": sandbox.application, "wallet": sandbox.wallet}
        return Paystar(**{**settings, **overrides})

    return client


Client = Callable[..., Paystar]


async def test_outcomes_yields_each_transfer_once(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(7), batch_id="b", policy=QUICK)
        assert (batch.id, batch.count, batch.amount, batch.product) == ("b", 7, 7_210, "bank")
        assert (batch.policy, repr(batch)) == (QUICK, "Batch('b', 7 transfers, 7,210 Rial)")
        outcomes = [outcome async for outcome in batch.outcomes()]
    assert {type(outcome) for outcome in outcomes} == {Succeeded}
    assert sorted(outcome.track_id for outcome in outcomes) == [f"t-{number}" for number in range(7)]
    assert {line.count for line in sandbox.ledger.values()} == {1}


async def test_submit_accepts_iterables_and_files(client: Client, sandbox: Sandbox, tmp_path: Path) -> None:
    async def later() -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            yield row(number, amount=7, pay_id=None)

    async with client() as paystar:
        assert (await (await paystar.payouts.submit(later(), batch_id="a")).wait()).done
        file = write_csv(tmp_path / "a.csv", table([row(8), row(9)]))
        planned = await paystar.payouts.plan(file)
        assert (await (await paystar.payouts.submit(file, batch_id="f", planned=planned)).wait()).succeeded.count == 2
    assert len(sandbox.ledger) == 5


async def test_submit_wallet_transfers_are_paid(client: Client, sandbox: Sandbox) -> None:
    sandbox.fail("wallet.settle", "reset_after", times=1)
    async with client() as paystar:
        batch = await paystar.payouts.submit(
            [wallet_transfer(1), wallet_transfer(2), wallet_transfer(3)], batch_id="w", policy=QUICK
        )
        assert batch.product == "wallet"
        assert (await batch.wait()).succeeded.count == 3
        assert (await paystar.payouts.reconcile(timedelta(hours=1))).ok
    assert {line.count for line in sandbox.ledger.values()} == {1}


async def test_submit_same_batch_returns_existing_batch(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(3), batch_id="b")).wait()
        second = await paystar.payouts.submit(transfers(3), batch_id="b")
        assert [type(outcome) async for outcome in second.outcomes()] == [Succeeded] * 3
        other = await paystar.payouts.submit([*transfers(3), transfer(9)], batch_id="other")
        assert len([outcome async for outcome in other.outcomes()]) == 4
        assert [batch.id for batch in await paystar.payouts.batches()] == ["other", "b"]
        with pytest.raises(InvalidValue, match="expected a unique name: 'b' is 3 transfers"):
            await paystar.payouts.submit(transfers(4), batch_id="b")
        with pytest.raises(TrackIdConflict):
            await paystar.payouts.submit([transfer(9, amount=5), transfer(10)], batch_id="third")
    assert {line.count for line in sandbox.ledger.values()} == {1}
    assert "t-10" not in sandbox.ledger


async def test_submit_invalid_rows_sends_nothing(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        bad: list[Any] = [
            *transfers(3),
            transfer(1),
            transfer(5, destination_account=IBAN[:-1] + "9"),
            wallet_transfer(),
        ]
        with pytest.raises(InvalidRows) as refused:
            await paystar.payouts.submit(bad, batch_id="b")
        assert [(error.row, error.field) for error in refused.value.rows] == [
            (4, "track_id"),
            (5, "destination_account"),
            (6, ""),
        ]
        with pytest.raises(InvalidValue, match="expected a batch on record"):
            await paystar.payouts.batch("b")
        await paystar.payouts.recover()
    assert not sandbox.stats["requests"]


@pytest.mark.parametrize("batch_id", ["", "x" * 201, 7, None, "a\nb"])
async def test_submit_invalid_batch_id_is_refused(batch_id: Any, client: Client) -> None:
    async with client() as paystar:
        with pytest.raises(InvalidValue, match="batch_id"):
            await paystar.payouts.submit(transfers(1), batch_id=batch_id)


async def test_outcomes_rejected_transfer_fails_alone(client: Client) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit([transfer(1), transfer(2, amount=10_999), transfer(3)], batch_id="b")
        outcomes = {outcome.track_id: outcome async for outcome in batch.outcomes()}
        report = await batch.report()
    assert isinstance(outcomes["t-2"], Failed)
    assert (report.succeeded.count, report.failed.count, report.done) == (2, 1, True)
    assert str(report) == "b: 1 failed (10,999 Rial), 2 success (2,040 Rial)"


async def test_outcomes_leaving_loop_keeps_paying(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(20), batch_id="b", policy=QUICK)
        async for _ in batch.outcomes():
            break
        assert (await batch.wait()).succeeded.count == 20


async def test_wait_timeout_returns_report(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="b")
        report = await batch.wait(timeout=0.3)
        assert (report.done, report.under_way.count, report.total.amount) == (False, 2, 2_010)
        with pytest.raises(InvalidValue, match="timeout"):
            await batch.wait(timeout=0)


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


async def test_pause_deposit_keeps_other_deposits_paying(client: Client, sandbox: Sandbox) -> None:
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


async def test_wait_closed_client_raises_not_sent(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    paystar = client()
    batch = await paystar.payouts.submit(transfers(2), batch_id="b")
    waiting: list[asyncio.Task[Any]] = [
        asyncio.create_task(batch.wait()),
        asyncio.create_task(collect(batch.outcomes())),
    ]
    await asyncio.sleep(0)
    await paystar.aclose()
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, NotSent)
        assert "payouts.recover()" in str(ended)
    sandbox.settings.settle_seconds = 0.0  # for transfers that were not sent yet
    sandbox.advance(7200)
    async with paystar:
        assert (await (await paystar.payouts.batch("b")).wait()).succeeded.count == 2


async def collect(outcomes: AsyncIterator[Any]) -> list[Any]:
    return [outcome async for outcome in outcomes]


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


async def test_advance_waiting_chunk_returns_seconds(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        await paystar.payouts.submit(transfers(1), batch_id="b")
        chunk_id = (await paystar.payouts.find(track_id="t-0")).chunk_id
        while (seconds := await paystar.payouts.advance(chunk_id)) == 0.0:
            pass
        assert seconds is not None
        assert 0 < seconds < 60


async def test_export_escapes_formulas_and_masks_accounts(client: Client, tmp_path: Path) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit([transfer(1, track_id="=1+1"), transfer(2)], batch_id="b")
        await batch.wait()
        await batch.export(tmp_path / "out.csv")
        assert [record.track_id async for record in batch.transfers(TransferState.SUCCESS)] == ["=1+1", "t-2"]
        assert [record.track_id async for record in batch.transfers(TransferState.FAILED)] == []
    text = (tmp_path / "out.csv").read_text("utf-8-sig")
    [first, second] = csv.DictReader(text.splitlines())
    assert (first["track_id"], first["amount"], first["state"]) == ("'=1+1", "1010", "success")
    assert (second["number"], second["deposit"], second["destination"][-4:]) == ("2", "*********6789", "0001")
    assert DEPOSIT not in text
    assert IBAN not in text


@pytest.mark.parametrize("method", ["submit", "batch", "batches", "recover", "pause", "resume", "review", "reconcile"])
async def test_payouts_without_database_names_setting(method: str, sandbox: Sandbox) -> None:
    async with Paystar(sandbox.application, engine=sandbox.engine()) as paystar:
        calls: dict[str, Any] = {
            "submit": lambda: paystar.payouts.submit(transfers(1), batch_id="b"),
            "batch": lambda: paystar.payouts.batch("b"),
            "reconcile": lambda: paystar.payouts.reconcile(60),
        }
        with pytest.raises(ConfigurationError, match="PAYSTAR_DATABASE"):
            await calls.get(method, lambda: getattr(paystar.payouts, method)())()
        assert (await paystar.payouts.plan(transfers(2))).total == 2_010  # which needs none


async def test_submit_without_account_names_setting(client: Client, sandbox: Sandbox) -> None:
    async with client(application=None) as paystar:
        with pytest.raises(ConfigurationError, match="PAYSTAR_APPLICATION_ID"):
            await paystar.payouts.submit(transfers(1), batch_id="b")
    async with client(wallet=None) as paystar:
        with pytest.raises(ConfigurationError, match="PAYSTAR_WALLET_HASHID"):
            await paystar.payouts.submit([wallet_transfer()], batch_id="b")


async def test_submit_engine_without_before_send_records_nothing(
    client: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sandbox.engine()
    monkeypatch.setattr(type(engine), "supports_before_send", False)
    async with client(engine=engine) as paystar:
        with pytest.raises(ConfigurationError, match="first byte"):
            await paystar.payouts.submit(transfers(1), batch_id="b")
        with pytest.raises(InvalidValue):
            await paystar.payouts.batch("b")


async def test_submit_unwritable_ledger_sends_nothing(client: Client, sandbox: Sandbox, tmp_path: Path) -> None:
    async with client(database=tmp_path / "none" / "payouts.db") as paystar:
        with pytest.raises(StorageUnavailable):
            await paystar.payouts.submit(transfers(1), batch_id="b")
    assert not sandbox.stats["requests"]


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("*.db*"))


async def test_submit_with_crypto_encrypts_ledger(client: Client, tmp_path: Path) -> None:
    crypto = Crypto([Crypto.new_key()])
    async with client(crypto=crypto, keys=str(tmp_path / "keys.db")) as paystar:
        assert (await (await paystar.payouts.submit(transfers(2), batch_id="b")).wait()).done
        await paystar.keys.replace("application", token="a-new-one", refresh_token="and-its-own")
    stored = contents(tmp_path)
    assert b"0100123456789" in stored  # the deposit account is the user's own, and a key of the ledger
    assert IBAN.encode() not in stored
    assert "احمدی".encode() not in stored
    assert b"and-its-own" not in stored
    async with client() as paystar:
        with pytest.raises(WrongStorageKey):
            await paystar.payouts.batch("b")


async def test_crypto_keys_are_read_from_environment(
    client: Client, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="crypto must be given as Crypto"):
        client(crypto="a key")
    newest, older = Crypto.new_key(), Crypto.new_key()
    async with client(crypto=Crypto([older])) as paystar:
        await (await paystar.payouts.submit(transfers(1), batch_id="b")).wait()
    monkeypatch.setenv("PAYSTAR_CRYPTO_KEYS", f"{newest}, {older}")
    monkeypatch.setenv("PAYSTAR_DATABASE", str(tmp_path / "payouts.db"))
    async with Paystar.from_env(application=sandbox.application, engine=sandbox.engine()) as paystar:
        assert (await (await paystar.payouts.batch("b")).report()).done


async def test_submit_given_database_stays_open(client: Client, tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "mine.db")
    async with client(database=database) as paystar:
        assert (await (await paystar.payouts.submit(transfers(1), batch_id="b")).wait()).done
    assert await database.fetch("SELECT batch_id FROM paystar_payout_batches") == [{"batch_id": "b"}]
    await database.aclose()


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


def test_outcomes_on_trio_yields_all(client: Client, sandbox: Sandbox) -> None:
    async def run() -> int:
        async with client() as paystar:
            batch = await paystar.payouts.submit(transfers(5), batch_id="b", policy=QUICK)
            return len([outcome async for outcome in batch.outcomes()])

    assert anyio.run(run, backend="trio") == 5
    assert {line.count for line in sandbox.ledger.values()} == {1}


async def test_submit_connection_with_file_ledger_is_refused(
    sandbox: Sandbox, tmp_path: Path, postgres_schema: str
) -> None:
    async with (
        Paystar(application=sandbox.application, engine=sandbox.engine(), database=tmp_path / "p.db") as paystar,
        await psycopg.AsyncConnection.connect(postgres_schema) as connection,
    ):
        with pytest.raises(ConfigurationError, match="in a file"):
            await paystar.payouts.submit(transfers(1), batch_id="b", connection=connection)
        assert await paystar.payouts.batches() == []


OUT_OF_AN_ADDRESS: list[Any] = ["b\0", "b\ud83d", "", "b\n", "b" * 1001, 7, None, b"b", ["b"]]


async def refused(sandbox: Sandbox, home: Path, method: str, **arguments: Any) -> str:
    """Return the field that a method of ``payouts`` refuses, in a ledger with a batch ``b``."""
    async with Paystar(application=sandbox.application, engine=sandbox.engine(), database=home / "p.db") as paystar:
        await paystar.payouts.submit(transfers(1), batch_id="b")
        with pytest.raises(InvalidValue) as refusal:
            await getattr(paystar.payouts, method)(**arguments)
    return refusal.value.field


@pytest.mark.parametrize("value", OUT_OF_AN_ADDRESS, ids=ascii)
@pytest.mark.parametrize(
    ("method", "field", "arguments"),
    [
        ("batch", "batch_id", {}),
        ("submit", "batch_id", {"transfers": transfers(1)}),
        ("find", "track_id", {}),
        ("history", "track_id", {}),
        ("resolve", "track_id", {"verdict": "failed"}),
        ("advance", "chunk_id", {}),
    ],
)
async def test_payouts_invalid_id_is_refused(
    sandbox: Sandbox, tmp_path: Path, method: str, field: str, arguments: dict[str, Any], value: Any
) -> None:
    assert await refused(sandbox, tmp_path, method, **arguments, **{field: value}) == field


@pytest.mark.parametrize(
    ("method", "field", "value", "arguments"),
    [
        ("resolve", "note", "a\0", {"track_id": "t-0", "verdict": "failed"}),
        ("resolve", "note", "a\ud83d", {"track_id": "t-0", "verdict": "failed"}),
        ("resolve", "note", None, {"track_id": "t-0", "verdict": "failed"}),
        ("resolve", "ref_code", "1\0", {"track_id": "t-0", "verdict": "success"}),
        ("resolve", "ref_code", 14, {"track_id": "t-0", "verdict": "success"}),
        ("resolve", "verdict", "failed\0", {"track_id": "t-0"}),
        ("find", "product", "cash", {"track_id": "t-0"}),
        ("history", "product", ["bank"], {"track_id": "t-0"}),
        ("pause", "deposit", "0100\0", {}),
        ("pause", "deposit", True, {}),
        ("resume", "deposit", "0100\ud83d", {}),
        ("review", "limit", 0, {}),
        ("review", "limit", "5", {}),
        ("batches", "limit", -1, {}),
        ("batches", "limit", 2**63, {}),
        ("batches", "limit", None, {}),
    ],
)
async def test_payouts_invalid_argument_is_refused(
    sandbox: Sandbox, tmp_path: Path, method: str, field: str, value: Any, arguments: dict[str, Any]
) -> None:
    assert await refused(sandbox, tmp_path, method, **arguments, **{field: value}) == field
