"""``paystar payout``: pay a file of transfers, each exactly once, however often the command is run."""

import asyncio
import math
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from paystar_async.cli.client import LEDGER_OPTION, Location, run_with_ledger
from paystar_async.cli.console import EXIT_FAILED, EXIT_USAGE, print_json, stdout_console
from paystar_async.cli.json_output import (
    JSON_OPTION,
    batch_to_json,
    plan_to_json,
    reconciliation_to_json,
    transfer_to_json,
)
from paystar_async.cli.parameters import count_parameter, number_parameter, seconds_parameter
from paystar_async.cli.payout_operations import history, list_batches, pause, resolve, resume
from paystar_async.cli.payout_output import (
    EXIT_WAITING,
    exit_status,
    show_next_steps,
    show_plan,
    show_reconciliation,
    show_report,
    show_review,
)
from paystar_async.cli.payout_run import find_recorded, run_payout, show_recorded
from paystar_async.client import Paystar
from paystar_async.errors import InvalidValue
from paystar_async.payouts import validation as planning
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.models import TransferState

RECONCILE_MARGIN_SECONDS = 60.0

_HELP = """\
Pay a file of transfers, each exactly once, despite crashes, timeouts and interruptions.

FILE is CSV (UTF-8) or XLSX. Its columns are `amount` (Rial), `deposit`, `destination_account`,
`destination_firstname`, `destination_lastname`, `track_id` and, optionally, `pay_id`; or, to pay from the wallet,
`amount`, `destination_number`, `destination_firstname`, `destination_lastname` and `track_id`. The `track_id` is your
own name for a transfer, unique for ever: it prevents a second payment. Persian headings are accepted, too:
`مبلغ` (Rial), `حساب مبدا`, `شماره شبا`, `نام`, `نام خانوادگی`, `شناسه پیگیری`, `شناسه واریز`.
What a spreadsheet hides, or shows as an error, is refused or reported, never paid.

    paystar payout plan salaries.csv
    paystar payout run salaries.csv --ledger payouts.db

The ledger records each transfer, its attempts and its state, under the file's name. **After Ctrl-C, a crash or
`kill -9`, run the same command again to continue.** A file that was changed since is refused, and nothing of it is
sent. A transfer with an unknown result is checked with the bank, never sent again; a transfer that the bank does not
find after the quiet window needs manual review: `paystar payout review` lists it, `paystar payout resolve` decides it.

Exit status: 0 every transfer succeeded; 1 some failed (`reconcile`: ledger and bank differ); 2 usage or configuration
error, not confirmed, or the file is invalid, and nothing of it was sent; 3 some wait: for review, for money, or to
continue; 130 interrupted: run the same command again to continue.
"""

_FILE = Parameter(help="the CSV or XLSX file with the transfers")
_BATCH = Parameter(help="the name of the batch in the ledger; the file's name by default")
_SHEET = Parameter(help="the sheet to read, if several sheets of a workbook contain transfers")
_RATE = number_parameter(
    float,
    "calls a second, above 0",
    lambda value: 0 < value < math.inf,
    "calls a second for one deposit account; no limit by default",
)
_RESEND = Parameter(
    help="send a transfer that the bank does not find after the quiet window again, under the same track_id, "
    "instead of asking for manual review; if the bank has executed it after all, it is paid twice",
    negative=(),
)
_YES = Parameter(help="pay without confirmation", negative=())


def payout_app() -> App:
    """Return the command with its subcommands."""
    app = App(name="payout", help=_HELP, help_format="markdown")
    for command in (plan, run, status, review, resolve, reconcile, history, pause, resume):
        app.command(command)
    app.command(list_batches, name="list")
    return app


