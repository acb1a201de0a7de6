"""The ledger's database: laid out at first use, with a time of its own that does not jump."""

import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from paystar_async.errors import ConfigurationError, StorageCorrupt, StorageError, WrongStorageKey
from paystar_async.payouts.identity import LedgerIdentity
from paystar_async.payouts.ledger.codec import TransferCodec
from paystar_async.payouts.ledger.schema import PART, SCHEMA
from paystar_async.runtime.clock import Clock, SystemClock, clock_boot_id
from paystar_async.storage.database import NONE, Database, Parameters, Row, SupportsRunTransaction, Transaction
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret

_FIND = "SELECT value FROM paystar_payout_settings WHERE name = 'clock'"
_LATEST = "SELECT MAX(at) AS at FROM paystar_payout_events"
_KEEP = """
INSERT INTO paystar_payout_settings (name, value) VALUES ('clock', :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE paystar_payout_settings.value = :before
"""


async def clock_offset(database: Database, clock: Clock) -> float:
    """What is to be added to the monotonic clock to have the ledger's time.

    Args:
        database: the ledger's, laid out.
        clock: this machine's; where it does not say which boot it counts from, its wall clock is asked anew.

    Returns:
        Seconds since 1970 at which the monotonic clock stood at 0.
    """
    start = clock.time() - clock.monotonic()
    boot = clock_boot_id(clock)
    if boot is None or (await database.fetch("SELECT CAST(:now AS DOUBLE PRECISION) AS at", {"now": 0.0}))[0]["at"]:
        return start
    while True:
        rows = await database.fetch(_FIND)
        before = rows[0]["value"] if rows else ""
        known, _, text = before.rpartition(" ")
        if known == boot:
            return float(text)
        # Another boot, or another machine: what passed meanwhile only the wall clock can say. It never goes back.
        latest = (await database.fetch(_LATEST))[0]["at"]
        start = max(start, (latest or 0.0) - clock.monotonic())
        if await database.execute(_KEEP, {"value": f"{boot} {start!r}", "before": before}):
            return start


if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

T = TypeVar("T")

_SEALED_FOR = "payout digest key"


class LedgerTransaction:
    """A transaction that tells the time of the ledger.

    A server has a clock of its own and keeps to it; a file takes what it is params here.
    """

    def __init__(self, transaction: Transaction, now: float) -> None:
        self._transaction, self._now = transaction, now

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        """Run a statement; how many rows it changed."""
        return await self._transaction.execute(sql, {**parameters, "now": self._now})

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """Run a statement; the rows it gives, by column name."""
        return await self._transaction.fetch(sql, {**parameters, "now": self._now})

    def values(self, columns: str, rows: Sequence[Parameters]) -> tuple[str, Parameters]:
        """Return a query that gives these rows, and its parameters; see ``Transaction.values``."""
        return self._transaction.values(columns, rows)


class LedgerDatabase:
    """The ledger's tables in a database.

    Args:
        database: where; it is never closed here.
        crypto: seals what is to be sent; None: it is stored as it is, full card numbers only until they are decided.
        clock: what time it is, where the database has no clock of its own.
    """

    def __init__(self, database: Database, *, crypto: Crypto | None = None, clock: Clock | None = None) -> None:
        self._database, self._crypto = database, crypto
        self._at_once = database if isinstance(database, SupportsRunTransaction) else None
        self._clock = clock or SystemClock()
        self._start = 0.0
        self._codec: TransferCodec | None = None
        self._laid_out = False
        self.identity = LedgerIdentity()

    @property
    def codec(self) -> TransferCodec:
        """How transfers are kept; there once the tables are."""
        if self._codec is None:
            raise StorageError("the payout ledger is not open yet", hint="read something of it first")
        return self._codec

    @asynccontextmanager
    async def transaction(self, connection: "Connection | None" = None) -> AsyncGenerator[LedgerTransaction, None]:
        """A transaction on the tables; part of the caller's own where a connection is handed in."""
        await self.open()
        if connection is not None:
            from paystar_async.storage.postgres import PostgresTransaction

            if self._at_once is not None:
                raise ConfigurationError(
                    "the ledger is in a file, and no PostgreSQL connection leads there",
                    hint="keep it in the database of your connection: database='postgresql://…'",
                )
            own = LedgerTransaction(PostgresTransaction(connection), self._now())
            await own.execute("SAVEPOINT paystar_payouts")
            try:
                yield own
            except BaseException:
                await own.execute("ROLLBACK TO SAVEPOINT paystar_payouts")
                raise
            await own.execute("RELEASE SAVEPOINT paystar_payouts")
            return
        try:
            async with self._database.transaction() as transaction:
                yield LedgerTransaction(transaction, self._now())
        except StorageError:
            self._laid_out = False  # the file may be another by now, or the server restored
            raise

    async def run_transaction(self, work: Callable[[LedgerTransaction], Coroutine[Any, Any, T]]) -> T:
        """A whole transaction in one go, where the database can do that; ``work`` awaits its statements alone."""
        await self.open()
        if self._at_once is None:
            async with self.transaction() as transaction:
                return await work(transaction)
        now = self._now()

        def timed(transaction: Transaction) -> Coroutine[Any, Any, T]:
            return work(LedgerTransaction(transaction, now))

        try:
            return await self._at_once.run_transaction(timed)
        except StorageError:
            self._laid_out = False
            raise

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        """One statement in a transaction of its own; the rows it gives."""
        await self.open()
        try:
            return await self._database.fetch(sql, {**parameters, "now": self._now()})
        except StorageError:
            self._laid_out = False
            raise

    async def time(self) -> float:
        """Return the ledger's time: seconds since 1970 that do not jump with the machine's clock."""
        rows = await self.fetch("SELECT CAST(:now AS DOUBLE PRECISION) AS at")
        at: float = rows[0]["at"]
        return at

    async def open(self) -> None:
        """Lay the tables out, or bring them up to date, unless that was done.

        Raises:
            StorageError: they are not those that were opened before; nothing is laid out in their place.
            SchemaMismatch: a newer version of this package wrote them.
            WrongStorageKey: they are sealed, and no key opens them.
        """
        self.identity.check()
        if not self._laid_out:
            if not self.identity.is_known:
                await self._database.migrate(PART, SCHEMA)
            self._start = await clock_offset(self._database, self._clock)
            await self.identity.open(self._database, self._now())
            self._codec = TransferCodec(await self._digest_key(), self._crypto)
            self._laid_out = True

    async def _digest_key(self) -> Secret:
        mine = Secret(secrets.token_hex(32))
        held = mine if self._crypto is None else Secret(self._crypto.seal(mine, _SEALED_FOR))
        find = "SELECT value FROM paystar_payout_settings WHERE name = 'digest_key'"
        rows = await self._database.fetch(find)
        if not rows:
            await self._database.execute(
                "INSERT INTO paystar_payout_settings (name, value) VALUES ('digest_key', :value)"
                " ON CONFLICT (name) DO NOTHING",
                {"value": held},
            )
            rows = await self._database.fetch(find)
        key = Secret(rows[0]["value"])
        if "." in key.reveal():
            if self._crypto is None:
                raise WrongStorageKey("the payout ledger is stored encrypted, and no key was given")
            return self._crypto.unseal(key.reveal(), _SEALED_FOR)
        if len(key.reveal()) != len(mine.reveal()):
            raise StorageCorrupt("the payout ledger's own key cannot be read")
        return key

    def _now(self) -> float:
        return self._start + self._clock.monotonic()


def split(rows: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """The rows, so many at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
