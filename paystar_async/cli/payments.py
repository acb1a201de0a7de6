"""``paystar payments``: the stored orders of a shop, and a check of those whose payers did not come back."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from cyclopts import App, Parameter
from rich.text import Text

from paystar_async.cli.client import DATABASE_OPTION, Location, run_with_orders
from paystar_async.cli.console import format_amount, make_table, print_json, print_note, stdout_console
from paystar_async.cli.json_output import JSON_OPTION, format_time, order_to_json, payment_to_json
from paystar_async.cli.parameters import choice_parameter, count_parameter
from paystar_async.client import Paystar
from paystar_async.errors import InvalidValue
from paystar_async.payments.models import Order, OrderStatus
from paystar_async.payments.outcomes import Payment
from paystar_async.payments.service import SWEEP_LIMIT
from paystar_async.values.field_type import short_repr
from paystar_async.values.masking import mask_text

StateName = Literal["open", "verified", "cancelled", "declined", "expired", "mismatch"]

DEFAULT_ORDERS = 20

_HELP = """\
Look at the orders that `payments.start` stored, and check those whose payers did not come back.

`find` and `list` make no request. `sweep` does what the sweeper of your application does, once: it asks the gateway
about each open payment that is due, and verifies what was paid. No command fulfils an order: a process with an
`on_verified` handler is notified of what `sweep` verified.
"""
_LIMIT = count_parameter("maximum number of orders")
_SWEEP_LIMIT = count_parameter("maximum number of orders to check")
_STATE = choice_parameter(get_args(StateName), "only orders with this status")
_STYLES = {OrderStatus.VERIFIED: "green", OrderStatus.MISMATCH: "bold red"}


def payments_app() -> App:
    """Return the command with its subcommands."""
    app = App(name="payments", help=_HELP, help_format="markdown")
    app.command(find)
    app.command(list_orders, name="list")
    app.command(sweep)
    return app


def find(
    order_id: Annotated[str, Parameter(help="the order_id that your application gave to payments.start")],
    /,
    *,
    database: Annotated[Location | None, DATABASE_OPTION] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Show an order and each payment that was started for it; no request is made."""

    async def show(paystar: Paystar) -> int:
        order = await paystar.payments.find(order_id=order_id)
        if order is None:
            got = mask_text(short_repr(order_id))
            raise InvalidValue("order_id", expected="an order that was started", got=got)
        if as_json:
            print_json(order_to_json(order))
        else:
            _show_order(order)
        return 0

    return run_with_orders(database, show)


def list_orders(
    *,
    database: Annotated[Location | None, DATABASE_OPTION] = None,
    state: Annotated[StateName | None, _STATE] = None,
    limit: Annotated[int, _LIMIT] = DEFAULT_ORDERS,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """List the newest orders, and how many have each status; no request is made."""

    async def show(paystar: Paystar) -> int:
        orders = await paystar.payments.orders(limit, state=None if state is None else OrderStatus(state))
        totals = await paystar.payments.totals()
        if as_json:
            totals_by_name = {status.value: count for status, count in totals.items()}
            print_json({"orders": [order_to_json(order) for order in orders], "totals": totals_by_name})
            return 0
        if orders:
            table = make_table("Order", "Started (UTC)", "Rial", "State", "Reason")
            for order in orders:
                status = Text(order.state.value, _STYLES.get(order.state, ""))
                table.add_row(order.order_id, format_time(order.created_at), f"{order.amount:,}", status, order.reason)
            stdout_console().print(table)
        counts = ", ".join(f"{count:,} {status}" for status, count in totals.items() if count)
        stdout_console().print(f"on record: {counts or 'no orders'}", soft_wrap=True)
        return 0

    return run_with_orders(database, show)


def sweep(
    *,
    database: Annotated[Location | None, DATABASE_OPTION] = None,
    limit: Annotated[int, _SWEEP_LIMIT] = SWEEP_LIMIT,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Check every payment that is due, once: verify what was paid, and end what can no longer be paid.

    May run beside your application, whose sweeper does the same.
    """

    async def check(paystar: Paystar) -> int:
        payments = await paystar.payments.sweep(limit=limit)
        if as_json:
            print_json({"decided": [payment_to_json(payment) for payment in payments]})
        else:
            _show_decided(payments)
        return 0

    return run_with_orders(database, check)


def _show_order(order: Order) -> None:
    """Print an order with its payments."""
    console = stdout_console()
    parts = [f"{order.order_id}: {order.state.value}", format_amount(order.amount)]
    if order.verified is not None:
        parts += [f"verified {format_time(order.verified_at)} UTC", f"receipt {order.verified.tracking_code or '?'}"]
    console.print(Text(", ".join(parts), "bold"), soft_wrap=True)
    table = make_table("ref_num", "Started (UTC)", "State", "Reason", "Next check (UTC)")
    for attempt in order.attempts:
        next_check = "" if attempt.next_check_at is None else format_time(attempt.next_check_at)
        table.add_row(attempt.ref_num, format_time(attempt.created_at), attempt.state.value, attempt.reason, next_check)
    console.print(table)
    if order.verified is not None and order.notified_at is None:
        print_note("its on_verified handlers have not been notified yet: a process that sweeps does so")


def _show_decided(payments: Sequence[Payment]) -> None:
    """Print the payments that were decided."""
    for payment in payments:
        outcome = type(payment.outcome).__name__
        stdout_console().print(f"{payment.order_id}: {outcome}, {format_amount(payment.amount)}", soft_wrap=True)
    counts = Counter(type(payment.outcome).__name__ for payment in payments)
    stdout_console().print(", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing was decided")
