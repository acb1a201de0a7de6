"""``paystar payout``: a file of transfers, paid once, however often the command is run."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, get_args

from cyclopts import App, Parameter

from paystar_async.cli.console import output
from paystar_async.cli.parameters import choice, count, seconds
from paystar_async.cli.payout_output import (
    Verdict,
    next_steps,
    resolve,
    show_plan,
    show_reconciliation,
    show_report,
    show_review,
    status_of,
)
from paystar_async.cli.payout_run import compare, pay
from paystar_async.client import Paystar
from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.payouts import plan as planning
from paystar_async.payouts.batch import Batch
from paystar_async.settings import setting

MISUSED, DIFFERENT = 2, 1

_ABOUT = """\
Pay a file of transfers, each exactly once, whatever happens on the way.

FILE is CSV (UTF-8) or XLSX. Its columns are `amount` (Rial), `deposit`, `destination_account`,
`destination_firstname`, `destination_lastname`, `track_id` and, if you like, `pay_id`; or, to pay from the wallet,
`amount`, `destination_number`, `destination_firstname`, `destination_lastname` and `track_id`. The `track_id` is your
own name for a transfer, unique for ever: it is what keeps it from being paid twice. Persian headings are read, too:
`مبلغ` (Rial), `حساب مبدا`, `شماره شبا`, `نام`, `نام خانوادگی`, `شناسه پیگیری`, `شناسه واریز`. What a spreadsheet hides,
or shows as an error, is refused or named, never paid.

    paystar payout plan salaries.csv
    paystar payout run salaries.csv --ledger payouts.db

What is to be paid, tried and known is kept in the ledger, under the file's name. **After Ctrl-C, a crash or `kill -9`
the same command goes on.** A file that was changed meanwhile is refused, and nothing of it is sent. What nobody knows
is asked about, never sent again; what the bank does not know after the quiet window waits for you: `paystar payout
review`.

