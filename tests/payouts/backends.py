"""The database of a ledger; every test that asks for ``backend`` runs on a file and on a server."""

from collections.abc import Sequence
from typing import Any

from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.database import Database
from paystar_async.storage.encryption import Crypto
from paystar_async.storage.factory import database as open_database
from tests.servers import execute_sql

_TIME_COLUMNS = {
    "paystar_payout_batches": ("created_at",),
    "paystar_payout_chunks": ("due_at", "lease_expires_at", "slot_until"),
    "paystar_payout_transfers": ("unknown_since", "last_not_found_at", "changed_at"),
    "paystar_payout_holds": ("next_send_at",),
    "paystar_payout_staging": ("at",),
}


class Backend:
    """The database of a ledger, shared by the processes that open it; a server has its own clock."""

    def __init__(self, location: str) -> None:
        self.location, self.clock = location, ManualClock()
        self._opened: list[Database] = []

    def database(self) -> Database:
        """Return the database, as another process would open it."""
        self._opened.append(open_database(self.location, self.clock))
        return self._opened[-1]

    def ledger(self, crypto: Crypto | None = None) -> LedgerDatabase:
        """Return the ledger, as another process would open it."""
        return LedgerDatabase(self.database(), crypto=crypto, clock=self.clock)

    def advance_clock(self, seconds: float) -> None:
        """Advance the time of the ledger and of its users."""
        self.clock.advance(seconds)
        if self.location.startswith("postgresql://"):
            for table, columns in _TIME_COLUMNS.items():
                self.sql(f"UPDATE {table} SET " + ", ".join(f"{column} = {column} - {seconds}" for column in columns))

    def sql(self, statement: str) -> Sequence[Sequence[Any]]:
        """Execute a statement outside of the package."""
        return execute_sql(self.location, statement)

    async def aclose(self) -> None:
        """Close all databases that were opened."""
        for database in self._opened:
            await database.aclose()
