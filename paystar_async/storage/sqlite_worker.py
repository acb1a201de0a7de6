"""The worker thread of a SQLite file: open it, run work in transactions, and map errors."""

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar, cast

import anyio
import sniffio

from paystar_async.errors import SchemaMismatch, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.storage.database import CONTRADICTION_HINT, TRANSACTION_SECONDS, Row

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]

MAX_BATCHED_TRANSACTIONS = 64
"""Transactions in one commit."""


class TransactionToken:
    """A token of a transaction; until it ends, the thread runs no other work."""

    is_cancelled = False
    """True once the caller no longer wants the transaction."""


class WorkItem(Generic[T]):
    """Work for the thread, and the task that waits for its result.

    Args:
        work: the function to call.
        token: the transaction that the work belongs to.
        begins: True if the work begins that transaction.
        is_transaction: True if the work is a complete transaction. The thread begins and commits, with one commit for
            all queued transactions, and runs the work again if another transaction of that commit fails.
        only_reads: True if the work only reads, and belongs to no transaction.
    """

    def __init__(
        self,
        work: Work[T],
        token: TransactionToken | None = None,
        *,
        begins: bool = False,
        is_transaction: bool = False,
        only_reads: bool = False,
    ) -> None:
        self.work, self.token = work, token
        self.begins = begins or is_transaction
        self.is_transaction, self.only_reads = is_transaction, only_reads
        self._wake = _waker()
        self._done = anyio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    @property
    def cancelled(self) -> bool:
        """Return True if the task was cancelled while it waited in the queue."""
        return self.begins and self.token is not None and self.token.is_cancelled

    def set_result(self, value: T | None, error: BaseException | None = None) -> None:
        """Set the result and wake the task; called in the thread."""
        self._value, self._error = value, error
        with suppress(RuntimeError):  # its event loop has ended: no task waits
            self._wake(self._done.set)

    async def result(self) -> T:
        """Wait for the result; raise its error."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


def _waker() -> Callable[[Callable[[], object]], object]:
    """Return the function by which another thread calls into this event loop."""
    if sniffio.current_async_library() == "trio":
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe


class SqliteWorker:
    """The worker thread of one file.

    Args:
        path: the file.
        busy_timeout: seconds to wait for another process that writes.
        creates: True to create a missing file; a file that was open before is created again only by ``migrate``.
    """

    def __init__(self, path: Path, busy_timeout: float, *, creates: bool = True) -> None:
        self._path, self._busy_timeout, self.creates = path, busy_timeout, creates
        self._process = os.getpid()
        self._lock = Lock()
        self._closed = self._ended = False
        self._closing_item: WorkItem[None] | None = None
        self._queue: SimpleQueue[WorkItem[object] | None] = SimpleQueue()
        # The attributes below are used only by the thread.
        self._deferred: deque[WorkItem[object] | None] = deque()
        self._connection: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None
        self._token: TransactionToken | None = None
        self._transaction_deadline = 0.0
        Thread(target=self._run, name=f"paystar_async {path.name}", daemon=True).start()

    @property
    def is_usable(self) -> bool:
        """Return True if the worker accepts work; a forked process has no copy of the thread."""
        return not self._closed and self._process == os.getpid()

    @property
    def origin(self) -> str:
        """Return the device and inode of the file that is open; called in the thread."""
        opened = self._opened
        return "" if opened is None else f"{opened.st_dev}:{opened.st_ino}"

    def submit(self, item: WorkItem[T]) -> WorkItem[T]:
        """Queue a work item; its result will be set."""
        is_step = item.token is not None and not item.begins
        with self._lock:
            if self._ended or (self._closed and not is_step):
                item.set_result(None, _closed_error())
            else:
                self._queue.put(cast("WorkItem[object]", item))
        return item

    def close(self, closing_item: WorkItem[None] | None = None) -> None:
        """Finish queued work and transactions, then close the file and set the result of ``closing_item``."""
        if self._process != os.getpid():
            return  # a fork copied the lock, maybe locked
        with self._lock:
            if not self._closed:
                self._closed, self._closing_item = True, closing_item
                self._queue.put(None)

    def _run(self) -> None:
        while True:
            try:
                item = self._next_item()
            except Empty:
                self._end_transaction()  # its task idled for too long
                continue
            if self._token is not None and (item is None or item.begins or item.token is None):
                self._deferred.append(item)
            elif item is None:
                break
            elif item.token is not self._token and not item.begins:
                item.set_result(None, _ended_error())
            else:
                self._run_item(item)
        with self._lock:
            self._ended = True
        while not self._queue.empty():  # statements of transactions that have ended
            if (late_item := self._queue.get()) is not None:
                late_item.set_result(None, _ended_error())
        self._disconnect()
        if self._closing_item is not None:
            self._closing_item.set_result(None)

    def _next_item(self) -> WorkItem[object] | None:
        if self._token is not None:
            return self._queue.get(timeout=max(0.0, self._transaction_deadline - time.monotonic()))
        return self._deferred.popleft() if self._deferred else self._queue.get()

    def _run_item(self, item: WorkItem[object]) -> None:
        if item.cancelled:
            return item.set_result(None)
        if item.is_transaction:
            return self._run_batch([item, *self._batchable()])
        try:
            connection = self._connect()
            result = item.work(connection)
        except BaseException as error:
            return item.set_result(None, self._roll_back_and_map(error))
        self._token = item.token if connection.in_transaction else None
        self._transaction_deadline = time.monotonic() + TRANSACTION_SECONDS
        return item.set_result(result)

    def _batchable(self) -> Iterator[WorkItem[object]]:
        """Yield the items queued right behind that can share the transaction."""
        for _ in range(MAX_BATCHED_TRANSACTIONS - 1):
            if not self._deferred and self._queue.empty():
                return
            item = self._deferred.popleft() if self._deferred else self._queue.get()
            if item is None or not (item.is_transaction or item.only_reads):
                return self._deferred.appendleft(item)
            yield item

    def _run_batch(self, items: Sequence[WorkItem[object]]) -> None:
        """Run all items in one transaction with one wait for the disk; set results only after the commit."""
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                values = [None if item.cancelled else item.work(connection) for item in items]
            except BaseException:
                if len(items) == 1:
                    raise
                self._end_transaction()
                for item in items:  # a failed item must not fail the others
                    self._run_batch([item]) if item.is_transaction else self._run_item(item)
                return
            connection.execute("COMMIT")
        except BaseException as error:
            for item in items:
                storage_error = self._roll_back_and_map(error)
                if item.only_reads:  # a full disk can still be read
                    self._run_item(item)
                else:
                    item.set_result(None, storage_error)
        else:
            for item, value in zip(items, values, strict=True):
                item.set_result(value)

    def _roll_back_and_map(self, error: BaseException) -> BaseException:
        """Roll back, and return the error to raise."""
        self._end_transaction()
        if isinstance(error, OSError):
            return StorageUnavailable(f"{self._path}: {error.strerror}")
        if isinstance(error, UnicodeDecodeError):  # of an error message that quotes the schema
            return StorageCorrupt(f"{self._path} is a damaged SQLite database: its schema is not UTF-8")
        if not isinstance(error, sqlite3.Error):
            return error
        storage_error = map_error(error, self._path)
        if isinstance(storage_error, StorageCorrupt):
            self._disconnect()  # reopen, so that a repaired file works; a file on a full disk stays open for reads
        return storage_error

    def _connect(self) -> sqlite3.Connection:
        if self._token is None and self._opened is not None and is_moved(self._opened, self._path):
            self._disconnect()  # other processes already use the file that is there now
        if self._connection is None:
            self._connection = connect(self._path, self._busy_timeout, creates=self.creates)
            self._opened = self._path.stat()
            self.creates = False
        return self._connection

    def _end_transaction(self) -> None:
        self._token = None
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _disconnect(self) -> None:
        connection, self._connection, self._opened = self._connection, None, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _closed_error() -> StorageUnavailable:
    return StorageUnavailable(
        "the database was closed during the call", hint="call again: the next call opens the database"
    )


def _ended_error() -> StorageError:
    return StorageError(
        "the transaction has ended: a statement in it failed, or it idled for too long",
        hint="begin another transaction",
    )


_open_lock = Lock()
"""Closing any handle of a file ends all locks of this process on the file, those of other connections included.
So a file is created, and its handle closed, while no connection of this process can be opened."""


def _replace_lock() -> None:
    """Replace the lock in a forked process: a thread of the parent process may have held it."""
    global _open_lock
    _open_lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_lock)

CACHE_KIB = 16_384
"""Page cache in KiB: SQLite's default of 2 MB is too small for the inner pages of a ledger of a million transfers."""

