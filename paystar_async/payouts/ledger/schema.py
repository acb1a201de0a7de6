"""Tables of the ledger. Only append: each statement is a version."""

PART = "payouts"

SCHEMA = (
    """
    CREATE TABLE paystar_payout_settings (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
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
    # `runner`: the ledger session that submitted the chunk, or has looked it up at the bank since.
    # `slot_until`: end of the chunk's slot in its account's concurrency; extended while the sender lives.
    """
    CREATE TABLE paystar_payout_chunks (
        chunk_id TEXT PRIMARY KEY,
        batch_id TEXT NOT NULL,
        product TEXT NOT NULL,
        account TEXT NOT NULL,
        deposit TEXT NOT NULL,
        phase TEXT NOT NULL,
        due_at DOUBLE PRECISION,
        lease_owner TEXT,
        lease_expires_at DOUBLE PRECISION,
        version BIGINT NOT NULL,
        attempt BIGINT NOT NULL,
        checks BIGINT NOT NULL,
        runner TEXT,
        slot_until DOUBLE PRECISION
    )
    """,
    # By account: a search for one account must not read the due chunks of another.
    """
    CREATE INDEX paystar_payout_chunks_due ON paystar_payout_chunks (product, account, due_at) WHERE due_at IS NOT NULL
    """,
    """
    CREATE INDEX paystar_payout_chunks_sending ON paystar_payout_chunks (product, account, deposit, lease_expires_at)
    WHERE phase = 'sending'
    """,
    "CREATE INDEX paystar_payout_chunks_batch ON paystar_payout_chunks (batch_id, chunk_id)",
    # `masked_payload` replaces a payload with a full card number as soon as the transfer is final.
    # `refusal`: why the call was refused, until a status check has shown that nothing of it was executed.
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
        position BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        deposit TEXT NOT NULL,
        destination TEXT NOT NULL,
        digest TEXT NOT NULL,
        payload TEXT NOT NULL,
        masked_payload TEXT,
        not_found_count BIGINT NOT NULL,
        last_not_found_at DOUBLE PRECISION,
        unknown_since DOUBLE PRECISION,
        reason TEXT NOT NULL,
        ref_code TEXT,
        hashid TEXT,
        changed_at DOUBLE PRECISION NOT NULL,
        refusal TEXT,
        PRIMARY KEY (product, account, track_id)
    )
    """,
    "CREATE INDEX paystar_payout_transfers_chunk ON paystar_payout_transfers (chunk_id)",
    """
    CREATE INDEX paystar_payout_transfers_review ON paystar_payout_transfers (product, account, changed_at)
    WHERE state = 'needs_review'
    """,
    """
    CREATE TABLE paystar_payout_batch_items (
        batch_id TEXT NOT NULL,
        position BIGINT NOT NULL,
        track_id TEXT NOT NULL,
        PRIMARY KEY (batch_id, position)
    )
    """,
    """
    CREATE TABLE paystar_payout_holds (
        product TEXT NOT NULL,
        account TEXT NOT NULL,
        deposit TEXT NOT NULL,
        version BIGINT NOT NULL,
        suspended_reason TEXT,
        no_funds_reason TEXT,
        paused BIGINT NOT NULL,
        next_send_at DOUBLE PRECISION NOT NULL,
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
    # Transfers of batches that are not on record yet.
    """
    CREATE TABLE paystar_payout_staging (
        plan TEXT NOT NULL,
        position BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        track_id TEXT NOT NULL,
        chunk_id TEXT NOT NULL,
        amount BIGINT NOT NULL,
        deposit TEXT NOT NULL,
        destination TEXT NOT NULL,
        digest TEXT NOT NULL,
        payload TEXT NOT NULL,
        masked_payload TEXT,
        PRIMARY KEY (plan, track_id)
    )
    """,
    # Due chunks by deposit account: a long batch is due all at once, and is sent a few chunks at a time.
    """
    CREATE INDEX paystar_payout_chunks_sends ON paystar_payout_chunks (product, account, deposit, due_at, chunk_id)
    WHERE phase = 'send' AND due_at IS NOT NULL
    """,
    """
    CREATE INDEX paystar_payout_chunks_checks ON paystar_payout_chunks (product, account, due_at)
    WHERE phase <> 'send' AND due_at IS NOT NULL
    """,
)
