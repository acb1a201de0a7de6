"""State transitions: each is a compare-and-set and an event in one transaction."""

from collections.abc import Sequence
from typing import Literal

from attrs import field, frozen

from paystar_async.errors import StorageCorrupt
from paystar_async.models.transfers import Transfer
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger.queries import transfer_of
from paystar_async.payouts.ledger.session import LedgerDatabase, LedgerTransaction
from paystar_async.payouts.models import (
    ChunkPhase,
    ChunkRecord,
    ProductName,
    Refusal,
    TransferRecord,
    TransferState,
    is_allowed_transition,
)
from paystar_async.storage.database import Row, Value
from paystar_async.storage.record_types import require_types
from paystar_async.values.secret import Secret

_ACCOUNT = "product = :product AND account = :account AND (CAST(:deposit AS TEXT) IS NULL OR deposit = :deposit)"
_SET_PAUSED = """
INSERT INTO paystar_payout_holds (product, account, deposit, version, paused, next_send_at)
VALUES (:product, :account, :deposit, 1, 1, 0)
ON CONFLICT (product, account, deposit) DO UPDATE SET paused = 1, version = paystar_payout_holds.version + 1
"""
HoldReason = Literal["suspended_reason", "no_funds_reason"]
"""A column of a hold: no call of the account is accepted, or the deposit account has no money."""
_SET_HOLD = """
UPDATE paystar_payout_holds SET {column} = :reason, version = version + 1
WHERE product = :product AND account = :account AND deposit = :deposit AND {column} IS NULL
"""
_CLEAR_HOLDS = f"""
UPDATE paystar_payout_holds SET paused = 0, suspended_reason = NULL, no_funds_reason = NULL, version = version + 1
WHERE {_ACCOUNT}
RETURNING CAST(:now AS DOUBLE PRECISION) AS at
"""  # noqa: S608
_REPLAN_TRANSFERS = f"""
UPDATE paystar_payout_transfers SET state = 'planned', version = version + 1, reason = '', changed_at = :at
WHERE state = 'paused_funds' AND chunk_id IN
    (SELECT chunk_id FROM paystar_payout_chunks WHERE phase = 'funds' AND {_ACCOUNT})
"""  # noqa: S608
_WAKE_CHUNKS = f"""
UPDATE paystar_payout_chunks SET phase = 'send', due_at = :at, checks = 0, version = version + 1
WHERE due_at IS NULL AND phase IN ('send', 'funds') AND {_ACCOUNT}
"""  # noqa: S608


async def pause(ledger: LedgerDatabase, product: ProductName, account: str, deposit: str = "") -> None:
    """Stop sends of a deposit account, or of all if ``deposit`` is ``""``."""
    async with ledger.transaction() as transaction:
        await transaction.execute(_SET_PAUSED, {"product": product, "account": account, "deposit": deposit})


async def set_hold(transaction: LedgerTransaction, chunk: ChunkRecord, column: HoldReason, reason: str) -> bool:
    """Hold the chunk's account back, or its deposit account without money; return True if that is new."""
    params: dict[str, Value] = {
        "product": chunk.product,
        "account": chunk.account,
        "deposit": "" if column == "suspended_reason" else chunk.deposit,
        "reason": reason,
    }
    return await transaction.execute(_SET_HOLD.format(column=column), params) > 0


async def resume(ledger: LedgerDatabase, product: ProductName, account: str, deposit: str | None = None) -> int:
    """Remove the holds of a deposit account, or all; return how many transfers that lacked funds are planned again."""
    params: dict[str, Value] = {"product": product, "account": account, "deposit": deposit}
    async with ledger.transaction() as transaction:
        cleared = await transaction.fetch(_CLEAR_HOLDS, params)
        if not cleared:
            return 0
        params["at"] = cleared[0]["at"]
        planned = await transaction.execute(_REPLAN_TRANSFERS, params)
        if planned:
            await transaction.execute(_INSERT_RESUMED_EVENTS, params)
        await transaction.execute(_WAKE_CHUNKS, params)
    return planned


