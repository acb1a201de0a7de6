"""The output of ``paystar payout``."""

import io

import pytest
from attrs import evolve
from rich.console import Console

from paystar_async.cli.payout_output import show_reconciliation
from paystar_async.payouts.reconcile import Mismatch, Reconciliation

AGREEING = Reconciliation(compared=3, learned=1, orphans=(), mismatches=(), missing=(), undated=0, listed=3, requests=2)
COUNTS = "3 compared, 1 updated from the bank's list"


def with_mismatch(field: str, ledger: str, bank: str) -> Reconciliation:
    return evolve(AGREEING, mismatches=(Mismatch(track_id="t-1", field=field, ledger=ledger, bank=bank),))


@pytest.mark.parametrize(
    ("reconciliation", "lines"),
    [
        (AGREEING, [COUNTS, "ledger and bank agree"]),
        (
            evolve(AGREEING, requests=0),
            [
                "nothing was compared, and no request was made: the ledger has no transfers of the configured"
                " application or wallet in the window"
            ],
        ),
        (
            evolve(AGREEING, undated=1),
            [
                "1 other payment is not in this ledger, and may be older than the window",
                COUNTS,
                "ledger and bank agree",
            ],
        ),
        (
            with_mismatch("status", "planned", "success"),
            ["t-1, status: the ledger says planned, the bank says success", COUNTS],
        ),
        (with_mismatch("payment", "h1", "h2"), ["t-1, paid twice: as h1 and as h2", COUNTS]),
    ],
)
def test_show_reconciliation_prints_differences(reconciliation: Reconciliation, lines: list[str]) -> None:
    out = io.StringIO()
    show_reconciliation(Console(file=out, width=200), reconciliation)
    assert out.getvalue().splitlines() == lines
