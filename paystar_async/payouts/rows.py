"""Rows: build a transfer from each row or item, or list everything that is wrong with it."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from attrs import frozen

from paystar_async.errors import InvalidValue, RowError
from paystar_async.errors.text import describe_type, visible
from paystar_async.models.base import FieldInfo, fields_of, verify_checksums
from paystar_async.models.transfers import Transfer
from paystar_async.models.wallet import WalletTransfer
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.headings import IGNORED, column_name, normalize_heading, unusable_reason
from paystar_async.payouts.readers import Table, is_blank, shorten
from paystar_async.payouts.workbook import InvalidCell, Row, column_letters, parse_reference
from paystar_async.values.digits import normalize_digits, strip_marks, strip_spaces
from paystar_async.values.masking import describe_value
from paystar_async.values.numbers import MAX_INT64

TransferType = type[Transfer] | type[WalletTransfer]
RowResult = AnyTransfer | list[RowError]
"""The transfer in a row, or all errors of the row."""

TRANSFER_TYPES: tuple[TransferType, ...] = (Transfer, WalletTransfer)
FIELD_NAMES = frozenset(info.name for kind in TRANSFER_TYPES for info in fields_of(kind))
"""Names of fields of all transfer types."""

_PERSON_NAME_FIELDS = frozenset(("destination_firstname", "destination_lastname"))
_GROUPED = re.compile(r"[0-9]{1,3}(?:[,\u066c][0-9]{3})+")
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_ROUNDED = re.compile(r"[0-9][.,]?[0-9]*[eE]\+?[0-9]+|[0-9]+[.,\u066b][0-9]*[eE][+-]?[0-9]+|[0-9]+[eE][+-][0-9]+")
_REWRITTEN = re.compile(
    r"[0-9]+[.\u066b]0*"  # how a column of numbers with a gap is written: 1001.0
    r"|[0-9]{1,3}(?:[,\u066c][0-9]{3})+(?:\.[0-9]*)?"
    r"|(?:1[34]|19|20)[0-9]{2}([-/.])[0-9]{1,2}\1[0-9]{1,2}(?:[ T]?[0-9:.]+)?"
)
_ERROR = re.compile(
    r"#+|#?n/?a|#n/a n/a|#[a-z0-9/_]+[!?]|#(?:getting_data|calc|spill|null)|#?err:?[0-9]{3}|<na>"
    r"|[-+]?nan|nat|[-+]?inf(?:inity)?|none|null|nil|undefined|true|false",
    re.IGNORECASE,
)
"""Texts that mean an error or an empty cell; no name and no account is spelled like them."""
_FORMULA_PREFIXES = tuple("=+-@'")
_INVALID_CELL_HINT = "write the value itself, or empty the cell"
_AMOUNT = "whole Rial, 1 or more"
_AMOUNT_WORDING = ("whole Rial as an int, 1 or more", _AMOUNT)
_PYTHON_HINT = " – an amount is a whole number of Rial:"
"""The end of the field's error message that addresses Python programmers."""
_NUMBER_HINT = "a spreadsheet keeps numbers without leading zeros and rounds long ones: format the column as text"


@frozen
class ColumnMapping:
    """The field of each column of a table.

    Attributes:
        table: the table of the rows.
        header: the headings.
        kind: the type of a row's transfer: Transfer or WalletTransfer.
        fields: the field of each column, or None.
    """

    table: Table
    header: Sequence[object]
    kind: TransferType
    fields: tuple[FieldInfo | None, ...]

    def read_row(self, row: Row) -> RowResult:
        """Return the transfer in a row, or all errors of the row."""
        values: dict[str, object] = {}
        bad: list[RowError] = []
        if row.hidden:
            bad.append(RowError(row.number, "", "the row is hidden or filtered out: show it, or delete it"))
        cells = row.cells
        if not all(map(is_blank, cells[len(self.fields) :])):
            reason = "the row has more cells than there are columns; a text with a comma needs quotes"
            bad.append(RowError(row.number, "", reason))
        for index, info in enumerate(self.fields):
            cell = cells[index] if index < len(cells) else None
            if info is None:
                if not is_blank(cell) and normalize_heading(self.header[index]) not in IGNORED:
                    bad.append(RowError(row.number, "", "a cell in a column without a name"))
                continue
            try:
                values[info.name] = _read_cell(info, cell)
            except InvalidValue as error:
                bad.append(_row_error(row.number, error))
        if bad:
            bad += _explain(row.number, self.kind, values)
            return [self._with_cell_name(problem) for problem in bad]
        value = _build_transfer(row.number, self.kind, values)
        return [self._with_cell_name(problem) for problem in value] if isinstance(value, list) else value

    def check_merged_cells(self, last_row: int) -> list[RowError]:
        """Return an error for each merged range that touches the rows; call after all rows were read."""
        bad: list[RowError] = []
        for merged in self.table.source.merged if self.table.source else ():
            first, _, last = merged.partition(":")
            if parse_reference(last or first)[0] > self.table.header_row and parse_reference(first)[0] <= last_row:
                reason = f"cells {merged} are merged, and only the first of them has a value: split them"
                bad.append(RowError(parse_reference(first)[0], "", reason))
        return bad

    def _with_cell_name(self, problem: RowError) -> RowError:
        """Return the error with the name of its cell, worded for users of a spreadsheet."""
        reason = problem.reason.replace(*_AMOUNT_WORDING) if problem.field == "amount" else problem.reason
        for index, info in enumerate(self.fields):
            if info is not None and info.name == problem.field:
                where = self.table.cell_name(problem.row, index, self.header[index])
                return problem._replace(reason=reason.partition(_PYTHON_HINT)[0], place=where)
        return problem


