"""XLSX workbooks, parsed from their XML.

Existing readers return an error or a formula without a value as an empty cell, and do not mark hidden sheets and rows.
That would change what is paid, so the XML is parsed here and each cell keeps its kind.
"""

import re
import xml.parsers.expat as expat
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from posixpath import join, normpath, split
from typing import IO, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile
from zlib import error as zlib_error

from attrs import define, field, frozen

from paystar_async.payouts.number_formats import read_formats

MAX_PART_BYTES = 256 * 2**20
"""Limit of one unpacked part of a workbook."""
MAX_TEXT_CHARACTERS = 7 * 32_767
"""Characters of an XML element; a cell can hold 32,767, each of which may be written as ``_x000D_``."""
MAX_COLUMNS, MAX_ROWS = 16_384, 1_048_576
MAX_EXACT_NUMBER = 10**15
"""Spreadsheets keep 15 digits of a number."""

_READ_BYTES = 65_536
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_TRUE = ("1", "true")

Event = tuple[str, Mapping[str, str] | None, str]
"""The name of an XML element with its attributes at its start, or with None and its text at its end."""


class DamagedWorkbook(Exception):
    """Raised for a workbook that cannot be read or is ambiguous; the text names the reason."""


@frozen
class InvalidCell:
    """A cell without a usable value.

    Attributes:
        reason: what the cell holds, in spreadsheet terms.
    """

    reason: str


class Row(NamedTuple):
    """One row of a file.

    Attributes:
        number: the row number that the spreadsheet shows, from 1.
        cells: a text, number, bool, None or InvalidCell each.
        hidden: whether the spreadsheet hides the row.
    """

    number: int
    cells: Sequence[object]
    hidden: bool = False


@define
class Sheet:
    """One worksheet.

    Attributes:
        name: the sheet's name.
        hidden: whether the spreadsheet hides the sheet.
        part: the name of the sheet's part in the archive.
        hidden_columns: first and last index of hidden columns, from 0; complete after the first row was read.
        merged: the ranges of merged cells (``A3:A9``); complete after all rows were read.
    """

    name: str
    hidden: bool
    part: str
    hidden_columns: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    merged: list[str] = field(factory=list[str])


def column_letters(index: int) -> str:
    """Return the letters of the column with this index, from 0: ``A``, ``Z``, ``AA``."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


def parse_reference(reference: str) -> tuple[int, int]:
    """Return the row number and column index of a cell reference: ``B7`` is ``(7, 1)``."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise DamagedWorkbook(f"a cell without a valid reference: {reference[:20]!r}")
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - 64
    if column > MAX_COLUMNS or not 1 <= int(match[2]) <= MAX_ROWS:
        raise DamagedWorkbook("a cell beyond the last column or row")
    return int(match[2]), column - 1


