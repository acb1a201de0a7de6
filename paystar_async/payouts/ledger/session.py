"""The ledger's database: tables are created at first use; its time does not jump."""

import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from paystar_async.errors import ConfigurationError, StorageCorrupt, StorageError, WrongStorageKey
from paystar_async.payouts.identity import LedgerIdentity
from paystar_async.payouts.ledger.codec import TransferCodec
from paystar_async.payouts.ledger.schema import PART, SCHEMA
from paystar_async.runtime.clock import Clock, SystemClock, clock_boot_id
from paystar_async.storage.database import (
    NONE,
    Database,
    Parameters,
    Row,
    SupportsAnalyze,
    SupportsRunTransaction,
    Transaction,
)
from paystar_async.storage.encryption import Crypto
from paystar_async.storage.record_types import parse_float, require_text, require_time
from paystar_async.values.secret import Secret

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

T = TypeVar("T")

_BATCH_TABLES = ("paystar_payout_transfers", "paystar_payout_batch_items", "paystar_payout_chunks")
_SEALED_FOR = "payout digest key"
_SELECT_CLOCK = "SELECT value FROM paystar_payout_settings WHERE name = 'clock'"
_SELECT_LATEST_EVENT = "SELECT MAX(at) AS at FROM paystar_payout_events"
_UPSERT_CLOCK = """
INSERT INTO paystar_payout_settings (name, value) VALUES ('clock', :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE paystar_payout_settings.value = :before
"""


async def clock_offset(database: Database, clock: Clock) -> float:
    """Return the offset from the monotonic clock to the ledger's time.

    Args:
        database: the ledger's database, with its tables.
        clock: this machine's clock; if it has no boot id, the offset is read from its wall clock.

    Returns:
        Seconds since 1970 at which the monotonic clock stood at 0.
    """
    start = clock.time() - clock.monotonic()
    boot = clock_boot_id(clock)
    if boot is None or (await database.fetch("SELECT CAST(:now AS DOUBLE PRECISION) AS at", {"now": 0.0}))[0]["at"]:
        return start
    while True:
        rows = await database.fetch(_SELECT_CLOCK)
        before = require_text(rows[0]["value"], "clock of the payout ledger") if rows else ""
        known_boot, _, text = before.rpartition(" ")
        if known_boot == boot:
            return require_time(parse_float(text), "clock of the payout ledger")
        # Another boot, or another machine: only the wall clock knows the time between. Never go back.
        latest = (await database.fetch(_SELECT_LATEST_EVENT))[0]["at"]
        start = max(start, require_time(latest or 0.0, "time of an event") - clock.monotonic())
        if await database.execute(_UPSERT_CLOCK, {"value": f"{boot} {start!r}", "before": before}):
            return start


class LedgerTransaction:
    """A transaction with the ledger's time as ``:now``.

    A server ignores the value and uses its own clock; a file uses the value.
    """

    def __init__(self, transaction: Transaction, now: float) -> None:
        self._transaction, self._now = transaction, now

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; return how many rows it changed."""
        return await self._transaction.execute(sql, {**parameters, "now": self._now})

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; return its rows by column name."""
        return await self._transaction.fetch(sql, {**parameters, "now": self._now})

    def values(self, columns: str, rows: Sequence[Parameters]) -> tuple[str, Parameters]:
        """Return a query of these rows, and its parameters; see ``Transaction.values``."""
        return self._transaction.values(columns, rows)


