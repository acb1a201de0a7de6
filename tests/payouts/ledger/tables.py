"""Helpers that read the tables of a ledger."""

from paystar_async.models.transfers import Settlement, TransferStatus
from tests.payouts.backends import Backend

TABLES = ("batches", "batch_items", "transfers", "chunks", "events")


def count_rows(backend: Backend, table: str) -> int:
    """Return the number of rows of a table."""
    [(count,)] = backend.sql(f"SELECT COUNT(*) FROM paystar_payout_{table}")
    return int(count)


def dump_ledger(backend: Backend) -> str:
    """Return all rows of all tables as text."""
    return str([backend.sql(f"SELECT * FROM paystar_payout_{table}") for table in (*TABLES, "settings", "staging")])


def entry_of(track_id: str, status: str, **more: object) -> Settlement:
    """Return an entry of the bank's list."""
    return Settlement(track_id=track_id, status=TransferStatus(status), **more)  # type: ignore[arg-type]
