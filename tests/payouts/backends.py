"""Backends a ledger can be stored on; every test that asks for ``backend`` runs on each of BACKENDS."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.database import Database
from paystar_async.storage.encryption import Crypto
from paystar_async.storage.postgres import PostgresDatabase
from paystar_async.storage.sqlite import SqliteDatabase
from tests.servers import PostgresServer

KEY = Crypto.new_key()
_TIME_COLUMNS = {
    "paystar_payout_batches": ("created_at",),
    "paystar_payout_chunks": ("due_at", "lease_expires_at", "slot_until"),
    "paystar_payout_transfers": ("unknown_since", "last_not_found_at", "changed_at"),
    "paystar_payout_holds": ("next_send_at",),
    "paystar_payout_staging": ("at",),
}


class Backend(Protocol):
    """A store of a ledger, shared by the processes that open it."""

    clock: ManualClock

    def database(self) -> Database:
        """Return a database on this backend, as another process would open it."""
        ...

    def ledger(self, crypto: Crypto | None = None) -> LedgerDatabase:
        """Return a ledger on this backend, as another process would open it."""
        ...

    def advance_clock(self, seconds: float) -> None:
        """Advance the time of the ledger and of its users."""
        ...

    def sql(self, statement: str) -> Sequence[Sequence[Any]]:
        """Execute a statement outside of the library."""
        ...

    def tables(self) -> list[str]:
        """Return the names of the ledger's tables."""
        ...

    async def aclose(self) -> None:
        """Close all databases that were opened."""
        ...


class _BaseBackend:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self._opened: list[Database] = []

    def database(self) -> Database:
        raise NotImplementedError

    def ledger(self, crypto: Crypto | None = None) -> LedgerDatabase:
        database = self.database()
        self._opened.append(database)
        return LedgerDatabase(database, crypto=crypto, clock=self.clock)

    async def aclose(self) -> None:
        for database in self._opened:
            await database.aclose()


class SqliteBackend(_BaseBackend):
    """A SQLite file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def database(self) -> Database:
        return SqliteDatabase(self.path, clock=self.clock)

    def advance_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def sql(self, statement: str) -> Sequence[Sequence[Any]]:
        connection = sqlite3.connect(self.path)
        with connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    def tables(self) -> list[str]:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'paystar_payout%'"
        return [row[0] for row in self.sql(names)]


class PostgresBackend(_BaseBackend):
    """A schema on a PostgreSQL server, which has its own clock."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        super().__init__()
        self._server, self._url = server, url
        self._schema = url.rpartition("%3D")[2]

    def database(self) -> Database:
        return PostgresDatabase(self._url)

    def advance_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for table, columns in _TIME_COLUMNS.items():
            self.sql(f"UPDATE {table} SET " + ", ".join(f"{column} = {column} - {seconds}" for column in columns))

    def sql(self, statement: str) -> Sequence[Sequence[Any]]:
        with self._server.connect() as connection:
            connection.execute(f"SET search_path = {self._schema}".encode())
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def tables(self) -> list[str]:
        names = (
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'paystar_payout%'"
        )
        return [row[0] for row in self.sql(names)]

    async def connect(self) -> "psycopg.AsyncConnection[Any]":
        """Open a connection as a user would."""
        return await psycopg.AsyncConnection[Any].connect(self._url)


BACKENDS = ("sqlite", "postgres")


def open_backend(request: pytest.FixtureRequest, path: Path) -> SqliteBackend | PostgresBackend:
    """Return the backend of this parameter; a missing server fails the test."""
    if request.param == "sqlite":
        return SqliteBackend(path / "payouts.db")
    return PostgresBackend(request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_schema"))
