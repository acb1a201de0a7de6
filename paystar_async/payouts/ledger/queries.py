"""Queries: read batches, chunks, transfers, events and holds."""

from collections.abc import Collection, Mapping, Sequence
from typing import get_args

from paystar_async.errors import StorageCorrupt
from paystar_async.payouts.ledger.session import LedgerDatabase, LedgerTransaction
from paystar_async.payouts.models import (
    AccountHold,
    BatchRecord,
    ChunkPhase,
    ChunkRecord,
    EventRecord,
    Policy,
    ProductName,
    TransferRecord,
    TransferState,
)
from paystar_async.storage.database import Row
from paystar_async.storage.record_types import require_time, require_types
from paystar_async.values.field_type import short_repr

BATCH_COLUMNS = "batch_id, product, account, total, amount, digest, policy, created_at"
SELECT_BATCH = f"SELECT {BATCH_COLUMNS} FROM paystar_payout_batches WHERE batch_id = :batch_id"  # noqa: S608
_BATCHES = f"SELECT {BATCH_COLUMNS} FROM paystar_payout_batches ORDER BY created_at DESC, batch_id LIMIT :limit"  # noqa: S608
CHUNK_COLUMNS = (
    "chunk_id, batch_id, product, account, deposit, phase, due_at, lease_owner, lease_expires_at, version, attempt,"
    " checks, runner"
)
_CHUNK_IDS = """
SELECT chunk_id FROM paystar_payout_chunks WHERE batch_id = :batch_id AND chunk_id > :after
ORDER BY chunk_id LIMIT :limit
"""
_DUE = """
SELECT chunk_id, due_at FROM paystar_payout_chunks
WHERE due_at IS NOT NULL AND product = :product AND account = :account
ORDER BY due_at LIMIT :limit
"""
TRANSFER_COLUMNS = (
    "product, account, track_id, version, state, attempt, ambiguous_attempts, batch_id, chunk_id, position, amount,"
    " deposit, destination, not_found_count, last_not_found_at, unknown_since, reason, ref_code, hashid, changed_at"
)
STORED_TRANSFER_COLUMNS = f"{TRANSFER_COLUMNS}, payload, masked_payload, digest, refusal"
_T = ", ".join(f"t.{name}" for name in TRANSFER_COLUMNS.split(", "))
_PAGE = f"""
SELECT m.position AS batch_position, {_T} FROM paystar_payout_batch_items m
JOIN paystar_payout_batches b ON b.batch_id = m.batch_id
JOIN paystar_payout_transfers t ON t.product = b.product AND t.account = b.account AND t.track_id = m.track_id
WHERE m.batch_id = :batch_id AND m.position > :after ORDER BY m.position LIMIT :limit
"""  # noqa: S608
_TOTALS = """
SELECT t.state, COUNT(*) AS count, SUM(t.amount) AS amount FROM paystar_payout_batch_items m
JOIN paystar_payout_batches b ON b.batch_id = m.batch_id
JOIN paystar_payout_transfers t ON t.product = b.product AND t.account = b.account AND t.track_id = m.track_id
WHERE m.batch_id = :batch_id GROUP BY t.state
"""
_ACCOUNT_TOTALS = """
SELECT state, COUNT(*) AS count, SUM(amount) AS amount FROM paystar_payout_transfers
WHERE product = :product AND account = :account GROUP BY state
"""
_REVIEW = f"""
SELECT {TRANSFER_COLUMNS} FROM paystar_payout_transfers
WHERE product = :product AND account = :account AND state = 'needs_review' ORDER BY changed_at, track_id LIMIT :limit
"""  # noqa: S608
_EVENTS = """
SELECT track_id, version, at, before, after, cause, detail FROM paystar_payout_events
WHERE product = :product AND account = :account AND track_id = :track_id ORDER BY version
"""
_HOLDS = """
SELECT product, account, deposit, suspended_reason, no_funds_reason AS insufficient_funds_reason, paused
FROM paystar_payout_holds
WHERE product = :product AND account = :account ORDER BY deposit
"""


async def find_batch(ledger: LedgerDatabase, batch_id: str) -> BatchRecord | None:
    """Return a batch, or None."""
    rows = await ledger.fetch(SELECT_BATCH, {"batch_id": batch_id})
    return batch_of(rows[0]) if rows else None


async def batches(ledger: LedgerDatabase, limit: int = 100) -> list[BatchRecord]:
    """Return the batches, newest first."""
    return [batch_of(row) for row in await ledger.fetch(_BATCHES, {"limit": limit})]


async def find_transfer(
    ledger: LedgerDatabase, product: ProductName, account: str, track_id: str
) -> TransferRecord | None:
    """Return a transfer, or None if it is not on record."""
    return (await transfers(ledger, product, account, [track_id])).get(track_id)


async def transfers(
    ledger: LedgerDatabase, product: ProductName, account: str, track_ids: Collection[str]
) -> Mapping[str, TransferRecord]:
    """Return those of these transfers that are on record, by track_id; at most 500 in one call."""
    rows = await ledger.fetch(*select_transfers(TRANSFER_COLUMNS, product, account, track_ids))
    return {row["track_id"]: transfer_of(row) for row in rows}


def select_transfers(
    columns: str, product: ProductName, account: str, track_ids: Collection[str]
) -> tuple[str, dict[str, str | int]]:
    """Return the statement that selects these transfers, and its parameters."""
    names = {f"id{number}": track_id for number, track_id in enumerate(track_ids)}
    listed = ", ".join(f":{name}" for name in names) or "NULL"
    sql = (
        f"SELECT {columns} FROM paystar_payout_transfers"  # noqa: S608
        f" WHERE product = :product AND account = :account AND track_id IN ({listed})"
    )
    return sql, {**names, "product": product, "account": account}


