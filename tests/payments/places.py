"""Where orders can be kept, for the one suite that all stores pass."""

import sqlite3
import time
from pathlib import Path
from typing import Protocol

import pytest

from paystar_async.clock import ManualClock
from paystar_async.payments.order_store import OrderStore
from paystar_async.storage.choose import database
from paystar_async.storage.database import Database
from paystar_async.values.secret import Secret
from tests.servers import PostgresServer

PLACES = ("sqlite", "postgres")


class Place(Protocol):
    """Somewhere orders lie, whoever looks at them."""

    def store(self, gateway: str = "gateway-1") -> OrderStore: ...
    def now(self) -> float: ...
    def spoil(self, sql: str) -> None: ...
    async def aclose(self) -> None: ...


class _Closing:
    def __init__(self, name: str, clock: ManualClock) -> None:
        self._name, self._clock = name, clock
        self._databases: list[Database] = []

    def store(self, gateway: str = "gateway-1") -> OrderStore:
        """A store on this place, as another process would make it."""
        self._databases.append(database(self._name, self._clock))
        return OrderStore(self._databases[-1], Secret(gateway))

    async def aclose(self) -> None:
        for one in self._databases:
            await one.aclose()


class File(_Closing):
    """A SQLite file, by a clock of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), ManualClock(start=time.time()))

    def now(self) -> float:
        return self._clock.time()

    def spoil(self, sql: str) -> None:
        connection = sqlite3.connect(self._name)
        with connection:
            connection.execute(sql)
        connection.close()


class Server(_Closing):
    """A schema on a PostgreSQL server, by the server's clock and not by ours."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        super().__init__(url, ManualClock())
        self._server, self._schema = server, url.rpartition("%3D")[2]

    def now(self) -> float:
        return time.time()

    def spoil(self, sql: str) -> None:
        with self._server.connect() as connection:
            connection.execute(f"SET search_path = {self._schema}".encode())
            connection.execute(sql.encode())


def make_place(request: pytest.FixtureRequest, path: Path) -> Place:
    """The place of this name; a server that cannot be had is a failure, never a skip."""
    if request.param == "sqlite":
        return File(path / "paystar.db")
    return Server(request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_schema"))
