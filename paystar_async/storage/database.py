"""What a database must be able to do. Keys, payouts and orders are written against this and nothing else.

One dialect of SQL serves every adapter:

- parameters are ``:name``; ``:now`` is always there and is the store's own time, in seconds since 1970;
- ``:origin`` is always there, too, a text that names where the data come from: the file that is open (its device and
  inode), or the server's timeline and the ledger's table. Another one under a running process means a replaced file, a
  failover or a restored dump;
- columns are ``TEXT``, ``BIGINT`` (also for yes and no) and ``DOUBLE PRECISION``;
- whoever changes a row names the version it read: ``UPDATE … WHERE version = :version RETURNING …``;
- a parameter that may be None and stands alone says its type: ``CAST(:since AS TEXT) IS NULL``;
- many rows are one query, which ``Transaction.values`` renders: ``INSERT INTO t WITH v (name) AS ({rows}) SELECT …``.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable

from paystar_async.errors import StorageError
from paystar_async.values.secret import Secret

T = TypeVar("T")

Value = str | int | float | Secret | None
"""A Secret is stored as its text; wrapped, no traceback that shows local variables shows it."""
Parameters = Mapping[str, Value]
Row = dict[str, Any]

NONE: Parameters = {}
"""A statement without parameters."""

TRANSACTION_SECONDS = 30.0
"""How long a transaction may idle: one that was left open must not keep everybody out."""


class Transaction(Protocol):
    """Statements that happen together or not at all; one that fails ends it."""

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; how many rows it changed."""
        ...

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; the rows it gives, by column name."""
        ...

    def values(self, columns: str, rows: Sequence[Parameters]) -> tuple[str, Parameters]:
        """Return a query that gives these rows, and its parameters.

        Args:
            columns: the columns in order, with their types: ``"name TEXT, size BIGINT"``.
            rows: one or more rows, each with a value for each column.
        """
        ...


@runtime_checkable
class Database(Protocol):
    """A store that survives its users, several at once. It opens itself at first use, also after ``aclose``.

    Whatever the driver raises becomes a StorageError here. A caller that is cancelled leaves no transaction open;
    a statement, or a commit, that was under way then has happened as a whole or not at all.
    """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """``async with`` it: committed at the end, rolled back on an error.

        Where the commit itself raises StorageUnavailable, it may have been stored: read again.
        """
        ...

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """One statement in a transaction of its own; how many rows it changed."""
        ...

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """One statement in a transaction of its own; the rows it gives."""
        ...

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Bring the tables of the part ``name`` up to date, whoever else is just doing the same.

        Args:
            name: the part (``keys``); each has a version of its own.
            steps: a statement each, in order, of which some may have been run before; only ever appended to.

        Raises:
            SchemaMismatch: a newer version was here, or tables of that name are not ours.
        """
        ...

    async def aclose(self) -> None:
        """Let go of files and connections."""
        ...


@runtime_checkable
class SupportsRunTransaction(Protocol):
    """A database that takes a whole transaction at once, at less cost than statement by statement."""

    async def run_transaction(self, work: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """Do the work in a transaction; it awaits nothing but the transaction's statements, and may be done twice."""
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
    """The parameters as a driver takes them; called where its own frames begin.

    The last guard, for every store: no database takes half a surrogate pair, and PostgreSQL takes no U+0000. Texts lose
    them; a Secret, a sealed payload say, is never changed.

    Raises:
        StorageError: a Secret holds one; nothing was stored.
    """
    plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in parameters.items()}
    if _is_storable("".join(value for value in plain.values() if isinstance(value, str))):
        return plain
    del plain  # a traceback shows variables
    for name, value in parameters.items():
        if isinstance(value, Secret) and not _is_storable(value.reveal()):
            raise StorageError(f"{name} holds U+0000 or half a surrogate pair", hint="no store can keep that")
    return {name: _bare(value) for name, value in parameters.items()}


def _bare(value: Value) -> str | int | float | None:
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
