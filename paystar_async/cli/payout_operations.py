"""``paystar payout list|history|pause|resume|resolve``: operate the payouts of a ledger."""

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from cyclopts import Parameter
from rich.text import Text

from paystar_async.cli.client import LEDGER_OPTION, Location, run_with_ledger
from paystar_async.cli.console import (
    EXIT_USAGE,
    confirm,
    format_amount,
    make_table,
    print_error,
    print_json,
    print_note,
    print_warning,
    stdout_console,
)
from paystar_async.cli.json_output import (
    JSON_OPTION,
    batch_to_json,
    event_to_json,
    format_time,
    hold_to_json,
    transfer_to_json,
)
from paystar_async.cli.parameters import choice_parameter, count_parameter
from paystar_async.client import Paystar
from paystar_async.errors import InvalidValue
from paystar_async.payouts.models import FINAL, AccountHold, ProductName, TransferState
from paystar_async.values.field_type import short_repr
from paystar_async.values.masking import mask_account

Verdict = Literal["success", "failed", "resend"]

DEFAULT_BATCHES = 20

_PRODUCT = choice_parameter(get_args(ProductName), "bank or wallet, where both have a transfer of this track_id")
_TRACK_ID = Parameter(help="the track_id of the transfer")
_LIMIT = count_parameter("maximum number of batches")
_DEPOSIT = Parameter(help="only what leaves this deposit account; everything by default")
_VERDICT_MEANINGS = {
    "success": "recorded as paid",
    "failed": "recorded as not paid, and never sent",
    "resend": "PAID AGAIN",
}


class _NullDispatcher:
    """A dispatcher that sends nothing: a command changes the ledger, and the processes that pay read the ledger."""

    async def wake(self, chunk_ids: Sequence[str], connection: object = None) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


