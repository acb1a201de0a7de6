"""The database interface: one suite for SQLite and PostgreSQL."""

import asyncio
import pickle
import random
import time
import traceback
import uuid

import anyio
import pytest

from paystar_async.errors import StorageError
from paystar_async.storage.database import Database, Value
from paystar_async.storage.sqlite import SqliteDatabase
from paystar_async.values.secret import Secret
from tests.storage.example_table import INSERT, ROW, SCHEMA


async def names(db: Database) -> list[str]:
    return [row["name"] for row in await db.fetch("SELECT name FROM things ORDER BY name")]


async def test_execute_stores_values_unchanged(migrated_db: Database) -> None:
    row: dict[str, Value] = {"name": "ن%s :x 'q' \"", "version": 2**62, "note": "::%(a)s", "weight": 0.1}
    assert await migrated_db.execute(INSERT, row) == 1
    assert await migrated_db.fetch("SELECT * FROM things") == [row]


async def test_execute_stores_text_of_secret(migrated_db: Database) -> None:
    await migrated_db.execute(INSERT, ROW | {"note": Secret("hush")})
    assert (await migrated_db.fetch("SELECT note FROM things"))[0]["note"] == "hush"


async def test_execute_removes_unstorable_characters(migrated_db: Database) -> None:
    await migrated_db.execute(INSERT, ROW | {"note": "009\0 ab\ud83d \ud83d\ude00"})
    assert await migrated_db.fetch("SELECT note FROM things") == [{"note": "009 ab\ufffd \U0001f600"}]


WITH_VALUES = """
INSERT INTO things (name, version, note, weight)
WITH v (name, version, note, weight) AS ({rows}) SELECT v.* FROM v WHERE true ON CONFLICT (name) DO NOTHING
"""
COLUMNS = "name TEXT, version BIGINT, note TEXT, weight DOUBLE PRECISION"


async def test_values_stores_rows_unchanged(migrated_db: Database) -> None:
    rows: list[dict[str, Value]] = [
        {"name": "ن%s :x 'q' \"", "version": 2**62, "note": "::%(a)s \\u06cc \\n", "weight": 0.1},
        {"name": "b", "version": 1, "note": Secret('{"x": "\\n"}'), "weight": None},
        {"name": "c", "version": 1, "note": None, "weight": 1e300},
    ]
    async with migrated_db.transaction() as transaction:
        query, parameters = transaction.values(COLUMNS, rows)
        assert "u06cc" not in repr(parameters) or isinstance(migrated_db, SqliteDatabase)
        assert await transaction.execute(WITH_VALUES.format(rows=query), parameters) == 3
    expected = [rows[1] | {"note": '{"x": "\\n"}'}, rows[2], rows[0]]
    assert sorted(await migrated_db.fetch("SELECT * FROM things"), key=lambda row: str(row["name"])) == expected


async def test_values_removes_unstorable_characters(migrated_db: Database) -> None:
    async with migrated_db.transaction() as transaction:
        query, parameters = transaction.values(COLUMNS, [ROW | {"note": "009\0 ab\ud83d \ud83d\ude00"}])
        await transaction.execute(WITH_VALUES.format(rows=query), parameters)
    assert await migrated_db.fetch("SELECT note FROM things") == [{"note": "009 ab\ufffd \U0001f600"}]


@pytest.mark.parametrize("text", ["canary\0", "canary\ud83d"])
async def test_execute_unstorable_secret_is_refused(migrated_db: Database, text: str) -> None:
    with pytest.raises(StorageError, match="note") as refusal:
        await migrated_db.execute(INSERT, ROW | {"note": Secret(text)})
    formatted = "".join(traceback.TracebackException.from_exception(refusal.value, capture_locals=True).format())
    assert "canary" not in formatted.replace(ascii(text), "").replace(repr(text), "")
    assert await names(migrated_db) == []


async def test_fetch_keeps_colons_and_percents_in_text(migrated_db: Database) -> None:
    rows = await migrated_db.fetch(
        "SELECT ':no' || '%s' || 'it''s :not' AS text, 7 % 4 AS rest WHERE :yes = 'y'", {"yes": "y"}
    )
    assert rows == [{"text": ":no%sit's :not", "rest": 3}]


async def test_fetch_update_checks_version(migrated_db: Database) -> None:
    await migrated_db.execute(INSERT, ROW)
    update_version = "UPDATE things SET version = version + 1 WHERE name = 'a' AND version = :version RETURNING version"
    assert await migrated_db.fetch(update_version, {"version": 1}) == [{"version": 2}]
    assert await migrated_db.fetch(update_version, {"version": 1}) == []
    assert await migrated_db.execute("UPDATE things SET note = 'x' WHERE version = :version", {"version": 9}) == 0


