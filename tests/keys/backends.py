"""Storage backends of keys, which all pass one suite. A new key store is a class here and a name in BACKENDS."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, cast

import psycopg
import pytest
from psycopg.rows import dict_row

from paystar_async.keys.database import DatabaseKeyStore
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.redis import RedisKeyStore
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret
from tests.servers import RedisServer, execute_sql

OLD_KEY, NEW_KEY = Crypto.new_key(), Crypto.new_key()
KEY = KeyId("application", "race")
PAIR = KeyRecord(token=Secret("token"), refresh_token=Secret("refresh"), issued_at=1.0, expires_at=2.0)


def all_operations(store: KeyStore, version: int) -> tuple[Coroutine[Any, Any, KeyRecord | None], ...]:
    """Return one call of each operation of a store on the record of KEY."""
    return (
        store.load(KEY),
        store.acquire_lease(KEY, version, "me", 60),
        store.commit(KEY, version, "me", PAIR),
        store.mark_rejected(KEY, version),
    )


class Backend(Protocol):
    """A backend that stores key records, shared by its stores."""

    lease_seconds: float
    """Length of a lease in a test."""

    losses: tuple[str, ...]
    """Ways in which all records are lost."""

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        """Return a new store on this backend, as another process would create it."""
        ...

    async def now(self) -> float:
        """Return the time of this backend."""
        ...

    async def wait_lease_end(self) -> None:
        """Wait until a lease of ``lease_seconds`` has expired."""
        ...

    def lose(self, loss: str) -> None:
        """Lose all records, in one of the ways that ``losses`` names."""
        ...

    async def aclose(self) -> None:
        """Close the stores that were created."""
        ...


class SharedBackend(Backend, Protocol):
    """A backend that several processes share, and whose records a test can corrupt."""

    name: str
    """The location that ``make_key_store`` takes."""

    def corrupt(self, key: KeyId, field: str, value: str | float | None) -> None:
        """Overwrite a field of a record."""
        ...

    def raw_record(self, key: KeyId) -> dict[str, object]:
        """Return the fields of a record as they are stored."""
        ...


class LossyMemoryStore(MemoryKeyStore):
    """A store in memory that can lose its records."""

    def lose(self) -> None:
        self._records.clear()


class MemoryBackend:
    """The memory of one process."""

    lease_seconds = 60.0
    losses: tuple[str, ...] = ("cleared",)

    def __init__(self) -> None:
        self._clock = ManualClock()
        self._store = LossyMemoryStore(self._clock)

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        return self._store

    async def now(self) -> float:
        return self._clock.time()

    async def wait_lease_end(self) -> None:
        self._clock.advance(self.lease_seconds)

    def lose(self, loss: str) -> None:
        self._store.lose()

    async def aclose(self) -> None:
        pass


_LOSS_STATEMENTS = {
    "table emptied": ("DELETE FROM paystar_keys",),
    "table dropped": ("DROP TABLE paystar_keys",),
    "tables dropped": ("DROP TABLE paystar_keys", "DROP TABLE paystar_schema"),
}


class _ClosingBackend:
    """A backend that closes its stores."""

    def __init__(self) -> None:
        self._close_functions: list[Callable[[], Awaitable[None]]] = []

    async def aclose(self) -> None:
        for close in self._close_functions:
            await close()


class SqliteBackend(_ClosingBackend):
    """A SQLite file."""

    lease_seconds = 60.0
    losses: tuple[str, ...] = ("table emptied", "table dropped", "tables dropped")
    if sys.platform != "win32":  # which deletes no open file
        losses = ("file deleted", *losses)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.name = str(path)
        self.clock = ManualClock(start=time.time())

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        store = DatabaseKeyStore(self.name, crypto=crypto, clock=self.clock)
        self._close_functions.append(store.aclose)
        return store

    async def now(self) -> float:
        return self.clock.time()

    async def wait_lease_end(self) -> None:
        self.clock.advance(self.lease_seconds)

    def lose(self, loss: str) -> None:
        if loss == "file deleted":
            for suffix in ("", "-wal", "-shm"):
                Path(self.name + suffix).unlink(missing_ok=True)
            return
        for statement in _LOSS_STATEMENTS[loss]:
            execute_sql(self.name, statement)

    def corrupt(self, key: KeyId, field: str, value: str | float | None) -> None:
        with closing(sqlite3.connect(self.name)) as connection, connection:
            connection.execute(f"UPDATE paystar_keys SET {field} = ? WHERE account = ?", (value, key.account))

    def raw_record(self, key: KeyId) -> dict[str, object]:
        with closing(sqlite3.connect(self.name)) as connection:
            connection.row_factory = sqlite3.Row
            return dict(connection.execute("SELECT * FROM paystar_keys WHERE account = ?", (key.account,)).fetchone())


class _ServerBackend(_ClosingBackend):
    """A backend on a server, which measures leases by its own clock."""

    lease_seconds = 0.15

    async def now(self) -> float:
        return time.time()

    async def wait_lease_end(self) -> None:
        await asyncio.sleep(self.lease_seconds + 0.01)


class PostgresBackend(_ServerBackend):
    """A schema on a PostgreSQL server."""

    losses: tuple[str, ...] = ("table emptied", "table dropped", "tables dropped", "schema recreated")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.name = url

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        store = DatabaseKeyStore(self.name, crypto=crypto, clock=ManualClock())  # a clock that the store must not use
        self._close_functions.append(store.aclose)
        return store

    def lose(self, loss: str) -> None:
        schema = self.name.rpartition("%3D")[2]
        recreate = (f"DROP SCHEMA {schema} CASCADE", f"CREATE SCHEMA {schema}")
        for statement in recreate if loss == "schema recreated" else _LOSS_STATEMENTS[loss]:
            execute_sql(self.name, statement)

    def corrupt(self, key: KeyId, field: str, value: str | float | None) -> None:
        with psycopg.connect(self.name) as connection:
            sql = f"UPDATE paystar_keys SET {field} = %s WHERE account = %s"
            connection.execute(sql.encode(), (value, key.account))

    def raw_record(self, key: KeyId) -> dict[str, object]:
        with psycopg.connect(self.name) as connection, connection.cursor(row_factory=dict_row) as cursor:
            [row] = cursor.execute("SELECT * FROM paystar_keys WHERE account = %s", (key.account,)).fetchall()
            return row


class RedisBackend(_ServerBackend):
    """A Redis server."""

    losses: tuple[str, ...] = ("flushed",)

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.name, self._server = server.url, server
        server.execute("FLUSHALL")

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        return RedisKeyStore(self.name, crypto=crypto)

    def lose(self, loss: str) -> None:
        self._server.execute("FLUSHALL")

    def corrupt(self, key: KeyId, field: str, value: str | float | None) -> None:
        name = f"paystar:keys:{key.realm}:{key.account}"
        self._server.execute("HSET", name, field, "" if value is None else str(value))

    def raw_record(self, key: KeyId) -> dict[str, object]:
        fields = self._server.execute("HGETALL", f"paystar:keys:{key.realm}:{key.account}")
        return {name.decode(): value.decode() for name, value in cast("dict[bytes, bytes]", fields).items()}


SHARED_BACKENDS = ("sqlite", "redis", "postgres")
BACKENDS = ("memory", *SHARED_BACKENDS)


def make_backend(request: pytest.FixtureRequest, path: Path) -> MemoryBackend | SharedBackend:
    """Return the backend that ``request.param`` names; a test of Redis is skipped only without ``redis-server``."""
    if request.param == "memory":
        return MemoryBackend()
    if request.param == "sqlite":
        return SqliteBackend(path / "keys.db")
    if request.param == "redis":
        return RedisBackend(request.getfixturevalue("redis_server"))
    return PostgresBackend(request.getfixturevalue("postgres_schema"))
