"""Readers of transfer files: the table of a CSV file or XLSX workbook, with row numbers and cell names.

Cells keep their type: text stays text and a number in a workbook stays a number, so that a caller can see that the
leading zeros of an account number may be lost.
"""

import csv
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from attrs import define, field

from paystar_async.errors import InvalidValue
from paystar_async.payouts.headings import find_heading_row, mentions_toman
from paystar_async.payouts.workbook import DamagedWorkbook, Row, Sheet, Workbook, column_letters
from paystar_async.values.digits import strip_spaces
from paystar_async.values.masking import mask_text

_CSV, _XLSX = {".csv", ".tsv", ".txt"}, {".xlsx", ".xlsm"}
_HEAD_CHARACTERS = 65_536
_MAX_HEAD_ROWS = 20
"""Rows searched for the headings; titles may stand above them."""
_MAX_TITLE_CELLS = 3
_SEPARATORS = (",", ";", "\t")
_AS_UTF8 = 'in Excel: Save As, "CSV UTF-8"'
_SIGNATURES = {
    b"PK\x03\x04": "an Excel workbook under another name: call it .xlsx",
    b"\xff\xfe": f"UTF-16: save it as CSV UTF-8 ({_AS_UTF8})",
    b"\xfe\xff": f"UTF-16: save it as CSV UTF-8 ({_AS_UTF8})",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, or one with a password: save it as .xlsx or CSV UTF-8, without one",
}
"""First bytes of files that are often mistaken for CSV."""


@define
class Table:
    """The table of transfers in a file.

    Attributes:
        file: the file's name.
        sheet: the sheet's name; None for CSV.
        rows: the rows that are not blank, headings first; read lazily.
        notices: what was skipped: titles, and sheets that are hidden or not chosen.
        source: the worksheet, with its hidden columns and merged cells; None for CSV.
        header_row: the row number of the headings.
    """

    file: str
    sheet: str | None
    rows: Generator[Row]
    notices: list[str] = field(factory=list[str])
    source: Sheet | None = None
    header_row: int = 1

    def cell_name(self, row: int, column: int, heading: object) -> str:
        """Return the name of a cell: ``cell B7 (مبلغ)`` in a workbook, ``row 7, مبلغ`` in CSV."""
        title = shorten(heading)
        if self.sheet is None:
            return f"row {row}, {title}"
        return f"cell {column_letters(column)}{row} ({title})"

    def is_hidden(self, column: int) -> bool:
        """Return True if the spreadsheet does not show the column."""
        return self.source is not None and any(first <= column <= last for first, last in self.source.hidden_columns)


def is_blank(cell: object) -> bool:
    """Return True if a cell is empty or holds only spaces."""
    return cell is None or (isinstance(cell, str) and not strip_spaces(cell))


def shorten(text: object) -> str:
    """Return a text of the file for a message: masked, on one line, at most 40 characters."""
    masked = mask_text(str(text)).strip()
    return masked if len(masked) <= 40 else masked[:39] + "…"


def file_error(file: str, actual: str, *, hint: str) -> InvalidValue:
    """Return the error for a file that cannot be read as transfers."""
    return InvalidValue(file, expected="a file of transfers, CSV (UTF-8) or XLSX", got=actual, hint=hint)


def open_table(file: Path, names: Iterable[str], sheet: str | None = None) -> Table:
    """Open the table of transfers in a file. Close its ``rows`` afterwards.

    Args:
        file: a ``.csv`` file in UTF-8 (also ``.tsv``, ``.txt``), or an ``.xlsx`` workbook.
        names: the names of fields; the heading row is the one among the first 20 with the most of them.
        sheet: the name of the sheet to read; required if several hold transfers.

    Raises:
        InvalidValue: the file cannot be read, is empty or of another kind, the sheet is hidden, missing or has to
            be chosen, or rows above the headings look like transfers; the hint says what to do.
    """
    suffix, field_names = file.suffix.lower(), frozenset(names)
    if os.path.isdir(file):  # noqa: PTH112 - Path.is_dir raises OSError for a name that is too long
        raise file_error(str(file), "a directory", hint="name the file in it")
    if suffix not in _CSV | _XLSX:
        actual = f"a file of kind {suffix or 'none'}"
        raise file_error(file.name or str(file), actual, hint="save it as CSV UTF-8 or .xlsx")
    if suffix in _XLSX:
        return _open_workbook(file, field_names, sheet)
    if sheet is not None:
        raise file_error(file.name, "a CSV file, which has no sheets", hint="leave the sheet out")
    return _skip_titles(Table(file.name, None, _read_csv(file, field_names)), field_names)


def _skip_titles(table: Table, names: frozenset[str]) -> Table:
    """Drop the titles above the headings, and add a notice about them."""
    head = list(islice(table.rows, _MAX_HEAD_ROWS))
    if not head:
        raise file_error(table.file, "an empty file", hint="its first row names the columns")
    heading_index = max(0, find_heading_row([row.cells for row in head], names))
    titles = head[:heading_index]
    for row in titles:
        if sum(not is_blank(cell) for cell in row.cells) > _MAX_TITLE_CELLS:
            hint = "the headings stand above the first transfer; move or delete the row"
            raise file_error(table.file, f"row {row.number} above the headings, which looks like a transfer", hint=hint)
    if mentions_toman(table.sheet) or any(mentions_toman(cell) for row in titles for cell in row.cells):
        hint = "amounts are whole Rial: convert them, and take the word out of the title"
        raise file_error(table.file, "a title that speaks of Toman", hint=hint)
    if titles:
        first, last = titles[0].number, titles[-1].number
        where = f"row {first}" if first == last else f"rows {first} to {last}"
        table.notices.append(f"{where} above the headings: not read")
    table.rows = _chain(head[heading_index:], table.rows)
    return table