def plan(
    file: Annotated[Path, _FILE],
    /,
    *,
    ledger: Annotated[Location | None, Parameter(help="also show how much of the file this ledger has")] = None,
    batch: Annotated[str | None, _BATCH] = None,
    sheet: Annotated[str | None, _SHEET] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Check a file, checksums included, and show what it would pay. Nothing is sent; no credentials are needed.

    Every invalid row is reported with its row number in the spreadsheet. The exit status is then 2.
    """
    planned = asyncio.run(planning.plan(file, sheet=sheet))
    if not as_json:
        show_plan(stdout_console(), planned)

    async def compare(paystar: Paystar) -> int:
        batch_id = _batch_id(file, batch)
        recorded = await find_recorded(paystar, file, batch_id, planned)
        report = None if recorded is None else await recorded.report()
        if as_json:
            on_record = None if recorded is None or report is None else batch_to_json(recorded, report)
            print_json(plan_to_json(planned, on_record))
        else:
            show_recorded(batch_id, report)
        return 0

    if planned.ok and ledger is not None:
        return run_with_ledger(ledger, compare)
    if as_json:
        print_json(plan_to_json(planned, None))
    return 0 if planned.ok else EXIT_USAGE


def run(
    file: Annotated[Path, _FILE],
    /,
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    quiet_window: Annotated[
        float | None,
        seconds_parameter('seconds until "not found at the bank" begins to count; 900 by default'),
    ] = None,
    chunk: Annotated[int | None, count_parameter("transfers in one call, 1 or more; 20 by default")] = None,
    concurrency: Annotated[int | None, count_parameter("calls in flight for one deposit account; 4 by default")] = None,
    rate: Annotated[float | None, _RATE] = None,
    resend: Annotated[bool, _RESEND] = False,
    batch: Annotated[str | None, _BATCH] = None,
    sheet: Annotated[str | None, _SHEET] = None,
    yes: Annotated[bool, _YES] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Pay a file, or continue to; shows count and total first, and asks for confirmation.

    Run it again after an interruption, a crash, a top-up or a corrected account: it continues where it stopped, and
    pays nothing twice. Other undecided or paused transfers in the same ledger are continued, too.
    """
    options = {
        "quiet_window": quiet_window,
        "chunk": chunk,
        "concurrency": concurrency,
        "rate": rate,
        "resend": resend or None,
    }
    policy = {name: value for name, value in options.items() if value is not None}
    batch_id = _batch_id(file, batch)

    async def pay(paystar: Paystar) -> int:
        return await run_payout(paystar, file, batch_id, policy, yes=yes, sheet=sheet, as_json=as_json)

    return run_with_ledger(ledger, pay)


def status(
    file: Annotated[Path, _FILE],
    /,
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    batch: Annotated[str | None, _BATCH] = None,
    export: Annotated[Path | None, Parameter(help="write every transfer and its state to this CSV file")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Show the state of a file's transfers from the ledger; no request is made."""

    async def show_status(paystar: Paystar) -> int:
        submitted = await paystar.payouts.batch(_batch_id(file, batch))
        report = await submitted.report()
        if as_json:
            print_json(batch_to_json(submitted, report))
        else:
            show_report(stdout_console(), report)
        if export is not None:
            try:
                await submitted.export(export)
            except OSError as error:
                raise InvalidValue(
                    "export", expected="a file that can be written", got=str(error.strerror), hint=str(export)
                ) from None
        show_next_steps(report, file)
        return exit_status(report)

    return run_with_ledger(ledger, show_status)


def review(
    file: Annotated[Path, _FILE],
    /,
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    batch: Annotated[str | None, _BATCH] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """List a file's transfers that need manual review, and what to do; no request is made.

    `paystar payout resolve TRACK_ID` records what the statement of the deposit account shows. The exit status is 3 if
    a transfer needs review.
    """

    async def show(paystar: Paystar) -> int:
        submitted = await paystar.payouts.batch(_batch_id(file, batch))
        records = [record async for record in submitted.transfers(TransferState.NEEDS_REVIEW)]
        if as_json:
            print_json({"batch_id": submitted.id, "transfers": [transfer_to_json(record) for record in records]})
        else:
            show_review(stdout_console(), records)
        return EXIT_WAITING if records else 0

    return run_with_ledger(ledger, show)


def reconcile(
    file: Annotated[Path, _FILE],
    /,
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    batch: Annotated[str | None, _BATCH] = None,
    window: Annotated[
        float | None, seconds_parameter("how many seconds back; since the file was submitted by default")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Compare the ledger with the bank's list of transfers, and record what the bank has decided since.

    Only read requests are made. Reported are payments that are not in the ledger (another program pays from the same
    deposit account), transfers that the bank paid twice or that the ledger never sent (a restored backup), transfers
    whose states or amounts differ, and sent transfers that the bank does not list. The exit status is then 1; also if
    the ledger has no transfer at all, so that no account was listed.
    """

    async def compare(paystar: Paystar) -> int:
        submitted = await paystar.payouts.batch(_batch_id(file, batch))
        seconds = window if window is not None else await _seconds_since_submit(paystar, submitted)
        reconciliation = await paystar.payouts.reconcile(seconds)
        if as_json:
            print_json(reconciliation_to_json(reconciliation))
        else:
            show_reconciliation(stdout_console(), reconciliation)
        return 0 if reconciliation.ok else EXIT_FAILED

    return run_with_ledger(ledger, compare)


async def _seconds_since_submit(paystar: Paystar, batch: Batch) -> float:
    return math.ceil(await paystar.payouts.now() - batch.created_at) + RECONCILE_MARGIN_SECONDS


def _batch_id(file: Path, batch: str | None) -> str:
    return batch if batch is not None else file.name
