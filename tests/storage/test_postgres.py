"""What only a server can suffer."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from urllib.parse import quote

import anyio
import psycopg
import pytest
import pytest_asyncio

from paystar_async.errors import ConfigurationError, SchemaMismatch, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.storage.postgres import PostgresDatabase, PostgresTransaction
from tests.servers import PostgresServer

SCHEMA = ("CREATE TABLE things (name TEXT PRIMARY KEY)",)
NAMES = "SELECT name FROM things ORDER BY name"


def put(name: str) -> str:
    return f"INSERT INTO things (name) VALUES ('{name}')"


@pytest.fixture
def url(postgres_schema: str) -> str:
    return postgres_schema


@pytest_asyncio.fixture
async def db(url: str) -> AsyncIterator[PostgresDatabase]:
    db = PostgresDatabase(url)
    await db.migrate("things", SCHEMA)
    yield db
    await db.aclose()


async def test_a_server_that_was_away_is_found_again_at_the_first_call(
    db: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    async def hold() -> None:
        async with db.transaction():
            await asyncio.sleep(0.01)

    await asyncio.gather(*(hold() for _ in range(4)))  # four connections idle from here on
    await db.execute(put("before"))
    postgres_server.stop()
    try:
        with pytest.raises(StorageUnavailable, match=r"connection|server"):
            await db.execute(put("during"))
    finally:
        postgres_server.start()
    await db.execute(put("after"))
    assert await db.fetch(NAMES) == [{"name": "after"}, {"name": "before"}]
    postgres_server.stop()
    postgres_server.start()
    assert await db.fetch(NAMES) == [{"name": "after"}, {"name": "before"}]


async def test_a_connection_that_breaks_in_a_transaction(db: PostgresDatabase, postgres_server: PostgresServer) -> None:
    async def broken() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("half"))
            [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
            with postgres_server.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))
            await transaction.execute(put("other half"))

    with pytest.raises(StorageUnavailable):
        await broken()
    assert await db.fetch(NAMES) == []


async def test_a_connection_that_breaks_before_the_commit(
    db: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    async def broken() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("unsure"))
            [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
            with postgres_server.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))

    with pytest.raises(StorageUnavailable):
        await broken()
    assert await db.fetch(NAMES) == []


async def test_a_transaction_that_cannot_be_rolled_back_is_not_gone_on_with(
    db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise psycopg.OperationalError

    async def broken() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("half"))
            raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncConnection, "rollback", fail)
        with pytest.raises(ZeroDivisionError):
            await broken()
    assert await db.fetch(NAMES) == []


async def test_a_transaction_that_raises_costs_no_connection(db: PostgresDatabase) -> None:
    async def served_by() -> object:
        return (await db.fetch("SELECT pg_backend_pid() AS pid"))[0]["pid"]

    before = await served_by()
    with pytest.raises(SchemaMismatch):
        await db.fetch("SELECT * FROM nowhere")
    assert await served_by() == before


async def test_a_connection_is_closed_even_if_its_transaction_ends_after_the_database_was(
    db: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    def is_there(pid: object) -> bool:
        with postgres_server.connect() as other:
            return other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is not None

    async with db.transaction() as transaction:
        [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
        await db.aclose()
        await transaction.execute(put("a"))
    until = time.monotonic() + 5
    while there := is_there(row["pid"]):  # the server takes its leave in its own time
        assert time.monotonic() < until, there
    assert await db.fetch(NAMES) == [{"name": "a"}]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("53100", StorageUnavailable),  # the disk is full
        ("57014", StorageUnavailable),  # it took too long
        ("40P01", StorageUnavailable),  # deadlock
        ("25006", StorageUnavailable),  # a standby that only reads
        ("42501", StorageUnavailable),  # no right to do it
        ("42P01", SchemaMismatch),
        ("42703", SchemaMismatch),
        ("XX001", StorageCorrupt),
        ("XX002", StorageCorrupt),
        ("XX000", StorageError),
        ("23505", StorageError),
    ],
)
async def test_what_the_server_says_is_told_in_our_words(
    db: PostgresDatabase, code: str, kind: type[StorageError]
) -> None:
    with pytest.raises(StorageError) as refusal:
        await db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'what it says' USING ERRCODE = '{code}'; END $$")
    assert type(refusal.value) is kind
    assert ("what it says" in str(refusal.value)) is (kind is not StorageError)


async def test_a_server_that_answers_before_it_has_stored_is_overruled(url: str) -> None:
    eager = PostgresDatabase(url + quote(" -csynchronous_commit=off"))
    assert await eager.fetch("SHOW synchronous_commit") == [{"synchronous_commit": "on"}]
    await eager.aclose()


async def test_a_user_without_the_right_to_make_tables_can_use_those_that_are_there(
    db: PostgresDatabase, url: str, postgres_server: PostgresServer
) -> None:
    schema = url.rpartition("%3D")[2]
    with postgres_server.connect() as owner:
        owner.execute("CREATE ROLE teller LOGIN")
        owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO teller".encode())
        owner.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO teller".encode())
    teller = PostgresDatabase(url.replace("postgres:@", "teller:@"))
    try:
        await teller.migrate("things", SCHEMA)
        await teller.execute(put("a"))
        with pytest.raises(StorageUnavailable) as refusal:
            await teller.execute("DELETE FROM things")
        assert "grant" in refusal.value.hint
    finally:
        await teller.aclose()
        with postgres_server.connect() as owner:
            owner.execute("DROP OWNED BY teller")
            owner.execute("DROP ROLE teller")


async def test_a_record_can_join_a_transaction_of_the_callers(db: PostgresDatabase, url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await PostgresTransaction(connection).execute(put("undone"))
        await connection.rollback()
        await PostgresTransaction(connection).execute(put("joined"))
        assert await db.fetch(NAMES) == []
    assert await db.fetch(NAMES) == [{"name": "joined"}]


async def test_more_transactions_than_connections_wait_in_turn(db: PostgresDatabase) -> None:
    async def add(number: int) -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put(f"{number:02}"))

    await asyncio.gather(*(add(number) for number in range(20)))
    assert len(await db.fetch(NAMES)) == 20


async def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    nowhere = PostgresDatabase("postgresql://user:canary@127.0.0.1:1/name")
    with pytest.raises(StorageUnavailable) as refusal:
        await nowhere.fetch("SELECT 1")
    assert "canary" not in str(refusal.value)
    assert refusal.value.__context__ is None


def test_trio_is_told_where_it_can_go(url: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="asyncio only"):
            await PostgresDatabase(url).fetch("SELECT 1")

    anyio.run(main, backend="trio")


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError) as refusal:
        PostgresDatabase("postgresql://host/name")
    assert "paystar-async[postgres]" in refusal.value.hint


async def test_a_number_out_of_range_is_a_storage_error(db: PostgresDatabase) -> None:
    with pytest.raises(StorageError, match="NumericValueOutOfRange"):
        await db.fetch("SELECT CAST(:big AS BIGINT) * 10", {"big": 2**62})