def _chain(head: Sequence[Row], remaining: Generator[Row]) -> Generator[Row]:
    with closing(remaining):
        yield from head
        yield from remaining


def _read_csv(file: Path, names: frozenset[str]) -> Generator[Row]:
    number = 0
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
        for mark, description in _SIGNATURES.items():
            if start.startswith(mark):
                raise file_error(file.name, "a file of another kind", hint=f"it is {description}")
        if b"\0" in start:
            raise file_error(file.name, "a file of another kind", hint=f"it is {_SIGNATURES[bytes((255, 254))]}")
        with file.open(encoding="utf-8-sig", newline="") as text:
            separator = _separator(text.read(_HEAD_CHARACTERS), names)
            text.seek(0)
            for number, cells in enumerate(csv.reader(text, delimiter=separator, strict=True), 1):
                if not all(map(is_blank, cells)):
                    yield Row(number, cells)
    except UnicodeDecodeError:
        actual = f"text that is not UTF-8 but perhaps Windows-1256 (Arabic, Persian), after row {number}"
        raise file_error(file.name, actual, hint=f'save it as "CSV UTF-8": names depend on it ({_AS_UTF8})') from None
    except csv.Error as error:
        raise file_error(file.name, f"no CSV in row {number + 1} ({error})", hint="check the quotes there") from None
    except OSError as error:
        raise _unreadable_error(file, error) from None


def _separator(head: str, names: frozenset[str]) -> str:
    """Return the column separator with which the most headings are known; a comma if that decides nothing."""
    lines = head.splitlines()[:_MAX_HEAD_ROWS]

    def count_known(separator: str) -> int:
        rows = [cells for line in lines for cells in csv.reader([line], delimiter=separator)]
        index = find_heading_row(rows, names)
        return len(rows[index]) if index >= 0 else 0

    return max(_SEPARATORS, key=count_known)  # the first of equals


def _unreadable_error(file: Path, error: OSError) -> InvalidValue:
    hint = f"{file}: {error.strerror or type(error).__name__}"
    return file_error(file.name, "a file that cannot be read", hint=hint)


@contextmanager
def _workbook_errors(file: Path) -> Generator[None]:
    """Raise InvalidValue for a workbook that cannot be read in a ``with`` block."""
    try:
        yield
    except DamagedWorkbook as error:
        hint = "open it in a spreadsheet and save it as .xlsx without a password, or as CSV UTF-8"
        raise file_error(file.name, str(error), hint=hint) from None
    except OSError as error:
        raise _unreadable_error(file, error) from None


def _open_workbook(file: Path, names: frozenset[str], sheet_name: str | None) -> Table:
    with _workbook_errors(file):
        workbook = Workbook(file)
        try:
            sheet, notices = _choose_sheet(workbook, file.name, names, sheet_name)
            return _skip_titles(Table(file.name, sheet.name, _read_sheet(workbook, file, sheet), notices, sheet), names)
        except BaseException:
            workbook.close()
            raise


def _read_sheet(workbook: Workbook, file: Path, sheet: Sheet) -> Generator[Row]:
    with closing(workbook), _workbook_errors(file):
        for row in workbook.rows(sheet):
            if not all(map(is_blank, row.cells)):
                yield row


def _choose_sheet(
    workbook: Workbook, file: str, names: frozenset[str], sheet_name: str | None
) -> tuple[Sheet, list[str]]:
    """Return the sheet to read, and a notice for each other sheet that is not empty.

    Raises:
        InvalidValue: the sheet is hidden or missing, or has to be chosen.
    """
    heads = {sheet.part: [row.cells for row in workbook.first_rows(sheet, _MAX_HEAD_ROWS)] for sheet in workbook.sheets}
    filled = [sheet for sheet in workbook.sheets if heads[sheet.part]]
    visible = [sheet for sheet in filled if not sheet.hidden]
    tables = [sheet for sheet in visible if find_heading_row(heads[sheet.part], names) >= 0]
    if sheet_name is not None:
        choices = [sheet for sheet in workbook.sheets if sheet.name == sheet_name]
        if not choices:
            listed = ", ".join(f"«{shorten(sheet.name)}»" for sheet in visible)
            raise file_error(
                file, f"no sheet of the name «{shorten(sheet_name)}»", hint=f"its sheets are {listed or 'empty'}"
            )
    else:
        choices = tables or visible
        if len(tables) > 1:
            listed = ", ".join(f"«{shorten(sheet.name)}»" for sheet in tables)
            raise file_error(file, f"transfers in several sheets: {listed}", hint="choose one: --sheet NAME, or sheet=")
    if not choices and not filled:
        raise file_error(file, "an empty file", hint="its first row names the columns")
    if not choices or choices[0].hidden:
        hidden = choices[0] if choices else filled[0]
        raise file_error(
            file,
            f"the hidden sheet «{shorten(hidden.name)}»",
            hint="a hidden sheet is not paid: unhide it, or choose another sheet",
        )
    skipped = [sheet for sheet in filled if sheet is not choices[0]]
    return choices[0], [f"{'hidden ' * sheet.hidden}sheet «{shorten(sheet.name)}»: not read" for sheet in skipped]