_MASK_FINAL_PAYLOAD = """
    payload = CASE WHEN {after} IN ('success', 'failed', 'reversed')
        THEN COALESCE(masked_payload, payload) ELSE payload END
"""
_UPDATE_CHUNK_TRANSFERS = f"""
UPDATE paystar_payout_transfers SET state = :after, version = version + 1, reason = :reason, changed_at = :at,
    not_found_count = 0, last_not_found_at = NULL, refusal = CAST(:refusal AS TEXT),
    unknown_since = CASE WHEN :after = 'unknown' THEN CAST(:at AS DOUBLE PRECISION) END,
    {_MASK_FINAL_PAYLOAD.format(after="CAST(:after AS TEXT)")}
WHERE chunk_id = :chunk_id AND state = :before
"""  # noqa: S608
_INSERT_CHUNK_EVENTS = """
INSERT INTO paystar_payout_events (product, account, track_id, version, at, before, after, cause, detail)
SELECT product, account, track_id, version, changed_at, CAST(:before AS TEXT), state, CAST(:cause AS TEXT), reason
FROM paystar_payout_transfers WHERE chunk_id = :chunk_id AND state = :after AND changed_at = :at
"""
_INSERT_RESUMED_EVENTS = """
INSERT INTO paystar_payout_events (product, account, track_id, version, at, before, after, cause, detail)
SELECT product, account, track_id, version, changed_at, 'paused_funds', 'planned', 'resume', ''
FROM paystar_payout_transfers WHERE state = 'planned' AND changed_at = :at
AND chunk_id IN (SELECT chunk_id FROM paystar_payout_chunks
    WHERE phase = 'funds' AND product = :product AND account = :account)
"""
_UPDATE_NOT_FOUND = """
WITH v (track_id, version, times) AS ({rows})
UPDATE paystar_payout_transfers SET not_found_count = v.times,
    last_not_found_at = CASE WHEN v.times = 0 THEN NULL ELSE CAST(:at AS DOUBLE PRECISION) END
FROM v WHERE paystar_payout_transfers.product = :product AND paystar_payout_transfers.account = :account
    AND paystar_payout_transfers.track_id = v.track_id AND paystar_payout_transfers.version = v.version
"""
# The bank failed the attempt on record and has another one: a status of one does not prove that of the other.
_IS_REPEATED = """
    CASE WHEN paystar_payout_transfers.refusal = 'failed' AND v.after IN ('success', 'pending') THEN 1 ELSE 0 END
"""
_TRANSITION_COLUMNS = (
    "track_id TEXT, version BIGINT, after TEXT, reason TEXT, ref_code TEXT, hashid TEXT, doubt BIGINT, refusal TEXT"
)
_UPDATE_TRANSFERS = f"""
WITH v (track_id, version, after, reason, ref_code, hashid, doubt, refusal) AS ({{rows}})
UPDATE paystar_payout_transfers SET state = v.after, version = paystar_payout_transfers.version + 1,
    reason = v.reason, changed_at = :at, not_found_count = 0, last_not_found_at = NULL, refusal = v.refusal,
    ref_code = COALESCE(v.ref_code, paystar_payout_transfers.ref_code),
    hashid = COALESCE(v.hashid, paystar_payout_transfers.hashid),
    ambiguous_attempts = ambiguous_attempts + v.doubt + {_IS_REPEATED},
    unknown_since = CASE WHEN v.after = 'unknown' THEN CAST(:at AS DOUBLE PRECISION) END,
    {_MASK_FINAL_PAYLOAD.format(after="v.after")}
FROM v WHERE paystar_payout_transfers.product = :product AND paystar_payout_transfers.account = :account
    AND paystar_payout_transfers.track_id = v.track_id AND paystar_payout_transfers.version = v.version
RETURNING paystar_payout_transfers.track_id AS track_id
"""  # noqa: S608
_EVENT_COLUMNS = "track_id TEXT, version BIGINT, before TEXT, after TEXT, detail TEXT"
_INSERT_EVENTS = """
INSERT INTO paystar_payout_events (product, account, track_id, version, at, before, after, cause, detail)
WITH v (track_id, version, before, after, detail) AS ({rows})
SELECT CAST(:product AS TEXT), CAST(:account AS TEXT), v.track_id, v.version, CAST(:at AS DOUBLE PRECISION),
    v.before, v.after, CAST(:cause AS TEXT), v.detail FROM v
"""
# A chunk for each transfer that is sent alone from now on; the chunk that was sent stays on record unchanged.
_INSERT_SINGLE_CHUNKS = """
INSERT INTO paystar_payout_chunks
    (chunk_id, batch_id, product, account, deposit, phase, due_at, version, attempt, checks, runner)
SELECT t.chunk_id || '.' || t.position || '.' || t.attempt, c.batch_id, t.product, t.account, t.deposit, 'send',
    CAST(:at AS DOUBLE PRECISION), 1, 0, 0, c.runner
FROM paystar_payout_transfers t JOIN paystar_payout_chunks c ON c.chunk_id = t.chunk_id
WHERE t.chunk_id = :chunk_id AND t.state = 'planned' AND t.changed_at = :at
"""
_MOVE_TO_SINGLE_CHUNKS = """
UPDATE paystar_payout_transfers SET chunk_id = chunk_id || '.' || position || '.' || attempt
WHERE chunk_id = :chunk_id AND state = 'planned' AND changed_at = :at
"""
# These transfers do not wait for the bank's decision on the others of their chunk.
_INSERT_GROUP = """
INSERT INTO paystar_payout_chunks
    (chunk_id, batch_id, product, account, deposit, phase, due_at, version, attempt, checks, runner)
SELECT :group_id, c.batch_id, c.product, c.account, c.deposit, CAST(:phase AS TEXT),
    CAST(:due_at AS DOUBLE PRECISION), 1, 0, 0, c.runner
FROM paystar_payout_chunks c WHERE c.chunk_id = :chunk_id AND EXISTS (SELECT 1 FROM paystar_payout_transfers t
    WHERE t.chunk_id = c.chunk_id AND t.state = CAST(:state AS TEXT) AND t.changed_at = :at)
"""
_MOVE_TO_GROUP = """
UPDATE paystar_payout_transfers SET chunk_id = :group_id
WHERE chunk_id = :chunk_id AND state = :state AND changed_at = :at
"""


