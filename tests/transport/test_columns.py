"""A long list read a field at a time is what its entries are one by one, or is not read so at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.errors import BadAnswer
from paystar_async.models.transfers import Settlement, Transaction, TransferStatus
from paystar_async.transport.columns import FEW
from paystar_async.transport.structure import structure

MANY = FEW + 1
USUAL: dict[str, Any] = {"hashid": "h", "track_id": "t", "status": "success", "message": "m", "ref_code": "1"}
ODD: dict[str, list[Any]] = {
    "hashid": [None, 5, True, [], {}],
    "track_id": [None, 7, "", 1.5],
    "status": ["pending", "held", "", None, 1, [], {}],
    "ref_code": [None, 2, False],
    "extra": [{}, "x"],
    "unheard_of": [1, None],
}
NAMES = [*USUAL, "extra", "unheard_of"]


def entries(count: int = MANY, **changes: Any) -> list[dict[str, Any]]:
    return [USUAL | {"track_id": f"t-{place}"} | changes for place in range(count)]


def one_by_one(kind: Any, data: list[Any]) -> Any:
    try:
        return [structure(kind, one) for one in data]
    except BadAnswer:
        return BadAnswer


def all_at_once(kind: Any, data: list[Any]) -> Any:
    try:
        return structure(list[kind], data)
    except BadAnswer:
        return BadAnswer


CHANGES: list[tuple[str, Any]] = [(name, one) for name in NAMES for one in ODD.get(name, [None])]


@st.composite
def lists(draw: st.DrawFn) -> list[Any]:
    """Usual entries with an odd one among them, odd ones alike, or no entries at all."""
    changes = draw(st.lists(st.sampled_from(CHANGES), max_size=2))
    gone = draw(st.lists(st.sampled_from(NAMES), max_size=1))
    odd = {name: one for name, one in {**USUAL, **dict(changes)}.items() if name not in gone}
    place = draw(st.integers(0, MANY))
    nothing: list[Any] = [None, [], "text", 1, {}]
    none = nothing[draw(st.integers(0, len(nothing) - 1))]
    shapes: list[list[Any]] = [[*entries()[:place], odd, *entries()[place:]], [odd] * MANY, [none, *entries()]]
    return shapes[draw(st.integers(0, len(shapes) - 1))]


@given(lists())
def test_a_long_list_holds_what_its_entries_are_one_by_one(data: list[Any]) -> None:
    assert all_at_once(Settlement, data) == one_by_one(Settlement, data)


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The entries that were made one by one."""
    made: list[object] = []
    by_attrs = Settlement.__init__

    def counting(self: Settlement, **fields: Any) -> None:
        made.append(self)
        by_attrs(self, **fields)

    monkeypatch.setattr(Settlement, "__init__", counting)
    return made


def test_the_usual_list_is_read_by_columns(single: list[object]) -> None:
    read = structure(list[Settlement], entries(ref_code=None))

    assert not single
    assert [one.track_id for one in read] == [f"t-{place}" for place in range(MANY)]
    assert {(one.status, one.message, one.ref_code) for one in read} == {(TransferStatus.SUCCESS, "m", None)}


def test_one_unusual_entry_has_the_list_read_one_by_one(single: list[object]) -> None:
    structure(list[Settlement], [*entries(), {"status": "held"}])

    assert len(single) == MANY + 1


def test_what_was_left_out_is_as_empty_as_ever_and_no_entry_shares_it() -> None:
    one, other, *_ = structure(list[Settlement], [{"status": "pending", "track_id": "t"}] * MANY)

    assert (one.hashid, one.extra) == (None, {})
    assert one.extra is not other.extra


def test_amounts_are_read_as_strictly_as_ever() -> None:
    line = {"credit_amount": "1,000", "additional": None}

    assert one_by_one(Transaction, [line]) * MANY == all_at_once(Transaction, [line] * MANY)
    with pytest.raises(BadAnswer):
        structure(list[Transaction], [line | {"credit_amount": 1.5}] * MANY)
