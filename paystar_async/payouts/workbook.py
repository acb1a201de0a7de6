"""XLSX workbooks, read from their own XML.

The readers that exist show an error or a formula without a value as an empty cell, and hidden sheets and rows as any
other. Where cells are money, that decides what is paid; so the parts are parsed here, each cell with what it is.
"""

import re
import xml.parsers.expat as expat
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import IO, NamedTuple
from zipfile import BadZipFile, ZipFile
from zlib import error as zlib_error

from attrs import define, field, frozen

from paystar_async.payouts.number_formats import format_reason

MAX_PART_BYTES = 256 * 2**20
"""The most one part of a workbook may come to when it is unpacked."""
MAX_TEXT_CHARACTERS = 32_767
"""The most characters a cell may hold, in any spreadsheet."""
MAX_COLUMNS, MAX_ROWS = 16_384, 1_048_576
MAX_EXACT_NUMBER = 10**15
"""Spreadsheets keep 15 digits of a number."""

_PIECE_BYTES = 65_536
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_TRUE = ("1", "true")

Event = tuple[str, Mapping[str, str] | None, str]
"""The name of an element, with its attributes where it begins; where it ends, None and its text."""


class Damaged(Exception):
    """Raised where a workbook cannot be read, or could be read in two ways; its text names the reason."""


@frozen
class Flaw:
    """A cell that shows no value that could be used.

    Attributes:
        reason: what the cell holds, in the words of a spreadsheet.
    """

    reason: str


class Row(NamedTuple):
    """One row of a file.

    Attributes:
        number: its number as the spreadsheet shows it, the first being 1.
        cells: a text, number, bool, None or Flaw each.
        hidden: whether the spreadsheet does not show the row.
    """

    number: int
    cells: Sequence[object]
    hidden: bool = False


@define
class Sheet:
    """One worksheet.

    Attributes:
        name: its name.
        hidden: whether the spreadsheet does not show it.
        part: the name of its part in the archive.
        hidden_columns: first and last place of columns that are not shown, from 0; complete once a row was read.
        merged: the ranges of merged cells (``A3:A9``); complete once every row was read.
    """

    name: str
    hidden: bool
    part: str
    hidden_columns: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    merged: list[str] = field(factory=list[str])


def column_letters(place: int) -> str:
    """Return the letters of a column by its place from 0: ``A``, ``Z``, ``AA``."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def position(reference: str) -> tuple[int, int]:
    """Return row number and column place of a cell reference: ``B7`` is ``(7, 1)``."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise Damaged(f"a cell without a place: {reference[:20]!r}")
    place = 0
    for letter in match[1]:
        place = place * 26 + ord(letter) - 64
    if place > MAX_COLUMNS or not 1 <= int(match[2]) <= MAX_ROWS:
        raise Damaged("a cell beyond the last column or row")
    return int(match[2]), place - 1