Exit status: 0 every row has succeeded; 1 some failed (`reconcile`: the bank says otherwise); 2 wrongly used or
configured, not agreed to, or the file is not in order, and nothing of it was sent; 3 some wait: for review, for money,
or to go on; 130 interrupted, and the same command goes on.
"""

_LEDGER = Parameter(help="the file the ledger is in, or postgresql://…; PAYSTAR_DATABASE by default")
_NAME = Parameter(help="the name of the batch in the ledger; the file's own by default")
_SHEET = Parameter(help="the sheet to read, where several sheets of a workbook hold transfers")
_YES = Parameter(help="pay without asking", negative=())


def payout_app() -> App:
    """The command with its subcommands."""
    app = App(name="payout", help=_ABOUT, help_format="markdown")
    for command in (plan, run, status, review, reconcile):
        app.command(command)
    return app


def plan(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, Parameter(help="also say what of it is on record in this ledger")] = None,
    batch: Annotated[str | None, _NAME] = None,
    sheet: Annotated[str | None, _SHEET] = None,
) -> int:
    """Check a file to the last checksum, and say what it would pay. Nothing is sent, and no account is needed.

    Every row that is not in order is told with the number a spreadsheet shows beside it. The exit status is then 2.
    """
    told = asyncio.run(planning.plan(file, sheet=sheet))
    show_plan(output(), told)
    if not told.ok:
        return MISUSED
    return 0 if ledger is None else _with(ledger, lambda paystar: compare(paystar, file, _named(file, batch), told))


def run(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    quiet_window: Annotated[
        float | None, seconds("seconds until the bank's not knowing a transfer begins to count; 900 by default")
    ] = None,
    chunk: Annotated[int | None, count("transfers in one call; 20 by default")] = None,
    concurrency: Annotated[int | None, count("calls in flight for one deposit account; 4 by default")] = None,
    batch: Annotated[str | None, _NAME] = None,
    sheet: Annotated[str | None, _SHEET] = None,
    yes: Annotated[bool, _YES] = False,
) -> int:
    """Pay a file, or go on with it; shows count and total first, and asks.

    Run it again after an interruption, a crash, a top-up or a corrected account: it goes on where it was, and pays
    nothing twice. Whatever else is undecided, or paused, in the same ledger goes on, too.
    """
    chosen = {"quiet_window": quiet_window, "chunk": chunk, "concurrency": concurrency}
    policy = {name: value for name, value in chosen.items() if value is not None}
    return _with(ledger, lambda paystar: pay(paystar, file, _named(file, batch), policy, yes=yes, sheet=sheet))


def status(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    batch: Annotated[str | None, _NAME] = None,
    export: Annotated[Path | None, Parameter(help="write every transfer and its state to this CSV file")] = None,
) -> int:
    """Say where a file stands, by the ledger alone; nothing is sent or asked."""

    async def told(paystar: Paystar) -> int:
        held = await paystar.payouts.batch(_named(file, batch))
        report = await held.report()
        show_report(output(), report)
        if export is not None:
            try:
                await held.export(export)
            except OSError as problem:
                raise InvalidValue(
                    "export", expected="a file that can be written", got=str(problem.strerror), hint=str(export)
                ) from None
        next_steps(report, file)
        return status_of(report)

    return _with(ledger, told)


def review(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    batch: Annotated[str | None, _NAME] = None,
    track_id: Annotated[str | None, Parameter(help="decide about this transfer")] = None,
    verdict: Annotated[
        Verdict | None,
        choice(
            get_args(Verdict),
            "success: the money arrived; failed: it did not, and is not sent; resend: it did not, and is sent again",
        ),
    ] = None,
    ref_code: Annotated[str | None, Parameter(help="the bank's reference of a success")] = None,
    note: Annotated[str, Parameter(help="how you know; kept in the transfer's history")] = "",
    yes: Annotated[bool, Parameter(help="decide without asking", negative=())] = False,
) -> int:
    """List what nobody knows the fate of, with what to do; or decide one of them.

    Look into the statement of the deposit account, then say what you found:

        paystar payout review salaries.csv --ledger payouts.db --track-id t-17 --verdict failed

    `resend` pays again under the same track_id. If the first one was paid after all, that is twice: only the statement
    can tell. It is sent by the next `paystar payout run`.
    """

    async def told(paystar: Paystar) -> int:
        held = await paystar.payouts.batch(_named(file, batch))
        if track_id is None and verdict is None:
            return await show_review(output(), held, file)
        if track_id is None or verdict is None:
            raise ConfigurationError("--track-id and --verdict go together", hint="--help says what they take")
        return await resolve(paystar, held, track_id, verdict, ref_code=ref_code, why=note, yes=yes)

    return _with(ledger, told)


def reconcile(
    file: Path,
    /,
    *,
    ledger: Annotated[str | None, _LEDGER] = None,
    batch: Annotated[str | None, _NAME] = None,
    window: Annotated[
        float | None, seconds("how many seconds back; to where the file was submitted by default")
    ] = None,
) -> int:
    """Compare the ledger with the bank's own list, and take in what the bank has decided meanwhile.

    It only asks. Reported are payments the ledger does not have (somebody else pays from the same deposit account),
    transfers the bank has paid twice, or though the ledger never sent them (a restored backup), or of which both say
    different things, and those that were sent and that the bank does not have. The exit status is then 1; also when
    there was nothing on record to ask the bank about.
    """

    async def told(paystar: Paystar) -> int:
        held = await paystar.payouts.batch(_named(file, batch))
        found = await paystar.payouts.reconcile(window if window is not None else await _age(paystar, held))
        show_reconciliation(output(), found)
        return 0 if found.ok else DIFFERENT

    return _with(ledger, told)


async def _age(paystar: Paystar, batch: Batch) -> float:
    return math.ceil(await paystar.payouts.now() - batch.created_at) + 60.0


def _named(file: Path, batch: str | None) -> str:
    return batch if batch is not None else file.name


def _with(ledger: str | None, work: Callable[[Paystar], Awaitable[int]]) -> int:
    given = ledger or setting("PAYSTAR_DATABASE")
    if not given:
        raise ConfigurationError("payouts need a ledger", hint="--ledger payouts.db, or PAYSTAR_DATABASE")

    async def run() -> int:
        async with Paystar.from_env(checks="strict", database=given) as paystar:
            return await work(paystar)

    return asyncio.run(run())
