"""Tests of ``llms.txt``: every guide and every endpoint in it."""

from paystar_async.describe import annotation_source, to_markdown
from paystar_async.describe.llms import render_llms
from paystar_async.models.base import fields_of, response_type
from paystar_async.table import TABLE
from tests.describe.endpoints import AddedRequest, make_table

INDEX = """# Guides

## Start

## Money
- [Payments](payments.md): take a payment.
- [FastAPI](frameworks/fastapi.md): a shop.
"""


def test_render_llms_links_guides_by_section() -> None:
    text = render_llms(INDEX)
    docs = "https://github.com/paystar-async/paystar-async/raw/main/paystar_async/docs"
    entries = f"- [Payments]({docs}/payments.md): take a payment.\n- [FastAPI]({docs}/frameworks/fastapi.md): a shop.\n"
    assert f"\n## Money\n\n{entries}\n" in text
    assert "## Start" not in text


def test_render_llms_describes_every_endpoint() -> None:
    lines = render_llms(INDEX).splitlines()
    for endpoint in TABLE:
        line = next(line for line in lines if line.startswith(f"- `paystar.{endpoint.id}("))
        assert f" -> {annotation_source(response_type(endpoint.request))}`: {to_markdown(endpoint.doc)}" in line
        for field in fields_of(endpoint.request):
            assert (f"{field.name}=…" in line) is not field.required
            assert f"{field.name}=" in line


def test_render_llms_includes_added_field() -> None:
    assert "added_number=" in render_llms(INDEX, make_table(AddedRequest))
    assert "added_number=" not in render_llms(INDEX)
