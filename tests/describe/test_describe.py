"""Whatever nobody explains is found."""

from collections.abc import Sequence
from typing import Annotated

from paystar_async.describe import annotation_classes, annotation_source, find_undocumented, public_name
from paystar_async.models.base import Call, answered, sent, several
from paystar_async.models.identity import Match
from paystar_async.table import TABLE
from paystar_async.values.dates import Day, JalaliDay
from paystar_async.values.kind import Kind
from paystar_async.values.mobile import Mobile
from tests.describe.endpoints import AddedRequest, UndocumentedItem, UndocumentedRequest, make_endpoint


@sent
class Holding(Call[Match]):
    """Ask about several items."""

    items: Annotated[Sequence[UndocumentedItem], several(UndocumentedItem, "items"), "the items"]


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
    assert find_undocumented() == []
    assert find_undocumented(TABLE) == []


def test_a_field_without_a_word_is_found() -> None:
    assert find_undocumented([make_endpoint(UndocumentedRequest)]) == ["UndocumentedRequest.bare"]


def test_a_field_of_an_item_is_found() -> None:
    assert find_undocumented([make_endpoint(Holding)]) == ["UndocumentedItem.bare"]


def test_a_field_without_a_shape_is_found() -> None:
    assert find_undocumented([make_endpoint(Shapeless)]) == ["Shapeless.odd"]


def test_a_row_and_an_answer_without_a_docstring_are_found() -> None:
    assert find_undocumented([make_endpoint(AddedRequest, doc="")]) == ["identity.match_mobile"]
    assert find_undocumented([make_endpoint(Asking)]) == ["Mute"]


def test_a_type_is_written_without_what_it_carries() -> None:
    assert annotation_source(Annotated[Mobile | None, "words"]) == "str | None"
    assert annotation_source(Annotated[Sequence[UndocumentedItem], "words"]) == "Sequence[UndocumentedItem]"
    assert annotation_source(tuple[UndocumentedItem, ...]) == "tuple[UndocumentedItem, ...]"
    assert annotation_source(Day | None) == "date | str | JalaliDay | None"


def test_a_private_type_goes_by_its_public_union() -> None:
    assert {public_name(one) for one in annotation_classes(JalaliDay)} == {"JalaliDay"}
    assert set(annotation_classes(Annotated[Sequence[UndocumentedItem] | None, "words"])) == {
        Sequence,
        UndocumentedItem,
    }