def list_batches(
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    limit: Annotated[int, _LIMIT] = DEFAULT_BATCHES,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """List the batches of a ledger, newest first, and what holds transfers back; no request is made."""

    async def show(paystar: Paystar) -> int:
        batches = await paystar.payouts.batches(limit)
        reports = [await batch.report() for batch in batches]
        holds = await paystar.payouts.holds()
        if as_json:
            rows = [batch_to_json(batch, report) for batch, report in zip(batches, reports, strict=True)]
            print_json({"batches": rows, "holds": [hold_to_json(hold) for hold in holds]})
            return 0
        table = make_table("Batch", "Submitted", "Transfers", "Rial", "States")
        for batch, report in zip(batches, reports, strict=True):
            states = ", ".join(f"{total.count:,} {state}" for state, total in report.states.items())
            table.add_row(batch.id, format_time(batch.created_at), f"{batch.count:,}", f"{batch.amount:,}", states)
        stdout_console().print(table if batches else "no batch is on record")
        _show_holds(holds)
        return 0

    return run_with_ledger(ledger, show)


def history(
    track_id: Annotated[str, _TRACK_ID],
    /,
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    product: Annotated[ProductName | None, _PRODUCT] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Show a transfer and every change of its state, with the reasons; no request is made."""

    async def show(paystar: Paystar) -> int:
        record = await paystar.payouts.find(track_id=track_id, product=product)
        events = await paystar.payouts.history(track_id=track_id, product=record.product)
        if as_json:
            print_json({"transfer": transfer_to_json(record), "events": [event_to_json(event) for event in events]})
            return 0
        console = stdout_console()
        source = f"{mask_account(record.deposit)} → " if record.deposit else "the wallet → "
        title = f"{record.track_id}: {record.state.value}, {format_amount(record.amount)}, {source}{record.destination}"
        console.print(Text(title, "bold"), soft_wrap=True)
        table = make_table("Time (UTC)", "State", "Cause", "Detail")
        for event in events:
            change = event.after.value if event.before is None else f"{event.before.value} → {event.after.value}"
            table.add_row(format_time(event.at, seconds=True), change, event.cause, event.detail)
        console.print(table)
        return 0

    return run_with_ledger(ledger, show)


def pause(
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    deposit: Annotated[str | None, _DEPOSIT] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Stop sending, in every process that uses the ledger; what was sent is still checked.

    A call that is under way is not stopped. `paystar payout resume` goes on.
    """

    async def hold(paystar: Paystar) -> int:
        await paystar.payouts.pause(deposit=deposit)
        await _show_state(paystar, as_json=as_json)
        return 0

    return run_with_ledger(ledger, hold)


def resume(
    *,
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    deposit: Annotated[str | None, _DEPOSIT] = None,
    yes: Annotated[bool, Parameter(help="resume without confirmation", negative=())] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Allow sending again, after `pause`, after Paystar refused every request, or after money ran out.

    This command itself sends nothing: processes that pay go on within seconds, and `paystar payout run` continues its
    file.
    """

    async def release(paystar: Paystar) -> int:
        paystar.payouts.use(_NullDispatcher())
        if not yes:
            _show_holds(await paystar.payouts.holds(), on_stderr=True)
        if not yes and not confirm(f"Resume sending from {'this account' if deposit else 'every account'}? [y/N] "):
            print_error("nothing was resumed")
            return EXIT_USAGE
        resumed = await paystar.payouts.resume(deposit=deposit)
        await _show_state(paystar, as_json=as_json, resumed=resumed)
        return 0

    return run_with_ledger(ledger, release)


def resolve(
    track_id: Annotated[str, _TRACK_ID],
    /,
    *,
    verdict: Annotated[
        Verdict,
        choice_parameter(
            get_args(Verdict),
            "success: it was paid; failed: it was not paid, do not send it; resend: it was not paid, send it again",
        ),
    ],
    ledger: Annotated[Location | None, LEDGER_OPTION] = None,
    product: Annotated[ProductName | None, _PRODUCT] = None,
    ref_code: Annotated[str | None, Parameter(help="the bank's reference of a success")] = None,
    note: Annotated[str, Parameter(help="how you know; kept in the transfer's history")] = "",
    yes: Annotated[bool, Parameter(help="decide without confirmation", negative=())] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Decide a transfer that needs manual review; `paystar payout review FILE` lists them.

    Check the statement of the deposit account, then record what you found:

        paystar payout resolve t-17 --verdict failed --ledger payouts.db --note "not in the statement of 1405/01/01"

    `resend` pays again under the same track_id. If the first attempt was paid after all, the transfer is paid twice:
    only the statement shows it. A process that pays, or the next `paystar payout run`, sends it.
    """

    async def decide(paystar: Paystar) -> int:
        record = await paystar.payouts.find(track_id=track_id, product=product)
        if record.state is not TransferState.NEEDS_REVIEW:
            raise InvalidValue(
                "track_id",
                expected="a transfer that needs review",
                got=f"{short_repr(track_id)}, which is {record.state.value}",
            )
        if not yes:
            amount = format_amount(record.amount)
            print_warning(f"{track_id} to {record.destination} is {_VERDICT_MEANINGS[verdict]}: {amount}")
            question = "Does the statement of the deposit account say so? [y/N] "
            if verdict == "resend":
                print_warning("if the first attempt was paid, it is paid twice")
                question = "Is it certainly not in the statement of the deposit account? [y/N] "
            if not confirm(question):
                print_error("nothing was decided")
                return EXIT_USAGE
        decided = await paystar.payouts.resolve(
            track_id=track_id, verdict=verdict, ref_code=ref_code, note=note, product=record.product
        )
        if as_json:
            print_json(transfer_to_json(decided))
        else:
            final = "" if decided.state in FINAL else ", and sent by the next process that pays"
            stdout_console().print(f"{track_id}: {decided.state.value}{final}", soft_wrap=True)
        return 0

    return run_with_ledger(ledger, decide)


async def _show_state(paystar: Paystar, *, as_json: bool, resumed: int | None = None) -> None:
    """Print what holds transfers back now."""
    holds = await paystar.payouts.holds()
    if as_json:
        result = {} if resumed is None else {"resumed": resumed}
        print_json({**result, "holds": [hold_to_json(hold) for hold in holds]})
        return
    if resumed:
        stdout_console().print(f"planned again, after money ran out: {resumed:,}")
    _show_holds(holds)
    if not holds:
        stdout_console().print("nothing is held back now")


def _show_holds(holds: Sequence[AccountHold], *, on_stderr: bool = False) -> None:
    """Print why transfers are held back, a line for each reason."""
    for hold in holds:
        account = f"{hold.product} {mask_account(hold.deposit)}" if hold.deposit else f"{hold.product}, all accounts"
        reasons = {
            "paused": "by paystar payout pause" if hold.paused else None,
            "suspended": hold.suspended_reason,
            "insufficient funds": hold.insufficient_funds_reason,
        }
        for name, reason in reasons.items():
            if reason is not None:
                text = f"{account}: {name}: {reason}"
                if on_stderr:
                    print_note(text)
                else:
                    stdout_console().print(Text(text, "yellow"), soft_wrap=True)