_CORRUPT = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, then call again",
    sqlite3.SQLITE_IOERR: "the disk is full or failing: make room or repair it, then call again",
    sqlite3.SQLITE_BUSY: "another connection holds the file for long, maybe an open transaction of yours; call again",
    sqlite3.SQLITE_READONLY: "let this process write the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "the directory must exist and let this process write",
    sqlite3.SQLITE_PERM: "let this process write the file and its directory",
}


_HINT_MISSING = "put the file back, or close the client and start again with another file; no new file was created"


def connect(path: Path, busy_timeout: float, *, creates: bool = True) -> sqlite3.Connection:
    """Open a connection to the file; create the file if ``creates``, readable only by its owner.

    Raises:
        StorageUnavailable: the file is missing, or cannot be opened.
    """
    if not creates and not path.exists():
        raise StorageUnavailable(f"{path} was deleted or moved while it was in use", hint=_HINT_MISSING)
    try:
        with _open_lock, suppress(FileExistsError):
            # SQLite gives its -wal and -shm files the mode of this file.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StorageUnavailable(f"{path}: {error.strerror}", hint=_HINTS[sqlite3.SQLITE_CANTOPEN]) from None
    if path.is_dir():
        raise StorageUnavailable(f"{path} is a directory", hint="give the path of a file in it")
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        _set_pragmas(connection, time.monotonic() + busy_timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_pragmas(connection: sqlite3.Connection, deadline: float) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait for other processes that change the journal mode at the same time.
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def rows(cursor: sqlite3.Cursor) -> list[Row]:
    """Return the rows of a statement by column name."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def is_moved(connection_stat: os.stat_result, path: Path) -> bool:
    """Return True if the path no longer leads to the file that was opened."""
    try:
        return not os.path.samestat(connection_stat, path.stat())
    except OSError:
        return True


def map_error(error: sqlite3.Error, path: Path) -> StorageError:
    """Return the error for an error of SQLite, whose text names tables and columns, without their contents."""
    code = _primary_code(error)
    undecodable, separator, _ = str(error).partition(" with text ")
    if separator and undecodable.startswith("Could not decode"):  # the rest is what is stored, secrets included
        return StorageCorrupt(f"{path} is damaged: {undecodable}")
    if code in _CORRUPT:
        return StorageCorrupt(f"{path} is no SQLite database, or a damaged one: {error}")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return StorageError(f"{path}: {error}", hint=CONTRADICTION_HINT)
    if code == sqlite3.SQLITE_ERROR:
        return SchemaMismatch(f"{path}: {error}")
    if code in _HINTS:
        return StorageUnavailable(f"{path}: {error}", hint=_HINTS[code])
    return StorageError(f"{path}: {error}")


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the module itself, such as a missing parameter, carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
