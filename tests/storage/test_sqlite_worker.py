"""The worker thread of a SQLite file: transactions in one step, and batches of queued transactions."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest
import pytest_asyncio

from paystar_async.errors import SchemaMismatch, StorageCorrupt, StorageError
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage import sqlite_worker
from paystar_async.storage.database import Transaction
from paystar_async.storage.sqlite import SqliteDatabase
from paystar_async.storage.sqlite_worker import connect
from tests.support import needs_posix

T = TypeVar("T")

NAMES = "SELECT name FROM things ORDER BY name"
PUT = "INSERT INTO things (name) VALUES (:name)"


@pytest_asyncio.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    db = SqliteDatabase(tmp_path / "paystar.db", clock=ManualClock(start=100.0))
    await db.migrate("things", ("CREATE TABLE things (name TEXT PRIMARY KEY)",))
    yield db
    await db.aclose()


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the COMMITs of all files opened in this test."""
    statements: list[str] = []

    def connect_traced(path: Path, busy_timeout: float, *, creates: bool) -> sqlite3.Connection:
        connection = connect(path, busy_timeout, creates=creates)
        connection.set_trace_callback(lambda sql: statements.append(sql) if sql == "COMMIT" else None)
        return connection

    monkeypatch.setattr(sqlite_worker, "connect", connect_traced)
    return statements


async def test_execute_failed_constraint_names_the_remedy(db: SqliteDatabase) -> None:
    await db.execute(PUT, {"name": "a"})

    with pytest.raises(StorageError) as caught:
        await db.execute(PUT, {"name": "a"})

    assert "restore all tables from one backup" in caught.value.hint


async def run_queued(
    db: SqliteDatabase, works: Sequence[Callable[[Transaction], Coroutine[Any, Any, T]]]
) -> list[asyncio.Task[T]]:
    """Run transactions that queue behind an open transaction; return their tasks, which are done."""
    async with db.transaction():
        tasks = [asyncio.create_task(db.run_transaction(work)) for work in works]
        await anyio.wait_all_tasks_blocked()
    await asyncio.wait(tasks)
    return tasks


async def names(db: SqliteDatabase) -> list[str]:
    return [row["name"] for row in await db.fetch(NAMES)]


async def test_run_transaction_commits_and_returns_result(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> float:
        assert await transaction.execute(PUT, {"name": "a"}) == 1
        [row] = await transaction.fetch("SELECT COUNT(*) AS count, CAST(:now AS DOUBLE PRECISION) AS now FROM things")
        assert row["count"] == 1
        now: float = row["now"]
        return now

    assert await db.run_transaction(work) == 100.0
    assert await names(db) == ["a"]


async def test_text_that_is_not_utf8_is_not_shown(db: SqliteDatabase, tmp_path: Path) -> None:
    await db.execute(PUT, {"name": "canary"})
    with closing(sqlite3.connect(tmp_path / "paystar.db")) as connection, connection:
        connection.execute("UPDATE things SET name = CAST(x'63616e617279ff' AS TEXT)")
    for fetch in (db.fetch(NAMES), db.run_transaction(lambda transaction: transaction.fetch(NAMES))):
        with pytest.raises(StorageCorrupt, match="column 'name'") as raised:
            await fetch
        assert "canary" not in str(raised.value)


async def test_schema_that_is_not_utf8_is_corrupt(db: SqliteDatabase, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "paystar.db")) as connection, connection:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("UPDATE sqlite_master SET sql = CAST(x'637265617465ff2066' AS TEXT) WHERE name = 'things'")
    await db.aclose()
    with pytest.raises(StorageCorrupt, match="damaged"):
        await db.fetch(NAMES)


async def test_run_transaction_error_stores_nothing(db: SqliteDatabase) -> None:
    async def fail(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "a"})
        raise LookupError("rejected")

    with pytest.raises(LookupError):
        await db.run_transaction(fail)

    async def fail_in_sql(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "b"})
        await transaction.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(SchemaMismatch):
        await db.run_transaction(fail_in_sql)
    assert await names(db) == []


async def test_run_transaction_foreign_await_is_rolled_back(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "a"})
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="other than its statements"):
        await db.run_transaction(work)
    assert await names(db) == []


async def test_run_transaction_waits_for_running_transaction(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> list[str]:
        return [row["name"] for row in await transaction.fetch(NAMES)]

    async with db.transaction() as transaction:
        task = asyncio.create_task(db.run_transaction(work))
        await anyio.wait_all_tasks_blocked()
        assert not task.done()
        await transaction.execute(PUT, {"name": "a"})
    assert await task == ["a"]


async def test_run_transaction_cancelled_in_queue_is_not_run(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "late"})

    async with db.transaction() as transaction:
        task = asyncio.create_task(db.run_transaction(work))
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        await asyncio.wait([task])
        await transaction.execute(PUT, {"name": "a"})
    assert await names(db) == ["a"]


