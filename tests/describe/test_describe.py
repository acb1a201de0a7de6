"""Undocumented endpoints are reported, and annotations become source code."""

from collections.abc import Sequence
from typing import Annotated

from paystar_async.describe import annotation_classes, annotation_source, find_undocumented, public_name
from paystar_async.models.base import Call, list_of, request_model, response_model
from paystar_async.models.identity import Match
from paystar_async.table import TABLE
from paystar_async.values.dates import Day, JalaliDay
from paystar_async.values.field_type import FieldType
from paystar_async.values.identity import Mobile
from tests.describe.endpoints import AddedRequest, UndocumentedItem, UndocumentedRequest, make_endpoint


@request_model
class ItemsRequest(Call[Match]):
    """Send a list of items."""

    items: Annotated[Sequence[UndocumentedItem], list_of(UndocumentedItem, "items"), "the items"]


@request_model
class ShapelessRequest(Call[Match]):
    """Send a field type that has no shape."""

    odd: Annotated[str, FieldType(name="odd", expected="", parse=str)]


@response_model
class UndocumentedResponse:
    pass


@request_model
class UndocumentedResponseRequest(Call[list[UndocumentedResponse]]):
    """Read a response that has no docstring."""


def test_find_undocumented_table_is_complete() -> None:
    assert find_undocumented() == []
    assert find_undocumented(TABLE) == []


def test_find_undocumented_reports_field_without_sentence() -> None:
    assert find_undocumented([make_endpoint(UndocumentedRequest)]) == ["UndocumentedRequest.bare"]


def test_find_undocumented_reports_item_field() -> None:
    assert find_undocumented([make_endpoint(ItemsRequest)]) == ["UndocumentedItem.bare"]


def test_find_undocumented_reports_field_without_shape() -> None:
    assert find_undocumented([make_endpoint(ShapelessRequest)]) == ["ShapelessRequest.odd"]


def test_find_undocumented_reports_missing_docstrings() -> None:
    assert find_undocumented([make_endpoint(AddedRequest, doc="")]) == ["identity.match_mobile"]
    assert find_undocumented([make_endpoint(UndocumentedResponseRequest)]) == ["UndocumentedResponse"]


def test_annotation_source_omits_metadata() -> None:
    assert annotation_source(Annotated[Mobile | None, "words"]) == "str | None"
    assert annotation_source(Annotated[Sequence[UndocumentedItem], "words"]) == "Sequence[UndocumentedItem]"
    assert annotation_source(tuple[UndocumentedItem, ...]) == "tuple[UndocumentedItem, ...]"
    assert annotation_source(Day | None) == "date | str | JalaliDay | None"


def test_public_name_of_private_class_is_its_union() -> None:
    assert {public_name(cls) for cls in annotation_classes(JalaliDay)} == {"JalaliDay"}
    assert set(annotation_classes(Annotated[Sequence[UndocumentedItem] | None, "words"])) == {
        Sequence,
        UndocumentedItem,
    }
