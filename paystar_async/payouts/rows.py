"""From what a caller hands over to transfers: each one made and checked, or refused with everything that is wrong."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from attrs import frozen

from paystar_async.errors import InvalidValue, RowError
from paystar_async.errors.text import visible
from paystar_async.models.base import FieldInfo, fields_of, verify_checksums
from paystar_async.models.transfers import Transfer
from paystar_async.models.wallet import WalletTransfer
from paystar_async.payouts.classify import Value
from paystar_async.payouts.headings import IGNORED, column_name, plain, refusal
from paystar_async.payouts.readers import Table, is_blank, short
from paystar_async.payouts.workbook import Flaw, Row, column_letters, position
from paystar_async.values.digits import normalize_digits, strip_spaces, without_marks
from paystar_async.values.masking import described
from paystar_async.values.numbers import MAX_INT64

Kind = type[Transfer] | type[WalletTransfer]

KINDS: tuple[Kind, ...] = (Transfer, WalletTransfer)
NAMES = frozenset(one.name for kind in KINDS for one in fields_of(kind))
"""Whatever a column may be called."""

_NAMES_OF_PEOPLE = frozenset(("destination_firstname", "destination_lastname"))
_GROUPED = re.compile(r"[0-9]{1,3}(?:[,\u066c][0-9]{3})+")
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_ROUNDED = re.compile(r"[0-9][.,]?[0-9]*[eE]\+?[0-9]+|[0-9]+[.,\u066b][0-9]*[eE][+-]?[0-9]+|[0-9]+[eE][+-][0-9]+")
_REWRITTEN = re.compile(
    r"[0-9]+[.\u066b]0*"  # what a column of numbers with a gap becomes: 1001.0
    r"|[0-9]{1,3}(?:[,\u066c][0-9]{3})+(?:\.[0-9]*)?"
    r"|(?:1[34]|19|20)[0-9]{2}([-/.])[0-9]{1,2}\1[0-9]{1,2}(?:[ T]?[0-9:.]+)?"
)
_ERROR = re.compile(
    r"#+|#?n/?a|#n/a n/a|#[a-z0-9/_]+[!?]|#(?:getting_data|calc|spill|null)|#?err:?[0-9]{3}|<na>"
    r"|[-+]?nan|nat|[-+]?inf(?:inity)?|none|null|nil|undefined|true|false",
    re.IGNORECASE,
)
"""What stands in a cell for an error or for nothing; no name, and no account, is spelled so."""
_FORMULA = tuple("=+-@'")
_FLAW_HINT = "write the value itself, or empty the cell"
_AMOUNT = "whole Rial, 1 or more"
_WORDS = ("whole Rial as an int, 1 or more", _AMOUNT)
_PYTHON_HINT = " – an amount is a whole number of Rial:"
"""What the field adds for those who write Python."""
_NUMBER_HINT = "a spreadsheet keeps numbers without leading zeros and rounds long ones: format the column as text"


@frozen
class Columns:
    """Which column holds which field.

    Attributes:
        table: where the rows stand.
        header: the headings.
        kind: what a row is: a Transfer or a WalletTransfer.
        fields: the field of each column, by its place.
    """

    table: Table
    header: Sequence[object]
    kind: Kind
    fields: tuple[FieldInfo | None, ...]

    def read(self, row: Row, *, strict: bool) -> "Value | list[RowError]":
        """Return the transfer in a row, or everything that is wrong with it."""
        values: dict[str, object] = {}
        bad: list[RowError] = []
        if row.hidden:
            bad.append(RowError(row.number, "", "the row is hidden or filtered out: show it, or delete it"))
        cells = row.cells
        if not all(map(is_blank, cells[len(self.fields) :])):
            reason = "it has more cells than there are columns; a text with a comma needs quotes"
            bad.append(RowError(row.number, "", reason))
        for place, info in enumerate(self.fields):
            cell = cells[place] if place < len(cells) else None
            if info is None:
                if not is_blank(cell) and plain(self.header[place]) not in IGNORED:
                    bad.append(RowError(row.number, "", "a cell in a column without a name"))
                continue
            try:
                values[info.name] = _value(info, cell)
            except InvalidValue as refusal:
                bad.append(_bad(row.number, refusal))
        if bad:
            bad += list(_explain(row.number, self.kind, values, strict=strict))
            return [self._placed(problem) for problem in bad]
        value = made(row.number, self.kind, values, strict=strict)
        return [self._placed(problem) for problem in value] if isinstance(value, list) else value

    def at_end(self, last_row: int) -> list[RowError]:
        """Return what is wrong with the sheet as a whole, known once all of its rows were read."""
        bad: list[RowError] = []
        for merged in self.table.source.merged if self.table.source else ():
            first, _, last = merged.partition(":")
            if position(last or first)[0] > self.table.header_row and position(first)[0] <= last_row:
                reason = f"cells {merged} are merged, and only the first of them has a value: split them"
                bad.append(RowError(position(first)[0], "", reason))
        return bad

    def _placed(self, problem: RowError) -> RowError:
        """Return what is wrong with the name of the cell it is in, in the words of the sheet."""
        reason = problem.reason.replace(*_WORDS) if problem.field == "amount" else problem.reason
        for place, info in enumerate(self.fields):
            if info is not None and info.name == problem.field:
                where = self.table.place(problem.row, place, self.header[place])
                return problem._replace(reason=reason.partition(_PYTHON_HINT)[0], place=where)
        return problem


def columns(table: Table, header: Row) -> Columns:
    """Return what the columns of a table are.

    Raises:
        InvalidValue: a column is unknown, missing, hidden or there twice; names it, and what may be meant.
    """
    headings = header.cells
    names = ["" if is_blank(cell) or isinstance(cell, Flaw) else column_name(cell) for cell in headings]
    kind = _meant(names)
    fields = {info.name: info for info in fields_of(kind)}
    wanted = ", ".join(name if info.required else f"{name} (may be left out)" for name, info in fields.items())
    expected, where = f"the columns {wanted}", f"{table.file}, header"
    refusals = [(cell, refusal(cell)) for cell in headings if isinstance(cell, str)]
    problems = [f"«{short(cell)}»: {reason}" for cell, reason in refusals if reason]
    if not fields.keys() & set(names) and not problems:
        # Values, it seems, and these are not for everyone's eyes.
        got = "a first row that names none of them"
        raise InvalidValue(where, expected=expected, got=got, hint="put the names above the first transfer")
    understood = [
        "" if plain(cell) in IGNORED or refusal(cell) else name for cell, name in zip(headings, names, strict=True)
    ]
    problems += _unknown(understood, fields)
    problems += [f"{name} is there twice" for name in fields if names.count(name) > 1]
    close = {meant for name in understood if name not in fields for meant in _close(name, fields)}
    problems += [
        f"{name} is missing"
        for name, info in fields.items()
        if info.required and name not in names and name not in close
    ]
    problems += [
        f"column {column_letters(place)} ({short(cell)}) is hidden: show it, or delete it"
        for place, cell in enumerate(headings)
        if table.is_hidden(place) and not is_blank(cell)
    ]
    problems += [
        f"cell {column_letters(place)}{header.number} holds {cell.reason}"
        for place, cell in enumerate(headings)
        if isinstance(cell, Flaw)
    ]
    if problems:
        raise InvalidValue(where, expected=expected, got="; ".join(problems))
    table.notices += [
        f"column {column_letters(place)} ({short(cell)}): not read"
        for place, cell in enumerate(headings)
        if plain(cell) in IGNORED
    ]
    table.header_row = header.number
    return Columns(table, headings, kind, tuple(fields.get(name) for name in names))


def _meant(names: Sequence[str]) -> Kind:
    """The kind that more of the names belong to; where they tell nothing, that of bank transfers."""

    def fit(kind: Kind) -> tuple[int, int]:
        fields = {one.name: one for one in fields_of(kind)}
        return sum(name in fields for name in names), sum(bool(_close(name, fields)) for name in names)

    return max(KINDS, key=fit)


def _close(name: str, fields: Mapping[str, FieldInfo]) -> list[str]:
    return difflib.get_close_matches(name, fields, n=1, cutoff=0.7)


def _unknown(names: Sequence[str], fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name in names:
        if name and name not in fields:
            meant = [one for one in _close(name, fields) if one not in names]
            said = repr(name) if name.isidentifier() and len(name) <= 40 else described(name)
            yield f"{said} is no column" + (f", did you mean {meant[0]}?" if meant else "")


def _value(info: FieldInfo, cell: object) -> object:
    """Return a cell as the field takes it."""
    name = info.name
    if is_blank(cell):
        if info.required:
            raise InvalidValue(name, expected=info.field_type.expected if info.field_type else "a value", got="nothing")
        return None
    if isinstance(cell, Flaw):
        raise InvalidValue(name, expected="a value", got=cell.reason, hint=_FLAW_HINT)
    if isinstance(cell, str) and _ERROR.fullmatch(visible(cell).strip()):
        raise InvalidValue(name, expected="a value", got="what a spreadsheet writes for an error", hint=_FLAW_HINT)
    if name == "amount":
        return _amount(cell)
    if not isinstance(cell, str):
        got = "TRUE or FALSE" if isinstance(cell, bool) else "a number"
        raise InvalidValue(name, expected="a cell of text", got=got, hint=_NUMBER_HINT)
    text = cell.strip()
    if text.startswith(_FORMULA):
        hint = "it begins with = + - @ or an apostrophe"
        raise InvalidValue(name, expected="a text", got="what a spreadsheet takes for a formula", hint=hint)
    if name in _NAMES_OF_PEOPLE:
        return text
    text = normalize_digits(text)
    if _ROUNDED.fullmatch(strip_spaces(text)):
        raise InvalidValue(name, expected="the whole number", got="a rounded one", hint=_NUMBER_HINT)
    if _REWRITTEN.fullmatch(strip_spaces(text)):
        got = "a number or a date as a spreadsheet writes it"
        raise InvalidValue(name, expected="the digits as they are", got=got, hint=_NUMBER_HINT)
    return text


def _amount(cell: object) -> object:
    if isinstance(cell, bool):
        raise InvalidValue("amount", expected=_AMOUNT, got="TRUE or FALSE")
    if isinstance(cell, float):
        if not cell.is_integer():
            hint = "the format of the cell may hide what stands behind the point"
            raise InvalidValue("amount", expected=_AMOUNT, got="a number that is not whole", hint=hint)
        return int(cell)
    if isinstance(cell, str):
        text = normalize_digits(without_marks(cell).strip())
        if _GROUPED.fullmatch(text) or _DIGITS.fullmatch(text):
            number = int(text.replace(",", "").replace("\u066c", ""))
            return number if abs(number) <= MAX_INT64 else text
        return text  # which the field refuses, saying what it wants
    return cell


def made(number: int, kind: Kind, given: Mapping[str, Any], *, strict: bool) -> "Value | list[RowError]":
    """A transfer of these fields, or everything that is wrong with them."""
    try:
        value = kind(**given)
        if strict:
            verify_checksums(value)
    except InvalidValue:
        return list(_explain(number, kind, given, strict=strict))
    return value


def _explain(number: int, kind: Kind, given: Mapping[str, object], *, strict: bool) -> Iterator[RowError]:
    """What is wrong with the fields, each by itself."""
    for one in fields_of(kind):
        if one.field_type is None or given.get(one.name) is None:
            continue
        try:
            value = one.field_type.convert(given[one.name], one.name)
            if strict:
                one.field_type.verify_checksum(value, one.name)
        except InvalidValue as refusal:
            yield _bad(number, refusal)


def _bad(number: int, refusal: InvalidValue) -> RowError:
    hint = f" – {refusal.hint}" if refusal.hint else ""
    return RowError(number, refusal.field, f"expected {refusal.expected}, got {refusal.got}{hint}")


class Items:
    """Reads what an iterable gives: transfers, or mappings of their fields, all of the kind that the first one is."""

    def __init__(self, *, strict: bool) -> None:
        self.kind: Kind | None = None
        self._strict = strict

    def read(self, number: int, item: object) -> "Value | list[RowError]":
        """The transfer an item is, or everything that is wrong with it."""
        kind = _kind_of(item)
        if kind is None:
            return [RowError(number, "", f"expected a Transfer or a WalletTransfer, got a {type(item).__name__}")]
        self.kind = self.kind or kind
        if kind is not self.kind:
            return [
                RowError(number, "", f"a {kind.__name__} among {self.kind.__name__}s: they go in batches of their own")
            ]
        if isinstance(item, Transfer | WalletTransfer):
            return self._checked(number, item)
        return self._made(number, kind, cast("Mapping[str, Any]", item))

    def _checked(self, number: int, item: Value) -> "Value | list[RowError]":
        if self._strict:
            try:
                verify_checksums(item)
            except InvalidValue:
                given = {one.name: getattr(item, one.name) for one in fields_of(type(item))}
                return list(_explain(number, type(item), given, strict=True))
        return item

    def _made(self, number: int, kind: Kind, item: Mapping[str, Any]) -> "Value | list[RowError]":
        fields = {one.name: one for one in fields_of(kind)}
        given = {name: one for name, one in item.items() if name in fields}
        bad = [RowError(number, "", said) for said in _unknown([str(name) for name in item], fields)]
        for name, one in fields.items():
            if one.required and item.get(name) is None:
                shape = one.field_type.expected if one.field_type else "a value"
                bad.append(RowError(number, name, f"expected {shape}, got nothing"))
        if bad:
            return bad + list(_explain(number, kind, given, strict=self._strict))
        return made(number, kind, given, strict=self._strict)


def _kind_of(item: object) -> Kind | None:
    if isinstance(item, Transfer | WalletTransfer):
        return type(item)
    return _meant([str(name) for name in cast("Mapping[object, object]", item)]) if isinstance(item, Mapping) else None
