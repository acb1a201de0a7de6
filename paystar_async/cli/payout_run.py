"""``paystar payout run``: plan, agree, pay, and say where everything stands."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from paystar_async.cli.console import agreed, aside, complain, money, output, unwritable, warnings_shown
from paystar_async.cli.payout_output import WAITING, next_steps, note, show_report, show_total, status_of, told
from paystar_async.client import Paystar
from paystar_async.errors import InvalidRows, InvalidValue, StorageError
from paystar_async.outcomes import Failed, Pending, Succeeded
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.plan import Plan
from paystar_async.payouts.records import Policy
from paystar_async.payouts.report import Report

NOT_AGREED = 2


async def pay(
    paystar: Paystar, file: Path, batch_id: str, chosen: Mapping[str, Any], *, yes: bool, sheet: str | None = None
) -> int:
    """Pay a file, or go on with it; the exit status."""
    plan = await paystar.payouts.plan(file, sheet=sheet)
    if plan.bad:
        raise InvalidRows(plan.bad)
    before = await _on_record(paystar, batch_id)
    if before is not None:
        _refuse_other(file, before, plan)
    if not await _agreed(plan, before, yes=yes):
        complain("nothing was sent")
        return NOT_AGREED
    policy = Policy(**chosen) if chosen or before is None else None
    try:
        batch = await paystar.payouts.submit(file, batch_id=batch_id, policy=policy, planned=plan, sheet=sheet)
    except InvalidValue as refusal:
        if before is not None and refusal.field == "batch_id":
            raise _changed(file, before) from None
        raise
    if before is not None:
        await paystar.payouts.resume()  # whoever runs it again has seen to what kept it back
    try:
        await _follow(batch)
        report = await batch.report()
    except asyncio.CancelledError:
        note("what is under way comes to its end; the same command goes on with the rest")
        raise
    except StorageError as trouble:
        # What it says of itself – nothing was executed – is not true of the batch.
        complain(str(trouble), hint="what was sent is on record; once that is mended, the same command goes on")
        return WAITING
    try:
        show_report(output(), report)
        sys.stdout.flush()
    except OSError as trouble:  # nobody may be interested: that changes nothing of what was done
        unwritable(trouble)
    next_steps(report, file)
    return status_of(report)


async def compare(paystar: Paystar, file: Path, batch_id: str, plan: Plan) -> int:
    """Say what of a file is on record; the exit status."""
    before = await _on_record(paystar, batch_id)
    if before is None:
        note(f"{batch_id} is not on record")
        return 0
    _refuse_other(file, before, plan)
    await _tell(before)
    return 0


async def _on_record(paystar: Paystar, batch_id: str) -> Batch | None:
    """The batch of that name, if there is one."""
    try:
        return await paystar.payouts.batch(batch_id)
    except InvalidValue:
        return None


def _refuse_other(file: Path, before: Batch, plan: Plan) -> None:
    if (before.count, before.amount, before.product) != (plan.count, plan.total, plan.product):
        raise _changed(file, before)


def _changed(file: Path, before: Batch) -> InvalidValue:
    when = datetime.fromtimestamp(before.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return InvalidValue(
        file.name,
        expected=f"the {told(before.count)} of {before.amount:,} Rial submitted under this name on {when}",
        got="a file with other rows",
        hint="nothing of it was sent; put the file back as it was, or give other rows a file or --batch of their own",
    )


async def _agreed(plan: Plan, before: Batch | None, *, yes: bool) -> bool:
    """Say what is about to be paid, and have it agreed to."""
    show_total(aside(), plan)
    if before is None:
        return yes or agreed(f"Pay {told(plan.count)}, {money(plan.total)}? [y/N] ")
    report = await _tell(before)
    return yes or report.done or agreed(f"Go on with the rest of {money(plan.total)}? [y/N] ")


async def _tell(before: Batch) -> Report:
    report = await before.report()
    decided = report.succeeded.count + report.failed.count
    told_of = f"{decided:,} of {before.count:,} are decided, {report.succeeded.count:,} have arrived"
    note(f"{before.id} is on record: {told_of}")
    return report


async def _follow(batch: Batch) -> None:
    """Show how far it is until nothing more happens by itself."""
    console = aside()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    with warnings_shown(console), bar as progress:
        task = progress.add_task("paying", total=batch.count)
        arrived = failed = 0
        async with aclosing(batch.outcomes()) as outcomes:
            async for outcome in outcomes:
                arrived += isinstance(outcome, Succeeded)
                failed += isinstance(outcome, Failed)
                waits = "" if not isinstance(outcome, Pending) else ", the rest waits"
                failures = f", {failed:,} failed" if failed else ""
                progress.update(task, advance=1, description=f"{arrived:,} arrived{failures}{waits}")
