"""Validation: read the transfers of a batch and list everything that is wrong before anything is sent."""

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing, closing
from os import PathLike
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
from anyio import to_thread
from attrs import define, field, frozen

from paystar_async.errors import InvalidRows, InvalidValue, RowError
from paystar_async.errors.text import describe_type
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.models import ProductName
from paystar_async.payouts.readers import Table, file_error, open_table
from paystar_async.payouts.rows import FIELD_NAMES, ItemReader, RowResult, match_columns
from paystar_async.storage.seen_track_ids import SeenTrackIds
from paystar_async.values.arguments import require_path

Source = (
    str
    | PathLike[str]
    | Iterable[AnyTransfer | Mapping[str, Any]]
    | AsyncIterable[AnyTransfer]
    | AsyncIterable[Mapping[str, Any]]
)
"""A source of transfers: a file, or an iterable of transfers or of mappings of their fields."""

MIN_GAP_ROWS = 5
"""A gap between two filled rows of more than this is worth a notice."""
_ROWS_PER_CHECKPOINT = 200
"""Rows read between two checkpoints at which other tasks of the event loop run."""


@frozen(kw_only=True)
class Plan:
    """The checked contents of a batch before it is submitted.

    Attributes:
        product: ``bank`` transfers or settlements of the ``wallet``; None if no row is valid.
        count: the number of valid transfers.
        total: the sum of the valid transfers, in Rial.
        bad: all errors, in the order of the rows; a row may have several.
        digest: a hash of the transfers; equal only for the same transfers.
        file: the name of the file, or ``""``.
        sheet: the name of the sheet, in a workbook.
        rows: the numbers of the first and last row with a transfer, in a file.
        notices: what was skipped in the file: titles, hidden and other sheets, gaps.
    """

    product: ProductName | None
    count: int
    total: int
    bad: tuple[RowError, ...]
    digest: str = field(default="", repr=False)
    file: str = field(default="", eq=False)
    sheet: str | None = field(default=None, eq=False)
    rows: tuple[int, int] | None = field(default=None, eq=False)
    notices: tuple[str, ...] = field(default=(), eq=False)

    @property
    def ok(self) -> bool:
        """Return True if there is a transfer and no error."""
        return self.count > 0 and not self.bad


@define
class _PlanBuilder:
    """Counts of the transfers read so far, from which a Plan is made.

    Attributes:
        is_hashed: whether contents are hashed, for a plan that is compared with another.
    """

    is_hashed: bool = True
    count: int = 0
    total: int = 0
    product: ProductName | None = None
    bad: list[RowError] = field(factory=list[RowError])
    table: Table | None = None
    rows: tuple[int, int] | None = None
    _hash: Any = field(factory=hashlib.sha256, repr=False)

    def add(self, transfer: AnyTransfer) -> None:
        """Count a valid transfer."""
        self.product = "bank" if isinstance(transfer, Transfer) else "wallet"
        self.count += 1
        self.total += transfer.amount
        if self.is_hashed:
            values = [getattr(transfer, info.name) for info in fields_of(type(transfer))]
            self._hash.update(json.dumps(values).encode())

    def plan(self) -> Plan:
        """Return the plan of all transfers counted."""
        return Plan(
            product=self.product,
            count=self.count,
            total=self.total,
            bad=tuple(self.bad),
            digest=self._hash.hexdigest(),
            file=self.table.file if self.table else "",
            sheet=self.table.sheet if self.table else None,
            rows=self.rows,
            notices=tuple(self.table.notices) if self.table else (),
        )


async def plan(source: Source, *, sheet: str | None = None) -> Plan:
    """Read and check all transfers without keeping them.

    Args:
        source: a file or an iterable; an iterator is used up.
        sheet: the name of the sheet to read, in a workbook with several.

    Raises:
        InvalidValue: the file cannot be read or its columns are wrong, a sheet has to be chosen, or the source is not
            an iterable.
    """
    builder = _PlanBuilder()
    async with aclosing(_read_valid(source, builder, sheet=sheet)) as transfers:
        async for _ in transfers:
            pass
    return builder.plan()


