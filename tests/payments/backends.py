"""Databases of orders for the suite of the order store."""

import sqlite3
import time
from pathlib import Path
from typing import Protocol

import pytest

from paystar_async.payments.order_store import OrderStore
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.database import Database
from paystar_async.storage.factory import database as open_database
from paystar_async.values.secret import Secret
from tests.servers import PostgresServer

BACKENDS = ("sqlite", "postgres")


class Backend(Protocol):
    """A database of orders."""

    def store(self, gateway: str = "gateway-1") -> OrderStore: ...
    def now(self) -> float: ...
    def execute(self, sql: str) -> None: ...
    async def aclose(self) -> None: ...


class _BackendStores:
    def __init__(self, name: str, clock: ManualClock) -> None:
        self._name, self._clock = name, clock
        self._databases: list[Database] = []

    def store(self, gateway: str = "gateway-1") -> OrderStore:
        """Return a new store on this database, as in another process."""
        self._databases.append(open_database(self._name, self._clock))
        return OrderStore(self._databases[-1], Secret(gateway))

    async def aclose(self) -> None:
        for database in self._databases:
            await database.aclose()


class SqliteBackend(_BackendStores):
    """A SQLite file with its own clock."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), ManualClock(start=time.time()))

    def now(self) -> float:
        return self._clock.time()

    def execute(self, sql: str) -> None:
        connection = sqlite3.connect(self._name)
        with connection:
            connection.execute(sql)
        connection.close()


class PostgresBackend(_BackendStores):
    """A schema on a PostgreSQL server, with the server's clock."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        super().__init__(url, ManualClock())
        self._server, self._schema = server, url.rpartition("%3D")[2]

    def now(self) -> float:
        return time.time()

    def execute(self, sql: str) -> None:
        with self._server.connect() as connection:
            connection.execute(f"SET search_path = {self._schema}".encode())
            connection.execute(sql.encode())


def make_backend(request: pytest.FixtureRequest, path: Path) -> Backend:
    """Return the backend of the fixture's parameter; a server that cannot start is a failure, never a skip."""
    if request.param == "sqlite":
        return SqliteBackend(path / "paystar.db")
    return PostgresBackend(request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_schema"))
