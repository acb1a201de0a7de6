"""Long lists of alike answers, read a field at a time: a quarter of what one object after the other costs.

Only what every entry says in the usual way is taken. Anything else raises, and the list is read entry by entry.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import repeat, starmap
from operator import itemgetter
from types import NoneType
from typing import Any, cast

import attrs

FEW = 8
"""Entries up to which it does not pay."""
Column = Callable[[Iterable[Any]], Iterable[Any]]
"""Reads one field of all entries; raises for what is not usual."""


def texts(*, optional: bool) -> Column:
    """The column of a text; ``optional`` where null may stand for none."""
    taken = {str, NoneType} if optional else {str}

    def read(values: Iterable[Any]) -> Iterable[Any]:
        if not taken.issuperset(map(type, values)):
            raise ValueError("not texts alone")
        return values

    return read


def by_columns(kind: Any, columns: Mapping[str, Column]) -> Callable[[list[Any]], list[Any]]:
    """What reads a list of ``kind``, an attrs class with slots whose fields are read by ``columns``.

    The values are put where ``__init__`` would put them, since a call for each entry is most of what a list costs.
    """
    fields: dict[str, Any] = {one.name: one for one in attrs.fields(kind)}
    put: dict[str, Callable[[Any, Any], None]] = {name: _slot(kind, name).__set__ for name in fields}
    required = {name for name, one in fields.items() if one.default is attrs.NOTHING}

    def read(entries: list[Any]) -> list[Any]:
        names = tuple(cast("dict[str, Any]", entries[0]))
        if len(names) < 2 or not required.issubset(names) or sum(map(len, entries)) != len(names) * len(entries):
            raise ValueError("not alike")
        found = dict(zip(names, zip(*map(itemgetter(*names), entries), strict=True), strict=True))
        values = {name: columns[name](column) for name, column in found.items()}
        made: list[Any] = list(map(object.__new__, repeat(kind, len(entries))))
        for name, one in fields.items():
            column = values[name] if name in values else _always(one.default)
            deque[None](map(put[name], made, column), 0)
        return made

    return read


def _slot(kind: Any, name: str) -> Any:
    return getattr(kind, name)


def _always(default: Any) -> Iterable[Any]:
    """A field's default, over and over."""
    factory = getattr(default, "factory", None)
    return repeat(default) if factory is None else starmap(factory, repeat(()))
