"""Test the ledger's identity: a process stops if its ledger was replaced, restored or failed over."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from paystar_async.errors import SchemaMismatch, StorageError, StorageUnavailable
from paystar_async.payouts import worker
from paystar_async.payouts.dispatcher import DueQueue
from paystar_async.payouts.identity import LedgerIdentity
from paystar_async.payouts.ledger import queries, updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.leases import load_chunk
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import Policy
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.database import NONE, Parameters, Row
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, transfers
from tests.support import needs_posix

ONE_EACH = Policy(chunk=1)


def file_payout(path: Path) -> tuple[PayoutFixture, SqliteDatabase]:
    clock = ManualClock()
    database = SqliteDatabase(path, clock=clock)
    return PayoutFixture(LedgerDatabase(database, clock=clock), clock), database


def list_files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def delete_files(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()


def lose_response_of_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next transaction be committed, and fail as if its response were lost."""
    real = LedgerDatabase.run_transaction

    async def run_transaction(self: LedgerDatabase, body: Any) -> None:
        monkeypatch.setattr(LedgerDatabase, "run_transaction", real)
        await real(self, body)
        raise StorageUnavailable("the server went away")

    monkeypatch.setattr(LedgerDatabase, "run_transaction", run_transaction)


async def assert_refuses(payout: PayoutFixture, chunk: str, match: str) -> None:
    """Assert that the ledger refuses to send, read and insert, and that nothing was sent."""
    sent = len(payout.bank.calls)
    for _ in range(2):
        with pytest.raises(StorageError, match=match):
            await payout.worker.advance(chunk)
        with pytest.raises(StorageError, match=match):
            await queries.batches(payout.ledger)
        with pytest.raises(StorageError, match=match):
            await insert_batch(payout.ledger, payout.channel, "other", each(transfers(1, amount=1)))
    assert len(payout.bank.calls) == sent


