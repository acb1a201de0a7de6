"""Test the query plans of statements that find and lease chunks, on PostgreSQL with outdated statistics."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest
import pytest_asyncio

from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.lease_statements import ACQUIRE_CHECK_LEASE, ACQUIRE_SEND_LEASE
from paystar_async.payouts.ledger.schema import PART, SCHEMA
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.storage.database import NONE, Parameters, Row
from paystar_async.storage.postgres import PostgresDatabase

WAITING = 2000
INSERT = """
INSERT INTO paystar_payout_chunks
    (chunk_id, batch_id, product, account, deposit, phase, due_at, version, attempt, checks, runner)
SELECT :account || lpad(CAST(number AS TEXT), 8, '0'), 'batch', 'bank', :account, 'deposit', :phase,
    CAST(:due_at AS DOUBLE PRECISION), 1, 0, 0, 'runner'
FROM generate_series(1, CAST(:count AS BIGINT)) number
"""
LEASE: Parameters = {
    "chunk_id": "many00000001",
    "version": 1,
    "product": "bank",
    "account": "many",
    "deposit": "deposit",
    "lease_owner": "owner",
    "runner": "runner",
    "lease": 40.0,
    "slot": 8.0,
    "concurrency": 16,
    "at": 100.0,
}


class ExplainingTables:
    """A database that collects the query plan of each statement and returns no rows."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self.plan = ""

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> Sequence[Row]:
        rows = await self._database.fetch(f"EXPLAIN (ANALYZE) {sql}", parameters)
        self.plan += "\n".join(row["QUERY PLAN"] for row in rows)
        return []


@pytest_asyncio.fixture
async def database(postgres_schema: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(postgres_schema)
    await database.migrate(PART, SCHEMA)
    yield database
    await database.aclose()


async def fill(database: PostgresDatabase, phase: str) -> None:
    """Store done chunks, update the statistics, then store many due chunks of one account and some of another."""
    await database.execute(INSERT, {"account": "done", "phase": "none", "due_at": None, "count": 100})
    await database.execute("ANALYZE paystar_payout_chunks")
    for account, due, count in (("many", 1.0, WAITING), ("few", 2.0, 3)):
        await database.execute(INSERT, {"account": account, "phase": phase, "due_at": due, "count": count})


@pytest.mark.parametrize(
    ("sql", "phase"), [(ACQUIRE_SEND_LEASE, "send"), (ACQUIRE_CHECK_LEASE, "check")], ids=["send", "check"]
)
async def test_acquire_lease_reads_no_other_chunk(database: PostgresDatabase, sql: str, phase: str) -> None:
    await fill(database, phase)
    tables = ExplainingTables(database)
    await tables.fetch(sql, LEASE)
    assert "Index Scan using paystar_payout_chunks_pkey" in tables.plan
    assert "Removed by Filter" not in tables.plan
    assert await database.fetch("SELECT COUNT(*) AS leased FROM paystar_payout_chunks WHERE lease_owner = 'owner'") == [
        {"leased": 1}
    ]


async def test_due_reads_no_chunk_of_another_account(database: PostgresDatabase) -> None:
    await fill(database, "send")
    tables = ExplainingTables(database)
    await queries.due(cast("LedgerDatabase", tables), [("bank", "few")], 100)
    assert "rows=3" in tables.plan
    assert "Removed by Filter" not in tables.plan
