"""The lines of a statement: what went out, and what came in before the sandbox was opened."""

import random
from collections.abc import Iterable, Iterator

from paystar_async.models.transfers import Transfer
from paystar_async.sandbox.book import Entry
from paystar_async.sandbox.moments import jalali_text, tehran

_MONTH = 30 * 86_400

Line = tuple[float, dict[str, object]]
"""When it was, and the line itself."""


def statement(lines: Iterable[Line], first: str, last: str) -> list[dict[str, object]]:
    """The lines from one day to another, both included, oldest first; days are Gregorian ``YYYY-MM-DD``."""
    return [line for at, line in sorted(lines, key=lambda line: line[0]) if first <= f"{tehran(at):%Y-%m-%d}" <= last]


def debits(entries: Iterable[Entry[Transfer]]) -> Iterator[Line]:
    """What went out; a transfer that came back is not in it."""
    for entry in entries:
        if entry.status != "failed":
            note = f"انتقال {entry.asked.track_id}"
            yield entry.at, _line(entry.at, debit=entry.asked.amount, trace=entry.hashid, note=note)


def earlier_credits(dice: random.Random, opened_at: float) -> Iterator[Line]:
    """Three sums that came in during the month before."""
    for number in range(1, 4):
        at = opened_at - dice.uniform(0, _MONTH)
        yield at, _line(at, credit=dice.randrange(1_000_000, 500_000_000, 10_000), trace=f"seed{number}", note="واریز")


def _line(at: float, *, trace: str, note: str, credit: int = 0, debit: int = 0) -> dict[str, object]:
    return {
        "credit_amount": credit,
        "debit_amount": debit,
        "transaction_trace": trace,
        "transaction_date_time": jalali_text(at),
        "additional": {"additionalInfo2": note},
    }
