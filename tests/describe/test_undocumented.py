"""Whatever nobody explains is found."""

from collections.abc import Sequence
from typing import Annotated

from paystar_async.describe import public_name, type_text, types_within, undocumented
from paystar_async.models.base import Call, answered, sent, several
from paystar_async.models.identity import Match
from paystar_async.table import TABLE
from paystar_async.values.dates import Day, JalaliDay
from paystar_async.values.kind import Kind
from paystar_async.values.mobile import Mobile
from tests.describe.planting import Item, Planted, Unexplained, row_of


@sent
class Holding(Call[Match]):
    """Ask about several items."""

    items: Annotated[Sequence[Item], several(Item, "items"), "the items"]


@sent
class Shapeless(Call[Match]):
    """Ask with a kind that does not say its shape."""

    odd: Annotated[str, Kind(name="odd", shape="", read=str)]


@answered
class Mute:
    pass


@sent
class Asking(Call[list[Mute]]):
    """Ask for an answer that nobody explains."""


def test_everything_in_the_table_is_documented() -> None:
    assert undocumented() == []
    assert undocumented(TABLE) == []


def test_a_field_without_a_word_is_found() -> None:
    assert undocumented([row_of(Unexplained)]) == ["Unexplained.bare"]


def test_a_field_of_an_item_is_found() -> None:
    assert undocumented([row_of(Holding)]) == ["Item.bare"]


def test_a_field_without_a_shape_is_found() -> None:
    assert undocumented([row_of(Shapeless)]) == ["Shapeless.odd"]


def test_a_row_and_an_answer_without_a_docstring_are_found() -> None:
    assert undocumented([row_of(Planted, doc="")]) == ["identity.match_mobile"]
    assert undocumented([row_of(Asking)]) == ["Mute"]


def test_a_type_is_written_without_what_it_carries() -> None:
    assert type_text(Annotated[Mobile | None, "words"]) == "str | None"
    assert type_text(Annotated[Sequence[Item], "words"]) == "Sequence[Item]"
    assert type_text(tuple[Item, ...]) == "tuple[Item, ...]"
    assert type_text(Day | None) == "date | str | JalaliDay | None"


def test_a_private_type_goes_by_its_public_union() -> None:
    assert {public_name(one) for one in types_within(JalaliDay)} == {"JalaliDay"}
    assert set(types_within(Annotated[Sequence[Item] | None, "words"])) == {Sequence, Item}
