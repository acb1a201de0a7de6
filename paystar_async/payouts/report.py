"""What became of a batch: totals, and each line as a file that is safe to open."""

import csv
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TextIO

from attrs import frozen

from paystar_async.payouts.models import FINAL, STUCK, ProductName, TransferRecord, TransferState
from paystar_async.values.masking import mask_account

COLUMNS = ("number", "track_id", "amount", "deposit", "destination", "state", "ref_code", "reason")
_FORMULA = tuple("=+-@\t\r")


@frozen
class Subtotal:
    """So many transfers.

    Attributes:
        count: how many.
        amount: what they come to, in Rial.
    """

    count: int = 0
    amount: int = 0

    def __add__(self, other: "Subtotal") -> "Subtotal":
        return Subtotal(self.count + other.count, self.amount + other.amount)


@frozen(kw_only=True)
class Report:
    """Where a batch stands.

    Attributes:
        batch_id: its name.
        product: ``bank`` transfers or settlements of the ``wallet``.
        states: how many transfers are in each state, and what they come to in Rial; states of none are left out.
    """

    batch_id: str
    product: ProductName
    states: Mapping[TransferState, Subtotal]

    def of(self, *states: TransferState) -> Subtotal:
        """All in these states together."""
        return sum((self.states.get(one, Subtotal()) for one in states), Subtotal())

    @property
    def total(self) -> Subtotal:
        """All of the batch."""
        return self.of(*TransferState)

    @property
    def succeeded(self) -> Subtotal:
        """Those whose money arrived."""
        return self.of(TransferState.SUCCESS)

    @property
    def failed(self) -> Subtotal:
        """Those of which no money moved, or whose money came back."""
        return self.of(TransferState.FAILED, TransferState.REVERSED)

    @property
    def needs_review(self) -> Subtotal:
        """Those a person has to look at: ``payouts.review()``, then ``payouts.resolve(…)``."""
        return self.of(TransferState.NEEDS_REVIEW)

    @property
    def paused_funds(self) -> Subtotal:
        """Those that wait for money: top up, then ``payouts.resume()``."""
        return self.of(TransferState.PAUSED_FUNDS)

    @property
    def under_way(self) -> Subtotal:
        """Those that are decided without anybody's help."""
        return self.of(*(one for one in TransferState if one not in FINAL | STUCK))

    @property
    def done(self) -> bool:
        """Whether every transfer is decided."""
        return self.of(*FINAL).count == self.total.count

    def __str__(self) -> str:
        told = ", ".join(f"{one.count} {state} ({one.amount:,} Rial)" for state, one in self.states.items())
        return f"{self.batch_id}: {told}"


def safe(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula; a text that begins like one gets a ``'`` before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(_FORMULA) else cell


class CsvFile:
    """A file of a batch's transfers, a line each, that a spreadsheet can open: UTF-8 with its mark, masked.

    Args:
        path: the file; one that is there is replaced.
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
        """Write a line."""
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
        self._writer.writerow([safe(cell) for cell in cells])
