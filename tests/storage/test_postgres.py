"""The PostgreSQL adapter: connections, encodings, event loops, and errors of the server."""

import asyncio
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import anyio
import psycopg
import pytest
import pytest_asyncio
from psycopg.rows import dict_row, namedtuple_row, scalar_row, tuple_row

from paystar_async.errors import (
    ConfigurationError,
    SchemaMismatch,
    StorageError,
    StorageUnavailable,
)
from paystar_async.storage.postgres import MAX_IDLE_IN_TRANSACTION_SECONDS, PostgresDatabase, PostgresTransaction
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


async def test_transaction_reconnects_after_restart(db: PostgresDatabase, postgres_server: PostgresServer) -> None:
    async def open_transaction() -> None:
        async with db.transaction():
            await asyncio.sleep(0.01)

    await asyncio.gather(*(open_transaction() for _ in range(4)))  # opens four connections, which are then idle
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


async def test_transaction_broken_connection_is_unavailable(
    db: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    async def lose_connection() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("half"))
            [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
            with postgres_server.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))
            await transaction.execute(put("other half"))

    with pytest.raises(StorageUnavailable):
        await lose_connection()
    assert await db.fetch(NAMES) == []


async def test_commit_broken_connection_is_unavailable(db: PostgresDatabase, postgres_server: PostgresServer) -> None:
    async def lose_connection() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("unsure"))
            [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
            with postgres_server.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))

    with pytest.raises(StorageUnavailable):
        await lose_connection()
    assert await db.fetch(NAMES) == []


async def test_transaction_failed_rollback_discards_connection(
    db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise psycopg.OperationalError

    async def fail_in_transaction() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("half"))
            raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncConnection, "rollback", fail)
        with pytest.raises(ZeroDivisionError):
            await fail_in_transaction()
    assert await db.fetch(NAMES) == []


async def test_transaction_error_keeps_connection(db: PostgresDatabase) -> None:
    async def backend_pid() -> object:
        return (await db.fetch("SELECT pg_backend_pid() AS pid"))[0]["pid"]

    before = await backend_pid()
    with pytest.raises(SchemaMismatch):
        await db.fetch("SELECT * FROM nowhere")
    assert await backend_pid() == before


