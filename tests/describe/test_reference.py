"""Tests of the endpoint reference."""

import pytest

from paystar_async.describe import path_variants
from paystar_async.describe.reference import render_reference
from paystar_async.endpoint import Endpoint
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import TransferStatus
from paystar_async.table import TABLE
from tests.describe.endpoints import AddedRequest, make_table


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)
def test_render_reference_describes_every_endpoint(endpoint: Endpoint) -> None:
    section = render_reference().partition(f"`paystar.{endpoint.service}`")[2].partition("\n## ")[0]
    table_row = next(line for line in section.splitlines() if line.startswith(f"| `{endpoint.name}` |"))
    assert endpoint.safety.value in table_row or endpoint.kind == "page"
    assert endpoint.lookup is None or f"look up with `{endpoint.lookup}`" in table_row
    for path in path_variants(endpoint):
        assert f"`{path}`" in table_row
    entry = section.partition(f"**`{endpoint.name}(")[2].partition("\n**`")[0]
    for field in fields_of(endpoint.request):
        assert field.field_type is not None
        item = next(line for line in entry.splitlines() if line.startswith(f"- `{field.name}`"))
        assert field.field_type.expected in item
        assert ("optional" in item) is not field.required
        assert ("not sent" in item) is not field.sent


def test_render_reference_describes_models() -> None:
    reference = render_reference()
    assert "**`Transfer`**" in reference
    assert "`destination_account`: the destination of the money" in reference
    assert "`balance: int` (Rial)" in reference
    assert "`available_balance: int | None` (Rial)" in reference
    assert " · ".join(status.value for status in TransferStatus) in reference


def test_render_reference_includes_added_field() -> None:
    assert "- `added_number`: a number that is not in the table" in render_reference(make_table(AddedRequest))
    assert "added_number" not in render_reference()
