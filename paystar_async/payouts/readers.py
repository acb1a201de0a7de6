"""Tables of CSV and XLSX files, with the places a spreadsheet shows beside their cells.

Cells come as they are: a text stays a text, and what a workbook holds as a number stays one, so that whoever reads an
account number from it can see that its leading zeros may be gone.
"""

import csv
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import islice
from os import PathLike
from pathlib import Path

from attrs import define, field

from paystar_async.errors import InvalidValue
from paystar_async.payouts.headings import heading_row, is_toman
from paystar_async.payouts.workbook import Damaged, Row, Sheet, Workbook, column_letters, first_rows
from paystar_async.values.digits import strip_spaces
from paystar_async.values.masking import mask_text

_CSV, _BOOK = {".csv", ".tsv", ".txt"}, {".xlsx", ".xlsm"}
_HEAD_CHARACTERS = 65_536
_HEAD_ROWS = 20
"""Rows among which the headings are looked for; titles may stand above them."""
_MAX_FILLED_IN_A_TITLE = 3
_SEPARATORS = (",", ";", "\t")
_AS_UTF8 = 'in Excel: Save As, "CSV UTF-8"'
_MARKS = {
    b"PK\x03\x04": "an Excel workbook under another name: call it .xlsx",
    b"\xff\xfe": f"UTF-16: save it as CSV UTF-8 ({_AS_UTF8})",
    b"\xfe\xff": f"UTF-16: save it as CSV UTF-8 ({_AS_UTF8})",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, or one with a password: save it as .xlsx or CSV UTF-8, without one",
}
"""How files begin that are often taken for CSV."""


@define
class Table:
    """The part of a file that holds transfers.

    Attributes:
        file: the file's name.
        sheet: the sheet of it, in a workbook.
        rows: the rows that are not blank, the headings first; they are read as they are taken.
        notices: what is passed over: titles, and sheets that are hidden or not chosen.
        source: the worksheet, which knows of hidden columns and merged cells.
        header_row: the number of the row with the headings.
    """

    file: str
    sheet: str | None
    rows: Generator[Row]
    notices: list[str] = field(factory=list[str])
    source: Sheet | None = None
    header_row: int = 1

    def place(self, row: int, column: int, heading: object) -> str:
        """Return the name of a cell: ``cell B7 (مبلغ)`` in a workbook, ``row 7, مبلغ`` in CSV."""
        title = short(heading)
        if self.sheet is None:
            return f"row {row}, {title}"
        return f"cell {column_letters(column)}{row} ({title})"

    def is_hidden(self, column: int) -> bool:
        """Return True if the spreadsheet does not show the column."""
        return self.source is not None and any(first <= column <= last for first, last in self.source.hidden_columns)


def is_path(source: object) -> bool:
    """Whether this names a file rather than being the transfers themselves."""
    return isinstance(source, str | PathLike)


def is_blank(cell: object) -> bool:
    """Return True if nothing is in a cell."""
    return cell is None or (isinstance(cell, str) and not strip_spaces(cell))


def short(text: object) -> str:
    """Return a text of the file as it is named in a message: masked, on one line, and cut."""
    shown = mask_text(str(text)).strip()
    return shown if len(shown) <= 40 else shown[:39] + "…"


def refused(file: str, got: str, *, hint: str) -> InvalidValue:
    """Return the error for a file that is not what it should be."""
    return InvalidValue(file, expected="a file of transfers, CSV (UTF-8) or XLSX", got=got, hint=hint)


def open_table(file: Path, names: Iterable[str], sheet: str | None = None) -> Table:
    """Open the table of transfers in a file. Close its ``rows`` afterwards.

    Args:
        file: a ``.csv`` file in UTF-8 (also ``.tsv``, ``.txt``), or an ``.xlsx`` workbook.
        names: the names of fields; the headings are the row among the first 20 that names most of them.
        sheet: the name of the sheet to read; needed where several hold transfers.

    Raises:
        InvalidValue: the file cannot be read, is empty or is something else, the sheet is hidden, not there or has to
            be chosen, or rows above the headings look like transfers; says what to do.
    """
    kind, known = file.suffix.lower(), frozenset(names)
    if kind not in _CSV | _BOOK:
        raise refused(file.name, f"a file of kind {kind or 'none'}", hint="save it as CSV UTF-8 or .xlsx")
    if kind in _BOOK:
        return _of_book(file, known, sheet)
    if sheet is not None:
        raise refused(file.name, "a CSV file, which has no sheets", hint="leave the sheet out")
    return _below_titles(Table(file.name, None, _of_csv(file, known)), known)


def _below_titles(table: Table, names: frozenset[str]) -> Table:
    """Drop the titles above the headings from a table, and name them."""
    head = list(islice(table.rows, _HEAD_ROWS))
    if not head:
        raise refused(table.file, "an empty file", hint="its first row names the columns")
    place = max(0, heading_row([row.cells for row in head], names))
    titles = head[:place]
    for row in titles:
        if sum(not is_blank(cell) for cell in row.cells) > _MAX_FILLED_IN_A_TITLE:
            hint = "the headings stand above the first transfer; move or delete the row"
            raise refused(table.file, f"row {row.number} above the headings, which looks like a transfer", hint=hint)
    if is_toman(table.sheet) or any(is_toman(cell) for row in titles for cell in row.cells):
        hint = "amounts are whole Rial: convert them, and take the word out of the title"
        raise refused(table.file, "a title that speaks of Toman", hint=hint)
    if titles:
        first, last = titles[0].number, titles[-1].number
        where = f"row {first}" if first == last else f"rows {first} to {last}"
        table.notices.append(f"{where} above the headings: not read")
    table.rows = _chained(head[place:], table.rows)
    return table


