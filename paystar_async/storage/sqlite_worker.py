"""A SQLite file: how it is opened, and what its errors mean."""

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
from paystar_async.storage.database import TRANSACTION_SECONDS, Row

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]

MOST_TOGETHER = 64
"""Transactions in one commit."""


class TransactionToken:
    """A transaction: while it lasts, the thread serves nobody else."""

    over = False
    """Set by whoever asked for it, when it wants nothing any more."""


class WorkItem(Generic[T]):
    """Work for the thread, and the task that waits for what comes of it.

    Args:
        work: what is done.
        turn: the transaction it belongs to.
        opens: whether that transaction begins with it.
        whole: whether it is all of it. The thread begins and commits, for several at once where they queue, and does
            the work again where another of them fails.
        reads: whether it only looks, and belongs to no transaction.
    """

    def __init__(
        self,
        work: Work[T],
        turn: TransactionToken | None = None,
        *,
        opens: bool = False,
        whole: bool = False,
        reads: bool = False,
    ) -> None:
        self.work, self.turn, self.opens, self.whole, self.reads = work, turn, opens or whole, whole, reads
        self._wake = _waker()
        self._done = anyio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    @property
    def cancelled(self) -> bool:
        """Whether its task was cancelled while it waited for its turn."""
        return self.opens and self.turn is not None and self.turn.over

    def set_result(self, value: T | None, error: BaseException | None = None) -> None:
        """Say what came of it; called in the thread."""
        self._value, self._error = value, error
        with suppress(RuntimeError):  # its event loop has ended: nobody waits any more
            self._wake(self._done.set)

    async def result(self) -> T:
        """Wait for what comes of it."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


def _waker() -> Callable[[Callable[[], object]], object]:
    """How another thread calls something in this event loop."""
    if sniffio.current_async_library() == "trio":
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe


class SqliteWorker:
    """The thread of one file.

    Args:
        path: the file.
        patience: seconds to wait for another process that writes.
        creates: whether a file that is not there is made; a file that has been open is made anew by ``migrate`` alone.
    """

    def __init__(self, path: Path, patience: float, *, creates: bool = True) -> None:
        self._path, self._patience, self.creates = path, patience, creates
        self._process = os.getpid()
        self._gate = Lock()
        self._closed = self._ended = False
        self._last: WorkItem[None] | None = None
        self._queue: SimpleQueue[WorkItem[object] | None] = SimpleQueue()
        # From here on: the thread's own.
        self._waiting: deque[WorkItem[object] | None] = deque()
        self._connection: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None
        self._turn: TransactionToken | None = None
        self._turn_ends = 0.0
        Thread(target=self._run, name=f"paystar_async {path.name}", daemon=True).start()

    @property
    def usable(self) -> bool:
        """Whether it takes errands; a thread does not come along into a forked process."""
        return not self._closed and self._process == os.getpid()

    @property
    def origin(self) -> str:
        """Return the device and inode of the file that is open; called in the thread."""
        opened = self._opened
        return "" if opened is None else f"{opened.st_dev}:{opened.st_ino}"

    def submit(self, errand: WorkItem[T]) -> WorkItem[T]:
        """Hand over an errand; it will be answered."""
        step = errand.turn is not None and not errand.opens
        with self._gate:
            if self._ended or (self._closed and not step):
                errand.set_result(None, _closed())
            else:
                self._queue.put(cast("WorkItem[object]", errand))
        return errand

    def close(self, last: WorkItem[None] | None = None) -> None:
        """Let those at hand be served and transactions end; answer ``last`` when the file is closed."""
        with self._gate:
            if not self._closed:
                self._closed, self._last = True, last
                self._queue.put(None)

    def _run(self) -> None:
        while True:
            try:
                errand = self._next()
            except Empty:
                self._end_turn()  # its task has gone quiet for too long
                continue
            if self._turn is not None and (errand is None or errand.opens or errand.turn is None):
                self._waiting.append(errand)
            elif errand is None:
                break
            elif errand.turn is not self._turn and not errand.opens:
                errand.set_result(None, _ended())
            else:
                self._do(errand)
        with self._gate:
            self._ended = True
        while not self._queue.empty():  # steps of transactions that have ended
            if (late := self._queue.get()) is not None:
                late.set_result(None, _ended())
        self._disconnect()
        if self._last is not None:
            self._last.set_result(None)

    def _next(self) -> WorkItem[object] | None:
        if self._turn is not None:
            return self._queue.get(timeout=max(0.0, self._turn_ends - time.monotonic()))
        return self._waiting.popleft() if self._waiting else self._queue.get()

    def _do(self, errand: WorkItem[object]) -> None:
        if errand.cancelled:
            return errand.set_result(None)
        if errand.whole:
            return self._run_batch([errand, *self._companions()])
        try:
            connection = self._connect()
            value = errand.work(connection)
        except BaseException as problem:
            return errand.set_result(None, self._undone(problem))
        self._turn = errand.turn if connection.in_transaction else None
        self._turn_ends = time.monotonic() + TRANSACTION_SECONDS
        return errand.set_result(value)

    def _companions(self) -> Iterator[WorkItem[object]]:
        """Whatever queues right behind and can be part of the same transaction."""
        for _ in range(MOST_TOGETHER - 1):
            if not self._waiting and self._queue.empty():
                return
            errand = self._waiting.popleft() if self._waiting else self._queue.get()
            if errand is None or not (errand.whole or errand.reads):
                return self._waiting.appendleft(errand)
            yield errand

    def _run_batch(self, errands: Sequence[WorkItem[object]]) -> None:
        """One transaction and one wait for the disk for all of them; nobody is answered before it is over."""
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                values = [None if errand.cancelled else errand.work(connection) for errand in errands]
            except BaseException:
                if len(errands) == 1:
                    raise
                self._end_turn()
                for errand in errands:  # one that fails must not take the others along
                    self._run_batch([errand]) if errand.whole else self._do(errand)
                return
            connection.execute("COMMIT")
        except BaseException as problem:
            for errand in errands:
                error = self._undone(problem)
                if errand.reads:  # a full disk can still be read
                    self._do(errand)
                else:
                    errand.set_result(None, error)
        else:
            for errand, value in zip(errands, values, strict=True):
                errand.set_result(value)

    def _undone(self, problem: BaseException) -> BaseException:
        """What to tell of it, now that nothing of the transaction is left."""
        self._end_turn()
        if isinstance(problem, OSError):
            return StorageUnavailable(f"{self._path}: {problem.strerror}")
        if not isinstance(problem, sqlite3.Error):
            return problem
        error = map_error(problem, self._path)
        if isinstance(error, StorageCorrupt):
            self._disconnect()  # so that a file that was repaired is found well; a full one is read on as it is
        return error

    def _connect(self) -> sqlite3.Connection:
        if self._turn is None and self._opened is not None and moved(self._opened, self._path):
            self._disconnect()  # others already use what lies there now
        if self._connection is None:
            self._connection = connect(self._path, self._patience, creates=self.creates)
            self._opened = self._path.stat()
            self.creates = False
        return self._connection

    def _end_turn(self) -> None:
        self._turn = None
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _disconnect(self) -> None:
        connection, self._connection, self._opened = self._connection, None, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _closed() -> StorageUnavailable:
    return StorageUnavailable("the database was closed meanwhile", hint="call again: it opens itself")


def _ended() -> StorageError:
    return StorageError(
        "the transaction has ended: a statement in it failed, or it idled for too long", hint="begin another"
    )


_opening = Lock()
"""Closing any handle of a file ends all locks this process has on it, those of another connection included.
So a file is made, and its handle closed, before any connection of this process can have come in between."""

CACHE_KIB = 16_384
"""Pages kept in memory: SQLite's own 2 MB hold too few of the inner pages of a ledger of a million transfers."""

