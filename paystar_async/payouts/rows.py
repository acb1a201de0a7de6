"""From what a caller hands over to transfers: each one made and checked, or refused with everything that is wrong."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from attrs import frozen

from paystar_async.errors import BadRow, InvalidValue
from paystar_async.models.base import FieldInfo, fields_of, verify
from paystar_async.models.transfers import Transfer
from paystar_async.models.wallet import WalletTransfer
from paystar_async.payouts.classify import Value
from paystar_async.payouts.tabular import column_name
from paystar_async.values.digits import fold
from paystar_async.values.integer import MOST
from paystar_async.values.mask import described

Kind = type[Transfer] | type[WalletTransfer]

KINDS: tuple[Kind, ...] = (Transfer, WalletTransfer)
NAMES = frozenset(one.name for kind in KINDS for one in fields_of(kind))
"""Whatever a column may be called."""

_NAMES_OF_PEOPLE = frozenset(("destination_firstname", "destination_lastname"))
_GROUPED = re.compile(r"[0-9]{1,3}(?:[,\u066c][0-9]{3})+")
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_ROUNDED = re.compile(r"[0-9][.,]?[0-9]*[eE]\+?[0-9]+")
_FORMULA = tuple("=+-@")
_NUMBER_HINT = "a spreadsheet keeps numbers without leading zeros and rounds long ones: format the column as text"


@frozen
class Columns:
    """Which column holds which field.

    Attributes:
        kind: what a row is: a Transfer or a WalletTransfer.
        fields: the field of each column, by its place.
    """

    kind: Kind
    fields: tuple[FieldInfo | None, ...]

    def read(self, number: int, cells: Sequence[object], *, strict: bool) -> "Value | list[BadRow]":
        """The transfer in a row, or everything that is wrong with it."""
        given: dict[str, object] = {}
        bad: list[BadRow] = []
        if any(_is_filled(cell) for cell in cells[len(self.fields) :]):
            bad.append(BadRow(number, "", "it has more cells than there are columns; a text with a comma needs quotes"))
        for place, one in enumerate(self.fields):
            cell = cells[place] if place < len(cells) else None
            if one is None:
                if _is_filled(cell):
                    bad.append(BadRow(number, "", "a cell in a column without a name"))
                continue
            try:
                given[one.name] = _value(one, cell)
            except InvalidValue as refusal:
                bad.append(_bad(number, refusal))
        if bad:
            return bad + list(_told(number, self.kind, given, strict=strict))
        return made(number, self.kind, given, strict=strict)


def columns(file: str, header: Sequence[object]) -> Columns:
    """What the columns of a file are.

    Raises:
        InvalidValue: a column is unknown, missing or there twice; names it, and what may be meant.
    """
    names = [column_name(cell) if _is_filled(cell) else "" for cell in header]
    kind = _meant(names)
    fields = {one.name: one for one in fields_of(kind)}
    wanted = ", ".join(name if one.required else f"{name} (may be left out)" for name, one in fields.items())
    expected = f"the columns {wanted}"
    if not fields.keys() & set(names):
        # Values, it seems, and these are not for everyone's eyes.
        got = "a first row that names none of them"
        raise InvalidValue(f"{file}, header", expected=expected, got=got, hint="put the names above the first transfer")
    problems = list(_unknown(names, fields)) + [f"{name} is there twice" for name in fields if names.count(name) > 1]
    close = {meant for name in names if name not in fields for meant in _close(name, fields)}
    problems += [
        f"{name} is missing" for name, one in fields.items() if one.required and name not in names and name not in close
    ]
    if problems:
        raise InvalidValue(f"{file}, header", expected=expected, got="; ".join(problems))
    return Columns(kind, tuple(fields.get(name) for name in names))


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


def _is_filled(cell: object) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


def _value(one: FieldInfo, cell: object) -> object:
    """A cell as the field takes it."""
    if not _is_filled(cell):
        if one.required:
            raise InvalidValue(one.name, expected=one.kind.shape if one.kind else "a value", got="nothing")
        return None
    if one.name == "amount":
        return _amount(cell)
    if not isinstance(cell, str):
        got = "a number" if isinstance(cell, int | float) and not isinstance(cell, bool) else described(cell)
        raise InvalidValue(one.name, expected="a cell of text", got=got, hint=_NUMBER_HINT)
    text = cell.strip()
    if text.startswith(_FORMULA):
        raise InvalidValue(
            one.name, expected="a text", got="what a spreadsheet takes for a formula", hint="it begins with = + - or @"
        )
    if one.name in _NAMES_OF_PEOPLE:
        return text
    if _ROUNDED.fullmatch(text):
        raise InvalidValue(one.name, expected="the whole number", got="a rounded one", hint=_NUMBER_HINT)
    return fold(text)


def _amount(cell: object) -> object:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, str):
        text = fold(cell.strip())
        if _GROUPED.fullmatch(text) or _DIGITS.fullmatch(text):
            number = int(text.replace(",", "").replace("\u066c", ""))
            return number if abs(number) <= MOST else text
        return text  # which the field refuses, saying what it wants
    return cell


def made(number: int, kind: Kind, given: Mapping[str, Any], *, strict: bool) -> "Value | list[BadRow]":
    """A transfer of these fields, or everything that is wrong with them."""
    try:
        value = kind(**given)
        if strict:
            verify(value)
    except InvalidValue:
        return list(_told(number, kind, given, strict=strict))
    return value


def _told(number: int, kind: Kind, given: Mapping[str, object], *, strict: bool) -> Iterator[BadRow]:
    """What is wrong with the fields, each by itself."""
    for one in fields_of(kind):
        if one.kind is None or given.get(one.name) is None:
            continue
        try:
            value = one.kind.convert(given[one.name], one.name)
            if strict:
                one.kind.verify(value, one.name)
        except InvalidValue as refusal:
            yield _bad(number, refusal)


def _bad(number: int, refusal: InvalidValue) -> BadRow:
    hint = f" – {refusal.hint}" if refusal.hint else ""
    return BadRow(number, refusal.field, f"expected {refusal.expected}, got {refusal.got}{hint}")


class Items:
    """Reads what an iterable gives: transfers, or mappings of their fields, all of the kind that the first one is."""

    def __init__(self, *, strict: bool) -> None:
        self.kind: Kind | None = None
        self._strict = strict

    def read(self, number: int, item: object) -> "Value | list[BadRow]":
        """The transfer an item is, or everything that is wrong with it."""
        kind = _kind_of(item)
        if kind is None:
            return [BadRow(number, "", f"expected a Transfer or a WalletTransfer, got a {type(item).__name__}")]
        self.kind = self.kind or kind
        if kind is not self.kind:
            return [
                BadRow(number, "", f"a {kind.__name__} among {self.kind.__name__}s: they go in batches of their own")
            ]
        if isinstance(item, Transfer | WalletTransfer):
            return self._checked(number, item)
        return self._made(number, kind, cast("Mapping[str, Any]", item))

    def _checked(self, number: int, item: Value) -> "Value | list[BadRow]":
        if self._strict:
            try:
                verify(item)
            except InvalidValue:
                given = {one.name: getattr(item, one.name) for one in fields_of(type(item))}
                return list(_told(number, type(item), given, strict=True))
        return item

    def _made(self, number: int, kind: Kind, item: Mapping[str, Any]) -> "Value | list[BadRow]":
        fields = {one.name: one for one in fields_of(kind)}
        given = {name: one for name, one in item.items() if name in fields}
        bad = [BadRow(number, "", said) for said in _unknown([str(name) for name in item], fields)]
        for name, one in fields.items():
            if one.required and item.get(name) is None:
                shape = one.kind.shape if one.kind else "a value"
                bad.append(BadRow(number, name, f"expected {shape}, got nothing"))
        if bad:
            return bad + list(_told(number, kind, given, strict=self._strict))
        return made(number, kind, given, strict=self._strict)


def _kind_of(item: object) -> Kind | None:
    if isinstance(item, Transfer | WalletTransfer):
        return type(item)
    return _meant([str(name) for name in cast("Mapping[object, object]", item)]) if isinstance(item, Mapping) else None
