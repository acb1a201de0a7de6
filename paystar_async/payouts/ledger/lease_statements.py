"""The statements by which a chunk is claimed and let go."""

from paystar_async.payouts.ledger.queries import CHUNK, HELD

_C = ", ".join(f"c.{name}" for name in CHUNK.split(", "))
SELECT_CHUNK = f"""
SELECT {_C}, b.policy, CAST(:now AS DOUBLE PRECISION) AS at
FROM paystar_payout_chunks c JOIN paystar_payout_batches b ON b.batch_id = c.batch_id WHERE c.chunk_id = :chunk_id
"""  # noqa: S608
# The row of the deposit account is the lock under which its calls are counted.
LOCK_ACCOUNT = """
UPDATE paystar_payout_gates SET version = version + 1
WHERE product = :product AND account = :account AND deposit = :deposit
RETURNING next_at, version, CAST(:now AS DOUBLE PRECISION) AS at, CAST({origin} AS TEXT) AS origin
"""
CLOSED = """
SELECT 1 AS closed FROM paystar_payout_gates
WHERE product = :product AND account = :account AND deposit IN ('', :deposit)
AND (paused <> 0 OR suspended_reason IS NOT NULL OR no_funds_reason IS NOT NULL)
"""
# Not ``due <= :at``, by which PostgreSQL may take a partial index of what is due: with statistics older than a batch it
# takes that index for an empty one, and reads all chunks that wait for each one that it claims.
_IS_DUE = "COALESCE(due, :at + 1) <= :at"
CLAIM = f"""
UPDATE paystar_payout_chunks SET work = 'wait', owner = :owner, until = :at + :lease, due = :at + :lease,
    runner = :runner, slot_until = :at + :slot, version = version + 1, attempt = attempt + 1
WHERE chunk_id = :chunk_id AND version = :version AND work = 'send' AND {_IS_DUE} AND NOT EXISTS ({CLOSED})
AND (SELECT COUNT(*) FROM paystar_payout_chunks o WHERE o.work = 'wait' AND o.product = :product
    AND o.account = :account AND o.deposit = :deposit AND o.slot_until > :at) < :concurrency
RETURNING {CHUNK}
"""  # noqa: S608
# The row is locked: ``resume`` comes before or after what is decided by it.
SHORT = """
UPDATE paystar_payout_gates SET version = version
WHERE product = :product AND account = :account AND deposit = :deposit AND no_funds_reason IS NOT NULL
RETURNING no_funds_reason
"""
SET_NEXT_SEND = """
UPDATE paystar_payout_gates SET next_at = :next_at
WHERE product = :product AND account = :account AND deposit = :deposit
"""
SENDING = f"""
UPDATE paystar_payout_transfers SET state = 'sending', version = version + 1, attempt = attempt + 1, reason = '',
    refusal = NULL, hashid = NULL, ref_code = NULL, changed_at = :at
WHERE chunk_id = :chunk_id AND state = 'planned' RETURNING {HELD}
"""  # noqa: S608
SENDING_EVENTS = """
INSERT INTO paystar_payout_events (product, account, track_id, version, at, before, after, cause, detail)
SELECT product, account, track_id, version, changed_at, 'planned', 'sending', 'intent', ''
FROM paystar_payout_transfers WHERE chunk_id = :chunk_id AND state = 'sending' AND changed_at = :at
"""
DEFER_CHUNK = """
UPDATE paystar_payout_chunks SET due = NULL, version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND work = 'send'
"""
EXTEND_SLOTS = """
UPDATE paystar_payout_chunks SET slot_until = CAST(:now AS DOUBLE PRECISION) + :slot
WHERE work = 'wait' AND runner = :runner AND chunk_id IN ({chunk_ids})
"""
ADOPT = """
UPDATE paystar_payout_chunks SET runner = :runner, checks = 0, version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND work = 'send'
"""
PUT_OFF = """
UPDATE paystar_payout_chunks SET due = CAST(:now AS DOUBLE PRECISION) + :pause, checks = checks + 1,
    version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND work = 'send'
"""
SELECT_LEASE = f"SELECT {CHUNK} FROM paystar_payout_chunks WHERE chunk_id = :chunk_id AND owner = :owner"  # noqa: S608
EXPIRE = """
UPDATE paystar_payout_chunks SET work = 'ask', owner = NULL, until = NULL, due = :at, checks = 0, version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND work = 'wait' AND until <= :at
RETURNING due
"""
ASK = f"""
UPDATE paystar_payout_chunks SET owner = :owner, until = :at + :lease, due = :at + :lease, version = version + 1
WHERE chunk_id = :chunk_id AND version = :version AND work = 'ask' AND {_IS_DUE} AND (until IS NULL OR until <= :at)
RETURNING {CHUNK}
"""  # noqa: S608
_HELD = f"SELECT {HELD} FROM paystar_payout_transfers WHERE chunk_id = :chunk_id AND state IN"  # noqa: S608
SELECT_SENDING = f"{_HELD} ('sending') ORDER BY place"
SELECT_UNRESOLVED = f"{_HELD} ('unknown', 'pending') ORDER BY place"
SELECT_REMAINING = """
SELECT MAX(CASE WHEN state IN ('unknown', 'pending') THEN 1 ELSE 0 END) AS asked,
    MAX(CASE WHEN state = 'planned' THEN 1 ELSE 0 END) AS planned
FROM paystar_payout_transfers WHERE chunk_id = :chunk_id
"""
RELEASE_LEASE = """
UPDATE paystar_payout_chunks SET owner = NULL, until = NULL, version = version + 1
WHERE chunk_id = :chunk_id AND owner = :owner RETURNING CAST(:now AS DOUBLE PRECISION) AS at
"""
SCHEDULE_CHUNK = """
UPDATE paystar_payout_chunks SET work = :work, due = CAST(:due AS DOUBLE PRECISION), checks = :checks
WHERE chunk_id = :chunk_id
"""
