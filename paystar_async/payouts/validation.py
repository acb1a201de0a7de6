"""What a batch would pay, and everything that is wrong with it, before anything is sent."""

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing, closing
from os import PathLike, fspath
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
from anyio import to_thread
from attrs import define, field, frozen

from paystar_async.errors import InvalidRows, InvalidValue, RowError
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.payouts.classify import Value
from paystar_async.payouts.models import ProductName
from paystar_async.payouts.readers import Table, is_path, open_table, refused
from paystar_async.payouts.rows import NAMES, Items, columns
from paystar_async.storage.seen_track_ids import SeenTrackIds

Source = (
    str | PathLike[str] | Iterable[Value | Mapping[str, Any]] | AsyncIterable[Value] | AsyncIterable[Mapping[str, Any]]
)
"""Where transfers come from: a file, or any iterable of transfers or of mappings of their fields."""

GAP_ROWS = 5
"""Rows from one that is filled to the next that are worth a notice."""
_BREATH = 200
"""Rows between two moments in which others of the event loop have their turn."""


@frozen(kw_only=True)
class Plan:
    """What a batch would pay.

    Attributes:
        product: ``bank`` transfers or settlements of the ``wallet``; None where not one row is in order.
        count: how many transfers are in order.
        total: what they come to, in Rial.
        bad: all that is wrong, in the order of the rows; a row may be there more than once.
        digest: the same for the same transfers alone.
        file: the name of the file they are in.
        sheet: the sheet of it, in a workbook.
        rows: the numbers of the first and the last row that holds a transfer, in a file.
        notices: what of the file was passed over: titles, hidden and other sheets, gaps.
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
        """Whether it could be paid as it is."""
        return self.count > 0 and not self.bad


@define
class _ReportBuilder:
    """What was counted while transfers went by.

    Attributes:
        is_hashed: whether their contents are hashed, for a plan that somebody compares with another one.
    """

    is_hashed: bool = True
    count: int = 0
    total: int = 0
    product: ProductName | None = None
    bad: list[RowError] = field(factory=list[RowError])
    table: Table | None = None
    rows: tuple[int, int] | None = None
    _hash: Any = field(factory=hashlib.sha256, repr=False)

    def add(self, one: Value) -> None:
        """Count a transfer that is in order."""
        self.product = "bank" if isinstance(one, Transfer) else "wallet"
        self.count += 1
        self.total += one.amount
        if self.is_hashed:
            self._hash.update(json.dumps([getattr(one, name.name) for name in fields_of(type(one))]).encode())

    def plan(self) -> Plan:
        """All of it."""
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


async def plan(source: Source, *, strict: bool = True, sheet: str | None = None) -> Plan:
    """Read all transfers and check each, keeping none.

    Args:
        source: a file or an iterable; an iterator is used up.
        strict: whether checksums are proved, too.
        sheet: the name of the sheet to read, in a workbook of several.

    Raises:
        InvalidValue: the file cannot be read or its columns are wrong, a sheet has to be chosen, or it is no iterable.
    """
    tally = _ReportBuilder()
    async with aclosing(_each(source, tally, strict=strict, sheet=sheet)) as transfers:
        async for _ in transfers:
            pass
    return tally.plan()


async def validated_transfers(
    source: Source, *, strict: bool = True, planned: Plan | None = None, sheet: str | None = None
) -> AsyncGenerator[Value, None]:
    """The transfers one by one, as long as nothing is wrong; then the rest is only checked, and refused at the end.

    Args:
        source: a file or an iterable; it is read only as fast as the transfers are taken.
        strict: whether checksums are proved, too.
        planned: what was read before, and agreed to.
        sheet: the name of the sheet to read, in a workbook of several.

    Raises:
        InvalidRows: at the end; names everything that is wrong. Whoever took the others has to forget them.
        InvalidValue: the file cannot be read or its columns are wrong, it is no iterable, there is nothing in it, or
            it is not what was planned.
    """
    tally = _ReportBuilder(is_hashed=planned is not None)
    async with aclosing(_each(source, tally, strict=strict, sheet=sheet)) as transfers:
        async for one in transfers:
            if not tally.bad:
                yield one
    if tally.bad:
        raise InvalidRows(tally.bad)
    if not tally.count:
        raise InvalidValue("transfers", expected="one transfer or more", got="none")
    if planned is not None and tally.plan() != planned:
        raise InvalidValue("transfers", expected="what was planned", got="something else", hint="it was changed since")


async def _each(
    source: Source, tally: _ReportBuilder, *, strict: bool, sheet: str | None
) -> AsyncGenerator[Value, None]:
    """The transfers that are in order, while all is counted; what is wrong is kept in the tally."""
    with closing(SeenTrackIds()) as seen:
        if is_path(source):
            reading = _of_file(source, tally, strict=strict, sheet=sheet)
        elif sheet is not None:
            raise InvalidValue("sheet", expected="a sheet of a workbook", got="transfers that are no file")
        else:
            reading = _of_items(source, strict=strict)
        async with aclosing(reading) as read:
            async for number, one in read:
                if number % _BREATH == 0:
                    await anyio.lowlevel.checkpoint()
                if isinstance(one, list):
                    tally.bad += one
                    continue
                before = seen.add(one.track_id, number)
                if before is not None:
                    tally.bad.append(RowError(number, "track_id", f"it is the one of row {before}: it would pay twice"))
                    continue
                tally.add(one)
                yield one


Read = AsyncGenerator[tuple[int, Value | list[RowError]], None]


async def _of_file(source: Source, tally: _ReportBuilder, *, strict: bool, sheet: str | None) -> Read:
    path = Path(fspath(cast("str | PathLike[str]", source)))
    # Opening a workbook reads its texts.
    table = tally.table = await to_thread.run_sync(open_table, path, NAMES, sheet)
    with closing(table.rows) as rows:
        header = next(rows)
        reader = columns(table, header)
        last = header.number
        for row in rows:
            if row.number - last > GAP_ROWS:
                table.notices.append(f"row {row.number} and below: read, though behind a gap of empty rows")
            last = row.number
            tally.rows = (tally.rows[0] if tally.rows else last, last)
            yield row.number, reader.read(row, strict=strict)
    for problem in reader.at_end(last):
        yield problem.row, [problem]
    if tally.rows is None:
        raise refused(path.name, "a header and no rows", hint="each row below it is a transfer")


async def _of_items(source: Source, *, strict: bool) -> Read:
    items = Items(strict=strict)
    if isinstance(source, AsyncIterable):
        number = 0
        async for item in cast("AsyncIterable[object]", source):
            number += 1
            yield number, items.read(number, item)
        return
    got = f"a {type(source).__name__}"
    if isinstance(source, bytes | Mapping) or not isinstance(source, Iterable):
        raise InvalidValue(
            "transfers", expected="a file or an iterable of transfers", got=got, hint="wrap a single one in a list"
        )
    for number, item in enumerate(cast("Iterable[object]", source), 1):
        yield number, items.read(number, item)
