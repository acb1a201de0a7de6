"""PostgreSQL: a database on a server, for many hosts; on asyncio only."""

import json
import os
import re
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import sniffio

from paystar_async.errors import ConfigurationError, MissingExtra, StorageError
from paystar_async.runtime.tasks import LoopLocal
from paystar_async.storage.database import NONE, Parameters, Row, Transaction, reveal_parameters
from paystar_async.storage.migrations import migrate
from paystar_async.storage.narrow import is_narrow, narrow_parameters, widen_row
from paystar_async.storage.postgres_errors import check_connection, map_error
from paystar_async.values.numbers import integer
from paystar_async.values.secret import Secret, clear_locals_on_error, to_secret

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]
    Cursor = psycopg.AsyncCursor[Row]

T = TypeVar("T")

DEFAULT_CONNECTIONS = 4
_CONNECTIONS = integer("number of connections", minimum=1, example=DEFAULT_CONNECTIONS)
ROLLBACK_SECONDS = 5.0
MAX_IDLE_IN_TRANSACTION_SECONDS = 5.0
"""The server's limit: a transaction waits only for its statements, and a lost host must not hold locks for long."""

_DEFAULTS = {
    "connect_timeout": "5",
    "application_name": "paystar_async",
    # A lost server is noticed within seconds, not after the system's default of two hours.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
}
_ENCODING = {"client_encoding": "UTF8"}
"""Set on every connection: the default is the database's encoding, which may lack letters, and such text is refused."""
# One round trip, and only settings that end with the transaction, so that poolers work.
# A commit must be durable: settings that confirm a commit before it is on the disk (off), or before the standby has it
# (local), are overruled. The other settings, which wait for the standby, are left unchanged.
_BEGIN = f"""
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '15s';
SET LOCAL idle_in_transaction_session_timeout = '{MAX_IDLE_IN_TRANSACTION_SECONDS:.0f}s';
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local')
""".encode()  # fmt: skip
_NOW = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
_ORIGIN = (
    "(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    " || '.' || COALESCE(CAST(to_regclass('paystar_payout_chunks') AS OID)::TEXT, ''))"
)
"""The server's timeline, which a failover changes, and the ledger's table, which a restored dump changes."""
_LITERAL_OR_PARAMETER = re.compile(r"'(?:[^']|'')*'|::\w+|:([a-z_]\w*)|%")
_SERVER_EXPRESSIONS = {"now": _NOW, "origin": _ORIGIN}
_COUNTED_ROWS = "SELECT reltuples AS rows FROM pg_class WHERE oid = to_regclass(:name)"
_MIGRATION = "SELECT pg_advisory_xact_lock(hashtext('paystar_schema'))"


class PostgresDatabase:
    """A database on a PostgreSQL server, with a small connection pool in each event loop.

    Args:
        url: the address (``postgresql://user:password@host/name``).
        connections: the largest number of concurrent transactions in each event loop.

    Raises:
        ConfigurationError: the ``postgres`` extra is not installed, or the URL is invalid.
        InvalidValue: ``connections`` is below 1.
    """

    @clear_locals_on_error
    def __init__(self, url: str | Secret, *, connections: int = DEFAULT_CONNECTIONS) -> None:
        self._address = _address(to_secret(url))
        self._connections: int = _CONNECTIONS.convert(connections, "connections")
        self._pools: LoopLocal[_ConnectionPool] = LoopLocal(_ConnectionPool.aclose, _ConnectionPool.close)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction, None]:
        """Open a transaction: ``async with`` commits it at the end, and rolls it back on an error."""
        pool = self._get_pool()
        async with pool.free:
            connection = await pool.begin(self._address)
            try:
                transaction = PostgresTransaction(connection)
                yield transaction
                await transaction.commit()
            except BaseException:
                with anyio.move_on_after(ROLLBACK_SECONDS, shield=True), suppress(Exception):
                    await connection.rollback()
                raise
            finally:
                pool.release(connection)

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement in its own transaction; return how many rows it changed."""
        async with self.transaction() as transaction:
            return await transaction.execute(sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement in its own transaction; return its rows."""
        async with self.transaction() as transaction:
            return await transaction.fetch(sql, parameters)

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Migrate the tables of the part ``name``."""
        await migrate(self, name, steps, lock=_MIGRATION)

    async def analyze(self, tables: Sequence[str], rows: int) -> None:
        """Update the statistics of tables if those of the first one count fewer than ``rows`` rows."""
        async with self.transaction() as transaction:
            counted = await transaction.fetch(_COUNTED_ROWS, {"name": tables[0]})
            if counted and counted[0]["rows"] < rows:
                await transaction.execute(f"ANALYZE {', '.join(tables)}")

    async def aclose(self) -> None:
        """Close this event loop's connections, those in use at their release; the database may be used again."""
        if sniffio.current_async_library() == "asyncio":
            await self._pools.aclose()

    def _get_pool(self) -> "_ConnectionPool":
        if sniffio.current_async_library() != "asyncio":
            raise ConfigurationError("PostgreSQL works with asyncio only", hint="on trio, use a file")
        pool = self._pools.get()
        if pool is None:
            pool = _ConnectionPool(self._connections)
            self._pools.put(pool)
        return pool


