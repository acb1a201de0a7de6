"""A whole transaction handed to the thread of a file at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from paystar_async.clock import ManualClock
from paystar_async.errors import SchemaMismatch
from paystar_async.storage.database import Transaction
from paystar_async.storage.sqlite import SqliteDatabase

NAMES = "SELECT name FROM things ORDER BY name"
PUT = "INSERT INTO things (name) VALUES (:name)"


@pytest_asyncio.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    db = SqliteDatabase(tmp_path / "paystar.db", clock=ManualClock(start=100.0))
    await db.migrate("things", ("CREATE TABLE things (name TEXT PRIMARY KEY)",))
    yield db
    await db.aclose()


async def names(db: SqliteDatabase) -> list[str]:
    return [row["name"] for row in await db.fetch(NAMES)]


async def test_it_happens_as_a_whole_and_gives_what_it_says(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> float:
        assert await transaction.execute(PUT, {"name": "a"}) == 1
        [row] = await transaction.fetch("SELECT COUNT(*) AS count, CAST(:now AS DOUBLE PRECISION) AS now FROM things")
        assert row["count"] == 1
        now: float = row["now"]
        return now

    assert await db.atomically(work) == 100.0
    assert await names(db) == ["a"]


async def test_what_raises_leaves_nothing(db: SqliteDatabase) -> None:
    async def wrong(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "a"})
        raise LookupError("not so")

    with pytest.raises(LookupError):
        await db.atomically(wrong)

    async def broken(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "b"})
        await transaction.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(SchemaMismatch):
        await db.atomically(broken)
    assert await names(db) == []


async def test_work_that_waits_for_something_else_is_refused_and_undone(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "a"})
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="other than its statements"):
        await db.atomically(work)
    assert await names(db) == []


async def test_it_waits_for_a_transaction_under_way(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> list[str]:
        return [row["name"] for row in await transaction.fetch(NAMES)]

    async with db.transaction() as transaction:
        task = asyncio.create_task(db.atomically(work))
        await anyio.wait_all_tasks_blocked()
        assert not task.done()
        await transaction.execute(PUT, {"name": "a"})
    assert await task == ["a"]


async def test_who_is_cancelled_while_it_waits_wants_nothing_any_more(db: SqliteDatabase) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(PUT, {"name": "late"})

    async with db.transaction() as transaction:
        task = asyncio.create_task(db.atomically(work))
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        await asyncio.wait([task])
        await transaction.execute(PUT, {"name": "a"})
    assert await names(db) == ["a"]
