"""Rows made up for a test, and values that every row takes."""

from typing import Annotated, Any

import attrs

from paystar_async.endpoint import Endpoint
from paystar_async.models.base import Call, FieldInfo, fields_of, sent
from paystar_async.models.identity import Match, MatchMobile
from paystar_async.table import BY_ID
from paystar_async.values.mobile import Mobile


@sent
class AddedRequest(Call[Match]):
    """Ask something nobody has asked before."""

    added_number: Annotated[Mobile, "a number nobody has seen before"]


@sent
class UndocumentedRequest(Call[Match]):
    """Ask with a field that nobody explains."""

    known: Mobile
    bare: str


@sent
class UndocumentedItem:
    """One of several, with a field that nobody explains."""

    bare: int


@sent
class WideRequest(Call[Match]):
    """Ask with so many words that no line holds them."""

    the_first_of_several_long_names: Annotated[Mobile, "a sentence " * 20 + "that goes on"]
    the_second_of_several_long_names: Mobile
    the_third_of_several_long_names: Mobile | None = None
    the_fourth_of_several_long_names: Annotated[Mobile | None, "short"] = None


def make_endpoint(request: type[Call[Any]], **changes: Any) -> Endpoint:
    """A row like ``identity.match_mobile`` that takes another request."""
    first = (request.__doc__ or "").partition("\n")[0]
    return attrs.evolve(BY_ID["identity.match_mobile"], **{"request": request, "doc": first, **changes})


def make_table(request: type[Call[Any]]) -> tuple[Endpoint, ...]:
    """The table, its first row taking another request."""
    return tuple(make_endpoint(request) if row.request is MatchMobile else row for row in BY_ID.values())


def example_value(field: FieldInfo) -> Any:
    """A value that a field takes."""
    if field.item is not None:
        return [example_values(field.item)]
    assert field.kind is not None
    return field.kind.example


def example_values(model: type) -> dict[str, Any]:
    """A value for each field of a model."""
    return {one.name: example_value(one) for one in fields_of(model)}
