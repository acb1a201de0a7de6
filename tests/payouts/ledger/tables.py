"""Helpers that read the tables of a ledger."""

import re

from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.ledger.schema import SCHEMA
from tests.payouts.backends import Backend

TABLES = re.findall(r"CREATE TABLE paystar_payout_(\w+)", " ".join(SCHEMA))


def count_rows(backend: Backend, table: str) -> int:
    """Return the number of rows of a table."""
    [(count,)] = backend.sql(f"SELECT COUNT(*) FROM paystar_payout_{table}")
    return int(count)


def dump_ledger(backend: Backend) -> str:
    """Return all rows of all tables as text."""
    return str([backend.sql(f"SELECT * FROM paystar_payout_{table}") for table in TABLES])


def filled_tables(backend: Backend) -> list[str]:
    """Return the tables with a row of a batch."""
    return [table for table in TABLES if table not in ("settings", "holds") and count_rows(backend, table)]


def entry_of(track_id: str, status: str, **more: object) -> Settlement:
    """Return an entry of the bank's list."""
    return Settlement(track_id=track_id, status=TransferStatus(status), **more)  # type: ignore[arg-type]