class Workbook:
    """An open workbook.

    Args:
        file: its path; what is read of it is bounded, and no entity or address in it is followed.

    Raises:
        Damaged: it is no workbook, or one that cannot be read safely.
        OSError: the file cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        try:
            with translated():
                self._archive = ZipFile(self._file)
                self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        names = self._archive.namelist()
        if len(set(names)) < len(names):
            raise Damaged("a workbook with two parts of the same name")
        book = self._target("_rels/.rels", "officeDocument") or "xl/workbook.xml"
        self._relations = self._related(join(dirname(book), "_rels", book.rpartition("/")[2] + ".rels"))
        self.sheets: list[Sheet] = []
        for name, attributes, _ in self._events(book):
            if attributes is not None and name == "sheet":
                self._add(attributes, dirname(book))
        folder = dirname(book)
        self._formats = _formats(self._optional(folder, "styles"))
        self._texts = list(_texts(self._optional(folder, "sharedStrings")))

    def close(self) -> None:
        """Close the file."""
        self._file.close()  # a part that is being read would keep it open through the archive

    def rows(self, sheet: Sheet) -> Generator[Row]:
        """Yield the rows of a sheet that hold a cell, whether shown or not."""
        with translated():
            yield from _SheetReader(sheet, self._texts, self._formats).rows(self._events(sheet.part))

    def _add(self, attributes: Mapping[str, str], folder: str) -> None:
        relation = next((value for name, value in attributes.items() if name.endswith(" id")), "")
        kind, target = self._relations.get(relation, ("", ""))
        if kind == "worksheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append(Sheet(attributes.get("name", ""), hidden, _resolved(folder, target)))

    def _related(self, part: str) -> dict[str, tuple[str, str]]:
        """Return the type and target of each relation of a part, by its id."""
        if part not in self._archive.namelist():
            return {}
        return {
            attributes.get("Id", ""): (attributes.get("Type", "").rpartition("/")[2], attributes.get("Target", ""))
            for name, attributes, _ in self._events(part)
            if attributes is not None and name == "Relationship"
        }

    def _target(self, part: str, wanted: str) -> str | None:
        targets = (target for kind, target in self._related(part).values() if kind == wanted)
        return next((_resolved("", target) for target in targets), None)

    def _optional(self, folder: str, wanted: str) -> Iterator[Event]:
        """Yield the events of a part of the workbook that need not be there."""
        for kind, target in self._relations.values():
            if kind == wanted:
                return self._events(_resolved(folder, target))
        return iter(())

    def _events(self, part: str) -> Iterator[Event]:
        if self._archive.getinfo(part).file_size > MAX_PART_BYTES:
            raise Damaged("a workbook that is too large when it is unpacked")
        with self._archive.open(part) as stream:
            yield from _parse(stream)


class translated:  # noqa: N801 - reads as a word in a with statement
    """Raise Damaged for whatever the archive and XML readers raise within a ``with`` block."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, problem: BaseException | None, __: object) -> None:
        if isinstance(problem, KeyError | BadZipFile | zlib_error | expat.ExpatError | EOFError | IndexError):
            raise Damaged("a workbook that cannot be read") from None
        if isinstance(problem, RuntimeError | NotImplementedError | ValueError) and not isinstance(problem, Damaged):
            raise Damaged("a workbook that is encrypted or cannot be read") from None


def _resolved(folder: str, target: str) -> str:
    return normpath(join("/", folder, target)).lstrip("/")


def _parse(stream: IO[bytes]) -> Iterator[Event]:
    """Yield the elements of an XML part in order; a document type, which could declare entities, is refused."""
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
        if len(text) > MAX_TEXT_CHARACTERS:
            raise Damaged("a cell with too long a text")

    def refuse(*_: object) -> None:
        raise Damaged("a workbook with a document type in it")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, refuse
    while piece := stream.read(_PIECE_BYTES):
        parser.Parse(piece)
        yield from events
        events.clear()
    parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keywords
    yield from events


def _texts(events: Iterator[Event]) -> Iterator[str]:
    """Yield the shared texts, without the reading aids beside them."""
    runs: list[str] = []
    aside = False
    for name, attributes, text in events:
        if name == "rPh":
            aside = attributes is not None
        elif attributes is not None:
            runs = [] if name == "si" else runs
        elif name == "t" and not aside:
            runs.append(text)
        elif name == "si":
            yield _unescaped("".join(runs))


