"""Rows out of CSV and XLSX files, with the numbers a spreadsheet shows beside them.

Cells come as they are: a text stays a text, and what a workbook holds as a number stays one, so that whoever reads an
account number from it can see that its leading zeros may be gone.
"""

import csv
from collections.abc import Generator, Iterable, Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.values.digits import unspaced

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

Row = tuple[int, Sequence[object]]
"""A row's number, the first being 1, and its cells."""

_CSV, _BOOK = {".csv", ".tsv", ".txt"}, {".xlsx", ".xlsm"}
_HEADER_MOST = 65_536
_SEPARATORS = (",", ";", "\t")
_MARKS = {
    b"PK\x03\x04": "an Excel workbook under another name: call it .xlsx",
    b"\xff\xfe": "UTF-16: save it as CSV UTF-8",
    b"\xfe\xff": "UTF-16: save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as .xlsx or CSV UTF-8",
}
"""How files begin that are often taken for CSV."""


def is_path(source: object) -> bool:
    """Whether this names a file rather than being the transfers themselves."""
    return isinstance(source, str | PathLike)


def rows(path: str | PathLike[str], names: Iterable[str]) -> Generator[Row]:
    """The rows of a file that are not blank, the header first.

    Args:
        path: a ``.csv`` file in UTF-8 (also ``.tsv``, ``.txt``), or an ``.xlsx`` workbook, whose first sheet is read.
        names: what columns may be called: a header of these parted by ``;`` or tabs says so for the whole file.

    Raises:
        InvalidValue: the file cannot be read, is empty or is something else; says what to do.
        ConfigurationError: a workbook, and the ``xlsx`` extra is not installed.
    """
    file = Path(fspath(path))
    kind = file.suffix.lower()
    if kind not in _CSV | _BOOK:
        raise refused(file, f"a file of kind {kind or 'none'}", hint="save it as CSV UTF-8 or .xlsx")
    found = False
    for number, cells in _of_book(file) if kind in _BOOK else _of_csv(file, frozenset(names)):
        if not all(cell is None or cell == "" or (isinstance(cell, str) and not unspaced(cell)) for cell in cells):
            found = True
            yield number, cells
    if not found:
        raise refused(file, "an empty file", hint="its first row names the columns")


def refused(file: Path, got: str, *, hint: str) -> InvalidValue:
    """What is said of a file that is not what it should be."""
    return InvalidValue(file.name, expected="a file of transfers, CSV (UTF-8) or XLSX", got=got, hint=hint)


def _of_csv(file: Path, names: frozenset[str]) -> Iterator[Row]:
    number = 0
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
        for mark, meant in _MARKS.items():
            if start.startswith(mark):
                raise refused(file, "a file of another kind", hint=f"it is {meant}")
        with file.open(encoding="utf-8-sig", newline="") as text:
            separator = _separator(text.readline(_HEADER_MOST), names)
            text.seek(0)
            for number, cells in enumerate(csv.reader(text, delimiter=separator, strict=True), 1):
                yield number, cells
    except UnicodeDecodeError:
        raise refused(
            file, f"text that is not UTF-8, behind row {number}", hint='save it as "CSV UTF-8": names depend on it'
        ) from None
    except csv.Error as problem:
        raise refused(file, f"no CSV in row {number + 1} ({problem})", hint="look at the quotes there") from None
    except OSError as problem:
        raise _unreadable(file, problem) from None


def _separator(header: str, names: frozenset[str]) -> str:
    """What parts the columns: the comma, unless the header only makes sense with another."""

    def known(separator: str) -> int:
        return sum(column_name(cell) in names for cells in csv.reader([header], delimiter=separator) for cell in cells)

    return max(_SEPARATORS, key=known)  # of equals the first


def column_name(cell: object) -> str:
    """A column's name as it is meant: ``Track ID`` is ``track_id``."""
    return "_".join(str(cell).replace("\ufeff", "").strip().lower().replace("-", " ").replace("_", " ").split())


def _unreadable(file: Path, problem: OSError) -> InvalidValue:
    return refused(file, "a file that cannot be read", hint=f"{file}: {problem.strerror or type(problem).__name__}")


def _of_book(file: Path) -> Iterator[Row]:
    try:
        sheet = _sheet(file)
    except OSError as problem:
        raise _unreadable(file, problem) from None
    if sheet is not None and sheet.start is not None:
        # Rows above the first one in use are counted too, as the spreadsheet counts them.
        yield from enumerate(sheet.iter_rows(), 1)


def _sheet(file: Path) -> "CalamineSheet | None":
    try:
        import python_calamine as calamine
    except ImportError:
        raise ConfigurationError(
            "XLSX files need the xlsx extra", hint="pip install 'paystar-async[xlsx]', or save it as CSV UTF-8"
        ) from None
    with file.open("rb"):
        pass  # says why where it may not be read; calamine only says that
    try:
        with calamine.CalamineWorkbook.from_path(file) as book:  # pyright: ignore[reportUnknownMemberType]
            return book.get_sheet_by_index(0) if book.sheet_names else None
    except calamine.PasswordError:
        got = "a workbook with a password"
    except calamine.CalamineError:
        got = "a workbook that cannot be read"
    raise refused(file, got, hint="open it in a spreadsheet and save it as .xlsx without a password, or as CSV UTF-8")
