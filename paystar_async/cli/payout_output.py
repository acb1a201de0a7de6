"""The tables and messages that ``paystar payout`` prints, and its exit status."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from paystar_async.cli.console import format_amount, make_table, print_note
from paystar_async.payouts.models import TransferRecord, TransferState
from paystar_async.payouts.readers import shorten
from paystar_async.payouts.reconcile import Reconciliation
from paystar_async.payouts.report import Report
from paystar_async.payouts.validation import Plan

EXIT_SOME_FAILED, EXIT_WAITING = 1, 3
PRODUCT_SOURCES = {"bank": "from deposit accounts", "wallet": "from the wallet", None: ""}

STATE_MEANINGS = {
    TransferState.PLANNED: "not sent yet",
    TransferState.SENDING: "being sent, or interrupted while sending: its status will be checked",
    TransferState.PENDING: "accepted by the bank, not decided yet",
    TransferState.SUCCESS: "paid",
    TransferState.FAILED: "no money moved",
    TransferState.UNKNOWN: "result unknown: being checked with the bank",
    TransferState.NOT_ACCEPTED: "not found at the bank",
    TransferState.NEEDS_REVIEW: "needs manual review: paystar payout review",
    TransferState.PAUSED_FUNDS: "not sent: insufficient funds",
    TransferState.REVERSED: "paid, then returned",
}
_STYLES = {
    TransferState.SUCCESS: "green",
    TransferState.FAILED: "red",
    TransferState.REVERSED: "red",
    TransferState.NEEDS_REVIEW: "bold red",
}


def exit_status(report: Report) -> int:
    """Return the exit status for a report; waiting transfers take precedence over failed ones."""
    if not report.done:
        return EXIT_WAITING
    return EXIT_SOME_FAILED if report.failed.count else 0


def show_plan(console: Console, plan: Plan) -> None:
    """Print what a file would pay, and every problem in it."""
    for error in plan.bad:
        console.print(Text(str(error), "red"), soft_wrap=True)
    if plan.bad:
        invalid = len({error.row for error in plan.bad})
        console.print(f"{invalid:,} row{'s' if invalid > 1 else ''} invalid, {plan.count:,} valid")
    show_plan_total(console, plan)


def show_plan_total(console: Console, plan: Plan) -> None:
    """Print the file, its sheet and rows, notices about ignored parts, and count and total of its transfers."""
    parts = [plan.file]
    if plan.sheet is not None:
        parts.append(f"sheet «{shorten(plan.sheet)}»")
    if plan.rows is not None:
        parts.append("rows {} to {}".format(*plan.rows))
    console.print(Text(", ".join(parts)), soft_wrap=True)
    for notice in plan.notices:
        console.print(Text(notice, "yellow"), soft_wrap=True)
    total = f"{format_count(plan.count)} {PRODUCT_SOURCES[plan.product]}: {format_amount(plan.total)}"
    console.print(Text(total, "bold"), soft_wrap=True)


def format_count(count: int) -> str:
    """Return a number of transfers in words."""
    return f"{count:,} transfer{'' if count == 1 else 's'}"


def show_report(console: Console, report: Report) -> None:
    """Print count and total of a batch's transfers by state."""
    table = make_table(report.batch_id, "", "Rial", "")
    for column in (1, 2):
        table.columns[column].justify = "right"
    for state in TransferState:
        subtotal = report.of(state)
        if subtotal.count:
            label = Text(state.value, _STYLES.get(state, ""))
            table.add_row(label, f"{subtotal.count:,}", f"{subtotal.amount:,}", STATE_MEANINGS[state])
    table.add_row(Text("total", "bold"), f"{report.total.count:,}", f"{report.total.amount:,}", "")
    console.print(table)


def show_reconciliation(console: Console, reconciliation: Reconciliation) -> None:
    """Print the differences between the ledger and the bank."""
    for payment in reconciliation.orphans:
        amount = payment.extra.get("amount") or "?"
        console.print(Text(f"only the bank has {payment.track_id}: {payment.status.value}, {amount} Rial", "red"))
    for mismatch in reconciliation.mismatches:
        difference = f"{mismatch.field}: the ledger says {mismatch.ledger}, the bank says {mismatch.bank}"
        if mismatch.field == "payment":
            difference = f"paid twice: as {mismatch.ledger} and as {mismatch.bank}"
        console.print(Text(f"{mismatch.track_id}, {difference}", "red"), soft_wrap=True)
    for track_id in reconciliation.missing:
        console.print(Text(f"sent, but not on the bank's list: {track_id}", "red"))
    if not reconciliation.requests:
        reason = "the ledger has no transfers of the configured application or wallet in the window"
        console.print(Text(f"nothing was compared, and no request was made: {reason}", "red"), soft_wrap=True)
        return
    if reconciliation.undated:
        payments = "payment is" if reconciliation.undated == 1 else "payments are"
        text = f"{reconciliation.undated:,} other {payments} not in this ledger, and may be older than the window"
        console.print(text, soft_wrap=True)
    console.print(f"{reconciliation.compared:,} compared, {reconciliation.learned:,} updated from the bank's list")
    if reconciliation.ok:
        console.print("ledger and bank agree")


def show_next_steps(report: Report, file: Path) -> None:
    """Print what to do about transfers that wait."""
    name = shlex.quote(str(file))
    if report.needs_review.count:
        print_note(f"manual review needed for {format_count(report.needs_review.count)}: paystar payout review {name}")
    if report.paused_funds.count:
        amount = format_amount(report.paused_funds.amount)
        print_note(
            f"{format_count(report.paused_funds.count)} not sent for insufficient funds: "
            f"top up {amount}, then run the command again"
        )
    if report.under_way.count:
        print_note(f"{format_count(report.under_way.count)} in progress: paystar payout run {name} continues them")


def show_review(console: Console, transfers: Sequence[TransferRecord]) -> None:
    """Print the transfers that need manual review, and how to decide them."""
    if not transfers:
        console.print("nothing needs review")
        return
    table = make_table("track_id", "Rial", "to", "why")
    for record in transfers:
        table.add_row(record.track_id, f"{record.amount:,}", record.destination, record.reason)
    console.print(table)
    for verdict, meaning in (
        ("success", "it was paid"),
        ("failed", "it was not paid; do not send it again"),
        ("resend", "it was not paid; the next run sends it again"),
    ):
        command = Text(f"paystar payout resolve TRACK_ID --verdict {verdict}", "bold")
        console.print(command, Text(f"# {meaning}"), soft_wrap=True)
    print_note("check the statement of the deposit account first: only the statement shows what was paid")