async def page(
    ledger: LedgerDatabase, batch_id: str, *, after: int = -1, limit: int = 500
) -> list[tuple[int, TransferRecord]]:
    """Return transfers of a batch with their position in it, in order, those behind position ``after``."""
    rows = await ledger.fetch(_PAGE, {"batch_id": batch_id, "after": after, "limit": limit})
    return [(row["batch_position"], transfer_of(row)) for row in rows]


async def totals(ledger: LedgerDatabase, batch_id: str) -> Mapping[TransferState, tuple[int, int]]:
    """Return the number of a batch's transfers in each state, and their sum in Rial."""
    rows = await ledger.fetch(_TOTALS, {"batch_id": batch_id})
    return _totals(rows)


async def account_totals(
    ledger: LedgerDatabase, product: ProductName, account: str
) -> Mapping[TransferState, tuple[int, int]]:
    """Return the number of an account's transfers in each state, and their sum in Rial."""
    rows = await ledger.fetch(_ACCOUNT_TOTALS, {"product": product, "account": account})
    return _totals(rows)


async def review(ledger: LedgerDatabase, product: ProductName, account: str, limit: int = 500) -> list[TransferRecord]:
    """Return transfers that need manual review, oldest first."""
    rows = await ledger.fetch(_REVIEW, {"product": product, "account": account, "limit": limit})
    return [transfer_of(row) for row in rows]


async def events(ledger: LedgerDatabase, product: ProductName, account: str, track_id: str) -> list[EventRecord]:
    """Return the events of a transfer, in order."""
    rows = await ledger.fetch(_EVENTS, {"product": product, "account": account, "track_id": track_id})
    return [
        require_types(
            EventRecord(
                track_id=row["track_id"],
                version=row["version"],
                at=row["at"],
                before=_state(row["before"]) if row["before"] else None,
                after=_state(row["after"]),
                cause=row["cause"],
                detail=row["detail"],
            ),
            "event",
        )
        for row in rows
    ]


async def chunk_ids(
    reader: LedgerDatabase | LedgerTransaction, batch_id: str, after: str = "", limit: int = 1000
) -> list[str]:
    """Return chunks of a batch in the order of their names, those behind ``after``."""
    rows = await reader.fetch(_CHUNK_IDS, {"batch_id": batch_id, "after": after, "limit": limit})
    return [row["chunk_id"] for row in rows]


async def due(
    ledger: LedgerDatabase, accounts: Collection[tuple[ProductName, str]], limit: int = 100
) -> list[tuple[str, float]]:
    """Return chunks with something to do, and when, soonest first; those due in the future included."""
    chunks: list[tuple[str, float]] = []
    for product, account in accounts:
        rows = await ledger.fetch(_DUE, {"product": product, "account": account, "limit": limit})
        chunks += [(row["chunk_id"], due_time(row)) for row in rows]
    return sorted(chunks, key=lambda chunk: chunk[1])[:limit]


def due_time(row: Row) -> float:
    """Return when the chunk of a row is due; raise StorageCorrupt for anything but a time."""
    return require_time(row["due_at"], "due_at of a chunk")


async def holds(ledger: LedgerDatabase, product: ProductName, account: str) -> Sequence[AccountHold]:
    """Return the holds of an account, active or not."""
    rows = await ledger.fetch(_HOLDS, {"product": product, "account": account})
    for row in rows:
        row["paused"] = bool(row["paused"])
    return [require_types(AccountHold(**row), "hold") for row in rows]


def batch_of(row: Row) -> BatchRecord:
    """Return a row as its record; raise StorageCorrupt for a value of another type."""
    batch = BatchRecord(
        batch_id=row["batch_id"],
        product=row["product"],
        account=row["account"],
        count=row["total"],
        amount=row["amount"],
        policy=Policy.from_json(row["policy"]),
        created_at=row["created_at"],
    )
    _check_value("product", batch.product, get_args(ProductName))
    return require_types(batch, "batch")


def chunk_of(row: Row) -> ChunkRecord:
    """Return a row as its record; raise StorageCorrupt for an unknown phase or a value of another type."""
    _check_value("phase", row["phase"], get_args(ChunkPhase))
    _check_value("product", row["product"], get_args(ProductName))
    return require_types(ChunkRecord(**{name: row[name] for name in _CHUNK_FIELDS}), "chunk")


def transfer_of(row: Row) -> TransferRecord:
    """Return a row as its record; raise StorageCorrupt for an unknown state or a value of another type."""
    values: Row = {name: row[name] for name in _TRANSFER_FIELDS}
    values["state"] = _state(values["state"])
    return require_types(TransferRecord(**values), "transfer")


def _totals(rows: Sequence[Row]) -> Mapping[TransferState, tuple[int, int]]:
    # A server sums whole numbers to a decimal; a file sums anything else to a float.
    if any(isinstance(row["amount"], float) for row in rows):
        raise StorageCorrupt("the payout ledger holds an invalid amount")
    return {_state(row["state"]): (int(row["count"]), int(row["amount"])) for row in rows}


def _state(value: str) -> TransferState:
    try:
        return TransferState(value)
    except ValueError:
        raise _unknown_value("state", value) from None


def _check_value(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise _unknown_value(name, value)


def _unknown_value(name: str, value: str) -> StorageCorrupt:
    return StorageCorrupt(f"the payout ledger holds an unknown {name}: {short_repr(value)}")


_CHUNK_FIELDS = tuple(CHUNK_COLUMNS.split(", "))
_TRANSFER_FIELDS = tuple(
    name for name in TRANSFER_COLUMNS.split(", ") if name not in {"ambiguous_attempts", "position", "last_not_found_at"}
)
