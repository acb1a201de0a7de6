"""Test the query plans of statements that read a whole batch, on a PostgreSQL that has just stored its first batch."""

import json
from typing import Any

import pytest

from paystar_async.payouts import batch, reconcile, recovery
from paystar_async.payouts.ledger import insert_statements, queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy
from paystar_async.storage.database import Parameters
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, transfers

TRANSFERS = 2000
STATEMENTS = {
    "is_idle": batch._IN_PROGRESS_ELSEWHERE,  # pyright: ignore[reportPrivateUsage]
    "page": queries._PAGE,  # pyright: ignore[reportPrivateUsage]
    "totals": queries._TOTALS,  # pyright: ignore[reportPrivateUsage]
    "conflicts": insert_statements.SELECT_CONFLICTS,
    "oldest_plan": reconcile._OLDEST_PLAN,  # pyright: ignore[reportPrivateUsage]
    "oldest_chunk": recovery._OLDEST,  # pyright: ignore[reportPrivateUsage]
}


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows all nodes of a query plan read."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
    rows: int = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return rows + sum(rows_read(child) for child in plan.get("Plans", []))


@pytest.mark.parametrize("database_location", ["postgres"], indirect=True)
async def test_batch_statements_read_each_row_a_few_times(backend: Backend, payout: PayoutFixture) -> None:
    await payout.ledger.open()
    backend.sql("ANALYZE")
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(TRANSFERS)), policy=Policy(chunk=2))
    backend.sql("UPDATE paystar_payout_chunks SET due_at = NULL, phase = 'none'")
    parameters: Parameters = {
        "batch_id": "b",
        "product": payout.channel.name,
        "account": payout.channel.account,
        "deposit": "0100000000001",
        "plan": "",
        "after": -1,
        "limit": 500,
    }
    for name, sql in STATEMENTS.items():
        [explained] = await payout.ledger.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
        [root] = explained["QUERY PLAN"]
        assert rows_read(root["Plan"]) <= 8 * TRANSFERS, f"{name}: {json.dumps(root['Plan'], indent=1)}"
