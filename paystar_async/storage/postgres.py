"""A database on a PostgreSQL server, for many hosts. asyncio only."""

import re
import weakref
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import anyio
import sniffio
from anyio.lowlevel import RunVar

from paystar_async.errors import ConfigurationError, SchemaMismatch, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.storage.database import NONE, TRANSACTION_SECONDS, Parameters, Row, Transaction, bare
from paystar_async.storage.migrate import migrate
from paystar_async.values.sealed import sealed
from paystar_async.values.secret import Secret

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

CONNECTIONS = 4
GOODBYE_SECONDS = 5.0

_DEFAULTS = {
    "connect_timeout": "5",
    "application_name": "paystar_async",
    # A server that vanished without a word is noticed in seconds, not after the system's two hours.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
}
# One round trip, and nothing that outlives the transaction, so that a pooler in between does no harm.
# Whoever is told that something is stored may build on it: a server set to answer before that is overruled.
_BEGIN = f"""
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '15s';
SET LOCAL idle_in_transaction_session_timeout = '{TRANSACTION_SECONDS:.0f}s';
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
""".encode()  # fmt: skip
_NOW = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
_TOKEN = re.compile(r"'(?:[^']|'')*'|::\w+|:([a-z_]\w*)|%")
_UNAVAILABLE = {"08", "0A", "25", "28", "3D", "40", "53", "55", "57", "58"}
_SCHEMA = {"3F", "42"}
_MIGRATION = "SELECT pg_advisory_xact_lock(hashtext('paystar_schema'))"