_CORRUPT = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, then call again",
    sqlite3.SQLITE_IOERR: "the disk is full or failing: make room or see to it, then call again",
    sqlite3.SQLITE_BUSY: "another process holds the file for long; call again",
    sqlite3.SQLITE_READONLY: "let this process write the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "the directory must exist and let this process write",
    sqlite3.SQLITE_PERM: "let this process write the file and its directory",
}


_HINT_GONE = "put the file back, or close the client and start anew with another one; nothing was made in its place"


def connect(path: Path, patience: float, *, creates: bool = True) -> sqlite3.Connection:
    """Open a connection to the file; make the file if ``creates``, readable by its owner alone.

    Raises:
        StorageUnavailable: the file is not there, or cannot be opened.
    """
    if not creates and not path.exists():
        raise StorageUnavailable(f"{path} was deleted or moved while it was in use", hint=_HINT_GONE)
    try:
        with _opening, suppress(FileExistsError):
            # SQLite gives its -wal and -shm files the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StorageUnavailable(f"{path}: {error.strerror}", hint=_HINTS[sqlite3.SQLITE_CANTOPEN]) from None
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        _prepare(connection, time.monotonic() + patience)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, until: float) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # The change of mode alone does not wait for others that are about to make it, too.
            if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def rows(cursor: sqlite3.Cursor) -> list[Row]:
    """What a statement gives, by column name; nothing, where it gives no rows at all."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def moved(connection_stat: os.stat_result, path: Path) -> bool:
    """Whether the path no longer leads to the file that was opened."""
    try:
        return not os.path.samestat(connection_stat, path.stat())
    except OSError:
        return True


def map_error(error: sqlite3.Error, path: Path) -> StorageError:
    """What an error of SQLite says of the store; its text names tables and columns, never what is in them."""
    code = _primary(error)
    if code in _CORRUPT:
        return StorageCorrupt(f"{path} is no SQLite database, or a damaged one: {error}")
    if code == sqlite3.SQLITE_ERROR:
        return SchemaMismatch(f"{path}: {error}")
    if code in _HINTS:
        return StorageUnavailable(f"{path}: {error}", hint=_HINTS[code])
    return StorageError(f"{path}: {error}")


def _primary(error: sqlite3.Error) -> int:
    # Errors of the module itself, such as a missing parameter, carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