class LedgerDatabase:
    """The ledger's tables in a database.

    Args:
        database: the database; never closed here.
        crypto: encrypts payloads; None: they are stored as they are, full card numbers only until they are final.
        clock: the clock of the ledger's time if the database has none.
    """

    def __init__(self, database: Database, *, crypto: Crypto | None = None, clock: Clock | None = None) -> None:
        self._database, self._crypto = database, crypto
        self._batching = database if isinstance(database, SupportsRunTransaction) else None
        self._clock = clock or SystemClock()
        self._start = 0.0
        self._codec: TransferCodec | None = None
        self._is_open = False
        self.identity = LedgerIdentity()

    @property
    def codec(self) -> TransferCodec:
        """Return the codec of transfers; raise StorageError before the ledger is open."""
        if self._codec is None:
            raise StorageError("the payout ledger is not open yet", hint="read something of it first")
        return self._codec

    @asynccontextmanager
    async def transaction(self, connection: "Connection | None" = None) -> AsyncGenerator[LedgerTransaction, None]:
        """Open a transaction on the tables; a savepoint of the caller's transaction if ``connection`` is given."""
        await self.open()
        if connection is not None:
            from paystar_async.storage.postgres import PostgresTransaction

            if self._batching is not None:
                raise ConfigurationError(
                    "the ledger is in a file, and no PostgreSQL connection leads there",
                    hint="keep it in the database of your connection: database='postgresql://…'",
                )
            savepoint = LedgerTransaction(PostgresTransaction(connection), self._now())
            await savepoint.execute("SAVEPOINT paystar_payouts")
            try:
                yield savepoint
            except BaseException:
                await savepoint.execute("ROLLBACK TO SAVEPOINT paystar_payouts")
                raise
            await savepoint.execute("RELEASE SAVEPOINT paystar_payouts")
            return
        try:
            async with self._database.transaction() as transaction:
                yield LedgerTransaction(transaction, self._now())
        except StorageError:
            self._is_open = False  # the file may have been replaced, or the server restored
            raise

    async def run_transaction(self, work: Callable[[LedgerTransaction], Coroutine[Any, Any, T]]) -> T:
        """Run ``work`` as one transaction, in one step if possible; ``work`` awaits only its statements."""
        await self.open()
        if self._batching is None:
            async with self.transaction() as transaction:
                return await work(transaction)
        now = self._now()

        def timed(transaction: Transaction) -> Coroutine[Any, Any, T]:
            return work(LedgerTransaction(transaction, now))

        try:
            return await self._batching.run_transaction(timed)
        except StorageError:
            self._is_open = False
            raise

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement in its own transaction; return its rows."""
        await self.open()
        try:
            return await self._database.fetch(sql, {**parameters, "now": self._now()})
        except StorageError:
            self._is_open = False
            raise

    async def update_statistics(self, transfers: int) -> None:
        """Update a server's statistics after many transfers were added.

        Until then the server plans joins for nearly empty tables, and reads the whole batch for each transfer.
        """
        if isinstance(self._database, SupportsAnalyze):
            with suppress(StorageError):  # only the owner of the tables may do this; autovacuum does it later
                await self._database.analyze(_BATCH_TABLES, transfers)

    async def time(self) -> float:
        """Return the ledger's time: seconds since 1970 that do not jump with the machine's clock."""
        rows = await self.fetch("SELECT CAST(:now AS DOUBLE PRECISION) AS at")
        at: float = rows[0]["at"]
        return at

    async def open(self) -> None:
        """Create or migrate the tables, unless that was done.

        Raises:
            StorageError: the tables are not those that were opened before; none are created in their place.
            SchemaMismatch: a newer version of this package wrote the tables.
            WrongStorageKey: the ledger is encrypted, and no key decrypts it.
        """
        self.identity.check()
        if not self._is_open:
            if not self.identity.is_known:
                await self._database.migrate(PART, SCHEMA)
            self._start = await clock_offset(self._database, self._clock)
            await self.identity.open(self._database, self._now())
            self._codec = TransferCodec(await self._digest_key(), self._crypto)
            self._is_open = True

    async def _digest_key(self) -> Secret:
        new_key = Secret(secrets.token_hex(32))
        stored = new_key if self._crypto is None else Secret(self._crypto.seal(new_key, _SEALED_FOR))
        find = "SELECT value FROM paystar_payout_settings WHERE name = 'digest_key'"
        rows = await self._database.fetch(find)
        if not rows:
            await self._database.execute(
                "INSERT INTO paystar_payout_settings (name, value) VALUES ('digest_key', :value)"
                " ON CONFLICT (name) DO NOTHING",
                {"value": stored},
            )
            rows = await self._database.fetch(find)
        key = Secret(require_text(rows[0]["value"], "key of the payout ledger"))
        if "." in key.reveal():
            if self._crypto is None:
                raise WrongStorageKey("the payout ledger is stored encrypted, and no key was given")
            return self._crypto.unseal(key.reveal(), _SEALED_FOR)
        if len(key.reveal()) != len(new_key.reveal()):
            raise StorageCorrupt("the payout ledger's own key cannot be read")
        return key

    def _now(self) -> float:
        return self._start + self._clock.monotonic()


def split(rows: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Return the rows in pieces of ``size``."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