class PostgresDatabase:
    """A database on a PostgreSQL server, reached over a few connections that are opened when they are needed.

    Args:
        url: where it is (``postgresql://user:password@host/name``).
        connections: how many transactions run at once at the most, in each event loop.

    Raises:
        ConfigurationError: the ``postgres`` extra is not installed, or the URL is none.
    """

    @sealed
    def __init__(self, url: str | Secret, *, connections: int = CONNECTIONS) -> None:
        self._address = _address(url if isinstance(url, Secret) else Secret(url))
        self._connections = connections
        self._links: RunVar[_Links | None] = RunVar("paystar_async postgres", None)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction, None]:
        """``async with`` it: committed at the end, rolled back on an error."""
        links = self._here()
        async with links.free:
            connection = await links.begin(self._address)
            try:
                transaction = PostgresTransaction(connection)
                yield transaction
                await transaction.commit()
            except BaseException:
                with anyio.move_on_after(GOODBYE_SECONDS, shield=True), suppress(_errors()):
                    await connection.rollback()
                raise
            finally:
                links.give_back(connection)

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """One statement in a transaction of its own; how many rows it changed."""
        async with self.transaction() as transaction:
            return await transaction.execute(sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """One statement in a transaction of its own; the rows it gives."""
        async with self.transaction() as transaction:
            return await transaction.fetch(sql, parameters)

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Bring the tables of the part ``name`` up to date."""
        await migrate(self, name, steps, lock=_MIGRATION)

    async def aclose(self) -> None:
        """Close this event loop's connections, those in use when they are given back; it may be used again."""
        links = self._links.get()
        self._links.set(None)
        if links is not None:
            links.close()

    def _here(self) -> "_Links":
        if sniffio.current_async_library() != "asyncio":
            raise ConfigurationError("PostgreSQL is reached from asyncio only", hint="on trio, keep it in a file")
        links = self._links.get()
        if links is None:
            links = _Links(self._connections)
            self._links.set(links)
        return links


class PostgresTransaction:
    """Statements of one transaction: ours, or the one a caller has under way on a connection of its own."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; how many rows it changed."""
        return (await self._run(sql, parameters)).rowcount

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; the rows it gives, by column name."""
        cursor = await self._run(sql, parameters)
        return await cursor.fetchall()

    async def commit(self) -> None:
        """End it; an error that was swallowed within is one after all."""
        from psycopg.pq import TransactionStatus

        if self._connection.info.transaction_status != TransactionStatus.INTRANS:
            raise StorageError("the transaction has ended: a statement in it failed", hint="begin another")
        try:
            return await self._connection.commit()
        except _errors() as problem:
            error = _meaning(problem)
        raise error

    async def _run(self, sql: str, parameters: Parameters) -> "psycopg.AsyncCursor[Row]":
        from psycopg.rows import dict_row

        try:
            return await self._connection.cursor(row_factory=dict_row).execute(_translated(sql), bare(parameters))
        except _errors() as problem:
            error = _meaning(problem)
        raise error  # out here, away from the driver's frames, which hold what was to be stored


class _Links:
    """The connections of one event loop; forgotten by it, or together with it, they are closed."""

    def __init__(self, connections: int) -> None:
        self.free = anyio.Semaphore(connections)
        self._idle: list[Connection] = []
        weakref.finalize(self, _finish, self._idle)

    async def begin(self, address: Secret) -> "Connection":
        """A connection with a transaction begun on it."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return await _begun(connection)
            except _errors():
                _finish(self._idle)  # the server was away since; the others are as stale, and nothing has been asked
        from psycopg import AsyncConnection

        try:
            connection = await AsyncConnection[Any].connect(address.reveal(), autocommit=True, prepare_threshold=None)
            return await _begun(connection)
        except _errors() as problem:
            error = _meaning(problem)
        raise error

    def give_back(self, connection: "Connection") -> None:
        """Keep it for the next, if it is as good as new."""
        from psycopg.pq import TransactionStatus

        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.pgconn.finish()

    def close(self) -> None:
        """Close what is idle."""
        _finish(self._idle)


async def _begun(connection: "Connection") -> "Connection":
    try:
        await connection.execute(_BEGIN)
    except BaseException:
        connection.pgconn.finish()
        raise
    return connection


def _finish(connections: "list[Connection]") -> None:
    # At the level of the socket: nothing to await, so that it can be done for a loop that has ended, too.
    for connection in connections:
        connection.pgconn.finish()
    connections.clear()


def _address(url: Secret) -> Secret:
    """The address with our defaults, those it names itself untouched."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError:
        raise ConfigurationError(
            "PostgreSQL needs the postgres extra", hint="pip install 'paystar-async[postgres]'"
        ) from None
    with suppress(ProgrammingError, UnicodeError):
        parts = {**_DEFAULTS, **conninfo_to_dict(url.reveal())}
        return Secret(make_conninfo("", **{name: str(part) for name, part in parts.items()}))
    raise ConfigurationError("this is no PostgreSQL URL", hint="postgresql://user:password@host/name")


@lru_cache(maxsize=256)
def _translated(sql: str) -> bytes:
    """The statement as psycopg takes it."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "%":
            return "%%"
        if match[1] is None:
            return match[0].replace("%", "%%")
        return _NOW if match[1] == "now" else f"%({match[1]})s"

    return _TOKEN.sub(one, sql).encode()


def _errors() -> "type[psycopg.Error]":
    from psycopg import Error

    return Error


def _meaning(error: "psycopg.Error") -> StorageError:
    """What an error of PostgreSQL says of the store; its details, which quote rows, are left out."""
    from psycopg import InterfaceError, OperationalError

    state = error.sqlstate or ""
    text = error.diag.message_primary or type(error).__name__
    if state.startswith("XX00") and state != "XX000":
        return StorageCorrupt(f"PostgreSQL reports damage: {text}")
    if state == "42501":
        return StorageUnavailable(f"PostgreSQL: {text}", hint="grant this user the rights on the paystar_ tables")
    if state[:2] in _SCHEMA:
        return SchemaMismatch(f"PostgreSQL: {text}")
    if state[:2] in _UNAVAILABLE:
        return StorageUnavailable(f"PostgreSQL: {text}")
    if not state and isinstance(error, OperationalError | InterfaceError):
        return StorageUnavailable(f"PostgreSQL: {error}")
    return StorageError(f"PostgreSQL: {type(error).__name__} {state}")
