"""What ``paystar payout`` prints."""

import io

import pytest
from attrs import evolve
from rich.console import Console

from paystar_async.cli.payout_output import show_reconciliation
from paystar_async.payouts.reconcile import Mismatch, Reconciliation

SAME = Reconciliation(compared=3, learned=1, orphans=(), mismatches=(), missing=(), undated=0, listed=3, requests=2)
COUNTS = "3 compared, 1 of them decided by the bank since"


def mismatched(field: str, ledger: str, bank: str) -> Reconciliation:
    return evolve(SAME, mismatches=(Mismatch(track_id="t-1", field=field, ledger=ledger, bank=bank),))


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (SAME, [COUNTS, "both say the same"]),
        (
            evolve(SAME, requests=0),
            [
                "nothing was compared, and the bank was not asked: the ledger has nothing of the configured"
                " application or wallet in the window"
            ],
        ),
        (
            evolve(SAME, undated=1),
            [
                "1 further payment is not of this ledger, and may be older than the window",
                COUNTS,
                "both say the same",
            ],
        ),
        (
            mismatched("status", "planned", "success"),
            ["t-1, status: the ledger says planned, the bank says success", COUNTS],
        ),
        (mismatched("payment", "h1", "h2"), ["t-1, paid twice: as h1 and as h2", COUNTS]),
    ],
)
def test_show_reconciliation_prints_what_differs(found: Reconciliation, lines: list[str]) -> None:
    out = io.StringIO()
    show_reconciliation(Console(file=out, width=200), found)
    assert out.getvalue().splitlines() == lines
