"""Test ``paystar.payouts``: submit, advance and the arguments of all methods."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paystar_async import Crypto, Paystar
from paystar_async.errors import (
    ConfigurationError,
    InvalidRows,
    InvalidValue,
    StorageUnavailable,
    TrackIdConflict,
    WrongStorageKey,
)
from paystar_async.outcomes import Succeeded
from paystar_async.sandbox import Sandbox
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.files import IBAN, row, table, write_csv
from tests.payouts.sandbox_clients import QUICK, Client, transfer, transfers, wallet_transfer


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
        with pytest.raises(InvalidValue, match="expected 'b' as recorded, 3 transfers of 3,030 Rial in all, got 4"):
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


async def test_advance_waiting_chunk_returns_seconds(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        await paystar.payouts.submit(transfers(1), batch_id="b")
        chunk_id = (await paystar.payouts.find(track_id="t-0")).chunk_id
        while (seconds := await paystar.payouts.advance(chunk_id)) == 0.0:
            pass
        assert seconds is not None
        assert 0 < seconds < 60


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


INVALID_IDS: list[Any] = ["b\0", "b\ud83d", "", "b\n", "b" * 1001, 7, None, b"b", ["b"]]


async def refused_field(sandbox: Sandbox, home: Path, method: str, **arguments: Any) -> str:
    """Return the field that a method of ``payouts`` refuses, in a ledger with a batch ``b``."""
    async with Paystar(application=sandbox.application, engine=sandbox.engine(), database=home / "p.db") as paystar:
        await paystar.payouts.submit(transfers(1), batch_id="b")
        with pytest.raises(InvalidValue) as refusal:
            await getattr(paystar.payouts, method)(**arguments)
    return refusal.value.field


@pytest.mark.parametrize("value", INVALID_IDS, ids=ascii)
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
    assert await refused_field(sandbox, tmp_path, method, **arguments, **{field: value}) == field


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
    assert await refused_field(sandbox, tmp_path, method, **arguments, **{field: value}) == field
