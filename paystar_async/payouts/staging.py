"""The statements that put a batch on record: staged in pieces, moved in at once."""

STAGED_ROW = (
    "place BIGINT, track_id TEXT, chunk_id TEXT, amount BIGINT, deposit TEXT, destination TEXT, digest TEXT,"
    " payload TEXT, masked TEXT"
)
STAGE = """
INSERT INTO paystar_payout_staging
    (plan, at, place, track_id, chunk_id, amount, deposit, destination, digest, payload, masked)
WITH v (place, track_id, chunk_id, amount, deposit, destination, digest, payload, masked) AS ({rows})
SELECT CAST(:plan AS TEXT), CAST(:now AS DOUBLE PRECISION), v.* FROM v WHERE true
ON CONFLICT (plan, track_id) DO NOTHING
"""
PLACES = "SELECT place FROM paystar_payout_staging WHERE plan = :plan AND place BETWEEN :first AND :last"
STAGED = """
SELECT COUNT(*) AS held, CAST(:now AS DOUBLE PRECISION) AS at, CAST({origin} AS TEXT) AS origin
FROM paystar_payout_staging WHERE plan = :plan
"""
FIRST = "SELECT place FROM paystar_payout_staging WHERE plan = :plan AND track_id = :track_id"
BATCH = """
INSERT INTO paystar_payout_batches (batch_id, product, account, total, amount, digest, policy, created_at)
VALUES (:batch_id, :product, :account, :count, :total, :content, :policy, :at)
ON CONFLICT (batch_id) DO NOTHING
"""
END = """
SELECT track_id FROM paystar_payout_staging WHERE plan = :plan AND track_id > :after
ORDER BY track_id LIMIT 1 OFFSET :piece
"""
_PIECE = "s.plan = :plan AND s.track_id > :after AND (CAST(:last AS TEXT) IS NULL OR s.track_id <= :last)"
TRANSFERS = f"""
INSERT INTO paystar_payout_transfers (product, account, track_id, version, state, attempt, doubts, batch_id, chunk_id,
    place, amount, deposit, destination, digest, payload, masked, not_founds, reason, changed_at)
SELECT :product, :account, s.track_id, 1, 'planned', 0, 0, :batch_id, s.chunk_id,
    s.place, s.amount, s.deposit, s.destination, s.digest, s.payload, s.masked, 0, '', :at
FROM paystar_payout_staging s WHERE {_PIECE} ORDER BY s.track_id
ON CONFLICT (product, account, track_id) DO NOTHING
"""  # noqa: S608
# Of the transfers alone: PostgreSQL, which has no statistics of what was just inserted, plans a join with the staging
# table as a nested loop, of 20 s for 20,000 transfers.
_INSERTED = "FROM paystar_payout_transfers t WHERE t.chunk_id >= :first_chunk AND t.chunk_id < :end_chunk"
CHUNKS = f"""
INSERT INTO paystar_payout_chunks
    (chunk_id, batch_id, product, account, deposit, work, due, version, attempt, looks, runner)
SELECT DISTINCT t.chunk_id, :batch_id, :product, :account, t.deposit, 'send', CAST(:at AS DOUBLE PRECISION), 1, 0, 0,
    CAST(:runner AS TEXT)
{_INSERTED}
ON CONFLICT (chunk_id) DO NOTHING
"""
EVENTS = f"""
INSERT INTO paystar_payout_events (product, account, track_id, version, at, after, cause, detail)
SELECT :product, :account, t.track_id, 1, CAST(:at AS DOUBLE PRECISION), 'planned', 'submit', '' {_INSERTED}
"""
MEMBERS = f"""
INSERT INTO paystar_payout_members (batch_id, place, track_id)
SELECT :batch_id, s.place, s.track_id FROM paystar_payout_staging s WHERE {_PIECE}
"""  # noqa: S608
GATES = f"""
INSERT INTO paystar_payout_gates (product, account, deposit, version, held, next_at)
SELECT DISTINCT :product, :account, s.deposit, 1, 0, 0 FROM paystar_payout_staging s WHERE {_PIECE}
ON CONFLICT (product, account, deposit) DO NOTHING
"""  # noqa: S608
GATE = """
INSERT INTO paystar_payout_gates (product, account, deposit, version, held, next_at)
VALUES (:product, :account, '', 1, 0, 0) ON CONFLICT (product, account, deposit) DO NOTHING
"""
CLEAN = "DELETE FROM paystar_payout_staging WHERE plan = :plan"
CONFLICTS = """
SELECT s.track_id FROM paystar_payout_staging s JOIN paystar_payout_transfers t
ON t.product = :product AND t.account = :account AND t.track_id = s.track_id AND t.digest <> s.digest
WHERE s.plan = :plan LIMIT 3
"""
SWEEP = """
DELETE FROM paystar_payout_staging WHERE plan IN
    (SELECT plan FROM paystar_payout_staging GROUP BY plan HAVING MAX(at) < :now - :forgotten)
"""
