"""The payout ledger: batches, chunks and transfers on record."""
