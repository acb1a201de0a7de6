"""Reports: the totals of a batch by state, and its transfers as a CSV file that is safe to open."""

import csv
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TextIO

from attrs import frozen

from paystar_async.payouts.models import AWAITING_USER, FINAL, ProductName, TransferRecord, TransferState
from paystar_async.values.masking import mask_account

COLUMNS = ("number", "track_id", "amount", "deposit", "destination", "state", "ref_code", "reason")
_FORMULA_PREFIXES = tuple("=+-@\t\r")


@frozen
class Subtotal:
    """The number and sum of some transfers.

    Attributes:
        count: the number of transfers.
        amount: their sum, in Rial.
    """

    count: int = 0
    amount: int = 0

    def __add__(self, other: "Subtotal") -> "Subtotal":
        return Subtotal(self.count + other.count, self.amount + other.amount)


@frozen(kw_only=True)
class Report:
    """The state of a batch: its transfers by state.

    Attributes:
        batch_id: the batch's id.
        product: ``bank`` transfers or settlements of the ``wallet``.
        states: the number and sum of transfers in each state; states without transfers are absent.
    """

    batch_id: str
    product: ProductName
    states: Mapping[TransferState, Subtotal]

    def of(self, *states: TransferState) -> Subtotal:
        """Return the subtotal of these states."""
        return sum((self.states.get(state, Subtotal()) for state in states), Subtotal())

    @property
    def total(self) -> Subtotal:
        """Return the total of the batch."""
        return self.of(*TransferState)

    @property
    def succeeded(self) -> Subtotal:
        """Return the subtotal of transfers whose money arrived."""
        return self.of(TransferState.SUCCESS)

    @property
    def failed(self) -> Subtotal:
        """Return the subtotal of transfers that moved no money, or whose money was returned."""
        return self.of(TransferState.FAILED, TransferState.REVERSED)

    @property
    def needs_review(self) -> Subtotal:
        """Return the subtotal that needs manual review: ``payouts.review()``, then ``payouts.resolve(…)``."""
        return self.of(TransferState.NEEDS_REVIEW)

    @property
    def paused_funds(self) -> Subtotal:
        """Return the subtotal that waits for money: top up, then ``payouts.resume()``."""
        return self.of(TransferState.PAUSED_FUNDS)

    @property
    def under_way(self) -> Subtotal:
        """Return the subtotal that will be decided without a user."""
        return self.of(*(state for state in TransferState if state not in FINAL | AWAITING_USER))

    @property
    def done(self) -> bool:
        """Return True if every transfer is decided."""
        return self.of(*FINAL).count == self.total.count

    def __str__(self) -> str:
        subtotals = (f"{total.count} {state} ({total.amount:,} Rial)" for state, total in self.states.items())
        return f"{self.batch_id}: {', '.join(subtotals)}"


def escape_formula(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text that begins like one gets a ``'`` prefix."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(_FORMULA_PREFIXES) else cell


class CsvFile:
    """A CSV file of a batch's transfers, masked, in UTF-8 with a byte order mark so that spreadsheets open it.

    Args:
        path: the file; an existing file is replaced.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        self._file: TextIO | None = None

    def __enter__(self) -> "CsvFile":
        self._file = self._path.open("w", encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, number: int, record: TransferRecord) -> None:
        """Write the line of a transfer."""
        cells = (
            number,
            record.track_id,
            record.amount,
            mask_account(record.deposit) if record.deposit else "",
            record.destination,
            record.state.value,
            record.ref_code or "",
            record.reason,
        )
        self._writer.writerow([escape_formula(cell) for cell in cells])
