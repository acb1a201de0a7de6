"""``paystar payout run``: check the file, confirm, pay, and report the states."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from paystar_async.cli.console import (
    EXIT_USAGE,
    confirm,
    format_amount,
    print_error,
    print_json,
    print_note,
    print_warning,
    report_write_failure,
    show_warnings,
    stderr_console,
    stdout_console,
)
from paystar_async.cli.json_output import batch_to_json, format_time
from paystar_async.cli.payout_output import (
    EXIT_WAITING,
    exit_status,
    format_count,
    show_next_steps,
    show_plan_total,
    show_report,
)
from paystar_async.cli.progress import progress_bar
from paystar_async.client import Paystar
from paystar_async.errors import InvalidRows, InvalidValue, StorageError
from paystar_async.outcomes import Failed, Pending, Succeeded
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.models import Policy
from paystar_async.payouts.report import Report
from paystar_async.payouts.validation import Plan


async def run_payout(
    paystar: Paystar,
    file: Path,
    batch_id: str,
    policy_options: Mapping[str, Any],
    *,
    yes: bool,
    sheet: str | None = None,
    as_json: bool = False,
) -> int:
    """Pay a file, or continue to; return the exit status."""
    plan = await paystar.payouts.plan(file, sheet=sheet)
    if plan.bad:
        raise InvalidRows(plan.bad)
    previous = await find_recorded(paystar, file, batch_id, plan)
    if not await _show_and_confirm(plan, previous, yes=yes):
        print_error("nothing was sent")
        return EXIT_USAGE
    policy = Policy(**policy_options) if policy_options or previous is None else None
    try:
        batch = await paystar.payouts.submit(file, batch_id=batch_id, policy=policy, planned=plan, sheet=sheet)
    except InvalidValue as error:
        if previous is not None and error.field == "batch_id":
            raise _file_changed(file, previous) from None
        raise
    if any(hold.paused for hold in await paystar.payouts.holds()):
        print_warning("sending is paused; paystar payout resume continues it")
    elif previous is not None:
        await paystar.payouts.resume()  # a user who runs the command again has fixed what suspended the account
    try:
        await _wait_with_progress(batch)
        report = await batch.report()
    except asyncio.CancelledError:
        print_note("calls in flight are finished first; run the same command again to continue")
        raise
    except StorageError as error:
        # The error says that nothing was executed, which is not true of the whole batch.
        print_error(
            str(error),
            hint="sent transfers are on record; fix the problem, then run the same command again to continue",
        )
        return EXIT_WAITING
    try:
        if as_json:
            print_json(batch_to_json(batch, report))
        else:
            show_report(stdout_console(), report)
        sys.stdout.flush()
    except OSError as error:  # a closed pipe or a full disk does not change the result
        report_write_failure(error)
    show_next_steps(report, file)
    return exit_status(report)


async def find_recorded(paystar: Paystar, file: Path, batch_id: str, plan: Plan) -> Batch | None:
    """Return the batch of a file in the ledger, or None; raise InvalidValue if the batch has other transfers."""
    batch = await _find_batch(paystar, batch_id)
    if batch is not None:
        _require_same_totals(file, batch, plan)
    return batch


def show_recorded(batch_id: str, report: Report | None) -> None:
    """Print how much of a batch is decided.

    Args:
        batch_id: the batch's id.
        report: the batch's report; None if the batch is not on record.
    """
    if report is None:
        print_note(f"{batch_id} is not on record")
        return
    decided, succeeded = report.succeeded.count + report.failed.count, report.succeeded.count
    print_note(f"{batch_id} is on record: {decided:,} of {report.total.count:,} are decided, {succeeded:,} succeeded")


async def _find_batch(paystar: Paystar, batch_id: str) -> Batch | None:
    try:
        return await paystar.payouts.batch(batch_id)
    except InvalidValue:
        return None


def _require_same_totals(file: Path, batch: Batch, plan: Plan) -> None:
    """Raise InvalidValue if count, total or product of the file differ from the batch on record."""
    if (batch.count, batch.amount, batch.product) != (plan.count, plan.total, plan.product):
        raise _file_changed(file, batch)


def _file_changed(file: Path, batch: Batch) -> InvalidValue:
    recorded = f"{format_count(batch.count)} of {batch.amount:,} Rial"
    return InvalidValue(
        file.name,
        expected=f"the {recorded} submitted under this name on {format_time(batch.created_at)} UTC",
        got="a file with other rows",
        hint="nothing of it was sent; restore the file, or use another file name or --batch for other rows",
    )


async def _show_and_confirm(plan: Plan, previous: Batch | None, *, yes: bool) -> bool:
    """Show what is about to be paid, and return True if it is confirmed or nothing is left to pay."""
    show_plan_total(stderr_console(), plan)
    if previous is None:
        return yes or confirm(f"Pay {format_count(plan.count)}, {format_amount(plan.total)}? [y/N] ")
    report = await previous.report()
    show_recorded(previous.id, report)
    return yes or report.done or confirm(f"Continue with the rest of {format_amount(plan.total)}? [y/N] ")


async def _wait_with_progress(batch: Batch) -> None:
    """Show a progress bar until every transfer is decided or waits for the user."""
    console = stderr_console()
    with show_warnings(console), progress_bar(console) as progress:
        task = progress.add_task("paying", total=batch.count)
        succeeded = failed = 0
        async with aclosing(batch.outcomes()) as outcomes:
            async for outcome in outcomes:
                succeeded += isinstance(outcome, Succeeded)
                failed += isinstance(outcome, Failed)
                waiting = ", the rest waits" if isinstance(outcome, Pending) else ""
                failures = f", {failed:,} failed" if failed else ""
                progress.update(task, advance=1, description=f"{succeeded:,} succeeded{failures}{waiting}")