async def test_now_is_time_of_store(migrated_db: Database) -> None:
    [row] = await migrated_db.fetch("SELECT :now + :ttl AS till", {"ttl": 60.0})
    assert isinstance(row["till"], float)
    assert abs(row["till"] - 60 - time.time()) < 5


async def test_transaction_commits_all_statements(migrated_db: Database) -> None:
    async with migrated_db.transaction() as transaction:
        await transaction.execute(INSERT, ROW)
        assert await transaction.fetch("SELECT name FROM things") == [{"name": "a"}]
    assert await names(migrated_db) == ["a"]


async def test_transaction_error_stores_nothing(migrated_db: Database) -> None:
    async def fail() -> None:
        async with migrated_db.transaction() as transaction:
            await transaction.execute(INSERT, ROW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await names(migrated_db) == []


async def test_transaction_swallowed_error_stores_nothing(migrated_db: Database) -> None:
    async def swallow() -> None:
        async with migrated_db.transaction() as transaction:
            await transaction.execute(INSERT, ROW)
            with pytest.raises(StorageError):
                await transaction.execute(INSERT, ROW)

    with pytest.raises(StorageError, match="ended"):
        await swallow()
    assert await names(migrated_db) == []


async def test_transaction_concurrent_updates_are_isolated(migrated_db: Database) -> None:
    """Concurrent transactions read, add 1 and write; no addition is lost."""
    await migrated_db.execute(INSERT, ROW)

    async def add() -> None:
        for _ in range(10):
            while True:
                async with migrated_db.transaction() as transaction:
                    [row] = await transaction.fetch("SELECT version FROM things")
                    await asyncio.sleep(0)
                    sql = "UPDATE things SET version = version + 1 WHERE version = :version"
                    if await transaction.execute(sql, {"version": row["version"]}):
                        break

    await asyncio.gather(*(add() for _ in range(6)))
    assert await migrated_db.fetch("SELECT version FROM things") == [{"version": 61}]


@pytest.mark.parametrize("cancel_by", ["task", "timeout", "scope"])
async def test_transaction_cancelled_is_all_or_nothing(migrated_db: Database, cancel_by: str) -> None:
    """Cancel at any moment: both rows are stored or neither, and the next transaction works."""
    random_source = random.Random(1)

    async def insert_pair(number: int) -> None:
        async with migrated_db.transaction() as transaction:
            await transaction.execute(INSERT, ROW | {"name": f"{number:03}a"})
            await asyncio.sleep(0)
            await transaction.execute(INSERT, ROW | {"name": f"{number:03}b"})

    async def insert_pair_cancelled(number: int) -> None:
        seconds = random_source.random() * 0.004
        if cancel_by == "scope":
            with anyio.move_on_after(seconds):
                await insert_pair(number)
        elif cancel_by == "timeout":
            async with asyncio.timeout(seconds):
                await insert_pair(number)
        else:
            task = asyncio.create_task(insert_pair(number))
            await asyncio.sleep(seconds)
            task.cancel()
            await task

    for number in range(0, 120, 4):
        await asyncio.gather(*(insert_pair_cancelled(number + offset) for offset in range(4)), return_exceptions=True)
    stored = await names(migrated_db)
    assert sorted(stored) == sorted(f"{name[:3]}{half}" for name in stored[::2] for half in "ab")
    await asyncio.gather(*(insert_pair(number) for number in range(900, 908)))


def test_database_is_used_by_successive_loops(db: Database) -> None:
    async def put(name: str) -> list[str]:
        await db.migrate("things", SCHEMA)
        await db.execute(INSERT, ROW | {"name": name})
        return await names(db)

    assert asyncio.run(put("a")) == ["a"]
    assert asyncio.run(put("b")) == ["a", "b"]

    async def put_and_close() -> list[str]:
        try:
            return await put("c")
        finally:
            await db.aclose()

    assert asyncio.run(put_and_close()) == ["a", "b", "c"]


async def test_database_reopens_after_aclose(migrated_db: Database) -> None:
    await migrated_db.aclose()
    await migrated_db.aclose()
    await migrated_db.execute(INSERT, ROW)
    assert await names(migrated_db) == ["a"]


async def test_execute_error_shows_no_values(migrated_db: Database) -> None:
    canary = Secret(uuid.uuid4().hex)
    await migrated_db.execute(INSERT, ROW | {"note": canary})
    with pytest.raises(StorageError) as refusal:
        await migrated_db.execute(INSERT, ROW | {"note": canary})
    formatted = "".join(traceback.TracebackException.from_exception(refusal.value, capture_locals=True).format())
    assert canary.reveal() not in formatted
    unpickled = pickle.loads(pickle.dumps(refusal.value))
    assert (type(unpickled), str(unpickled), unpickled.executed) == (type(refusal.value), str(refusal.value), "no")