class PostgresTransaction:
    """Statements of one transaction: of this package, or of a caller's own connection.

    Args:
        connection: an open ``psycopg.AsyncConnection`` that is in a transaction, or is not in autocommit mode.

    Raises:
        ConfigurationError: the connection is of another type, closed, or in autocommit mode without a transaction.
        StorageError: the connection's transaction has failed.
    """

    def __init__(self, connection: "Connection") -> None:
        check_connection(connection)
        self._connection = connection
        self._is_narrow = is_narrow(connection.info.parameter_status("server_encoding"))

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; return how many rows it changed."""
        return await self._run(sql, parameters, _row_count)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; return its rows by column name."""
        rows = await self._run(sql, parameters, _all_rows)
        return [widen_row(row) for row in rows] if self._is_narrow else rows

    def values(self, columns: str, rows: Sequence[Parameters]) -> tuple[str, Parameters]:
        """Return a query of these rows, and its parameters; see ``Transaction.values``."""
        # JSON, since psycopg is much slower with a placeholder for each value, or an array for each column.
        names = ", ".join(column.split()[0] for column in columns.split(", "))
        query = f"SELECT {names} FROM json_to_recordset(CAST(:rows AS JSON)) AS rows ({columns})"  # noqa: S608
        return query, {"rows": _JsonRows(json.dumps([self._plain_parameters(row) for row in rows], ensure_ascii=False))}

    async def commit(self) -> None:
        """Commit; raise StorageError if a statement failed and its error was swallowed."""
        from psycopg.pq import TransactionStatus

        if self._connection.info.transaction_status != TransactionStatus.INTRANS:
            raise StorageError("the transaction has ended: a statement in it failed", hint="begin another transaction")
        try:
            return await self._connection.commit()
        except Exception as problem:
            error = map_error(problem)
        raise error

    async def _run(self, sql: str, parameters: Parameters, read_result: "Callable[[Cursor], Awaitable[T]]") -> T:
        from psycopg import AsyncCursor
        from psycopg.rows import dict_row

        # A cursor of a known class: the caller's connection may create cursors with other placeholders.
        cursor = AsyncCursor(self._connection, row_factory=dict_row)
        try:
            if self._connection.info.parameter_status("client_encoding") not in (_ENCODING["client_encoding"], None):
                await cursor.execute("SET LOCAL client_encoding = 'UTF8'", prepare=False)
            await cursor.execute(_to_psycopg_placeholders(sql), self._plain_parameters(parameters), prepare=False)
            return await read_result(cursor)
        except StorageError:
            raise  # from ``reveal_parameters``: no statement was run
        except Exception as problem:
            error = map_error(problem)
        raise error  # outside the driver's frames, whose variables are the parameters

    def _plain_parameters(self, parameters: Parameters) -> dict[str, str | int | float | None]:
        return narrow_parameters(reveal_parameters(parameters)) if self._is_narrow else reveal_parameters(parameters)


class _JsonRows(str):
    """Rows as JSON, hidden from tracebacks that show local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "_JsonRows(…)"


async def _row_count(cursor: "Cursor") -> int:
    return cursor.rowcount


async def _all_rows(cursor: "Cursor") -> list[Row]:
    return await cursor.fetchall()


# Not psycopg_pool: if a loop ends without ``aclose``, its worker tasks leave connections and unraisable errors, and an
# unreachable server becomes a timeout without its reason.
class _ConnectionPool:
    """The connections of one event loop; garbage collection closes them too."""

    def __init__(self, connections: int) -> None:
        self.free = anyio.Semaphore(connections)
        self._idle: list[Connection] = []
        self._is_closed = False
        self._process = os.getpid()
        weakref.finalize(self, _close_connections, self._idle, self._process)

    async def begin(self, address: Secret) -> "Connection":
        """Return a connection with a transaction begun."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return await _begin(connection)
            except Exception:
                self._close_idle()  # the server was restarted: all idle connections are stale, and no statement was run
        from psycopg import AsyncConnection

        try:
            connection = await AsyncConnection[Any].connect(address.reveal(), autocommit=True, prepare_threshold=None)
            return await _begin(connection)
        except Exception as problem:
            error = map_error(problem)
        raise error

    def release(self, connection: "Connection") -> None:
        """Keep a connection for the next transaction if it is reusable and the pool is open; else close it."""
        from psycopg.pq import TransactionStatus

        if connection.info.transaction_status == TransactionStatus.IDLE and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.pgconn.finish()

    def close(self) -> None:
        """Close idle connections now, and those in use at their release."""
        self._is_closed = True
        self._close_idle()

    async def aclose(self) -> None:
        """Close as ``close`` does, as a coroutine."""
        self.close()

    def _close_idle(self) -> None:
        _close_connections(self._idle, self._process)


async def _begin(connection: "Connection") -> "Connection":
    try:
        await connection.execute(_BEGIN)
    except BaseException:
        connection.pgconn.finish()
        raise
    return connection


def _close_connections(connections: "list[Connection]", process: int) -> None:
    # Closes the socket without await, so that this works after the loop has ended. Not in a forked process, where it
    # would close the parent's connections.
    if process == os.getpid():
        for connection in connections:
            connection.pgconn.finish()
        connections.clear()


def _address(url: Secret) -> Secret:
    """Return the address with defaults for the parameters it does not set."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError:
        raise MissingExtra("PostgreSQL", "postgres") from None
    with suppress(ProgrammingError, UnicodeError):
        text = cast("object", url.reveal())
        if isinstance(text, str) and text.strip():  # an empty address would be that of the variable PGHOST
            options = {**_DEFAULTS, **conninfo_to_dict(text), **_ENCODING}
            return Secret(make_conninfo("", **{name: str(value) for name, value in options.items()}))
    raise ConfigurationError("not a PostgreSQL URL", hint="postgresql://user:password@host/name")


@lru_cache(maxsize=256)
def _to_psycopg_placeholders(sql: str) -> bytes:
    """Return the statement with psycopg's placeholders."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "%":
            return "%%"
        if match[1] is None:
            return match[0].replace("%", "%%")
        return _SERVER_EXPRESSIONS.get(match[1]) or f"%({match[1]})s"

    return _LITERAL_OR_PARAMETER.sub(replace, sql).encode()