def _chained(head: Sequence[Row], rest: Generator[Row]) -> Generator[Row]:
    with closing(rest):
        yield from head
        yield from rest


def _of_csv(file: Path, names: frozenset[str]) -> Generator[Row]:
    number = 0
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
        for mark, meant in _MARKS.items():
            if start.startswith(mark):
                raise refused(file.name, "a file of another kind", hint=f"it is {meant}")
        if b"\0" in start:
            raise refused(file.name, "a file of another kind", hint=f"it is {_MARKS[bytes((255, 254))]}")
        with file.open(encoding="utf-8-sig", newline="") as text:
            separator = _separator(text.read(_HEAD_CHARACTERS), names)
            text.seek(0)
            for number, cells in enumerate(csv.reader(text, delimiter=separator, strict=True), 1):
                if not all(map(is_blank, cells)):
                    yield Row(number, cells)
    except UnicodeDecodeError:
        got = f"text that is not UTF-8 but perhaps Windows-1256 (Arabic, Persian), behind row {number}"
        raise refused(file.name, got, hint=f'save it as "CSV UTF-8": names depend on it ({_AS_UTF8})') from None
    except csv.Error as problem:
        raise refused(file.name, f"no CSV in row {number + 1} ({problem})", hint="look at the quotes there") from None
    except OSError as problem:
        raise _unreadable(file, problem) from None


def _separator(head: str, names: frozenset[str]) -> str:
    """Return what separates the columns: the comma, unless the headings only make sense with another."""
    lines = head.splitlines()[:_HEAD_ROWS]

    def known(separator: str) -> int:
        rows = [cells for line in lines for cells in csv.reader([line], delimiter=separator)]
        place = heading_row(rows, names)
        return len(rows[place]) if place >= 0 else 0

    return max(_SEPARATORS, key=known)  # of equals the first


def _unreadable(file: Path, problem: OSError) -> InvalidValue:
    hint = f"{file}: {problem.strerror or type(problem).__name__}"
    return refused(file.name, "a file that cannot be read", hint=hint)


def _of_book(file: Path, names: frozenset[str], wanted: str | None) -> Table:
    try:
        book = Workbook(file)
    except OSError as problem:
        raise _unreadable(file, problem) from None
    except Damaged as problem:
        raise _damaged(file, problem) from None
    try:
        sheet, notices = _chosen(book, file.name, names, wanted)
        table = Table(file.name, sheet.name, _of_sheet(book, file, sheet), notices, sheet)
        return _below_titles(table, names)
    except Damaged as problem:
        book.close()
        raise _damaged(file, problem) from None
    except BaseException:
        book.close()
        raise


def _of_sheet(book: Workbook, file: Path, sheet: Sheet) -> Generator[Row]:
    with closing(book):
        try:
            for row in book.rows(sheet):
                if not all(map(is_blank, row.cells)):
                    yield row
        except Damaged as problem:
            raise _damaged(file, problem) from None


def _damaged(file: Path, problem: Damaged) -> InvalidValue:
    hint = "open it in a spreadsheet and save it as .xlsx without a password, or as CSV UTF-8"
    return refused(file.name, str(problem), hint=hint)


def _chosen(book: Workbook, file: str, names: frozenset[str], wanted: str | None) -> tuple[Sheet, list[str]]:
    """Return the sheet to read, and a notice for each other that is not empty.

    Raises:
        InvalidValue: it is hidden, not there, or one has to be chosen.
    """
    heads = {sheet.part: [row.cells for row in first_rows(book, sheet, _HEAD_ROWS)] for sheet in book.sheets}
    filled = [sheet for sheet in book.sheets if heads[sheet.part]]
    visible = [sheet for sheet in filled if not sheet.hidden]
    tables = [sheet for sheet in visible if heading_row(heads[sheet.part], names) >= 0]
    if wanted is not None:
        choices = [sheet for sheet in book.sheets if sheet.name == wanted]
        if not choices:
            listed = ", ".join(f"«{short(sheet.name)}»" for sheet in visible)
            raise refused(file, f"no sheet of the name «{short(wanted)}»", hint=f"its sheets are {listed or 'empty'}")
    else:
        choices = tables or visible
        if len(tables) > 1:
            listed = ", ".join(f"«{short(sheet.name)}»" for sheet in tables)
            raise refused(file, f"transfers in several sheets: {listed}", hint="choose one: --sheet NAME, or sheet=")
    if not choices and not filled:
        raise refused(file, "an empty file", hint="its first row names the columns")
    if not choices or choices[0].hidden:
        hidden = choices[0] if choices else filled[0]
        raise refused(file, f"the hidden sheet «{short(hidden.name)}»", hint="what nobody sees is not paid: show it")
    rest = [sheet for sheet in filled if sheet is not choices[0]]
    return choices[0], [f"{'hidden ' * sheet.hidden}sheet «{short(sheet.name)}»: not read" for sheet in rest]
