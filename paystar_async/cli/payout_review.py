"""``paystar payout review``: what only a person can decide, and deciding it."""

import shlex
import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from paystar_async.cli.payout_show import WAITING, note, told
from paystar_async.cli.show import agreed, complain, grid, money, warn
from paystar_async.client import Paystar
from paystar_async.errors import InvalidValue
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.report import Report
from paystar_async.payouts.states import State
from paystar_async.values.kind import shown

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
