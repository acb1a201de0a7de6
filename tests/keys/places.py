"""Where keys can be kept, for the one suite that all stores pass. A new store is a class here and a line in PLACES."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, cast

import pytest

from paystar_async.keys.database import DatabaseKeyStore
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.redis import RedisKeyStore
from paystar_async.keys.store import KeyId, KeyStore
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.encryption import Crypto
from tests.servers import PostgresServer, RedisServer

OLD_KEY, NEW_KEY = Crypto.new_key(), Crypto.new_key()


class Place(Protocol):
    """A place where records are stored, shared by its readers."""

    lease: float
    """Seconds a claim lasts in a test."""

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        """Return a store on this place, as another process would create it."""
        ...

    async def now(self) -> float:
        """Return the time of this place."""
        ...

    async def wait_out(self) -> None:
        """Come back when a claim of ``lease`` seconds is over."""
        ...

    losses: tuple[str, ...]
    """Ways in which all records are lost."""

    def lose(self, way: str) -> None:
        """Lose all records, in one of the ways ``losses`` names."""
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...


class SharedPlace(Place, Protocol):
    """One that processes share, and where a record can be spoilt behind the stores' backs."""

    name: str
    """What ``make_key_store`` finds it by."""

    def spoil(self, key: KeyId, field: str, value: str | float | None) -> None:
        """Write over a field of a record."""
        ...

    def raw(self, key: KeyId) -> dict[str, object]:
        """Return a record as it is stored."""
        ...


class Emptied(MemoryKeyStore):
    """A dictionary that can lose its records."""

    def lose(self) -> None:
        self._records.clear()


class Memory:
    """The dictionary of one process."""

    lease = 60.0

    def __init__(self) -> None:
        self._clock = ManualClock()
        self._store = Emptied(self._clock)

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        return self._store

    async def now(self) -> float:
        return self._clock.time()

    async def wait_out(self) -> None:
        self._clock.advance(self.lease)

    losses: tuple[str, ...] = ("cleared",)

    def lose(self, way: str) -> None:
        self._store.lose()

    async def aclose(self) -> None:
        pass


_LOSSES = {
    "table emptied": ("DELETE FROM paystar_keys",),
    "table dropped": ("DROP TABLE paystar_keys",),
    "tables dropped": ("DROP TABLE paystar_keys", "DROP TABLE paystar_schema"),
}


class _Closing:
    def __init__(self) -> None:
        self._goodbyes: list[Callable[[], Awaitable[None]]] = []

    async def aclose(self) -> None:
        for goodbye in self._goodbyes:
            await goodbye()


class File(_Closing):
    """A SQLite file."""

    lease = 60.0

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.name = str(path)
        self.clock = ManualClock(start=time.time())

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        store = DatabaseKeyStore(self.name, crypto=crypto, clock=self.clock)
        self._goodbyes.append(store.aclose)
        return store

    async def now(self) -> float:
        return self.clock.time()

    async def wait_out(self) -> None:
        self.clock.advance(self.lease)

    losses: tuple[str, ...] = ("file deleted", "table emptied", "table dropped", "tables dropped")

    def lose(self, way: str) -> None:
        if way == "file deleted":
            for end in ("", "-wal", "-shm"):
                Path(self.name + end).unlink(missing_ok=True)
            return
        connection = sqlite3.connect(self.name)
        with connection:
            for statement in _LOSSES[way]:
                connection.execute(statement)
        connection.close()

    def spoil(self, key: KeyId, field: str, value: str | float | None) -> None:
        connection = sqlite3.connect(self.name)
        with connection:
            connection.execute(f"UPDATE paystar_keys SET {field} = ? WHERE account = ?", (value, key.account))
        connection.close()

    def raw(self, key: KeyId) -> dict[str, object]:
        connection = sqlite3.connect(self.name)
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM paystar_keys WHERE account = ?", (key.account,)).fetchone()
        connection.close()
        return dict(row)


class _Timed(_Closing):
    lease = 0.15

    async def now(self) -> float:
        return time.time()

    async def wait_out(self) -> None:
        await asyncio.sleep(self.lease + 0.01)


class Server(_Timed):
    """A schema on a PostgreSQL server."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        super().__init__()
        self.name, self._server = url, server
        self._schema = url.rpartition("%3D")[2]

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        store = DatabaseKeyStore(self.name, crypto=crypto, clock=ManualClock())  # a clock it must not look at
        self._goodbyes.append(store.aclose)
        return store

    losses: tuple[str, ...] = ("table emptied", "table dropped", "tables dropped", "schema made anew")

    def lose(self, way: str) -> None:
        made_anew = (f"DROP SCHEMA {self._schema} CASCADE", f"CREATE SCHEMA {self._schema}")
        with self._server.connect() as connection:
            connection.execute(f"SET search_path = {self._schema}".encode())
            for statement in made_anew if way == "schema made anew" else _LOSSES[way]:
                connection.execute(statement.encode())

    def spoil(self, key: KeyId, field: str, value: str | float | None) -> None:
        with self._server.connect() as connection:
            sql = f"UPDATE {self._schema}.paystar_keys SET {field} = %s WHERE account = %s"
            connection.execute(sql.encode(), (value, key.account))

    def raw(self, key: KeyId) -> dict[str, object]:
        with self._server.connect() as connection:
            sql = f"SELECT * FROM {self._schema}.paystar_keys WHERE account = %s"
            cursor = connection.execute(sql.encode(), (key.account,))
            assert cursor.description is not None
            [row] = cursor.fetchall()
            return dict(zip([column.name for column in cursor.description], row, strict=True))


class Redis(_Timed):
    """A Redis server."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.name, self._server = server.url, server
        server.execute("FLUSHALL")

    def store(self, crypto: Crypto | None = None) -> KeyStore:
        return RedisKeyStore(self.name, crypto=crypto)

    losses: tuple[str, ...] = ("flushed",)

    def lose(self, way: str) -> None:
        self._server.execute("FLUSHALL")

    def spoil(self, key: KeyId, field: str, value: str | float | None) -> None:
        name = f"paystar:keys:{key.realm}:{key.account}"
        self._server.execute("HSET", name, field, "" if value is None else str(value))

    def raw(self, key: KeyId) -> dict[str, object]:
        found = self._server.execute("HGETALL", f"paystar:keys:{key.realm}:{key.account}")
        return {name.decode(): value.decode() for name, value in cast("dict[bytes, bytes]", found).items()}


SHARED_PLACES = ("sqlite", "redis", "postgres")
PLACES = ("memory", *SHARED_PLACES)


def make_place(request: pytest.FixtureRequest, path: Path) -> Memory | SharedPlace:
    """Return the store of this name; only without any ``redis-server`` is a test of Redis skipped."""
    if request.param == "memory":
        return Memory()
    if request.param == "sqlite":
        return File(path / "keys.db")
    if request.param == "redis":
        return Redis(request.getfixturevalue("redis_server"))
    return Server(request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_schema"))