@frozen(kw_only=True)
class StoredTransfer:
    """A transfer of the ledger with its payload.

    Attributes:
        record: its record.
        ambiguous_attempts: earlier attempts whose result is unknown. While > 0, a "failed" for one attempt does not
            prove that none was paid.
        last_not_found_at: when "not found" last counted.
        refusal: why its call was refused, until a status check has shown that it was not executed.
        payload: the stored contents.
        digest: keyed digest of the contents.
        is_masked: True if the payload is the masked one.
    """

    record: TransferRecord
    ambiguous_attempts: int
    last_not_found_at: float | None
    refusal: Refusal | None
    payload: Secret = field(repr=False)
    digest: str = field(repr=False)
    is_masked: bool

    def value(self, ledger: LedgerDatabase) -> AnyTransfer:
        """Return the transfer as it is sent; raise StorageCorrupt if the payload belongs to another transfer."""
        record = self.record
        value = ledger.codec.decode(record.product, record.account, record.track_id, self.payload, self.digest)
        deposit = value.deposit if isinstance(value, Transfer) else ""
        if (value.track_id, value.amount, deposit) != (record.track_id, record.amount, record.deposit):
            raise StorageCorrupt(f"the stored contents of the transfer {record.track_id} belong to another transfer")
        return value


def stored_transfer_of(row: Row) -> StoredTransfer:
    """Return a row as a StoredTransfer."""
    stored = StoredTransfer(
        record=transfer_of(row),
        ambiguous_attempts=row["ambiguous_attempts"],
        last_not_found_at=row["last_not_found_at"],
        refusal=row["refusal"],
        payload=Secret(row["payload"]) if isinstance(row["payload"], str) else row["payload"],
        digest=row["digest"],
        is_masked=row["masked_payload"] is not None and row["masked_payload"] == row["payload"],
    )
    return require_types(stored, "transfer")


@frozen(kw_only=True)
class Transition:
    """A transition of one transfer.

    Attributes:
        record: the record as it was read; if it has changed since, nothing happens.
        after: the new state.
        reason: why, in words, masked.
        ref_code: the bank's reference, if known.
        hashid: Paystar's id of the transfer, if known.
        refusal: why its call was refused, if a status check has to show that it was not executed.
        is_proven: True if that check found no transfer, so that the attempt is not ambiguous.
    """

    record: TransferRecord
    after: TransferState
    reason: str = ""
    ref_code: str | None = None
    hashid: str | None = None
    refusal: Refusal | None = None
    is_proven: bool = False

    @property
    def is_allowed(self) -> bool:
        """Return True if the table of transitions allows the transition."""
        return is_allowed_transition(self.record.state, self.after)