class Workbook:
    """An open workbook.

    Args:
        file: the file's path; reading is bounded, and entities and external addresses are not followed.

    Raises:
        DamagedWorkbook: the file is not a workbook, or cannot be read safely.
        OSError: the file cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        try:
            with translate_errors():
                self._archive = ZipFile(self._file)
                self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        names = self._archive.namelist()
        if len(set(names)) < len(names):
            raise DamagedWorkbook("a workbook with two parts of the same name")
        workbook_part = self._target("_rels/.rels", "officeDocument") or "xl/workbook.xml"
        folder, file = split(workbook_part)
        self._relations = self._related(join(folder, "_rels", f"{file}.rels"))
        self.sheets: list[Sheet] = []
        for name, attributes, _ in self._events(workbook_part):
            if attributes is not None and name == "sheet":
                self._add(attributes, folder)
        self._formats = read_formats(self._optional(folder, "styles"))
        self._texts = list(_read_texts(self._optional(folder, "sharedStrings")))

    def close(self) -> None:
        """Close the file."""
        self._file.close()  # closing the archive would leave the file open while a part is being read

    def rows(self, sheet: Sheet) -> Generator[Row]:
        """Yield the rows of a sheet that hold a cell, hidden rows too."""
        with translate_errors():
            yield from _SheetReader(sheet, self._texts, self._formats).rows(self._events(sheet.part))

    def first_rows(self, sheet: Sheet, count: int) -> list[Row]:
        """Return at most ``count`` of the first rows of a sheet that hold a cell."""
        with closing(self.rows(sheet)) as rows:
            return list(islice(rows, count))

    def _add(self, attributes: Mapping[str, str], folder: str) -> None:
        relation = next((value for name, value in attributes.items() if name.endswith(" id")), "")
        kind, target = self._relations.get(relation, ("", ""))
        if kind == "worksheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append(Sheet(attributes.get("name", ""), hidden, _resolve_path(folder, target)))

    def _related(self, part: str) -> dict[str, tuple[str, str]]:
        """Return the type and target of each relation of a part, by its id."""
        if part not in self._archive.namelist():
            return {}
        return {
            attributes.get("Id", ""): (attributes.get("Type", "").rpartition("/")[2], attributes.get("Target", ""))
            for name, attributes, _ in self._events(part)
            if attributes is not None and name == "Relationship"
        }

    def _target(self, part: str, relation_type: str) -> str | None:
        targets = (target for kind, target in self._related(part).values() if kind == relation_type)
        return next((_resolve_path("", target) for target in targets), None)

    def _optional(self, folder: str, relation_type: str) -> Iterator[Event]:
        """Yield the events of an optional part of the workbook."""
        for kind, target in self._relations.values():
            if kind == relation_type:
                return self._events(_resolve_path(folder, target))
        return iter(())

    def _events(self, part: str) -> Iterator[Event]:
        info = self._archive.getinfo(part)
        if info.file_size > MAX_PART_BYTES:
            raise DamagedWorkbook("a workbook that is too large when it is unpacked")
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # the others raise errors of their own
            raise DamagedWorkbook("a workbook with a compression that no spreadsheet uses")
        with self._archive.open(part) as stream:
            yield from _parse(stream)


@contextmanager
def translate_errors() -> Generator[None]:
    """Raise DamagedWorkbook for the errors of the archive and XML readers in a ``with`` block."""
    try:
        yield
    except (LookupError, BadZipFile, zlib_error, expat.ExpatError, EOFError):
        raise DamagedWorkbook("a workbook that cannot be read") from None
    except (RuntimeError, ValueError):
        raise DamagedWorkbook("a workbook that is encrypted or cannot be read") from None


def _resolve_path(folder: str, target: str) -> str:
    return normpath(join("/", folder, target)).lstrip("/")


def _parse(stream: IO[bytes]) -> Iterator[Event]:
    """Yield the elements of an XML part in order; refuse a document type, which could declare entities."""
    events: list[Event] = []
    text: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        text.clear()
        events.append((name.rpartition(" ")[2], attributes, ""))

    def end(name: str) -> None:
        events.append((name.rpartition(" ")[2], None, "".join(text)))
        text.clear()

    def characters(data: str) -> None:
        text.append(data)
        if sum(map(len, text)) > MAX_TEXT_CHARACTERS:
            raise DamagedWorkbook("a cell whose text is too long")

    def refuse(*_: object) -> None:
        raise DamagedWorkbook("a workbook that contains a document type")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, refuse
    while data := stream.read(_READ_BYTES):
        parser.Parse(data)
        yield from events
        events.clear()
    parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keywords
    yield from events


def _read_texts(events: Iterator[Event]) -> Iterator[str]:
    """Yield the shared texts, without their phonetic hints."""
    runs: list[str] = []
    is_phonetic = False
    for name, attributes, text in events:
        if name == "rPh":
            is_phonetic = attributes is not None
        elif attributes is not None:
            runs = [] if name == "si" else runs
        elif name == "t" and not is_phonetic:
            runs.append(text)
        elif name == "si":
            yield _unescaped("".join(runs))


def _unescaped(text: str) -> str:
    """Return a text with escapes such as ``_x000D_`` replaced by their character."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


