"""The one thread that touches a SQLite file; tasks hand it errands and wait for what comes of them.

A thread takes no notice of a cancelled task, so a statement is never cut in two; and since a transaction is a
turn the thread gives to one task, nothing has to be locked, in whichever event loop that task lives.
"""

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

from paystar_async.errors import StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.storage.database import TRANSACTION_SECONDS
from paystar_async.storage.file import connect, meaning, moved

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]

MOST_TOGETHER = 64
"""Transactions in one commit."""


class Turn:
    """A transaction: while it lasts, the thread serves nobody else."""

    over = False
    """Set by whoever asked for it, when it wants nothing any more."""


class Errand(Generic[T]):
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
        turn: Turn | None = None,
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
    def unwanted(self) -> bool:
        """Whether its task was cancelled while it waited for its turn."""
        return self.opens and self.turn is not None and self.turn.over

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
        creates: whether a file that is not there is made; a file that has been open is made anew by ``migrate`` alone.
    """

    def __init__(self, path: Path, patience: float, *, creates: bool = True) -> None:
        self._path, self._patience, self.creates = path, patience, creates
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

    @property
    def origin(self) -> str:
        """Return the device and inode of the file that is open; called in the thread."""
        opened = self._opened
        return "" if opened is None else f"{opened.st_dev}:{opened.st_ino}"

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
        if errand.unwanted:
            return errand.answer(None)
        if errand.whole:
            return self._do_together([errand, *self._companions()])
        try:
            connection = self._connect()
            value = errand.work(connection)
        except BaseException as problem:
            return errand.answer(None, self._undone(problem))
        self._turn = errand.turn if connection.in_transaction else None
        self._turn_ends = time.monotonic() + TRANSACTION_SECONDS
        return errand.answer(value)

    def _companions(self) -> Iterator[Errand[object]]:
        """Whatever queues right behind and can be part of the same transaction."""
        for _ in range(MOST_TOGETHER - 1):
            if not self._waiting and self._queue.empty():
                return
            errand = self._waiting.popleft() if self._waiting else self._queue.get()
            if errand is None or not (errand.whole or errand.reads):
                return self._waiting.appendleft(errand)
            yield errand

    def _do_together(self, errands: Sequence[Errand[object]]) -> None:
        """One transaction and one wait for the disk for all of them; nobody is answered before it is over."""
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                values = [None if errand.unwanted else errand.work(connection) for errand in errands]
            except BaseException:
                if len(errands) == 1:
                    raise
                self._end_turn()
                for errand in errands:  # one that fails must not take the others along
                    self._do_together([errand]) if errand.whole else self._do(errand)
                return
            connection.execute("COMMIT")
        except BaseException as problem:
            for errand in errands:
                error = self._undone(problem)
                if errand.reads:  # a full disk can still be read
                    self._do(errand)
                else:
                    errand.answer(None, error)
        else:
            for errand, value in zip(errands, values, strict=True):
                errand.answer(value)

    def _undone(self, problem: BaseException) -> BaseException:
        """What to tell of it, now that nothing of the transaction is left."""
        self._end_turn()
        if isinstance(problem, OSError):
            return StorageUnavailable(f"{self._path}: {problem.strerror}")
        if not isinstance(problem, sqlite3.Error):
            return problem
        error = meaning(problem, self._path)
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
