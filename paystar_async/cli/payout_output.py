"""``paystar payout review``: what only a person can decide, and deciding it."""

import shlex
import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from paystar_async.cli.console import agreed, aside, complain, grid, money, warn
from paystar_async.client import Paystar
from paystar_async.errors import InvalidValue
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.plan import Plan
from paystar_async.payouts.reconcile import Reconciliation
from paystar_async.payouts.report import Report
from paystar_async.payouts.states import State
from paystar_async.payouts.tabular import short
from paystar_async.values.kind import shown

FAILED, WAITING = 1, 3
FROM = {"bank": "from deposit accounts", "wallet": "from the wallet", None: ""}

MEANING = {
    State.PLANNED: "not sent yet",
    State.SENDING: "being sent, or was when the process died: it is asked about",
    State.PENDING: "the bank has it and has not decided",
    State.SUCCESS: "arrived",
    State.FAILED: "no money moved",
    State.UNKNOWN: "nobody knows yet: the bank is asked",
    State.NOT_ACCEPTED: "the bank does not know it",
    State.NEEDS_REVIEW: "you have to look: paystar payout review",
    State.PAUSED_FUNDS: "not sent: there was not enough money",
    State.REVERSED: "arrived, and came back",
}
_STYLE = {State.SUCCESS: "green", State.FAILED: "red", State.REVERSED: "red", State.NEEDS_REVIEW: "bold red"}


def status_of(report: Report) -> int:
    """The exit status a report stands for: what waits for somebody goes before what has failed."""
    if not report.done:
        return WAITING
    return FAILED if report.failed.count else 0


def show_plan(console: Console, plan: Plan) -> None:
    """What a file would pay, and everything that is wrong with it."""
    for row in plan.bad:
        console.print(Text(str(row), "red"), soft_wrap=True)
    if plan.bad:
        rows = len({row.row for row in plan.bad})
        console.print(f"{rows:,} row{'s are' if rows > 1 else ' is'} not in order, {plan.count:,} are")
    show_total(console, plan)


def show_total(console: Console, plan: Plan) -> None:
    """Print the file, its sheet and rows, what of it is passed over, and count and total of its transfers."""
    parts = [plan.file]
    if plan.sheet is not None:
        parts.append(f"sheet «{short(plan.sheet)}»")
    if plan.rows is not None:
        parts.append("rows {} to {}".format(*plan.rows))
    console.print(Text(", ".join(parts)), soft_wrap=True)
    for notice in plan.notices:
        console.print(Text(notice, "yellow"), soft_wrap=True)
    console.print(Text(f"{told(plan.count)} {FROM[plan.product]}: {money(plan.total)}", "bold"), soft_wrap=True)


def told(count: int) -> str:
    """So many transfers, in words."""
    return f"{count:,} transfer{'' if count == 1 else 's'}"


def show_report(console: Console, report: Report) -> None:
    """Where a batch stands."""
    table = grid(report.batch_id, "", "Rial", "")
    for column in (1, 2):
        table.columns[column].justify = "right"
    for state in State:
        if (held := report.of(state)).count:
            style = _STYLE.get(state, "")
            table.add_row(Text(state.value, style), f"{held.count:,}", f"{held.amount:,}", MEANING[state])
    table.add_row(Text("together", "bold"), f"{report.total.count:,}", f"{report.total.amount:,}", "")
    console.print(table)


def show_reconciliation(console: Console, found: Reconciliation) -> None:
    """What the ledger and the bank say differently."""
    for one in found.orphans:
        amount = one.extra.get("amount")
        console.print(Text(f"only the bank has {one.track_id}: {one.status.value}, {amount or '?'} Rial", "red"))
    for mismatch in found.mismatches:
        said = f"{mismatch.field}: the ledger says {mismatch.ledger}, the bank says {mismatch.bank}"
        if mismatch.field == "payment":
            said = f"paid twice: as {mismatch.ledger} and as {mismatch.bank}"
        console.print(Text(f"{mismatch.track_id}, {said}", "red"), soft_wrap=True)
    for track_id in found.missing:
        console.print(Text(f"sent, and not on the bank's list: {track_id}", "red"))
    if not found.requests:
        why = "the ledger has nothing of the configured application or wallet in the window"
        console.print(Text(f"nothing was compared, and the bank was not asked: {why}", "red"), soft_wrap=True)
        return
    if found.undated:
        payments = "payment is" if found.undated == 1 else "payments are"
        where = "not of this ledger, and may be older than the window"
        console.print(f"{found.undated:,} further {payments} {where}", soft_wrap=True)
    console.print(f"{found.compared:,} compared, {found.learned:,} of them decided by the bank since")
    if found.ok:
        console.print("both say the same")


def note(text: str) -> None:
    """Say something beside the answer."""
    aside().print(text, soft_wrap=True)


Verdict = Literal["success", "failed", "resend"]


def next_steps(report: Report, file: Path) -> None:
    """Say what is to be done about what waits."""
    name = shlex.quote(str(file))
    if report.needs_review.count:
        note(f"{told(report.needs_review.count)} to look at: paystar payout review {name}")
    if report.paused_funds.count:
        amount = money(report.paused_funds.amount)
        note(f"{told(report.paused_funds.count)} not sent for lack of money: top up {amount}, then run it again")
    if report.under_way.count:
        note(f"{told(report.under_way.count)} under way: paystar payout run {name} goes on with them")


async def show_review(console: Console, batch: Batch, file: Path) -> int:
    """List what needs review, and how to go about it."""
    table = grid("track_id", "Rial", "to", "why")
    waiting = 0
    async for record in batch.transfers(State.NEEDS_REVIEW):
        waiting += 1
        table.add_row(record.track_id, f"{record.amount:,}", record.destination, record.reason)
    if not waiting:
        console.print("nothing needs review")
        return 0
    console.print(table)
    command = f"paystar payout review {shlex.quote(str(file))} --track-id …"
    for verdict, found in (
        ("success", "the money has left: it arrived"),
        ("failed", "it has not left, and is not to be sent again"),
        ("resend", "it has not left, and the next run sends it again"),
    ):
        console.print(Text(f"{command} --verdict {verdict}", "bold"), Text(f"# {found}"), soft_wrap=True)
    note("look into the statement of the deposit account first: nobody else can tell")
    return WAITING


async def resolve(
    paystar: Paystar,
    batch: Batch,
    track_id: str,
    verdict: Verdict,
    *,
    ref_code: str | None,
    why: str,
    yes: bool,
) -> int:
    """Decide about one transfer, asking first where it is paid again."""
    record = await paystar.payouts.find(track_id=track_id, product=batch.product)
    if record.state is not State.NEEDS_REVIEW:
        raise InvalidValue(
            "track_id", expected="a transfer that needs review", got=f"{shown(track_id)}, which is {record.state.value}"
        )
    if verdict == "resend" and not yes:
        warn(f"{track_id} is paid again: {money(record.amount)}. If the first one was paid after all, that is twice.")
        if not agreed("Is it surely not in the statement of the deposit account? [y/N] "):
            complain("nothing was decided")
            return WAITING
    await paystar.payouts.resolve(
        track_id=track_id, verdict=verdict, ref_code=ref_code, note=why, product=batch.product
    )
    sys.stdout.write(f"{track_id}: {verdict}\n")
    report = await batch.report()
    return WAITING if report.needs_review.count else 0
