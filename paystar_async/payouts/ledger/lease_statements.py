"""SQL statements of leases and releases."""

from paystar_async.payouts.ledger.queries import CHUNK_COLUMNS, STORED_TRANSFER_COLUMNS

_C = ", ".join(f"c.{name}" for name in CHUNK_COLUMNS.split(", "))
SELECT_CHUNK = f"""
SELECT {_C}, b.policy, h.next_send_at, CAST(:now AS DOUBLE PRECISION) AS at
FROM paystar_payout_chunks c JOIN paystar_payout_batches b ON b.batch_id = c.batch_id
LEFT JOIN paystar_payout_holds h ON h.product = c.product AND h.account = c.account AND h.deposit = c.deposit
WHERE c.chunk_id = :chunk_id
"""  # noqa: S608
# The hold of the deposit account is the lock under which its calls are counted.
LOCK_ACCOUNT = """
UPDATE paystar_payout_holds SET version = version + 1
WHERE product = :product AND account = :account AND deposit = :deposit
RETURNING next_send_at, version, CAST(:now AS DOUBLE PRECISION) AS at, CAST({origin} AS TEXT) AS origin
"""
SELECT_ACTIVE_HOLD = """
SELECT 1 AS closed FROM paystar_payout_holds
WHERE product = :product AND account = :account AND deposit IN ('', :deposit)
AND (paused <> 0 OR suspended_reason IS NOT NULL OR no_funds_reason IS NOT NULL)
"""
# Not ``due_at <= :at``, for which PostgreSQL may use a partial index of due chunks: with statistics older than a batch
# it believes that index to be empty, and reads all waiting chunks for each lease.
_IS_DUE = "COALESCE(due_at, :at + 1) <= :at"
ACQUIRE_SEND_LEASE = f"""
UPDATE paystar_payout_chunks SET phase = 'sending', lease_owner = :lease_owner, lease_expires_at = :at + :lease,
    due_at = :at + :lease, runner = :runner, slot_until = :at + :slot, version = version + 1, attempt = attempt + 1
WHERE chunk_id = :chunk_id AND version = :version AND phase = 'send' AND {_IS_DUE} AND NOT EXISTS ({SELECT_ACTIVE_HOLD})
AND (SELECT COUNT(*) FROM paystar_payout_chunks o WHERE o.phase = 'sending' AND o.product = :product
    AND o.account = :account AND o.deposit = :deposit AND o.slot_until > :at) < :concurrency
RETURNING {CHUNK_COLUMNS}
"""  # noqa: S608
# Locks the hold: ``resume`` comes before or after the decision that depends on it.
LOCK_NO_FUNDS_HOLD = """
UPDATE paystar_payout_holds SET version = version
WHERE product = :product AND account = :account AND deposit = :deposit AND no_funds_reason IS NOT NULL
RETURNING no_funds_reason
"""
SET_NEXT_SEND = """
UPDATE paystar_payout_holds SET next_send_at = :next_send_at
WHERE product = :product AND account = :account AND deposit = :deposit
"""
MARK_SENDING = f"""
UPDATE paystar_payout_transfers SET state = 'sending', version = version + 1, attempt = attempt + 1, reason = '',
    refusal = NULL, hashid = NULL, ref_code = NULL, changed_at = :at
WHERE chunk_id = :chunk_id AND state = 'planned' RETURNING {STORED_TRANSFER_COLUMNS}
"""  # noqa: S608
INSERT_SENDING_EVENTS = """
INSERT INTO paystar_payout_events (product, account, track_id, version, at, before, after, cause, detail)
SELECT product, account, track_id, version, changed_at, 'planned', 'sending', 'intent', ''
FROM paystar_payout_transfers WHERE chunk_id = :chunk_id AND state = 'sending' AND changed_at = :at
"""
DEFER_CHUNK = """
UPDATE paystar_payout_chunks SET due_at = NULL, version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND phase = 'send'
"""
EXTEND_SLOTS = """
UPDATE paystar_payout_chunks SET slot_until = CAST(:now AS DOUBLE PRECISION) + :slot
WHERE phase = 'sending' AND runner = :runner AND chunk_id IN ({chunk_ids})
"""
SET_RUNNER = """
UPDATE paystar_payout_chunks SET runner = :runner, checks = 0, version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND phase = 'send'
"""
POSTPONE_CHUNK = """
UPDATE paystar_payout_chunks SET due_at = CAST(:now AS DOUBLE PRECISION) + :pause, checks = checks + 1,
    version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND phase = 'send'
"""
SELECT_LEASE = (
    f"SELECT {CHUNK_COLUMNS} FROM paystar_payout_chunks WHERE chunk_id = :chunk_id AND lease_owner = :lease_owner"  # noqa: S608
)
EXPIRE_LEASE = """
UPDATE paystar_payout_chunks SET phase = 'check', lease_owner = NULL, lease_expires_at = NULL, due_at = :at, checks = 0,
    version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND phase = 'sending' AND lease_expires_at <= :at
RETURNING due_at
"""
ACQUIRE_CHECK_LEASE = f"""
UPDATE paystar_payout_chunks SET lease_owner = :lease_owner, lease_expires_at = :at + :lease, due_at = :at + :lease,
    version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND phase = 'check' AND {_IS_DUE}
    AND (lease_expires_at IS NULL OR lease_expires_at <= :at)
RETURNING {CHUNK_COLUMNS}
"""  # noqa: S608
_SELECT_TRANSFERS = (
    f"SELECT {STORED_TRANSFER_COLUMNS} FROM paystar_payout_transfers WHERE chunk_id = :chunk_id AND state IN"  # noqa: S608
)
SELECT_SENDING = f"{_SELECT_TRANSFERS} ('sending') ORDER BY position"
SELECT_UNRESOLVED = f"{_SELECT_TRANSFERS} ('unknown', 'pending') ORDER BY position"
SELECT_REMAINING = """
SELECT MAX(CASE WHEN state IN ('unknown', 'pending') THEN 1 ELSE 0 END) AS unresolved,
    MAX(CASE WHEN state = 'planned' THEN 1 ELSE 0 END) AS planned
FROM paystar_payout_transfers WHERE chunk_id = :chunk_id
"""
RELEASE_LEASE = """
UPDATE paystar_payout_chunks SET lease_owner = NULL, lease_expires_at = NULL, version = version + 1
WHERE chunk_id = :chunk_id AND lease_owner = :lease_owner RETURNING CAST(:now AS DOUBLE PRECISION) AS at
"""
SCHEDULE_CHUNK = """
UPDATE paystar_payout_chunks SET phase = :phase, due_at = CAST(:due_at AS DOUBLE PRECISION), checks = :checks
WHERE chunk_id = :chunk_id
"""
