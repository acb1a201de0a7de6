"""SQLite: a database in a file, for several processes of one host."""

import re
import sqlite3
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from os import PathLike
from typing import Any, TypeVar, cast

from paystar_async.runtime.clock import Clock, clock_or_system
from paystar_async.storage.database import NONE, Parameters, Row, Transaction, numbered_values, reveal_parameters
from paystar_async.storage.migrations import migrate
from paystar_async.storage.sqlite_worker import SqliteWorker, TransactionToken, WorkItem, rows
from paystar_async.values.arguments import require_path
from paystar_async.values.numbers import require_seconds

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 5.0
"""Seconds to wait for another process that writes."""

_LITERAL_OR_PARAMETER = re.compile(r"'(?:[^']|'')*'|:([a-z_]\w*)")
"""A quoted text, or a parameter."""


class SqliteDatabase:
    """A SQLite file, synced to the disk at every commit. Works on asyncio and on trio.

    Args:
        path: the file; created at first use, readable only by its owner.
        clock: the source of ``:now``; the system's clock by default.
        busy_timeout: seconds to wait for another process that writes.

    Raises:
        InvalidValue: ``path`` is not the path of a file, or ``busy_timeout`` is not 0 or more.
        ConfigurationError: ``clock`` is not a clock.
    """

    def __init__(
        self, path: str | PathLike[str], *, clock: Clock | None = None, busy_timeout: float = BUSY_TIMEOUT_SECONDS
    ) -> None:
        self._path = require_path("path", path).absolute()
        self._clock = clock_or_system(clock)
        if type(busy_timeout) is not int or busy_timeout != 0:
            require_seconds("busy_timeout", busy_timeout)
        self._busy_timeout = busy_timeout
        self._worker: SqliteWorker | None = None
        self._was_open = False

    def __repr__(self) -> str:
        return f"SqliteDatabase({str(self._path)!r})"

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction, None]:
        """Open a transaction: ``async with`` commits it at the end, and rolls it back on an error."""
        worker, token = self._get_worker(), TransactionToken()
        try:
            await worker.submit(WorkItem(_begin, token, begins=True)).result()
            yield SqliteTransaction(self._clock, worker, token)
            await worker.submit(WorkItem(_commit, token)).result()
        except BaseException:
            # Not awaited, so that a cancellation cannot interrupt it.
            token.is_cancelled = True
            worker.submit(WorkItem(_roll_back, token))
            raise

    async def run_transaction(self, work: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """Run a transaction in one step: the task waits once instead of at each statement, which costs far less.

        Transactions that queue while the disk is busy are committed together; a task continues once its transaction is
        on the disk.

        Args:
            work: the statements to run. The coroutine awaits only these statements, since it runs in the worker's
                thread. It may be run a second time, its statements rolled back, if another transaction fails.
        """
        worker = self._get_worker()

        def run(connection: sqlite3.Connection) -> T:
            return _run_to_end(work(_SyncTransaction(self._clock, connection, worker.origin)))

        token = TransactionToken()
        try:
            return await worker.submit(WorkItem(run, token, is_transaction=True)).result()
        except BaseException:
            token.is_cancelled = True  # cancelled while it waits in the queue: do not begin the transaction
            raise

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement in its own transaction; return how many rows it changed."""
        return await SqliteTransaction(self._clock, self._get_worker()).execute(sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement in its own transaction; return its rows."""
        return await SqliteTransaction(self._clock, self._get_worker()).fetch(sql, parameters)

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Migrate the tables of the part ``name``; create a missing file."""
        self._get_worker().creates = True
        await migrate(self, name, steps)

    async def aclose(self) -> None:
        """Finish running transactions, then close the file; the database may be used again afterwards."""
        worker, self._worker = self._worker, None
        if worker is not None and worker.is_usable:
            closing_item = WorkItem(_do_nothing)
            worker.close(closing_item)
            await closing_item.result()

    def _get_worker(self) -> SqliteWorker:
        if self._worker is None or not self._worker.is_usable:
            self._worker = SqliteWorker(self._path, self._busy_timeout, creates=not self._was_open)
            self._was_open = True
            weakref.finalize(self, self._worker.close)  # for callers that never call aclose
        return self._worker


class SqliteTransaction:
    """Statements of one transaction, or without a token: single statements."""

    values = staticmethod(numbered_values)

    def __init__(self, clock: Clock, worker: SqliteWorker, token: TransactionToken | None = None) -> None:
        self._clock, self._worker, self._token = clock, worker, token

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; return how many rows it changed."""
        return await self._run(lambda cursor: cursor.rowcount, sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; return its rows by column name."""
        only_reads = self._token is None and sql.lstrip().startswith("SELECT")
        return await self._run(rows, sql, parameters, only_reads=only_reads)

    async def _run(
        self, read_result: Callable[[sqlite3.Cursor], T], sql: str, parameters: Parameters, *, only_reads: bool = False
    ) -> T:
        def work(connection: sqlite3.Connection) -> T:
            all_parameters = {"now": self._clock.time(), "origin": self._worker.origin, **parameters}
            return read_result(_execute(connection, sql, all_parameters))

        return await self._worker.submit(WorkItem(work, self._token, only_reads=only_reads)).result()


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
        all_parameters = {"now": self._clock.time(), "origin": self._origin, **parameters}
        return _execute(self._connection, sql, all_parameters)


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

    return _LITERAL_OR_PARAMETER.sub(question_mark, sql), tuple(names)


def _run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, which must not suspend."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise RuntimeError("work in a transaction awaited something other than its statements")


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")  # a deferred transaction that only_reads first could not write later


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _do_nothing(_: sqlite3.Connection) -> None:
    pass