def insert(name: str) -> Callable[[Transaction], Coroutine[Any, Any, list[str]]]:
    async def work(transaction: Transaction) -> list[str]:
        await transaction.execute(PUT, {"name": name})
        return [row["name"] for row in await transaction.fetch(NAMES)]

    return work


async def test_worker_commits_queued_transactions_together(commits: list[str], db: SqliteDatabase) -> None:
    before = len(commits)
    tasks = await run_queued(db, [insert("a"), insert("b"), insert("c")])
    assert [task.result() for task in tasks] == [["a"], ["a", "b"], ["a", "b", "c"]]
    assert len(commits) - before == 1 + 1  # the blocking transaction, and the batch of three


async def test_worker_read_in_batch_sees_earlier_writes(commits: list[str], db: SqliteDatabase) -> None:
    before = len(commits)
    async with db.transaction():
        first = asyncio.create_task(db.run_transaction(insert("a")))
        read_task = asyncio.create_task(names(db))
        last = asyncio.create_task(db.run_transaction(insert("b")))
        await anyio.wait_all_tasks_blocked()
    assert (await first, await read_task, await last) == (["a"], ["a"], ["a", "b"])
    assert len(commits) - before == 1 + 1


async def test_worker_open_transaction_is_not_batched(commits: list[str], db: SqliteDatabase) -> None:
    async def slow() -> list[str]:
        async with db.transaction() as transaction:
            await transaction.execute(PUT, {"name": "b"})
            await anyio.lowlevel.checkpoint()
            return [row["name"] for row in await transaction.fetch(NAMES)]

    before = len(commits)
    async with db.transaction():
        first = asyncio.create_task(db.run_transaction(insert("a")))
        middle = asyncio.create_task(slow())
        last = asyncio.create_task(db.run_transaction(insert("c")))
        await anyio.wait_all_tasks_blocked()
    assert (await first, await middle, await last) == (["a"], ["a", "b"], ["a", "b", "c"])
    assert len(commits) - before == 1 + 3


async def test_worker_failed_transaction_fails_alone(db: SqliteDatabase) -> None:
    async def fail(transaction: Transaction) -> list[str]:
        await transaction.execute(PUT, {"name": "fail"})
        raise LookupError("rejected")

    first, failed, twice, last = await run_queued(db, [insert("a"), fail, insert("a"), insert("b")])
    assert first.result() == ["a"]
    assert isinstance(failed.exception(), LookupError)
    assert isinstance(twice.exception(), StorageError)
    assert last.result() == ["a", "b"]
    assert await names(db) == ["a", "b"]


async def test_worker_failed_read_fails_alone(db: SqliteDatabase) -> None:
    async with db.transaction():
        first = asyncio.create_task(db.run_transaction(insert("a")))
        read_task = asyncio.create_task(db.fetch("SELECT name FROM nowhere"))
        last = asyncio.create_task(db.run_transaction(insert("b")))
        await anyio.wait_all_tasks_blocked()
    with pytest.raises(SchemaMismatch):
        await read_task
    assert (await first, await last) == (["a"], ["a", "b"])


async def test_worker_skips_cancelled_transaction(db: SqliteDatabase) -> None:
    async with db.transaction():
        tasks = [asyncio.create_task(db.run_transaction(insert(name))) for name in "abc"]
        await anyio.wait_all_tasks_blocked()
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
    assert (await tasks[0], await tasks[2]) == (["a"], ["a", "c"])


@needs_posix
def test_worker_full_disk_fails_writes_but_not_reads(tmp_path: Path) -> None:
    """The disk is full at the commit; nothing is written before the commit."""
    script = """
import asyncio, os, resource, sys
from paystar_async.errors import StorageUnavailable
from paystar_async.storage.sqlite import SqliteDatabase

async def main():
    db = SqliteDatabase(sys.argv[1])
    await db.migrate("things", ("CREATE TABLE things (name TEXT)",))
    room = os.path.getsize(sys.argv[1] + "-wal")

    async def work(transaction):
        await transaction.execute("INSERT INTO things VALUES (:name)", {"name": "x" * 100_000})

    async def together():
        async with db.transaction():
            tasks = [asyncio.create_task(db.run_transaction(work)) for _ in range(2)]
            tasks.append(asyncio.create_task(db.fetch("SELECT COUNT(*) AS count FROM things")))
            tasks.append(asyncio.create_task(db.run_transaction(work)))
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    print(["full" in result.hint if isinstance(result, StorageUnavailable) else result for result in await together()])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(await together())
    await db.aclose()

asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "paystar.db")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    assert lines == ["[True, True, [{'count': 0}], True]", "[None, None, [{'count': 2}], None]"]