def match_columns(table: Table, header: Row) -> ColumnMapping:
    """Return the field of each column of a table.

    Raises:
        InvalidValue: a column is unknown, missing, hidden or duplicated; the error names the column and similar names.
    """
    headings = header.cells
    names = ["" if is_blank(cell) or isinstance(cell, InvalidCell) else column_name(cell) for cell in headings]
    kind = _guess_type(names)
    fields = {info.name: info for info in fields_of(kind)}
    column_names = ", ".join(name if info.required else f"{name} (may be left out)" for name, info in fields.items())
    expected, where = f"the columns {column_names}", f"{table.file}, header"
    refusals = [(cell, unusable_reason(cell)) for cell in headings if isinstance(cell, str)]
    problems = [f"«{shorten(cell)}»: {reason}" for cell, reason in refusals if reason]
    if not fields.keys() & set(names) and not problems:
        # The first row seems to hold values, which are personal data.
        actual = "a first row that names none of them"
        raise InvalidValue(where, expected=expected, got=actual, hint="put the names above the first transfer")
    field_names = [
        "" if normalize_heading(cell) in IGNORED or unusable_reason(cell) else name
        for cell, name in zip(headings, names, strict=True)
    ]
    problems += _unknown_names(field_names, fields)
    problems += [f"{name} is there twice" for name in fields if names.count(name) > 1]
    similar = {suggestion for name in field_names if name not in fields for suggestion in _similar_names(name, fields)}
    problems += [
        f"{name} is missing"
        for name, info in fields.items()
        if info.required and name not in names and name not in similar
    ]
    problems += [
        f"column {column_letters(column)} ({shorten(cell)}) is hidden: show it, or delete it"
        for column, cell in enumerate(headings)
        if table.is_hidden(column) and not is_blank(cell)
    ]
    problems += [
        f"cell {column_letters(column)}{header.number} holds {cell.reason}"
        for column, cell in enumerate(headings)
        if isinstance(cell, InvalidCell)
    ]
    if problems:
        raise InvalidValue(where, expected=expected, got=f"other ones: {'; '.join(problems)}")
    table.notices += [
        f"column {column_letters(column)} ({shorten(cell)}): not read"
        for column, cell in enumerate(headings)
        if normalize_heading(cell) in IGNORED
    ]
    table.header_row = header.number
    return ColumnMapping(table, headings, kind, tuple(fields.get(name) for name in names))


def _guess_type(names: Sequence[str]) -> TransferType:
    """Return the transfer type with most of the names; Transfer if the names decide nothing."""

    def count_matches(kind: TransferType) -> tuple[int, int]:
        fields = {info.name: info for info in fields_of(kind)}
        return sum(name in fields for name in names), sum(bool(_similar_names(name, fields)) for name in names)

    return max(TRANSFER_TYPES, key=count_matches)


def _similar_names(name: str, fields: Mapping[str, FieldInfo]) -> list[str]:
    return difflib.get_close_matches(name, fields, n=1, cutoff=0.7)