async def test_aclose_closes_connection_in_use_at_release(
    db: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    def has_backend(pid: object) -> bool:
        with postgres_server.connect() as other:
            return other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is not None

    async with db.transaction() as transaction:
        [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
        await db.aclose()
        await transaction.execute(put("a"))
    deadline = time.monotonic() + 5
    while has_backend(row["pid"]):  # the server ends the backend after a moment
        assert time.monotonic() < deadline
    assert await db.fetch(NAMES) == [{"name": "a"}]


@pytest.mark.parametrize(
    ("configured", "used"),
    [("off", "on"), ("local", "on"), ("remote_write", "remote_write"), ("remote_apply", "remote_apply"), ("on", "on")],
)
async def test_transaction_begin_overrules_weak_synchronous_commit(url: str, configured: str, used: str) -> None:
    configured_db = PostgresDatabase(url + quote(f" -csynchronous_commit={configured}"))
    assert await configured_db.fetch("SHOW synchronous_commit") == [{"synchronous_commit": used}]
    await configured_db.aclose()


async def test_transaction_begin_limits_idle_seconds(db: PostgresDatabase) -> None:
    assert MAX_IDLE_IN_TRANSACTION_SECONDS == 5.0
    [row] = await db.fetch("SHOW idle_in_transaction_session_timeout")
    assert row == {"idle_in_transaction_session_timeout": "5s"}


async def test_migrate_needs_no_create_right_for_current_tables(
    db: PostgresDatabase, url: str, postgres_server: PostgresServer
) -> None:
    schema = url.rpartition("%3D")[2]
    with postgres_server.connect() as owner:
        owner.execute("CREATE ROLE restricted LOGIN")
        owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO restricted".encode())
        owner.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO restricted".encode())
    restricted_db = PostgresDatabase(url.replace("postgres:@", "restricted:@"))
    try:
        await restricted_db.migrate("things", SCHEMA)
        await restricted_db.execute(put("a"))
        with pytest.raises(StorageUnavailable) as refusal:
            await restricted_db.execute("DELETE FROM things")
        assert "grant" in refusal.value.hint
    finally:
        await restricted_db.aclose()
        with postgres_server.connect() as owner:
            owner.execute("DROP OWNED BY restricted")
            owner.execute("DROP ROLE restricted")


async def test_transaction_joins_connection_of_caller(db: PostgresDatabase, url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await PostgresTransaction(connection).execute(put("undone"))
        await connection.rollback()
        await PostgresTransaction(connection).execute(put("joined"))
        assert await db.fetch(NAMES) == []
    assert await db.fetch(NAMES) == [{"name": "joined"}]


CURSORS = [psycopg.AsyncCursor, psycopg.AsyncClientCursor, psycopg.AsyncRawCursor]


class TestHandedInConnection:
    """Transactions on a connection of the caller."""

    @pytest.mark.parametrize("cursor", CURSORS)
    @pytest.mark.parametrize("rows", [tuple_row, dict_row, namedtuple_row, scalar_row])
    async def test_transaction_any_cursor_factory_uses_own_cursor(
        self, db: PostgresDatabase, url: str, cursor: type[psycopg.AsyncCursor[Any]], rows: Any
    ) -> None:
        connect = psycopg.AsyncConnection.connect(url, cursor_factory=cursor, row_factory=rows)
        async with await connect as connection, connection.transaction():
            joined = PostgresTransaction(connection)
            assert await joined.execute("INSERT INTO things (name) VALUES (:name)", {"name": "100% :sure"}) == 1
            assert await joined.fetch("SELECT name FROM things WHERE name = :name", {"name": "100% :sure"}) == [
                {"name": "100% :sure"}
            ]

    async def test_transaction_sync_connection_is_refused(self, url: str) -> None:
        with (
            psycopg.connect(url) as connection,
            pytest.raises(ConfigurationError, match=r"psycopg\.Connection") as refusal,
        ):
            PostgresTransaction(connection)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert "AsyncConnection" in refusal.value.hint

    async def test_transaction_other_object_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"builtins\.str"):
            PostgresTransaction("postgresql://…")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def test_transaction_closed_connection_is_refused(self, url: str) -> None:
        connection = await psycopg.AsyncConnection.connect(url)
        await connection.close()
        with pytest.raises(ConfigurationError, match="closed"):
            PostgresTransaction(connection)

    async def test_transaction_autocommit_connection_is_refused(self, db: PostgresDatabase, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            with pytest.raises(ConfigurationError, match="autocommit") as refusal:
                PostgresTransaction(connection)
            assert "connection.transaction()" in refusal.value.hint
            async with connection.transaction():
                await PostgresTransaction(connection).execute(put("a"))
        assert await db.fetch(NAMES) == [{"name": "a"}]

    async def test_transaction_after_failed_statement_is_refused(self, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            with pytest.raises(SchemaMismatch):
                await PostgresTransaction(connection).fetch("SELECT * FROM nowhere")
            with pytest.raises(StorageError, match="has ended"):
                PostgresTransaction(connection)
            await connection.rollback()

    def test_transaction_on_trio_is_refused(self, url: str) -> None:
        connection = asyncio.run(psycopg.AsyncConnection.connect(url))

        async def main() -> None:
            with pytest.raises(ConfigurationError, match="asyncio only"):
                PostgresTransaction(connection)

        anyio.run(main, backend="trio")
        asyncio.run(connection.close())

    async def test_transaction_connection_of_other_loop_is_refused(self, url: str) -> None:
        def use_in_other_loop(connection: "psycopg.AsyncConnection[Any]") -> None:
            async def use() -> None:
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await PostgresTransaction(connection).fetch("SELECT 1")

            asyncio.run(use())

        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("SELECT 1")
            async with connection.lock:  # a waiting task binds the lock to this loop
                waiting_task = asyncio.create_task(connection.lock.acquire())
                await asyncio.sleep(0)
                await asyncio.to_thread(use_in_other_loop, connection)
                waiting_task.cancel()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "WIN1256", "UTF8"])
class TestEncoding:
    """Databases in each encoding: Persian text is stored and read back unchanged."""

    TEXT = "علی کریمی ۱۲۳ \\ \\u06cc 'é' 😀"

    @pytest.fixture
    def database_url(self, postgres_server: PostgresServer, encoding: str) -> Iterator[str]:
        name = f"encoded_{encoding.lower()}"
        with postgres_server.connect() as owner:
            create_sql = f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            owner.execute(create_sql.encode())
        yield postgres_server.url.replace("/postgres?", f"/{name}?")
        with postgres_server.connect() as owner:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    async def test_execute_persian_text_is_stored_in_any_encoding(self, database_url: str, encoding: str) -> None:
        db = PostgresDatabase(database_url + "&client_encoding=LATIN1")
        await db.migrate("things", SCHEMA)
        assert await db.fetch("SHOW server_encoding") == [{"server_encoding": encoding}]
        assert await db.fetch("SHOW client_encoding") == [{"client_encoding": "UTF8"}]
        await db.execute("INSERT INTO things (name) VALUES (:name)", {"name": self.TEXT})
        assert await db.fetch("SELECT name FROM things WHERE name = :name", {"name": self.TEXT}) == [
            {"name": self.TEXT}
        ]
        await db.aclose()

    async def test_values_persian_text_is_stored_in_any_encoding(self, database_url: str, encoding: str) -> None:
        del encoding
        db = PostgresDatabase(database_url)
        await db.migrate("things", SCHEMA)
        async with db.transaction() as transaction:
            query, parameters = transaction.values("name TEXT", [{"name": self.TEXT}])
            await transaction.execute(f"INSERT INTO things (name) {query}", parameters)
        assert await db.fetch("SELECT name FROM things WHERE name = :name", {"name": self.TEXT}) == [
            {"name": self.TEXT}
        ]
        await db.aclose()

    async def test_transaction_handed_in_connection_keeps_encoding(self, database_url: str, encoding: str) -> None:
        db = PostgresDatabase(database_url)
        await db.migrate("things", SCHEMA)
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            before = connection.info.parameter_status("client_encoding")
            joined = PostgresTransaction(connection)
            await joined.execute("INSERT INTO things (name) VALUES (:name)", {"name": self.TEXT})
            assert await joined.fetch(NAMES) == [{"name": self.TEXT}]
            await connection.commit()
            assert connection.info.parameter_status("client_encoding") == before == encoding
        assert await db.fetch(NAMES) == [{"name": self.TEXT}]
        await db.aclose()


def count_connections(postgres_server: PostgresServer, name: str) -> int:
    """Return the number of connections of an application; wait a moment for ending connections."""
    deadline = time.monotonic() + 5
    with postgres_server.connect() as other:
        while True:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            [count] = other.execute(sql, (name,)).fetchone() or (0,)
            if count == 0 or time.monotonic() > deadline:
                return int(str(count))
            time.sleep(0.01)


def named_database(url: str, name: str) -> PostgresDatabase:
    return PostgresDatabase(f"{url}&application_name={name}")


class TestPool:
    """The connection pool of each event loop."""

    async def test_pool_two_databases_in_one_loop_share_no_connection(self, url: str) -> None:
        first, second = named_database(url, "first"), named_database(url, "second")
        for _ in range(2):
            assert await first.fetch("SHOW application_name") == [{"application_name": "first"}]
            assert await second.fetch("SHOW application_name") == [{"application_name": "second"}]
        await first.aclose()
        await second.aclose()

    def test_pool_ended_loop_keeps_no_connection(self, url: str, postgres_server: PostgresServer) -> None:
        db = named_database(url, "asyncio_run")
        for _ in range(5):
            assert asyncio.run(db.fetch("SELECT 1 AS one")) == [{"one": 1}]
        assert count_connections(postgres_server, "asyncio_run") == 0

    def test_pool_closed_loop_connection_is_closed_at_next_use(self, url: str, postgres_server: PostgresServer) -> None:
        db = named_database(url, "bare_close")
        for _ in range(5):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(db.fetch("SELECT 1"))
            loop.close()  # without shutdown_asyncgens
        asyncio.run(db.fetch("SELECT 1"))
        assert count_connections(postgres_server, "bare_close") == 0

    async def test_pool_garbage_collected_database_closes_connection(
        self, url: str, postgres_server: PostgresServer
    ) -> None:
        db = named_database(url, "dropped")
        await db.fetch("SELECT 1")
        del db
        assert await asyncio.to_thread(count_connections, postgres_server, "dropped") == 0

    def test_pool_loops_in_two_threads_share_no_connection(self, url: str) -> None:
        db, barrier = PostgresDatabase(url), threading.Barrier(2)

        def run() -> set[int]:
            async def pids() -> set[int]:
                await db.fetch("SELECT 1")
                barrier.wait()  # both connections are open now
                backend_pids = {(await db.fetch("SELECT pg_backend_pid() AS pid"))[0]["pid"] for _ in range(20)}
                barrier.wait()
                return backend_pids

            return asyncio.run(pids())

        with ThreadPoolExecutor(2) as threads:
            first, second = (future.result() for future in [threads.submit(run) for _ in range(2)])
        assert len(first) == len(second) == 1
        assert first != second

    def test_pool_forked_process_keeps_parent_connection_open(self, url: str) -> None:
        db, loop = PostgresDatabase(url), asyncio.new_event_loop()
        pid = "SELECT pg_backend_pid() AS pid"
        [before] = loop.run_until_complete(db.fetch(pid))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            [row] = loop.run_until_complete(db.fetch(pid))
            os.write(writer, str(row["pid"]).encode())
            del db
            gc.collect()
            weakref.finalize._exitfunc()  # type: ignore[attr-defined]  # pyright: ignore
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert int(os.read(reader, 20)) != before["pid"]
        assert loop.run_until_complete(db.fetch(pid)) == [before]
        os.close(reader)
        os.close(writer)
        loop.run_until_complete(db.aclose())
        loop.close()


async def test_transaction_waits_for_free_connection(db: PostgresDatabase) -> None:
    async def add(number: int) -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put(f"{number:02}"))

    await asyncio.gather(*(add(number) for number in range(20)))
    assert len(await db.fetch(NAMES)) == 20


async def test_execute_unreachable_server_hides_password() -> None:
    unreachable = PostgresDatabase("postgresql://user:canary@127.0.0.1:1/name")
    with pytest.raises(StorageUnavailable) as refusal:
        await unreachable.fetch("SELECT 1")
    assert "canary" not in str(refusal.value)
    assert refusal.value.__context__ is None


def test_postgres_on_trio_is_refused(url: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="asyncio only"):
            await PostgresDatabase(url).fetch("SELECT 1")

    anyio.run(main, backend="trio")


def test_postgres_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError) as refusal:
        PostgresDatabase("postgresql://host/name")
    assert "paystar-async[postgres]" in refusal.value.hint


async def test_execute_number_out_of_range_is_storage_error(db: PostgresDatabase) -> None:
    with pytest.raises(StorageError, match="NumericValueOutOfRange"):
        await db.fetch("SELECT CAST(:big AS BIGINT) * 10", {"big": 2**62})
