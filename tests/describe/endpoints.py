"""Endpoints for tests, and example values of request models."""

from typing import Annotated, Any

import attrs

from paystar_async.endpoint import Endpoint
from paystar_async.models.base import Call, FieldInfo, fields_of, request_model
from paystar_async.models.identity import Match, MatchMobile
from paystar_async.table import BY_ID
from paystar_async.values.identity import Mobile


@request_model
class AddedRequest(Call[Match]):
    """Send a field that the table does not have."""

    added_number: Annotated[Mobile, "a number that is not in the table"]


@request_model
class UndocumentedRequest(Call[Match]):
    """Send a field that has no description."""

    documented_type: Mobile
    bare: str


@request_model
class UndocumentedItem:
    """An item whose field has no description."""

    bare: int


@request_model
class WideRequest(Call[Match]):
    """Send parameters that do not fit on one line."""

    the_first_of_several_long_names: Annotated[Mobile, "a sentence " * 20 + "that goes on"]
    the_second_of_several_long_names: Mobile
    the_third_of_several_long_names: Mobile | None = None
    the_fourth_of_several_long_names: Annotated[Mobile | None, "short"] = None


def make_endpoint(request: type[Call[Any]], **changes: Any) -> Endpoint:
    """Return an endpoint like ``identity.match_mobile`` with another request class."""
    summary = (request.__doc__ or "").partition("\n")[0]
    return attrs.evolve(BY_ID["identity.match_mobile"], **{"request": request, "doc": summary, **changes})


def make_table(request: type[Call[Any]]) -> tuple[Endpoint, ...]:
    """Return the table with another request class for ``identity.match_mobile``."""
    return tuple(make_endpoint(request) if endpoint.request is MatchMobile else endpoint for endpoint in BY_ID.values())


def example_value(field: FieldInfo) -> Any:
    """Return a valid value of a field."""
    if field.item is not None:
        return [example_values(field.item)]
    assert field.field_type is not None
    return field.field_type.example


def example_values(model: type) -> dict[str, Any]:
    """Return a valid value for each field of a model."""
    return {field.name: example_value(field) for field in fields_of(model)}
