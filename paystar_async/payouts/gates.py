"""What keeps transfers back: a pause, a refusal of the whole account, a deposit account without money."""

from paystar_async.payouts.moves import RESUMED_EVENTS
from paystar_async.payouts.records import ProductName
from paystar_async.payouts.tables import Tables, Timed
from paystar_async.storage.database import Value as Stored

_ALL = "product = :product AND account = :account AND (CAST(:deposit AS TEXT) IS NULL OR deposit = :deposit)"
_PAUSE = """
INSERT INTO paystar_payout_gates (product, account, deposit, version, held, next_at)
VALUES (:product, :account, :deposit, 1, 1, 0)
ON CONFLICT (product, account, deposit) DO UPDATE SET held = 1, version = paystar_payout_gates.version + 1
"""
_CLOSE = {
    "halted": """
    UPDATE paystar_payout_gates SET halted = :why, version = version + 1
    WHERE product = :product AND account = :account AND deposit = :deposit AND halted IS NULL
    """,
    "short": """
    UPDATE paystar_payout_gates SET short = :why, version = version + 1
    WHERE product = :product AND account = :account AND deposit = :deposit AND short IS NULL
    """,
}
_OPEN = f"""
UPDATE paystar_payout_gates SET held = 0, halted = NULL, short = NULL, version = version + 1 WHERE {_ALL}
RETURNING CAST(:now AS DOUBLE PRECISION) AS at
"""  # noqa: S608
_REPLAN = f"""
UPDATE paystar_payout_transfers SET state = 'planned', version = version + 1, reason = '', changed_at = :at
WHERE state = 'paused_funds' AND chunk_id IN
    (SELECT chunk_id FROM paystar_payout_chunks WHERE work = 'funds' AND {_ALL})
"""  # noqa: S608
_WAKE = f"""
UPDATE paystar_payout_chunks SET work = 'send', due = :at, looks = 0, version = version + 1
WHERE due IS NULL AND work IN ('send', 'funds') AND {_ALL}
"""  # noqa: S608


async def pause(tables: Tables, product: ProductName, account: str, deposit: str = "") -> None:
    """Send nothing more of a deposit account, or of all where it is ``""``."""
    async with tables.transaction() as transaction:
        await transaction.execute(_PAUSE, {"product": product, "account": account, "deposit": deposit})


async def close(transaction: Timed, kind: str, told: dict[str, Stored]) -> bool:
    """Close a gate; whether it was open. ``kind`` is ``halted`` or ``short``."""
    return await transaction.execute(_CLOSE[kind], told) > 0


async def resume(tables: Tables, product: ProductName, account: str, deposit: str | None = None) -> int:
    """Open the gates of a deposit account, or all; how many transfers that lacked money are planned again."""
    told: dict[str, Stored] = {"product": product, "account": account, "deposit": deposit}
    async with tables.transaction() as transaction:
        opened = await transaction.fetch(_OPEN, told)
        if not opened:
            return 0
        told["at"] = opened[0]["at"]
        planned = await transaction.execute(_REPLAN, told)
        if planned:
            await transaction.execute(RESUMED_EVENTS, told)
        await transaction.execute(_WAKE, told)
    return planned
