"""The interface of a database, which is all that keys, payouts and orders use.

One dialect of SQL serves every adapter:

- parameters are ``:name``; ``:now`` is always available: the store's own time, in seconds since 1970;
- ``:origin`` is always available too, a text that identifies the data: the device and inode of the open file, or the
  server's timeline and the ledger's table. If it changes under a running process, the file was replaced, the server
  failed over, or a dump was restored;
- columns are ``TEXT``, ``BIGINT`` (also for booleans) and ``DOUBLE PRECISION``;
- an update names the version that was read: ``UPDATE … WHERE version = :version RETURNING …``;
- a parameter that may be None and stands alone needs its type: ``CAST(:since AS TEXT) IS NULL``;
- many rows become one query by ``Transaction.values``: ``INSERT INTO t WITH v (name) AS ({rows}) SELECT …``.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable

from paystar_async.errors import StorageError
from paystar_async.values.secret import Secret

T = TypeVar("T")

Value = str | int | float | Secret | None
"""A Secret is stored as its text; tracebacks that show local variables do not show it."""
Parameters = Mapping[str, Value]
Row = dict[str, Any]

NONE: Parameters = {}
"""A statement without parameters."""

TRANSACTION_SECONDS = 30.0
"""The longest time that a transaction may idle: an open transaction blocks all others."""


CONTRADICTION_HINT = "rows contradict each other, as after a change by hand: restore all tables from one backup"
"""The hint of a constraint that fails: every statement here expects the conflicts that other processes cause."""


class Transaction(Protocol):
    """Statements that are applied together or not at all; a failed statement ends the transaction."""

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; return how many rows it changed."""
        ...

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; return its rows by column name."""
        ...

    def values(self, columns: str, rows: Sequence[Parameters]) -> tuple[str, Parameters]:
        """Return a query of these rows, and its parameters.

        Args:
            columns: the columns in order, with their types: ``"name TEXT, size BIGINT"``.
            rows: one or more rows, each with a value for each column.
        """
        ...


@runtime_checkable
class Database(Protocol):
    """A durable store for several processes. The first use opens the database, also after ``aclose``.

    Errors of the driver become StorageErrors. A cancelled caller leaves no transaction open; a statement or commit that
    was running is applied as a whole or not at all.
    """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction: ``async with`` commits it at the end, and rolls it back on an error.

        If the commit itself raises StorageUnavailable, it may have been stored: read again.
        """
        ...

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement in its own transaction; return how many rows it changed."""
        ...

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement in its own transaction; return its rows."""
        ...

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Migrate the tables of the part ``name``; safe while other processes do the same.

        Args:
            name: the part (``keys``); each part has its own version.
            steps: the statements in order, of which some may have been run before; only append to them.

        Raises:
            SchemaMismatch: a newer version wrote the tables, or they are not of this package.
        """
        ...

    async def aclose(self) -> None:
        """Close files and connections."""
        ...


@runtime_checkable
class SupportsRunTransaction(Protocol):
    """A database that runs a transaction in one step, which costs less than a step for each statement."""

    async def run_transaction(self, work: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """Run ``work`` in a transaction; ``work`` awaits only the transaction's statements, and may run twice."""
        ...


@runtime_checkable
class SupportsAnalyze(Protocol):
    """A database that plans statements by statistics, which are outdated after many rows were added at once."""

    async def analyze(self, tables: Sequence[str], rows: int) -> None:
        """Update the statistics of tables if those of the first one count fewer than ``rows`` rows."""
        ...


def numbered_values(columns: str, rows: Sequence[Parameters]) -> tuple[str, Parameters]:
    """Return ``VALUES (:name0, :size0), (:name1, :size1), …`` and its parameters; as ``Transaction.values``."""
    parameters = {f"{name}{number}": value for number, row in enumerate(rows) for name, value in row.items()}
    return _numbered_query(columns, len(rows)), parameters


@lru_cache(maxsize=512)
def _numbered_query(columns: str, count: int) -> str:
    names = [column.split()[0] for column in columns.split(", ")]
    lines = (", ".join(f":{name}{number}" for name in names) for number in range(count))
    return f"VALUES {', '.join(f'({line})' for line in lines)}"


def reveal_parameters(parameters: Parameters) -> dict[str, str | int | float | None]:
    """Return the parameters with secrets revealed, right before the driver is called.

    No database stores half a surrogate pair, and PostgreSQL stores no U+0000: texts lose them. A Secret, such as an
    encrypted payload, is never changed.

    Raises:
        StorageError: a Secret contains such a character; nothing was stored.
    """
    plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in parameters.items()}
    if _is_storable("".join(value for value in plain.values() if isinstance(value, str))):
        return plain
    del plain  # tracebacks may show variables
    for name, value in parameters.items():
        if isinstance(value, Secret) and not _is_storable(value.reveal()):
            raise StorageError(f"{name} contains U+0000 or half a surrogate pair", hint="no database stores such text")
    return {name: _storable(value) for name, value in parameters.items()}


def _storable(value: Value) -> str | int | float | None:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, str) and not _is_storable(value):
        return value.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