async def validated_transfers(
    source: Source, *, planned: Plan | None = None, sheet: str | None = None
) -> AsyncGenerator[AnyTransfer, None]:
    """Yield the transfers until one is invalid; then only check the remaining ones, and raise at the end.

    Args:
        source: a file or an iterable; read only as fast as the transfers are consumed.
        planned: the plan that was read before and approved.
        sheet: the name of the sheet to read, in a workbook with several.

    Raises:
        InvalidRows: at the end; lists all errors. The caller must discard the transfers already yielded.
        InvalidValue: the file cannot be read or its columns are wrong, the source is not an iterable or is empty, or
            its transfers differ from the plan.
    """
    builder = _PlanBuilder(is_hashed=planned is not None)
    async with aclosing(_read_valid(source, builder, sheet=sheet)) as transfers:
        async for transfer in transfers:
            if not builder.bad:
                yield transfer
    if builder.bad:
        raise InvalidRows(builder.bad)
    if not builder.count:
        raise InvalidValue("transfers", expected="one transfer or more", got="none")
    if planned is not None and builder.plan() != planned:
        raise InvalidValue(
            "transfers", expected="what plan() read", got="other transfers", hint="the file was changed: plan it again"
        )


async def _read_valid(source: Source, builder: _PlanBuilder, *, sheet: str | None) -> AsyncGenerator[AnyTransfer, None]:
    """Yield the valid transfers, and count them and the errors in the builder."""
    with closing(SeenTrackIds()) as seen_track_ids:
        if isinstance(source, str | PathLike):
            reading = _read_file(require_path("transfers", source), builder, sheet)
        elif sheet is not None:
            raise InvalidValue("sheet", expected="a sheet of a workbook", got="transfers that are no file")
        else:
            reading = _read_items(source)
        async with aclosing(reading) as results:
            async for number, result in results:
                if number % _ROWS_PER_CHECKPOINT == 0:
                    await anyio.lowlevel.checkpoint()
                if isinstance(result, list):
                    builder.bad += result
                    continue
                first_row = seen_track_ids.add(result.track_id, number)
                if first_row is not None:
                    reason = f"the same as in row {first_row}: the transfer would be paid twice"
                    builder.bad.append(RowError(number, "track_id", reason))
                    continue
                builder.add(result)
                yield result


ReadResults = AsyncGenerator[tuple[int, RowResult], None]
"""The number of each row or item, and its transfer or errors."""


async def _read_file(path: Path, builder: _PlanBuilder, sheet: str | None) -> ReadResults:
    # In a thread: opening a workbook reads all of its texts.
    table = builder.table = await to_thread.run_sync(open_table, path, FIELD_NAMES, sheet)
    with closing(table.rows) as rows:
        header = next(rows)
        columns = match_columns(table, header)
        last = header.number
        for row in rows:
            if row.number - last > MIN_GAP_ROWS:
                table.notices.append(f"row {row.number} and below: read, although after a gap of empty rows")
            last = row.number
            builder.rows = (builder.rows[0] if builder.rows else last, last)
            yield row.number, columns.read_row(row)
    for error in columns.check_merged_cells(last):
        yield error.row, [error]
    if builder.rows is None:
        raise file_error(path.name, "a header and no rows", hint="each row below it is a transfer")


async def _read_items(source: Source) -> ReadResults:
    items = ItemReader()
    if isinstance(source, AsyncIterable):
        number = 0
        async for item in cast("AsyncIterable[object]", source):
            number += 1
            yield number, items.read(number, item)
        return
    if isinstance(source, bytes | Mapping) or not isinstance(source, Iterable):
        raise InvalidValue(
            "transfers",
            expected="a file or an iterable of transfers",
            got=describe_type(cast("object", source)),
            hint="wrap a single transfer in a list",
        )
    for number, item in enumerate(cast("Iterable[object]", source), 1):
        yield number, items.read(number, item)
