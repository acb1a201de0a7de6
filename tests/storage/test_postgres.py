"""What only a server can suffer."""

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
    PaystarError,
    SchemaMismatch,
    StorageCorrupt,
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


async def test_transaction_broken_connection_is_unavailable(
    db: PostgresDatabase, postgres_server: PostgresServer
) -> None:
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


async def test_commit_broken_connection_is_unavailable(db: PostgresDatabase, postgres_server: PostgresServer) -> None:
    async def broken() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("unsure"))
            [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
            with postgres_server.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))

    with pytest.raises(StorageUnavailable):
        await broken()
    assert await db.fetch(NAMES) == []


async def test_transaction_failed_rollback_discards_connection(
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


async def test_transaction_error_keeps_connection(db: PostgresDatabase) -> None:
    async def served_by() -> object:
        return (await db.fetch("SELECT pg_backend_pid() AS pid"))[0]["pid"]

    before = await served_by()
    with pytest.raises(SchemaMismatch):
        await db.fetch("SELECT * FROM nowhere")
    assert await served_by() == before


async def test_aclose_closes_connection_in_use_at_release(
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
async def test_execute_maps_server_errors(db: PostgresDatabase, code: str, kind: type[StorageError]) -> None:
    with pytest.raises(StorageError) as refusal:
        await db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'what it says' USING ERRCODE = '{code}'; END $$")
    assert type(refusal.value) is kind
    assert ("what it says" in str(refusal.value)) is (kind is not StorageError)


@pytest.mark.parametrize(
    ("configured", "used"),
    [("off", "on"), ("local", "on"), ("remote_write", "remote_write"), ("remote_apply", "remote_apply"), ("on", "on")],
)
async def test_begin_raises_weak_synchronous_commit(url: str, configured: str, used: str) -> None:
    eager = PostgresDatabase(url + quote(f" -csynchronous_commit={configured}"))
    assert await eager.fetch("SHOW synchronous_commit") == [{"synchronous_commit": used}]
    await eager.aclose()


async def test_begin_bounds_idling_in_a_transaction(db: PostgresDatabase) -> None:
    assert MAX_IDLE_IN_TRANSACTION_SECONDS == 5.0
    [row] = await db.fetch("SHOW idle_in_transaction_session_timeout")
    assert row == {"idle_in_transaction_session_timeout": "5s"}


async def test_migrate_needs_no_create_right_for_current_tables(
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


async def test_transaction_joins_connection_of_caller(db: PostgresDatabase, url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await PostgresTransaction(connection).execute(put("undone"))
        await connection.rollback()
        await PostgresTransaction(connection).execute(put("joined"))
        assert await db.fetch(NAMES) == []
    assert await db.fetch(NAMES) == [{"name": "joined"}]


CURSORS = [psycopg.AsyncCursor, psycopg.AsyncClientCursor, psycopg.AsyncRawCursor]


class TestHandedInConnection:
    @pytest.mark.parametrize("cursor", CURSORS)
    @pytest.mark.parametrize("rows", [tuple_row, dict_row, namedtuple_row, scalar_row])
    async def test_transaction_uses_its_own_cursor(
        self, db: PostgresDatabase, url: str, cursor: type[psycopg.AsyncCursor[Any]], rows: Any
    ) -> None:
        connect = psycopg.AsyncConnection.connect(url, cursor_factory=cursor, row_factory=rows)
        async with await connect as connection, connection.transaction():
            joined = PostgresTransaction(connection)
            assert await joined.execute("INSERT INTO things (name) VALUES (:name)", {"name": "100% :sure"}) == 1
            assert await joined.fetch("SELECT name FROM things WHERE name = :name", {"name": "100% :sure"}) == [
                {"name": "100% :sure"}
            ]

    async def test_transaction_on_a_sync_connection_is_refused(self, url: str) -> None:
        with psycopg.connect(url) as connection, pytest.raises(ConfigurationError, match=r"psycopg\.Connection") as no:
            PostgresTransaction(connection)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert "AsyncConnection" in no.value.hint

    async def test_transaction_on_something_else_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"builtins\.str"):
            PostgresTransaction("postgresql://…")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def test_transaction_on_a_closed_connection_is_refused(self, url: str) -> None:
        connection = await psycopg.AsyncConnection.connect(url)
        await connection.close()
        with pytest.raises(ConfigurationError, match="closed"):
            PostgresTransaction(connection)

    async def test_transaction_in_autocommit_mode_is_refused(self, db: PostgresDatabase, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            with pytest.raises(ConfigurationError, match="autocommit") as refusal:
                PostgresTransaction(connection)
            assert "connection.transaction()" in refusal.value.hint
            async with connection.transaction():
                await PostgresTransaction(connection).execute(put("a"))
        assert await db.fetch(NAMES) == [{"name": "a"}]

    async def test_transaction_that_failed_is_refused(self, url: str) -> None:
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

    async def test_transaction_in_another_loop_is_refused(self, url: str) -> None:
        def elsewhere(connection: "psycopg.AsyncConnection[Any]") -> None:
            async def use() -> None:
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await PostgresTransaction(connection).fetch("SELECT 1")

            asyncio.run(use())

        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("SELECT 1")
            async with connection.lock:  # while it is in use here; a task that waits binds the lock to this loop
                waiting = asyncio.create_task(connection.lock.acquire())
                await asyncio.sleep(0)
                await asyncio.to_thread(elsewhere, connection)
                waiting.cancel()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "WIN1256", "UTF8"])
class TestEncoding:
    TEXT = "علی کریمی ۱۲۳ \\ \\u06cc 'é' 😀"

    @pytest.fixture
    def encoded(self, postgres_server: PostgresServer, encoding: str) -> Iterator[str]:
        name = f"encoded_{encoding.lower()}"
        with postgres_server.connect() as owner:
            made = f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            owner.execute(made.encode())
        yield postgres_server.url.replace("/postgres?", f"/{name}?")
        with postgres_server.connect() as owner:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    async def test_persian_text_comes_back_as_it_went(self, encoded: str, encoding: str) -> None:
        db = PostgresDatabase(encoded + "&client_encoding=LATIN1")
        await db.migrate("things", SCHEMA)
        assert await db.fetch("SHOW server_encoding") == [{"server_encoding": encoding}]
        assert await db.fetch("SHOW client_encoding") == [{"client_encoding": "UTF8"}]
        await db.execute("INSERT INTO things (name) VALUES (:name)", {"name": self.TEXT})
        assert await db.fetch("SELECT name FROM things WHERE name = :name", {"name": self.TEXT}) == [
            {"name": self.TEXT}
        ]
        await db.aclose()

    async def test_values_persian_text_comes_back_as_it_went(self, encoded: str, encoding: str) -> None:
        del encoding
        db = PostgresDatabase(encoded)
        await db.migrate("things", SCHEMA)
        async with db.transaction() as transaction:
            query, parameters = transaction.values("name TEXT", [{"name": self.TEXT}])
            await transaction.execute(f"INSERT INTO things (name) {query}", parameters)
        assert await db.fetch("SELECT name FROM things WHERE name = :name", {"name": self.TEXT}) == [
            {"name": self.TEXT}
        ]
        await db.aclose()

    async def test_handed_in_connection_keeps_its_encoding(self, encoded: str, encoding: str) -> None:
        db = PostgresDatabase(encoded)
        await db.migrate("things", SCHEMA)
        async with await psycopg.AsyncConnection.connect(encoded) as connection:
            before = connection.info.parameter_status("client_encoding")
            joined = PostgresTransaction(connection)
            await joined.execute("INSERT INTO things (name) VALUES (:name)", {"name": self.TEXT})
            assert await joined.fetch(NAMES) == [{"name": self.TEXT}]
            await connection.commit()
            assert connection.info.parameter_status("client_encoding") == before == encoding
        assert await db.fetch(NAMES) == [{"name": self.TEXT}]
        await db.aclose()


async def test_fetch_invalid_utf8_is_storage_error(postgres_server: PostgresServer) -> None:
    with postgres_server.connect() as owner:
        owner.execute(b"CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    db = PostgresDatabase(postgres_server.url.replace("/postgres?", "/bytes?"))
    try:
        with pytest.raises(StorageError, match="22021") as refusal:
            await db.fetch("SELECT chr(200) AS word")
        assert "UTF8" in refusal.value.hint
    finally:
        await db.aclose()
        with postgres_server.connect() as owner:
            owner.execute("DROP DATABASE bytes WITH (FORCE)")


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "canary"), StorageError),
        (ConnectionResetError(104, "reset by peer"), StorageUnavailable),
        (TimeoutError(), StorageUnavailable),
        (asyncio.InvalidStateError("canary"), StorageError),
        (psycopg.DataError("canary"), StorageError),
        (psycopg.ProgrammingError("canary"), StorageError),
        (ValueError("canary"), StorageError),
        (RuntimeError("<Lock> is bound to a different event loop"), ConfigurationError),
    ],
)
async def test_map_error_of_whatever_the_driver_raises(
    db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, problem: Exception, kind: type[PaystarError]
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise problem

    for name in ("execute", "fetchall"):
        async with db.transaction() as transaction:
            with monkeypatch.context() as patch:
                patch.setattr(psycopg.AsyncCursor, name, fail)
                with pytest.raises(kind) as refusal:
                    await transaction.fetch(NAMES)
        assert type(refusal.value) is kind
        assert "canary" not in str(refusal.value)
        assert refusal.value.__context__ is None


def backends(postgres_server: PostgresServer, name: str) -> int:
    """Return how many connections of an application the server has; one that ends is given a moment."""
    until = time.monotonic() + 5
    with postgres_server.connect() as other:
        while True:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            [count] = other.execute(sql, (name,)).fetchone() or (0,)
            if count == 0 or time.monotonic() > until:
                return int(str(count))
            time.sleep(0.01)


def named(url: str, name: str) -> PostgresDatabase:
    return PostgresDatabase(f"{url}&application_name={name}")


class TestLoopState:
    async def test_two_databases_in_one_loop_share_no_connection(self, url: str) -> None:
        first, second = named(url, "first"), named(url, "second")
        for _ in range(2):
            assert await first.fetch("SHOW application_name") == [{"application_name": "first"}]
            assert await second.fetch("SHOW application_name") == [{"application_name": "second"}]
        await first.aclose()
        await second.aclose()

    def test_loop_that_ended_keeps_no_connection(self, url: str, postgres_server: PostgresServer) -> None:
        db = named(url, "asyncio_run")
        for _ in range(5):
            assert asyncio.run(db.fetch("SELECT 1 AS one")) == [{"one": 1}]
        assert backends(postgres_server, "asyncio_run") == 0

    def test_closed_loop_loses_its_connection_at_the_next_use(self, url: str, postgres_server: PostgresServer) -> None:
        db = named(url, "bare_close")
        for _ in range(5):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(db.fetch("SELECT 1"))
            loop.close()  # without shutdown_asyncgens
        asyncio.run(db.fetch("SELECT 1"))
        assert backends(postgres_server, "bare_close") == 0

    async def test_dropped_database_closes_its_connection(self, url: str, postgres_server: PostgresServer) -> None:
        db = named(url, "dropped")
        await db.fetch("SELECT 1")
        del db
        assert await asyncio.to_thread(backends, postgres_server, "dropped") == 0

    def test_loops_in_two_threads_have_their_own_connections(self, url: str) -> None:
        db, together = PostgresDatabase(url), threading.Barrier(2)

        def run() -> set[int]:
            async def pids() -> set[int]:
                await db.fetch("SELECT 1")
                together.wait()  # both are open now
                found = {(await db.fetch("SELECT pg_backend_pid() AS pid"))[0]["pid"] for _ in range(20)}
                together.wait()
                return found

            return asyncio.run(pids())

        with ThreadPoolExecutor(2) as threads:
            first, second = (job.result() for job in [threads.submit(run) for _ in range(2)])
        assert len(first) == len(second) == 1
        assert first != second

    def test_forked_process_leaves_parent_connection_alone(self, url: str) -> None:
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
    nowhere = PostgresDatabase("postgresql://user:canary@127.0.0.1:1/name")
    with pytest.raises(StorageUnavailable) as refusal:
        await nowhere.fetch("SELECT 1")
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
