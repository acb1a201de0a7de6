"""Payouts that pay once: a ledger, and one function that moves money."""
