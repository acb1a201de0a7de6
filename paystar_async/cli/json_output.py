"""The results of commands as JSON: one shape for each command, described in the guide ``docs/cli.md``.

Keys are in snake_case, amounts are whole Rial, times are ISO 8601 in UTC; account numbers are masked. A value that is
not known is null, so that every key is always present.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cyclopts import Parameter

from paystar_async.models.transfers import Settlement
from paystar_async.payments.models import Order
from paystar_async.payments.outcomes import (
    AmountMismatch,
    Cancelled,
    Declined,
    Expired,
    Payment,
    PaymentOutcome,
    Undecided,
    Verified,
)
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.models import AccountHold, EventRecord, TransferRecord, TransferState
from paystar_async.payouts.reconcile import Reconciliation
from paystar_async.payouts.report import Report, Subtotal
from paystar_async.payouts.validation import Plan
from paystar_async.values.masking import mask_account

JSON_OPTION = Parameter(
    name="--json", help="print the result as JSON, in the shape that `paystar docs cli` lists", negative=()
)

JSON_ALWAYS_OPTION = Parameter(name="--json", help="for scripts; the result is JSON without it too", negative=())

JsonObject = dict[str, Any]

_OUTCOME_NAMES: Mapping[type[PaymentOutcome], str] = {
    Verified: "verified",
    Cancelled: "cancelled",
    Declined: "declined",
    Expired: "expired",
    AmountMismatch: "amount_mismatch",
    Undecided: "undecided",
}


def timestamp(seconds: float | None) -> str | None:
    """Return a time in seconds since 1970 as ISO 8601 in UTC, with milliseconds; None for None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def format_time(at: float, *, seconds: bool = False) -> str:
    """Return a time in seconds since 1970 in UTC, as tables show it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def subtotals_to_json(subtotals: Iterable[tuple[str, Subtotal]]) -> JsonObject:
    """Return numbers and sums of transfers by name."""
    return {name: {"count": subtotal.count, "amount": subtotal.amount} for name, subtotal in subtotals}


def batch_to_json(batch: Batch, report: Report) -> JsonObject:
    """Return a batch, with its transfers by state; every state is present."""
    return {
        "batch_id": batch.id,
        "product": batch.product,
        "count": batch.count,
        "amount": batch.amount,
        "created_at": timestamp(batch.created_at),
        "done": report.done,
        "states": subtotals_to_json((state.value, report.of(state)) for state in TransferState),
    }


def transfer_to_json(record: TransferRecord) -> JsonObject:
    """Return a recorded transfer, its accounts masked."""
    return {
        "track_id": record.track_id,
        "product": record.product,
        "batch_id": record.batch_id,
        "state": record.state.value,
        "amount": record.amount,
        "deposit": mask_account(record.deposit) if record.deposit else None,
        "destination": record.destination,
        "attempts": record.attempt,
        "reason": record.reason or None,
        "ref_code": record.ref_code,
        "hashid": record.hashid,
        "changed_at": timestamp(record.changed_at),
    }


def event_to_json(event: EventRecord) -> JsonObject:
    """Return a change of a transfer's state."""
    return {
        "version": event.version,
        "at": timestamp(event.at),
        "before": None if event.before is None else event.before.value,
        "after": event.after.value,
        "cause": event.cause,
        "detail": event.detail or None,
    }


def hold_to_json(hold: AccountHold) -> JsonObject:
    """Return the reasons for which the transfers of an account are not sent; a deposit of null is the whole account."""
    return {
        "product": hold.product,
        "deposit": mask_account(hold.deposit) if hold.deposit else None,
        "paused": hold.paused,
        "suspended_reason": hold.suspended_reason,
        "insufficient_funds_reason": hold.insufficient_funds_reason,
    }


def plan_to_json(plan: Plan, on_record: JsonObject | None) -> JsonObject:
    """Return a checked file with all of its errors.

    Args:
        plan: the checked file.
        on_record: the batch of the same file in the ledger, or None.
    """
    first_row, last_row = plan.rows or (None, None)
    return {
        "file": plan.file,
        "sheet": plan.sheet,
        "first_row": first_row,
        "last_row": last_row,
        "ok": plan.ok,
        "product": plan.product,
        "count": plan.count,
        "amount": plan.total,
        "errors": [
            {"row": error.row, "field": error.field or None, "place": error.place or None, "reason": error.reason}
            for error in plan.bad
        ],
        "notices": list(plan.notices),
        "on_record": on_record,
    }


def reconciliation_to_json(reconciliation: Reconciliation) -> JsonObject:
    """Return the differences between the ledger and the bank."""
    return {
        "ok": reconciliation.ok,
        "compared": reconciliation.compared,
        "learned": reconciliation.learned,
        "listed": reconciliation.listed,
        "requests": reconciliation.requests,
        "undated": reconciliation.undated,
        "orphans": [_settlement_to_json(payment) for payment in reconciliation.orphans],
        "mismatches": [
            {"track_id": mismatch.track_id, "field": mismatch.field, "ledger": mismatch.ledger, "bank": mismatch.bank}
            for mismatch in reconciliation.mismatches
        ],
        "missing": list(reconciliation.missing),
    }


def order_to_json(order: Order) -> JsonObject:
    """Return a stored order with its payments, oldest first."""
    receipt = order.verified
    return {
        "order_id": order.order_id,
        "amount": order.amount,
        "state": order.state.value,
        "reason": order.reason or None,
        "created_at": timestamp(order.created_at),
        "next_check_at": timestamp(order.next_check_at),
        "verified_at": None if receipt is None else timestamp(order.verified_at),
        "notified_at": timestamp(order.notified_at),
        "ref_num": None if receipt is None else order.reserved_ref_num,
        "tracking_code": None if receipt is None else receipt.tracking_code,
        "card_number": None if receipt is None else receipt.card_number,
        "payments": [
            {
                "ref_num": attempt.ref_num,
                "state": attempt.state.value,
                "reason": attempt.reason or None,
                "payment_amount": attempt.payment_amount,
                "paid_amount": attempt.paid_amount,
                "created_at": timestamp(attempt.created_at),
                "next_check_at": timestamp(attempt.next_check_at),
            }
            for attempt in order.attempts
        ],
    }


def payment_to_json(payment: Payment) -> JsonObject:
    """Return a payment with its outcome."""
    return {
        "order_id": payment.order_id,
        "ref_num": payment.ref_num,
        "amount": payment.amount,
        "outcome": _OUTCOME_NAMES[type(payment.outcome)],
        "reason": getattr(payment.outcome, "reason", None) or None,
    }


def _settlement_to_json(payment: Settlement) -> JsonObject:
    """Return a payment on the bank's list; its ``extra`` holds personal data, and only the amount is taken from it."""
    amount = str(payment.extra.get("amount", ""))
    return {
        "track_id": payment.track_id,
        "hashid": payment.hashid,
        "status": payment.status.value,
        "amount": int(amount) if amount.isascii() and amount.isdigit() else None,
        "ref_code": payment.ref_code,
    }
