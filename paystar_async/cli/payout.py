"""``paystar payout``: pay a file of transfers, each exactly once, however often the command is run."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, get_args

from cyclopts import App, Parameter

from paystar_async.cli.console import EXIT_FAILED, EXIT_USAGE, stdout_console
from paystar_async.cli.parameters import choice_parameter, count_parameter, seconds_parameter
from paystar_async.cli.payout_output import (
    Verdict,
    exit_status,
    resolve_transfer,
    show_next_steps,
    show_plan,
    show_reconciliation,
    show_report,
    show_review,
)
from paystar_async.cli.payout_run import compare_with_ledger, run_payout
from paystar_async.client import Paystar
from paystar_async.config import read_setting
from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.payouts import validation as planning
from paystar_async.payouts.batch import Batch

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
find after the quiet window needs manual review: `paystar payout review`.

Exit status: 0 every transfer succeeded; 1 some failed (`reconcile`: ledger and bank differ); 2 usage or configuration
error, not confirmed, or the file is invalid, and nothing of it was sent; 3 some wait: for review, for money, or to
continue; 130 interrupted: run the same command again to continue.
"""

_LEDGER = Parameter(help="the ledger file, or postgresql://…; PAYSTAR_DATABASE by default")
_BATCH = Parameter(help="the name of the batch in the ledger; the file's name by default")
_SHEET = Parameter(help="the sheet to read, if several sheets of a workbook contain transfers")
_YES = Parameter(help="pay without confirmation", negative=())


def payout_app() -> App:
    """Return the command with its subcommands."""
    app = App(name="payout", help=_HELP, help_format="markdown")
    for command in (plan, run, status, review, reconcile):
        app.command(command)
    return app


def plan(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, Parameter(help="also show how much of the file this ledger has")] = None,
    batch: Annotated[str | None, _BATCH] = None,
    sheet: Annotated[str | None, _SHEET] = None,
) -> int:
    """Check a file, checksums included, and show what it would pay. Nothing is sent; no credentials are needed.

    Every invalid row is reported with its row number in the spreadsheet. The exit status is then 2.
    """
    planned = asyncio.run(planning.plan(file, sheet=sheet))
    show_plan(stdout_console(), planned)
    if not planned.ok:
        return EXIT_USAGE
    if ledger is None:
        return 0
    batch_id = _batch_id(file, batch)
    return _run_with_client(ledger, lambda paystar: compare_with_ledger(paystar, file, batch_id, planned))


def run(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    quiet_window: Annotated[
        float | None,
        seconds_parameter('seconds until "not found at the bank" begins to count; 900 by default'),
    ] = None,
    chunk: Annotated[int | None, count_parameter("transfers in one call; 20 by default")] = None,
    concurrency: Annotated[int | None, count_parameter("calls in flight for one deposit account; 4 by default")] = None,
    batch: Annotated[str | None, _BATCH] = None,
    sheet: Annotated[str | None, _SHEET] = None,
    yes: Annotated[bool, _YES] = False,
) -> int:
    """Pay a file, or continue to; shows count and total first, and asks for confirmation.

    Run it again after an interruption, a crash, a top-up or a corrected account: it continues where it stopped, and
    pays nothing twice. Other undecided or paused transfers in the same ledger are continued, too.
    """
    options = {"quiet_window": quiet_window, "chunk": chunk, "concurrency": concurrency}
    policy = {name: value for name, value in options.items() if value is not None}
    batch_id = _batch_id(file, batch)
    return _run_with_client(ledger, lambda paystar: run_payout(paystar, file, batch_id, policy, yes=yes, sheet=sheet))


def status(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    batch: Annotated[str | None, _BATCH] = None,
    export: Annotated[Path | None, Parameter(help="write every transfer and its state to this CSV file")] = None,
) -> int:
    """Show the state of a file's transfers from the ledger; no request is made."""

    async def show_status(paystar: Paystar) -> int:
        submitted = await paystar.payouts.batch(_batch_id(file, batch))
        report = await submitted.report()
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

    return _run_with_client(ledger, show_status)


def review(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    batch: Annotated[str | None, _BATCH] = None,
    track_id: Annotated[str | None, Parameter(help="the transfer to decide")] = None,
    verdict: Annotated[
        Verdict | None,
        choice_parameter(
            get_args(Verdict),
            "success: it was paid; failed: it was not paid, do not send it; resend: it was not paid, send it again",
        ),
    ] = None,
    ref_code: Annotated[str | None, Parameter(help="the bank's reference of a success")] = None,
    note: Annotated[str, Parameter(help="how you know; kept in the transfer's history")] = "",
    yes: Annotated[bool, Parameter(help="decide without confirmation", negative=())] = False,
) -> int:
    """List the transfers that need manual review, with what to do; or decide one of them.

    Check the statement of the deposit account, then record what you found:

        paystar payout review salaries.csv --ledger payouts.db --track-id t-17 --verdict failed

    `resend` pays again under the same track_id. If the first attempt was paid after all, the transfer is paid twice:
    only the statement shows it. The next `paystar payout run` sends it.
    """

    async def show_or_resolve(paystar: Paystar) -> int:
        submitted = await paystar.payouts.batch(_batch_id(file, batch))
        if track_id is None and verdict is None:
            return await show_review(stdout_console(), submitted, file)
        if track_id is None or verdict is None:
            raise ConfigurationError("--track-id and --verdict go together", hint="see --help")
        return await resolve_transfer(paystar, submitted, track_id, verdict, ref_code=ref_code, note=note, yes=yes)

    return _run_with_client(ledger, show_or_resolve)


def reconcile(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    batch: Annotated[str | None, _BATCH] = None,
    window: Annotated[
        float | None, seconds_parameter("how many seconds back; since the file was submitted by default")
    ] = None,
) -> int:
    """Compare the ledger with the bank's list of transfers, and record what the bank has decided since.

    Only read requests are made. Reported are payments that are not in the ledger (another program pays from the same
    deposit account), transfers that the bank paid twice or that the ledger never sent (a restored backup), transfers
    whose states or amounts differ, and sent transfers that the bank does not list. The exit status is then 1; also if
    the ledger had nothing to compare.
    """

    async def compare(paystar: Paystar) -> int:
        submitted = await paystar.payouts.batch(_batch_id(file, batch))
        seconds = window if window is not None else await _seconds_since_submit(paystar, submitted)
        reconciliation = await paystar.payouts.reconcile(seconds)
        show_reconciliation(stdout_console(), reconciliation)
        return 0 if reconciliation.ok else EXIT_FAILED

    return _run_with_client(ledger, compare)


async def _seconds_since_submit(paystar: Paystar, batch: Batch) -> float:
    return math.ceil(await paystar.payouts.now() - batch.created_at) + RECONCILE_MARGIN_SECONDS


def _batch_id(file: Path, batch: str | None) -> str:
    return batch if batch is not None else file.name


def _run_with_client(ledger: str | None, work: Callable[[Paystar], Awaitable[int]]) -> int:
    """Run ``work`` with a client of the ledger; return its exit status."""
    database = ledger or read_setting("PAYSTAR_DATABASE")
    if not database:
        raise ConfigurationError("payouts need a ledger", hint="--ledger payouts.db, or PAYSTAR_DATABASE")

    async def run_work() -> int:
        async with Paystar.from_env(checks="strict", database=database) as paystar:
            return await work(paystar)

    return asyncio.run(run_work())
