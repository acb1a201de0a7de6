"""The store that all processes share; a dead process's transaction is rolled back."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from paystar_async.errors import StorageError, StorageUnavailable
from paystar_async.storage.database import (
    NONE,
    TRANSACTION_SECONDS,
    Parameters,
    Row,
    Transaction,
    numbered_values,
    reveal_parameters,
)
from tests.payouts.simulator.world import START_TIME, Host, World

LOCK_TIMEOUT_SECONDS = 5.0


class Store:
    """One database, one transaction at a time.

    Args:
        world: the world of the seed.
        server: whether the store is a server with its own clock; a file uses the clock of its writer.

    Attributes:
        origin: the origin of the data, such as a file's inode or a server's timeline.
        is_down: whether the store is unavailable.
        snapshots: the database after each commit; None if no snapshots are kept.
        committer: the process that committed last.
    """

    def __init__(self, world: World, *, server: bool) -> None:
        self.world, self.server = world, server
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA page_size = 512")  # small snapshots
        self.connection.row_factory = _row
        self.holder: _StoreLock | None = None
        self.on_commit: Callable[[], object] = lambda: None
        self.migrated: set[str] = set()
        self.origin = "1"
        self.is_down = False
        self.snapshots: list[bytes] | None = None
        self.committer: Host | None = None
        self._changes = 0
        self._waiting: deque[tuple[Host, asyncio.Future[None]]] = deque()

    def rows(self, sql: str, **parameters: object) -> list[Row]:
        """Return rows of the committed state."""
        assert self.holder is None or not self.connection.in_transaction
        return self.connection.execute(sql, parameters).fetchall()

    def events(self) -> list[tuple[str, int, str | None, str]]:
        """Return all committed events."""
        sql = "SELECT track_id, version, before, after FROM paystar_payout_events ORDER BY track_id, version"
        return [(row["track_id"], row["version"], row["before"], row["after"]) for row in self.rows(sql)]

    def roll_back(self) -> None:
        """Roll back the open transaction."""
        if self.holder is not None:
            self.end(self.holder, "ROLLBACK")

    def shut_down(self) -> None:
        """Close all connections, and refuse new ones."""
        self.is_down = True
        self.roll_back()

    def transaction_error(self) -> StorageError:
        """Return the error of a transaction that has ended."""
        if self.is_down:
            return StorageUnavailable("the connection to the store broke")
        return StorageError("the transaction has ended: it idled for too long")

    def lose_commits(self, number: int, *, is_new_origin: bool) -> None:
        """Restore an earlier commit, and delete the snapshots after it."""
        assert self.snapshots is not None
        del self.snapshots[number + 1 :]
        self.connection.deserialize(self.snapshots[number])
        if is_new_origin:
            self.origin = str(int(self.origin) + 1)
        self.is_down = False

    async def acquire(self, host: Host) -> "_StoreLock":
        if self.holder is not None:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((host, woken))
            with suppress(TimeoutError):
                await asyncio.wait_for(woken, LOCK_TIMEOUT_SECONDS)
            await host.wait_until_running()
        if self.is_down:
            raise host.note_store_error(StorageUnavailable("the store is down"))
        if self.holder is not None:
            raise host.note_store_error(StorageUnavailable("the store is locked"))
        lock = self.holder = _StoreLock(host)
        self.connection.execute("BEGIN IMMEDIATE")
        self.world.call_later(TRANSACTION_SECONDS, lambda: self.end(lock, "ROLLBACK"))
        return lock

    def end(self, lock: "_StoreLock", how: str) -> None:
        if self.holder is lock:
            before, self._changes = self._changes, self.connection.total_changes
            self.connection.execute(how)
            self.holder = None
            if how == "COMMIT" and self._changes != before:
                self.committer = lock.host
                if self.snapshots is not None:
                    self.snapshots.append(self.connection.serialize())
                self.on_commit()
            while self._waiting:
                host, woken = self._waiting.popleft()
                if host.is_alive and not woken.done():
                    woken.set_result(None)
                    break

    def on_host_death(self, host: Host) -> None:
        """Roll back the transaction of a dead process."""
        if self.holder is not None and self.holder.host is host:
            self.end(self.holder, "ROLLBACK")


class _StoreLock:
    def __init__(self, host: Host) -> None:
        self.host = host


class SimDatabase:
    """The store as one process sees it: the protocol of ``storage.database``."""

    def __init__(self, store: Store, host: Host) -> None:
        self._store, self._host = store, host

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction, None]:
        world, host = self._store.world, self._host
        await host.step("begins a transaction")
        lock = await self._store.acquire(host)
        try:
            yield _SimTransaction(self._store, host, lock)
            await host.step("commits")
            if self._store.holder is not lock:
                raise host.note_store_error(self._store.transaction_error())
            if world.chance(world.fault_rates.storage_error):
                self._store.end(lock, world.rng.choice(("COMMIT", "ROLLBACK")))
                raise host.note_store_error(StorageUnavailable("the store went away while it committed"))
            self._store.end(lock, "COMMIT")
        except BaseException:
            self._store.end(lock, "ROLLBACK")
            raise
        await host.step("has committed")

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        async with self.transaction() as transaction:
            return await transaction.execute(sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        async with self.transaction() as transaction:
            return await transaction.fetch(sql, parameters)

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Run by the first process; concurrent migrations are tested on real databases."""
        if name not in self._store.migrated:
            for step in steps:
                self._store.connection.execute(step)
            self._store.migrated.add(name)

    async def aclose(self) -> None:
        pass


class _SimTransaction:
    values = staticmethod(numbered_values)

    def __init__(self, store: Store, host: Host, lock: _StoreLock) -> None:
        self._store, self._host, self._lock = store, host, lock

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        return (await self._run(sql, parameters)).rowcount

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        return (await self._run(sql, parameters)).fetchall()

    async def _run(self, sql: str, parameters: Parameters) -> sqlite3.Cursor:
        store, world = self._store, self._store.world
        await self._host.step("runs a statement")
        if store.holder is not self._lock:
            raise self._host.note_store_error(store.transaction_error())
        if world.chance(world.fault_rates.storage_error):
            store.end(self._lock, "ROLLBACK")
            raise self._host.note_store_error(StorageUnavailable("the store went away"))
        if sql.startswith("SELECT CAST(:origin"):  # the process opens the ledger; a failed open is repeated
            self._host.origin = store.origin
        values = {
            "now": self._host.clock.time(),
            "origin": store.origin,
            **parameters,
            **({"now": START_TIME + world.now} if store.server else {}),
        }
        return store.connection.execute(sql, reveal_parameters(values))


def _row(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}
