"""SQL statements that put a batch on record."""

STAGED_COLUMNS = (
    "position BIGINT, track_id TEXT, chunk_id TEXT, amount BIGINT, deposit TEXT, destination TEXT, digest TEXT,"
    " payload TEXT, masked_payload TEXT"
)
STAGE_TRANSFERS = """
INSERT INTO paystar_payout_staging
    (plan, at, position, track_id, chunk_id, amount, deposit, destination, digest, payload, masked_payload)
WITH v (position, track_id, chunk_id, amount, deposit, destination, digest, payload, masked_payload) AS ({rows})
SELECT CAST(:plan AS TEXT), CAST(:now AS DOUBLE PRECISION), v.* FROM v WHERE true
ON CONFLICT (plan, track_id) DO NOTHING
"""
SELECT_STAGED_POSITIONS = (
    "SELECT position FROM paystar_payout_staging WHERE plan = :plan AND position BETWEEN :first AND :last"
)
COUNT_STAGED = """
SELECT COUNT(*) AS count, CAST(:now AS DOUBLE PRECISION) AS at, CAST({origin} AS TEXT) AS origin
FROM paystar_payout_staging WHERE plan = :plan
"""
SELECT_STAGED_POSITION = "SELECT position FROM paystar_payout_staging WHERE plan = :plan AND track_id = :track_id"
INSERT_BATCH = """
INSERT INTO paystar_payout_batches (batch_id, product, account, total, amount, digest, policy, created_at)
VALUES (:batch_id, :product, :account, :count, :total, :content, :policy, :at)
ON CONFLICT (batch_id) DO NOTHING
"""
SELECT_PIECE_END = """
SELECT track_id FROM paystar_payout_staging WHERE plan = :plan AND track_id > :after
ORDER BY track_id LIMIT 1 OFFSET :piece
"""
_PIECE = "s.plan = :plan AND s.track_id > :after AND (CAST(:last AS TEXT) IS NULL OR s.track_id <= :last)"
INSERT_TRANSFERS = f"""
INSERT INTO paystar_payout_transfers (product, account, track_id, version, state, attempt, ambiguous_attempts,
    batch_id, chunk_id, position, amount, deposit, destination, digest, payload, masked_payload, not_found_count,
    reason, changed_at)
SELECT :product, :account, s.track_id, 1, 'planned', 0, 0, :batch_id, s.chunk_id,
    s.position, s.amount, s.deposit, s.destination, s.digest, s.payload, s.masked_payload, 0, '', :at
FROM paystar_payout_staging s WHERE {_PIECE} ORDER BY s.track_id
ON CONFLICT (product, account, track_id) DO NOTHING
"""  # noqa: S608
# No join with the staging table: PostgreSQL has no statistics of rows that were just inserted, and would plan it as
# a nested loop, which takes seconds for a long batch.
_INSERTED = "FROM paystar_payout_transfers t WHERE t.chunk_id >= :first_chunk AND t.chunk_id < :end_chunk"
INSERT_CHUNKS = f"""
INSERT INTO paystar_payout_chunks
    (chunk_id, batch_id, product, account, deposit, phase, due_at, version, attempt, checks, runner)
SELECT DISTINCT t.chunk_id, :batch_id, :product, :account, t.deposit, 'send', CAST(:at AS DOUBLE PRECISION), 1, 0, 0,
    CAST(:runner AS TEXT)
{_INSERTED}
ON CONFLICT (chunk_id) DO NOTHING
"""
INSERT_EVENTS = f"""
INSERT INTO paystar_payout_events (product, account, track_id, version, at, after, cause, detail)
SELECT :product, :account, t.track_id, 1, CAST(:at AS DOUBLE PRECISION), 'planned', 'submit', '' {_INSERTED}
"""
INSERT_BATCH_ITEMS = f"""
INSERT INTO paystar_payout_batch_items (batch_id, position, track_id)
SELECT :batch_id, s.position, s.track_id FROM paystar_payout_staging s WHERE {_PIECE}
"""  # noqa: S608
INSERT_DEPOSIT_HOLDS = f"""
INSERT INTO paystar_payout_holds (product, account, deposit, version, paused, next_send_at)
SELECT DISTINCT :product, :account, s.deposit, 1, 0, 0 FROM paystar_payout_staging s WHERE {_PIECE}
ON CONFLICT (product, account, deposit) DO NOTHING
"""  # noqa: S608
INSERT_ACCOUNT_HOLD = """
INSERT INTO paystar_payout_holds (product, account, deposit, version, paused, next_send_at)
VALUES (:product, :account, '', 1, 0, 0) ON CONFLICT (product, account, deposit) DO NOTHING
"""
DELETE_STAGED = "DELETE FROM paystar_payout_staging WHERE plan = :plan"
SELECT_CONFLICTS = """
SELECT s.track_id FROM paystar_payout_staging s JOIN paystar_payout_transfers t
ON t.product = :product AND t.account = :account AND t.track_id = s.track_id AND t.digest <> s.digest
WHERE s.plan = :plan LIMIT 3
"""
DELETE_ABANDONED = """
DELETE FROM paystar_payout_staging WHERE plan IN
    (SELECT plan FROM paystar_payout_staging GROUP BY plan HAVING MAX(at) < :now - :abandoned)
"""
# Chunks keep their size.
UPDATE_POLICY = "UPDATE paystar_payout_batches SET policy = :policy WHERE batch_id = :batch_id"
