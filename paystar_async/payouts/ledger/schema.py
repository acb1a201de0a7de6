"""The ledger's tables. Only ever appended to: each statement is a version."""

PART = "payouts"

SCHEMA = (
    """
    CREATE TABLE paystar_payout_settings (
        name TEXT PRIMARY KEY,
        held TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE paystar_payout_batches (
        batch_id TEXT PRIMARY KEY,
        product TEXT NOT NULL,
        account TEXT NOT NULL,
        total BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        digest TEXT NOT NULL,
        policy TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL
    )
    """,
    """
    CREATE TABLE paystar_payout_chunks (
        chunk_id TEXT PRIMARY KEY,
        batch_id TEXT NOT NULL,
        product TEXT NOT NULL,
        account TEXT NOT NULL,
        deposit TEXT NOT NULL,
        work TEXT NOT NULL,
        due DOUBLE PRECISION,
        owner TEXT,
        until DOUBLE PRECISION,
        version BIGINT NOT NULL,
        attempt BIGINT NOT NULL,
        checks BIGINT NOT NULL
    )
    """,
    # By account: what is due of one must not be read past for another.
    """
    CREATE INDEX paystar_payout_chunks_due ON paystar_payout_chunks (product, account, due) WHERE due IS NOT NULL
    """,
    """
    CREATE INDEX paystar_payout_chunks_out ON paystar_payout_chunks (product, account, deposit, until)
    WHERE work = 'wait'
    """,
    "CREATE INDEX paystar_payout_chunks_batch ON paystar_payout_chunks (batch_id, chunk_id)",
    # `masked` replaces a payload that shows a full card number as soon as nothing will be sent of it any more.
    """
    CREATE TABLE paystar_payout_transfers (
        product TEXT NOT NULL,
        account TEXT NOT NULL,
        track_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        state TEXT NOT NULL,
        attempt BIGINT NOT NULL,
        ambiguous_attempts BIGINT NOT NULL,
        batch_id TEXT NOT NULL,
        chunk_id TEXT NOT NULL,
        place BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        deposit TEXT NOT NULL,
        destination TEXT NOT NULL,
        digest TEXT NOT NULL,
        payload TEXT NOT NULL,
        masked TEXT,
        not_founds BIGINT NOT NULL,
        asked_at DOUBLE PRECISION,
        unknown_since DOUBLE PRECISION,
        reason TEXT NOT NULL,
        ref_code TEXT,
        hashid TEXT,
        changed_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (product, account, track_id)
    )
    """,
    "CREATE INDEX paystar_payout_transfers_chunk ON paystar_payout_transfers (chunk_id)",
    """
    CREATE INDEX paystar_payout_transfers_review ON paystar_payout_transfers (product, account, changed_at)
    WHERE state = 'needs_review'
    """,
    """
    CREATE TABLE paystar_payout_members (
        batch_id TEXT NOT NULL,
        place BIGINT NOT NULL,
        track_id TEXT NOT NULL,
        PRIMARY KEY (batch_id, place)
    )
    """,
    """
    CREATE TABLE paystar_payout_gates (
        product TEXT NOT NULL,
        account TEXT NOT NULL,
        deposit TEXT NOT NULL,
        version BIGINT NOT NULL,
        suspended_reason TEXT,
        no_funds_reason TEXT,
        paused BIGINT NOT NULL,
        next_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (product, account, deposit)
    )
    """,
    """
    CREATE TABLE paystar_payout_events (
        product TEXT NOT NULL,
        account TEXT NOT NULL,
        track_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        before TEXT,
        after TEXT NOT NULL,
        cause TEXT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY (product, account, track_id, version)
    )
    """,
    # What is being planned and does not exist yet.
    """
    CREATE TABLE paystar_payout_staging (
        plan TEXT NOT NULL,
        place BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        track_id TEXT NOT NULL,
        chunk_id TEXT NOT NULL,
        amount BIGINT NOT NULL,
        deposit TEXT NOT NULL,
        destination TEXT NOT NULL,
        digest TEXT NOT NULL,
        payload TEXT NOT NULL,
        masked TEXT,
        PRIMARY KEY (plan, track_id)
    )
    """,
    # What is due, lane by lane: a long batch is due all at once, and is sent a few chunks at a time.
    """
    CREATE INDEX paystar_payout_chunks_lane ON paystar_payout_chunks (product, account, deposit, due, chunk_id)
    WHERE work = 'send' AND due IS NOT NULL
    """,
    """
    CREATE INDEX paystar_payout_chunks_asked ON paystar_payout_chunks (product, account, due)
    WHERE work <> 'send' AND due IS NOT NULL
    """,
    # What a call was refused for, until one look-up has shown that nothing of it was executed.
    "ALTER TABLE paystar_payout_transfers ADD COLUMN refusal TEXT",
    # Which opening of the ledger submitted a chunk, or has looked it up at the bank since.
    "ALTER TABLE paystar_payout_chunks ADD COLUMN runner TEXT",
    # How long a chunk that is being sent takes one of its account's places: extended while its sender lives.
    "ALTER TABLE paystar_payout_chunks ADD COLUMN slot_until DOUBLE PRECISION",
)
