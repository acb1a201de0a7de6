"""SQLite: a database in a file, for several processes of one host."""

import re
import sqlite3
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast

from paystar_async.runtime.clock import Clock, SystemClock
from paystar_async.storage.database import NONE, Parameters, Row, Transaction, numbered_values, reveal_parameters
from paystar_async.storage.migrations import migrate
from paystar_async.storage.sqlite_worker import SqliteWorker, TransactionToken, WorkItem, rows

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 5.0
"""Seconds to wait for another process that writes."""

_TOKEN = re.compile(r"'(?:[^']|'')*'|:([a-z_]\w*)")
"""Match a quoted text, or a parameter."""


class SqliteDatabase:
    """A SQLite file, written through to the disk at every commit. On asyncio and on trio.

    Args:
        path: the file; it is made, readable by its owner alone, when it is first used.
        clock: what ``:now`` is; the machine's own by default.
        patience: seconds to wait for another process that writes.
    """

    def __init__(
        self, path: str | PathLike[str], *, clock: Clock | None = None, patience: float = BUSY_TIMEOUT_SECONDS
    ) -> None:
        self._path = Path(path).absolute()
        self._clock = clock or SystemClock()
        self._patience = patience
        self._writer: SqliteWorker | None = None
        self._was_open = False

    def __repr__(self) -> str:
        return f"SqliteDatabase({str(self._path)!r})"

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction, None]:
        """Open a transaction: ``async with`` commits it at the end, and rolls it back on an error."""
        writer, turn = self._thread(), TransactionToken()
        try:
            await writer.submit(WorkItem(_begin, turn, opens=True)).result()
            yield SqliteTransaction(self._clock, writer, turn)
            await writer.submit(WorkItem(_commit, turn)).result()
        except BaseException:
            # Not awaited, so that a cancellation cannot interrupt it.
            turn.is_cancelled = True
            writer.submit(WorkItem(_roll_back, turn))
            raise

    async def run_transaction(self, work: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """Run a whole transaction in one step: its task waits once, not at each statement, which costs far less.

        Those that queue while the disk is busy are committed together; each is on the disk when its task goes on.

        Args:
            work: what is done in it; it awaits nothing but its statements, since it runs in the database's thread, and
                may be begun again, its statements undone, where another one fails.
        """
        writer = self._thread()

        def run(connection: sqlite3.Connection) -> T:
            return _run_to_end(work(_SyncTransaction(self._clock, connection, writer.origin)))

        turn = TransactionToken()
        try:
            return await writer.submit(WorkItem(run, turn, whole=True)).result()
        except BaseException:
            turn.is_cancelled = True  # cancelled while it waits for its turn: do not begin the transaction
            raise

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement in its own transaction; return how many rows it changed."""
        return await SqliteTransaction(self._clock, self._thread()).execute(sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement in its own transaction; return its rows."""
        return await SqliteTransaction(self._clock, self._thread()).fetch(sql, parameters)

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Migrate the tables of the part ``name``; create a missing file."""
        self._thread().creates = True
        await migrate(self, name, steps)

    async def aclose(self) -> None:
        """Finish running transactions, then close the file; the database may be used again afterwards."""
        writer, self._writer = self._writer, None
        if writer is not None and writer.is_usable:
            last = WorkItem(_nothing)
            writer.close(last)
            await last.result()

    def _thread(self) -> SqliteWorker:
        if self._writer is None or not self._writer.is_usable:
            self._writer = SqliteWorker(self._path, self._patience, creates=not self._was_open)
            self._was_open = True
            weakref.finalize(self, self._writer.close)  # for callers that never call aclose
        return self._writer


class SqliteTransaction:
    """Statements of one transaction, or single statements if ``turn`` is None."""

    values = staticmethod(numbered_values)

    def __init__(self, clock: Clock, writer: SqliteWorker, turn: TransactionToken | None = None) -> None:
        self._clock, self._writer, self._turn = clock, writer, turn

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; return how many rows it changed."""
        return await self._run(lambda cursor: cursor.rowcount, sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; return its rows by column name."""
        reads = self._turn is None and sql.lstrip().startswith("SELECT")
        return await self._run(rows, sql, parameters, reads=reads)

    async def _run(
        self, take: Callable[[sqlite3.Cursor], T], sql: str, parameters: Parameters, *, reads: bool = False
    ) -> T:
        def work(connection: sqlite3.Connection) -> T:
            told = {"now": self._clock.time(), "origin": self._writer.origin, **parameters}
            return take(_execute(connection, sql, told))

        return await self._writer.submit(WorkItem(work, self._turn, reads=reads)).result()


class _SyncTransaction:
    """A transaction inside the worker thread, which never waits."""

    values = staticmethod(numbered_values)

    def __init__(self, clock: Clock, connection: sqlite3.Connection, origin: str) -> None:
        self._clock, self._connection, self._origin = clock, connection, origin

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        return self._run(sql, parameters).rowcount

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        return rows(self._run(sql, parameters))

    def _run(self, sql: str, parameters: Parameters) -> sqlite3.Cursor:
        told = {"now": self._clock.time(), "origin": self._origin, **parameters}
        return _execute(self._connection, sql, told)


def _execute(connection: sqlite3.Connection, sql: str, parameters: Parameters) -> sqlite3.Cursor:
    positional, names = _to_positional(sql)
    # No variable holds the values: a traceback would show them.
    return connection.execute(positional, [*map(reveal_parameters(parameters).__getitem__, names)])


@lru_cache(maxsize=256)
def _to_positional(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return the statement with ``?`` for each ``:name``, and the names in order.

    SQLite finds the name of each parameter by a linear search: a statement with 900 of them would cost 7 times as much.
    """
    names: list[str] = []

    def question_mark(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        names.append(match[1])
        return "?"

    return _TOKEN.sub(question_mark, sql), tuple(names)


def _run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, which must not suspend."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise RuntimeError("work in a transaction awaited something other than its statements")


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")  # a deferred transaction that reads first could not write later


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _nothing(_: sqlite3.Connection) -> None:
    pass
