"""The one thread that touches a SQLite file; tasks hand it errands and wait for what comes of them.

A thread takes no notice of a cancelled task, so a statement is never cut in two; and since a transaction is a
turn the thread gives to one task, nothing has to be locked, in whichever event loop that task lives.
"""

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar, cast

import anyio
import sniffio

from paystar_async.errors import StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.storage.database import TRANSACTION_SECONDS
from paystar_async.storage.file import connect, meaning, moved

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]


class Turn:
    """A transaction: while it lasts, the thread serves nobody else."""

    over = False
    """Set by whoever asked for it, when it wants nothing any more."""


class Errand(Generic[T]):
    """Work for the thread, and the task that waits for what comes of it."""

    def __init__(self, work: Work[T], turn: Turn | None = None, *, opens: bool = False) -> None:
        self.work, self.turn, self.opens = work, turn, opens
        self._wake = _waker()
        self._done = anyio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    def answer(self, value: T | None, error: BaseException | None = None) -> None:
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


class Writer:
    """The thread of one file.

    Args:
        path: the file.
        patience: seconds to wait for another process that writes.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self._path, self._patience = path, patience
        self._process = os.getpid()
        self._gate = Lock()
        self._closed = self._ended = False
        self._last: Errand[None] | None = None
        self._queue: SimpleQueue[Errand[object] | None] = SimpleQueue()
        # From here on: the thread's own.
        self._waiting: deque[Errand[object] | None] = deque()
        self._connection: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None
        self._turn: Turn | None = None
        self._turn_ends = 0.0
        Thread(target=self._run, name=f"paystar_async {path.name}", daemon=True).start()

    @property
    def usable(self) -> bool:
        """Whether it takes errands; a thread does not come along into a forked process."""
        return not self._closed and self._process == os.getpid()

    def post(self, errand: Errand[T]) -> Errand[T]:
        """Hand over an errand; it will be answered."""
        step = errand.turn is not None and not errand.opens
        with self._gate:
            if self._ended or (self._closed and not step):
                errand.answer(None, _closed())
            else:
                self._queue.put(cast("Errand[object]", errand))
        return errand

    def close(self, last: Errand[None] | None = None) -> None:
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
                errand.answer(None, _ended())
            else:
                self._do(errand)
        with self._gate:
            self._ended = True
        while not self._queue.empty():  # steps of transactions that have ended
            if (late := self._queue.get()) is not None:
                late.answer(None, _ended())
        self._disconnect()
        if self._last is not None:
            self._last.answer(None)

    def _next(self) -> Errand[object] | None:
        if self._turn is not None:
            return self._queue.get(timeout=max(0.0, self._turn_ends - time.monotonic()))
        return self._waiting.popleft() if self._waiting else self._queue.get()

    def _do(self, errand: Errand[object]) -> None:
        if errand.opens and errand.turn is not None and errand.turn.over:
            return errand.answer(None)  # cancelled while it waited for its turn
        error: BaseException
        try:
            connection = self._connect()
            value = errand.work(connection)
        except sqlite3.Error as problem:
            error = meaning(problem, self._path)
        except OSError as problem:
            error = StorageUnavailable(f"{self._path}: {problem.strerror}")
        except BaseException as problem:
            error = problem
        else:
            self._turn = errand.turn if connection.in_transaction else None
            self._turn_ends = time.monotonic() + TRANSACTION_SECONDS
            return errand.answer(value)
        self._end_turn()
        if isinstance(error, StorageCorrupt):
            self._disconnect()  # so that a file that was repaired is found well; a full one is read on as it is
        return errand.answer(None, error)

    def _connect(self) -> sqlite3.Connection:
        if self._turn is None and self._opened is not None and moved(self._opened, self._path):
            self._disconnect()  # others already use what lies there now
        if self._connection is None:
            self._connection = connect(self._path, self._patience)
            self._opened = self._path.stat()
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