def _unknown_names(names: Sequence[str], fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name in names:
        if name and name not in fields:
            suggestions = [suggestion for suggestion in _similar_names(name, fields) if suggestion not in names]
            title = repr(name) if name.isidentifier() and len(name) <= 40 else describe_value(name)
            yield f"{title} is not a column" + (f", did you mean {suggestions[0]}?" if suggestions else ": delete it")


def _read_cell(info: FieldInfo, cell: object) -> object:
    """Return a cell as the value of its field."""
    name = info.name
    if is_blank(cell):
        if info.required:
            raise InvalidValue(name, expected=info.field_type.expected if info.field_type else "a value", got="nothing")
        return None
    if isinstance(cell, InvalidCell):
        raise InvalidValue(name, expected="a value", got=cell.reason, hint=_INVALID_CELL_HINT)
    if isinstance(cell, str) and _ERROR.fullmatch(visible(cell).strip()):
        raise InvalidValue(name, expected="a value", got="the text of a spreadsheet error", hint=_INVALID_CELL_HINT)
    if name == "amount":
        return _read_amount(cell)
    if not isinstance(cell, str):
        actual = "TRUE or FALSE" if isinstance(cell, bool) else "a number"
        raise InvalidValue(name, expected="a cell of text", got=actual, hint=_NUMBER_HINT)
    text = cell.strip()
    if text.startswith(_FORMULA_PREFIXES):
        hint = "the cell begins with = + - @ or an apostrophe"
        raise InvalidValue(name, expected="a text", got="text that a spreadsheet takes for a formula", hint=hint)
    if name in _PERSON_NAME_FIELDS:
        return text
    text = normalize_digits(text)
    if _ROUNDED.fullmatch(strip_spaces(text)):
        raise InvalidValue(name, expected="the whole number", got="a rounded one", hint=_NUMBER_HINT)
    if _REWRITTEN.fullmatch(strip_spaces(text)):
        actual = "a number or a date as a spreadsheet writes it"
        raise InvalidValue(name, expected="the digits as they are", got=actual, hint=_NUMBER_HINT)
    return text


def _read_amount(cell: object) -> object:
    if isinstance(cell, bool):
        raise InvalidValue("amount", expected=_AMOUNT, got="TRUE or FALSE")
    if isinstance(cell, float):
        if not cell.is_integer():
            hint = "the format of the cell may hide the decimals"
            raise InvalidValue("amount", expected=_AMOUNT, got="a number that is not whole", hint=hint)
        return int(cell)
    if isinstance(cell, str):
        text = normalize_digits(strip_marks(cell).strip())
        if _GROUPED.fullmatch(text) or _DIGITS.fullmatch(text):
            number = int(text.replace(",", "").replace("\u066c", ""))
            return number if abs(number) <= MAX_INT64 else text
        return text  # the field raises, and names the expected format
    return cell


def _build_transfer(number: int, kind: TransferType, values: Mapping[str, Any]) -> RowResult:
    """Return the transfer with these fields, or all errors of the fields."""
    try:
        transfer = kind(**values)
        verify_checksums(transfer)
    except InvalidValue:
        return list(_explain(number, kind, values))
    return transfer


def _explain(number: int, kind: TransferType, values: Mapping[str, object]) -> Iterator[RowError]:
    """Yield the error of each invalid field."""
    for info in fields_of(kind):
        if info.field_type is None or values.get(info.name) is None:
            continue
        try:
            info.field_type.verify_checksum(info.field_type.convert(values[info.name], info.name), info.name)
        except InvalidValue as error:
            yield _row_error(number, error)


def _row_error(number: int, error: InvalidValue) -> RowError:
    hint = f" – {error.hint}" if error.hint else ""
    return RowError(number, error.field, f"expected {error.expected}, got {error.got}{hint}")


class ItemReader:
    """A reader of transfers or of mappings of their fields, all of the same type as the first."""

    def __init__(self) -> None:
        self._kind: TransferType | None = None

    def read(self, number: int, item: object) -> RowResult:
        """Return the transfer of an item, or all errors of the item."""
        kind = _type_of(item)
        if kind is None:
            return [RowError(number, "", f"expected a Transfer or a WalletTransfer, got {describe_type(item)}")]
        self._kind = self._kind or kind
        if kind is not self._kind:
            reason = f"a {kind.__name__} among {self._kind.__name__}s: submit them as separate batches"
            return [RowError(number, "", reason)]
        if isinstance(item, Transfer | WalletTransfer):
            return _check_transfer(number, item)
        return _build_from_mapping(number, kind, cast("Mapping[str, Any]", item))


def _check_transfer(number: int, item: AnyTransfer) -> RowResult:
    try:
        verify_checksums(item)
    except InvalidValue:
        values = {info.name: getattr(item, info.name) for info in fields_of(type(item))}
        return list(_explain(number, type(item), values))
    return item


def _build_from_mapping(number: int, kind: TransferType, item: Mapping[str, Any]) -> RowResult:
    fields = {info.name: info for info in fields_of(kind)}
    values = {name: value for name, value in item.items() if name in fields}
    bad = [RowError(number, "", reason) for reason in _unknown_names([str(name) for name in item], fields)]
    for name, info in fields.items():
        if info.required and item.get(name) is None:
            expected = info.field_type.expected if info.field_type else "a value"
            bad.append(RowError(number, name, f"expected {expected}, got nothing"))
    if bad:
        return bad + list(_explain(number, kind, values))
    return _build_transfer(number, kind, values)


def _type_of(item: object) -> TransferType | None:
    if isinstance(item, Transfer | WalletTransfer):
        return type(item)
    if isinstance(item, Mapping):
        return _guess_type([str(name) for name in cast("Mapping[object, object]", item)])
    return None