async def transition_chunk(
    transaction: LedgerTransaction,
    chunk_id: str,
    before: TransferState,
    after: TransferState,
    *,
    at: float,
    cause: str,
    reason: str = "",
    refusal: Refusal | None = None,
) -> int:
    """Change the state of a chunk's transfers from ``before`` to ``after``; return how many changed."""
    params: dict[str, Value] = {"chunk_id": chunk_id, "before": before, "after": after, "at": at}
    changed = await transaction.execute(_UPDATE_CHUNK_TRANSFERS, params | {"reason": reason, "refusal": refusal})
    if changed:
        await transaction.execute(_INSERT_CHUNK_EVENTS, params | {"cause": cause})
    return changed


async def transition_transfers(
    transaction: LedgerTransaction,
    product: ProductName,
    account: str,
    changes: Sequence[Transition],
    *,
    at: float,
    cause: str,
) -> set[str]:
    """Write transitions; return the track_ids of those whose record had not changed since it was read."""
    if not changes:
        return set()
    rows: list[dict[str, Value]] = [
        {
            "track_id": change.record.track_id,
            "version": change.record.version,
            "after": change.after.value,
            "reason": change.reason,
            "ref_code": change.ref_code,
            "hashid": change.hashid,
            "doubt": 0 if change.is_proven else _ambiguity(change.record.state, change.after),
            "refusal": change.refusal,
        }
        for change in changes
    ]
    account_params: dict[str, Value] = {"product": product, "account": account, "at": at}
    query, parameters = transaction.values(_TRANSITION_COLUMNS, rows)
    updated = await transaction.fetch(_UPDATE_TRANSFERS.format(rows=query), {**parameters, **account_params})
    updated_ids = {row["track_id"] for row in updated}
    events: list[dict[str, Value]] = [
        {
            "track_id": change.record.track_id,
            "version": change.record.version + 1,
            "before": change.record.state.value,
            "after": change.after.value,
            "detail": change.reason,
        }
        for change in changes
        if change.record.track_id in updated_ids
    ]
    if events:
        query, parameters = transaction.values(_EVENT_COLUMNS, events)
        await transaction.execute(_INSERT_EVENTS.format(rows=query), {**parameters, **account_params, "cause": cause})
    return updated_ids


async def record_not_found(
    transaction: LedgerTransaction,
    product: ProductName,
    account: str,
    counts: Sequence[tuple[TransferRecord, int]],
    at: float,
) -> None:
    """Record how many times "not found" has counted, the last time at ``at``."""
    if counts:
        rows: list[dict[str, Value]] = [
            {"track_id": record.track_id, "version": record.version, "times": times} for record, times in counts
        ]
        query, parameters = transaction.values("track_id TEXT, version BIGINT, times BIGINT", rows)
        account_params: dict[str, Value] = {"product": product, "account": account, "at": at}
        await transaction.execute(_UPDATE_NOT_FOUND.format(rows=query), {**parameters, **account_params})


async def split_chunk(transaction: LedgerTransaction, chunk_id: str, at: float) -> None:
    """Move each transfer of a chunk that was planned again at ``at`` to its own chunk."""
    params: dict[str, Value] = {"chunk_id": chunk_id, "at": at}
    await transaction.execute(_INSERT_SINGLE_CHUNKS, params)
    await transaction.execute(_MOVE_TO_SINGLE_CHUNKS, params)


async def regroup(
    transaction: LedgerTransaction,
    chunk: ChunkRecord,
    state: TransferState,
    at: float,
    *,
    phase: ChunkPhase,
    due_at: float | None,
) -> None:
    """Move the transfers of a chunk that changed to ``state`` at ``at`` to one new chunk."""
    params: dict[str, Value] = {
        "chunk_id": chunk.chunk_id,
        "group_id": f"{chunk.chunk_id}.r{chunk.version}",
        "state": state.value,
        "at": at,
        "phase": phase,
        "due_at": due_at,
    }
    if await transaction.execute(_INSERT_GROUP, params):
        await transaction.execute(_MOVE_TO_GROUP, params)


def _ambiguity(before: TransferState, after: TransferState) -> int:
    # An attempt whose result was unknown at the resend, or at a manual decision, may have been paid too.
    return int(
        before in (TransferState.NOT_ACCEPTED, TransferState.NEEDS_REVIEW)
        and after not in (TransferState.FAILED, TransferState.NEEDS_REVIEW)
    )