def _unescaped(text: str) -> str:
    """Return a text with ``_x000D_`` as the character it stands for."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def _formats(events: Iterator[Event]) -> list[str]:
    """Return for each cell style why it shows another number than the cell holds; nothing where it does not."""
    codes: dict[int, str] = {}
    formats: list[str] = []
    inside = False
    for name, attributes, _ in events:
        if name == "cellXfs":
            inside = attributes is not None
        elif attributes is not None and name == "numFmt":
            codes[int(attributes["numFmtId"])] = attributes.get("formatCode", "")
        elif attributes is not None and name == "xf" and inside:
            number = int(attributes.get("numFmtId", "0"))
            formats.append(format_reason(number, codes.get(number)))
    return formats


class _SheetReader:
    """Turns the XML of a sheet into rows."""

    def __init__(self, sheet: Sheet, texts: Sequence[str], formats: Sequence[str]) -> None:
        self._sheet, self._texts, self._formats = sheet, texts, formats
        self._rows_hidden = False
        self._number = 0
        self._row_hidden = False
        self._cells: list[object] = []
        self._place = -1
        self._cell: Mapping[str, str] = {}
        self._value: str | None = None
        self._formula = self._aside = False
        self._runs: list[str] = []
        self._readers: dict[str, Callable[[Mapping[str, str]], None]] = {
            "col": self._column,
            "sheetFormatPr": self._defaults,
            "mergeCell": lambda attributes: self._sheet.merged.append(attributes.get("ref", "")),
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
            elif name == "t" and not self._aside:
                self._runs.append(text)
            elif name == "rPh":
                self._aside = False
            elif name == "c":
                self._close_cell()
            elif name == "row" and self._cells:
                yield Row(self._number, self._cells, self._row_hidden)

    def _clear(self) -> None:
        self._value, self._runs = None, []
        self._formula = self._aside = False

    def _phonetic(self, _: Mapping[str, str]) -> None:
        self._aside = True

    def _column(self, attributes: Mapping[str, str]) -> None:
        if attributes.get("hidden") in _TRUE or float(attributes.get("width", "1")) == 0:
            self._sheet.hidden_columns.append((int(attributes["min"]) - 1, int(attributes["max"]) - 1))

    def _defaults(self, attributes: Mapping[str, str]) -> None:
        self._rows_hidden = attributes.get("zeroHeight") in _TRUE

    def _row(self, attributes: Mapping[str, str]) -> None:
        number = int(attributes.get("r", self._number + 1))
        if not self._number < number <= MAX_ROWS:
            raise Damaged(f"row {number} twice or out of order")
        self._number, self._cells, self._place = number, [], -1
        hidden = attributes.get("hidden")
        self._row_hidden = hidden in _TRUE or (hidden is None and self._rows_hidden)
        self._row_hidden = self._row_hidden or float(attributes.get("ht", "1")) == 0

    def _open_cell(self, attributes: Mapping[str, str]) -> None:
        row, place = position(attributes["r"]) if "r" in attributes else (self._number, self._place + 1)
        if row != self._number or place <= self._place:
            raise Damaged(f"a cell twice or out of order in row {self._number}")
        self._place, self._cell = place, attributes
        self._clear()

    def _close_cell(self) -> None:
        value = self._read()
        if value is not None and value != "":
            self._cells.extend([None] * (self._place - len(self._cells)))
            self._cells.append(value)

    def _read(self) -> object:
        kind, value = self._cell.get("t", "n"), self._value
        if kind == "e":
            return Flaw(f"the error {(value or '')[:20]}".rstrip())
        if self._formula and not value:
            return Flaw("a formula without a value")
        if kind == "inlineStr":
            return _unescaped("".join(self._runs))
        if value is None or value == "":
            return None
        if kind == "s":
            return self._texts[int(value)]
        if kind == "str":
            return _unescaped(value)
        if kind == "b":
            return value in _TRUE
        if kind == "d":
            return Flaw("a date or time")
        return self._as_number(value)

    def _as_number(self, value: str) -> object:
        style = int(self._cell.get("s", "0"))
        if self._formats and (reason := self._formats[style]):
            return Flaw(reason)
        if not _NUMBER.fullmatch(value):
            return Flaw("a number that cannot be read")
        number = float(value)
        if abs(number) >= MAX_EXACT_NUMBER:
            return Flaw("a number of more than 15 digits, which a spreadsheet rounds")
        return int(value) if value.lstrip("-").isdecimal() else number


def first_rows(book: Workbook, sheet: Sheet, count: int) -> list[Row]:
    """Return the first rows of a sheet that hold a cell, ``count`` at most."""
    with closing(book.rows(sheet)) as rows:
        return [row for row, _ in zip(rows, range(count), strict=False)]