@needs_posix
async def test_advance_replaced_file_sends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    payout, database = file_payout(path)
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=ONE_EACH)
    first, second = await payout.chunks()
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as target:
        source.backup(target)
    await payout.worker.advance(first)
    (tmp_path / "copy.db").replace(path)
    for name in ("l.db-wal", "l.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    await assert_refuses(payout, second, "file was replaced")
    await database.aclose()


async def test_insert_batch_replaced_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    payout, database = file_payout(path)
    await insert_batch(payout.ledger, payout.channel, "a", each(transfers(1)))
    await database.aclose()
    shutil.copy(path, tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(path)
    with pytest.raises(StorageError, match="file was replaced"):
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT batch_id FROM paystar_payout_batches").fetchall() == [("a",)]
    await database.aclose()


@needs_posix
async def test_open_deleted_file_is_not_recreated(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    payout, database = file_payout(path)
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=ONE_EACH)
    [first, _] = await payout.chunks()
    delete_files(list_files(tmp_path))
    await assert_refuses(payout, first, "deleted or moved")
    assert not list_files(tmp_path)
    await database.aclose()


@needs_posix
async def test_open_other_ledger_at_path_is_refused(tmp_path: Path) -> None:
    """A key store may create the file again."""
    path = tmp_path / "l.db"
    payout, database = file_payout(path)
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=ONE_EACH)
    [first, _] = await payout.chunks()
    delete_files(list_files(tmp_path))
    await database.migrate("keys", ["CREATE TABLE keys (name TEXT)"])
    with pytest.raises(StorageError):
        await payout.worker.advance(first)
    await assert_refuses(payout, first, "replaced by another|no such table|file was replaced")
    await database.aclose()


@needs_posix
async def test_open_restored_file_continues(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    payout, database = file_payout(path)
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    [chunk] = await payout.chunks()
    names = [file.name for file in list_files(tmp_path)]
    (tmp_path / "away").mkdir()
    for name in names:
        (tmp_path / name).rename(tmp_path / "away" / name)
    with pytest.raises(StorageUnavailable, match="deleted or moved"):
        await payout.worker.advance(chunk)
    for name in names:
        (tmp_path / "away" / name).rename(tmp_path / name)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["success"]
    await database.aclose()


async def test_advance_older_ledger_is_refused(backend: Backend, payout: PayoutFixture) -> None:
    """A backup was restored into the open file or server under a running process."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)), policy=ONE_EACH)
    chunks = await payout.chunks()
    for chunk in chunks[:2]:
        await payout.worker.advance(chunk)
    backend.sql("UPDATE paystar_payout_holds SET version = version - 1 WHERE deposit <> ''")
    await assert_refuses(payout, chunks[2], "older than it was before")


@pytest.mark.parametrize("is_commit_in_doubt", [False, True])
async def test_advance_sent_attempt_again_is_refused(
    is_commit_in_doubt: bool, backend: Backend, payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss an operator has paused and resumed, so that the versions are as high as before."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=ONE_EACH)
    chunk, _ = await payout.chunks()
    before = backend.sql(f"SELECT version, phase, due_at FROM paystar_payout_chunks WHERE chunk_id = '{chunk}'")
    if is_commit_in_doubt:
        lose_response_of_next_commit(monkeypatch)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["success", "planned"]
    [(version, phase, due_at)] = before
    backend.sql(
        f"UPDATE paystar_payout_chunks SET version = {version}, attempt = 0, phase = '{phase}', due_at = {due_at}"
        f" WHERE chunk_id = '{chunk}'"
    )
    backend.sql("UPDATE paystar_payout_transfers SET state = 'planned', attempt = 0 WHERE state = 'success'")
    for _ in range(5):
        await updates.pause(payout.ledger, payout.channel.name, payout.channel.account, "")
        await updates.resume(payout.ledger, payout.channel.name, payout.channel.account, None)

    await assert_refuses(payout, chunk, "older than it was before")


def test_note_attempt_remembers_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.payouts.identity.MAX_NOTED_CHUNKS", 2)
    identity = LedgerIdentity()
    for chunk in ("a", "b", "a", "c"):
        identity.note_attempt(chunk, 1)
    identity.check_attempt("b", 1)  # forgotten, the oldest
    for chunk in ("a", "c"):
        identity.check_attempt(chunk, 2)
        with pytest.raises(StorageError, match="older"):
            identity.check_attempt(chunk, 1)


async def test_due_queue_older_ledger_is_refused(backend: Backend, payout: PayoutFixture) -> None:
    """A process that sends nothing notes the versions that other processes wrote."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)), policy=ONE_EACH)
    chunks = await payout.chunks()
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    due_queue = DueQueue(other.ledger, (other.channel,), other.worker)
    await payout.worker.advance(chunks[0])
    await due_queue.due(10)
    backend.sql("UPDATE paystar_payout_holds SET version = version - 1 WHERE deposit <> ''")
    with pytest.raises(StorageError, match="older than it was before"):
        await due_queue.due(10)
    await assert_refuses(other, chunks[1], "older than it was before")


async def test_advance_after_failover_is_refused(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    [chunk] = await payout.chunks()
    assert payout.ledger.identity.origin
    payout.ledger.identity.origin = "0000002A"  # the timeline of the server that failed
    await assert_refuses(payout, chunk, "failed over|file was replaced")


async def test_advance_several_processes_never_look_older(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(6)), policy=ONE_EACH)
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    due_queue = DueQueue(payout.ledger, (payout.channel,), payout.worker)
    for number, chunk in enumerate(await payout.chunks()):
        await (other if number % 2 else payout).worker.advance(chunk)
        await due_queue.due(10)
    assert await payout.states() == ["success"] * 6
    assert payout.ledger.identity.runner != other.ledger.identity.runner


async def test_open_interrupted_origin_is_read_again(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without the origin would not notice a failover."""
    database = backend.database()
    ledger = LedgerDatabase(database, clock=backend.clock)
    fetch, failures = database.fetch, [StorageError("the transaction has ended")]

    async def interrupted(sql: str, parameters: Parameters = NONE) -> list[Row]:
        if ":origin" in sql and failures:
            raise failures.pop()
        return await fetch(sql, parameters)

    monkeypatch.setattr(database, "fetch", interrupted)
    with pytest.raises(StorageError, match="has ended"):
        await queries.batches(ledger)
    await queries.batches(ledger)
    assert ledger.identity.origin
    await database.aclose()


async def test_open_without_origin_continues(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a server that is no PostgreSQL, and speaks its protocol."""
    database = backend.database()
    payout = PayoutFixture(LedgerDatabase(database, clock=backend.clock), backend.clock)
    fetch = database.fetch

    async def without_origin(sql: str, parameters: Parameters = NONE) -> Sequence[Row]:
        if ":origin" in sql:
            raise SchemaMismatch("the function does not exist")
        return await fetch(sql, parameters)

    monkeypatch.setattr(database, "fetch", without_origin)
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    await payout.worker.advance((await payout.chunks())[0])
    assert await payout.states() == ["success"]
    assert "does not report its timeline" in caplog.text
    await database.aclose()


@pytest.mark.parametrize("change", ["DELETE FROM {0}", "UPDATE {0} SET value = 'other'"])
async def test_open_other_identity_is_refused(backend: Backend, payout: PayoutFixture, change: str) -> None:
    """Another ledger was restored into the same database, and a statement failed before the check."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    [chunk] = await payout.chunks()
    backend.sql(f"{change.format('paystar_payout_settings')} WHERE name = 'identity'")
    with pytest.raises(StorageError, match="no_such_table"):
        await payout.ledger.fetch("SELECT * FROM no_such_table")
    await assert_refuses(payout, chunk, "replaced by another")


@pytest.mark.parametrize("table", ["paystar_payout_chunks", "paystar_payout_holds"])
async def test_advance_vanished_row_is_refused(
    backend: Backend, payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """The ledger was restored to before the batch, between reading a chunk and leasing it."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    [chunk] = await payout.chunks()

    async def set_back(ledger: LedgerDatabase, chunk_id: str) -> object:
        snapshot = await load_chunk(ledger, chunk_id)
        backend.sql(f"DELETE FROM {table}")
        return snapshot

    monkeypatch.setattr(worker, "load_chunk", set_back)
    await assert_refuses(payout, chunk, "older than it was before")
