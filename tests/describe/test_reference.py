"""The reference in the README."""

import pytest

from paystar_async.describe import path_variants
from paystar_async.describe.reference import BEGIN, END, insert_reference, render_reference
from paystar_async.endpoint import Endpoint
from paystar_async.errors import ConfigurationError
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import TransferStatus
from paystar_async.table import TABLE
from tests.describe.endpoints import AddedRequest, make_table

README = f"# A title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_every_row_is_there_with_its_paths_fields_and_safety(row: Endpoint) -> None:
    section = render_reference().partition(f"`paystar.{row.service}`")[2].partition("\n### ")[0]
    line = next(line for line in section.splitlines() if line.startswith(f"| `{row.name}` |"))
    assert row.safety.value in line or row.kind == "page"
    assert row.ask is None or f"ask `{row.ask}`" in line
    for path in path_variants(row):
        assert f"`{path}`" in line
    entry = section.partition(f"**`{row.name}(")[2].partition("\n**`")[0]
    for one in fields_of(row.request):
        assert one.kind is not None
        told = next(line for line in entry.splitlines() if line.startswith(f"- `{one.name}`"))
        assert one.kind.shape in told
        assert ("optional" in told) is not one.required
        assert ("not sent" in told) is not one.sent


def test_items_and_answers_are_there_with_units_and_words() -> None:
    said = render_reference()
    assert "**`Transfer`**" in said
    assert "`destination_account`: where the money goes" in said
    assert "`balance: int` (Rial)" in said
    assert "`available_balance: int | None` (Rial)" in said
    assert " · ".join(word.value for word in TransferStatus) in said


def test_a_new_field_changes_it() -> None:
    assert "- `added_number`: a number nobody has seen before" in render_reference(make_table(AddedRequest))
    assert "added_number" not in render_reference()


def test_it_stands_between_the_markers_and_the_rest_is_kept() -> None:
    made = insert_reference(README)
    assert made.startswith(f"# A title\n\n{BEGIN}\n")
    assert made.endswith(f"{END}\n\nThe end.\n")
    assert "old" not in made.splitlines()
    assert insert_reference(made) == made


@pytest.mark.parametrize(
    "readme",
    ["", f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n", README + README],
    ids=["none", "no end", "no begin", "wrong order", "twice"],
)
def test_markers_that_are_not_there_once_and_in_order_are_an_error(readme: str) -> None:
    with pytest.raises(ConfigurationError, match="reference: begin"):
        insert_reference(readme)