class _SheetReader:
    """Parser of a sheet's XML into rows."""

    def __init__(self, sheet: Sheet, texts: Sequence[str], formats: Sequence[str]) -> None:
        self._sheet, self._texts, self._formats = sheet, texts, formats
        self._rows_hidden = False
        self._number = 0
        self._row_hidden = False
        self._cells: list[object] = []
        self._column_index = -1
        self._cell: Mapping[str, str] = {}
        self._value: str | None = None
        self._formula = self._is_phonetic = False
        self._runs: list[str] = []
        self._readers: dict[str, Callable[[Mapping[str, str]], None]] = {
            "col": self._column,
            "sheetFormatPr": self._defaults,
            "mergeCell": self._merge,
            "row": self._row,
            "c": self._open_cell,
            "rPh": self._phonetic,
        }

    def rows(self, events: Iterator[Event]) -> Generator[Row]:
        self._sheet.hidden_columns.clear()
        self._sheet.merged.clear()
        for name, attributes, text in events:
            if attributes is not None:
                if reader := self._readers.get(name):
                    reader(attributes)
                continue
            if name == "v":
                self._value = text
            elif name == "f":
                self._formula = True
            elif name == "t" and not self._is_phonetic:
                self._runs.append(text)
            elif name == "rPh":
                self._is_phonetic = False
            elif name == "c":
                self._close_cell()
            elif name == "row" and self._cells:
                yield Row(self._number, self._cells, self._row_hidden)

    def _clear(self) -> None:
        self._value, self._runs = None, []
        self._formula = self._is_phonetic = False

    def _phonetic(self, _: Mapping[str, str]) -> None:
        self._is_phonetic = True

    def _merge(self, attributes: Mapping[str, str]) -> None:
        for reference in attributes["ref"].split(":", 1):
            parse_reference(reference)
        self._sheet.merged.append(attributes["ref"])

    def _column(self, attributes: Mapping[str, str]) -> None:
        if attributes.get("hidden") in _TRUE or float(attributes.get("width", "1")) == 0:
            self._sheet.hidden_columns.append((int(attributes["min"]) - 1, int(attributes["max"]) - 1))

    def _defaults(self, attributes: Mapping[str, str]) -> None:
        self._rows_hidden = attributes.get("zeroHeight") in _TRUE

    def _row(self, attributes: Mapping[str, str]) -> None:
        number = int(attributes.get("r", self._number + 1))
        if not self._number < number <= MAX_ROWS:
            raise DamagedWorkbook(f"row {number} twice or out of order")
        self._number, self._cells, self._column_index = number, [], -1
        hidden = attributes.get("hidden")
        self._row_hidden = hidden in _TRUE or (hidden is None and self._rows_hidden)
        self._row_hidden = self._row_hidden or float(attributes.get("ht", "1")) == 0

    def _open_cell(self, attributes: Mapping[str, str]) -> None:
        row, column = parse_reference(attributes["r"]) if "r" in attributes else (self._number, self._column_index + 1)
        if row != self._number or column <= self._column_index:
            raise DamagedWorkbook(f"a cell twice or out of order in row {self._number}")
        self._column_index, self._cell = column, attributes
        self._clear()

    def _close_cell(self) -> None:
        value = self._parse_cell()
        if value is not None and value != "":
            self._cells.extend([None] * (self._column_index - len(self._cells)))
            self._cells.append(value)

    def _parse_cell(self) -> object:
        kind, value = self._cell.get("t", "n"), self._value
        if kind == "e":
            return InvalidCell(f"the error {(value or '')[:20]}".rstrip())
        if self._formula and not value:
            return InvalidCell("a formula without a value")
        if kind == "inlineStr":
            return _unescaped("".join(self._runs))
        if value is None or value == "":
            return None
        if kind == "s":
            return self._texts[int("0" + value)]  # refuses a minus, with which Python counts from the end
        if kind == "str":
            return _unescaped(value)
        if kind == "b":
            return value in _TRUE
        if kind == "d":
            return InvalidCell("a date or time")
        return self._parse_number(value)

    def _parse_number(self, value: str) -> object:
        style = int("0" + self._cell.get("s", "0"))
        if self._formats and (reason := self._formats[style]):
            return InvalidCell(reason)
        if not _NUMBER.fullmatch(value):
            return InvalidCell("a number that cannot be read")
        number = float(value)
        if abs(number) >= MAX_EXACT_NUMBER:
            return InvalidCell("a number of more than 15 digits, which a spreadsheet rounds")
        return int(value) if value.lstrip("-").isdecimal() else number
