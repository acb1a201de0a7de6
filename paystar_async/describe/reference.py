"""The endpoint reference in the README, between its two markers."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from paystar_async.describe import (
    Table,
    annotation_classes,
    annotation_source,
    describe_field,
    docstring_summary,
    endpoints_by_service,
    is_response_model,
    named_fields,
    nested_models,
    path_variants,
    response_model_for,
    service_summary,
    to_markdown,
)
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.errors import ConfigurationError
from paystar_async.models.base import FieldInfo, answer_type, fields_of
from paystar_async.table import TABLE

BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"
_NOTE = "<!-- Written by `python -m paystar_async.describe`; what is changed here by hand is lost. -->"


def insert_reference(readme: str, table: Table = TABLE) -> str:
    """The README with the reference between its markers.

    Raises:
        ConfigurationError: the markers are not there, once each and in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise ConfigurationError(
            "README.md has no place for the reference",
            hint=f"put {BEGIN} and {END} there, once each, on their own lines",
        )
    return f"{before}{BEGIN}\n{render_reference(table)}{END}{after}"


def render_reference(table: Table = TABLE) -> str:
    """The reference as Markdown."""
    lines = [_NOTE]
    for service, rows in endpoints_by_service(table).items():
        lines += ["", f"### `paystar.{service}`", "", service_summary(rows), ""]
        lines += ["| method | what it does | path | safety |", "| --- | --- | --- | --- |"]
        lines += [_table_row(row) for row in rows]
        lines += ["", "<details>", f"<summary>What <code>{service}</code> takes and answers</summary>"]
        lines += [line for row in rows for line in _method_entry(row)]
        lines += [line for model in _referenced_models(rows) for line in _model_entry(model)]
        lines += ["", "</details>"]
    return "\n".join((*lines, ""))


def _table_row(row: Endpoint) -> str:
    where = "<br>".join(f"`{path}`" for path in path_variants(row))
    cells = (f"`{row.name}`", to_markdown(row.doc), f"{row.method} {where}", _safety_text(row))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _safety_text(row: Endpoint) -> str:
    if row.kind == "page":
        return "page: nothing is sent"
    if row.safety is Safety.READ:
        return "read: repeated freely"
    return "once: never repeated" + (f", ask `{row.ask}`" if row.ask else "")


def _method_entry(row: Endpoint) -> Iterator[str]:
    fields = fields_of(row.request)
    names = ", ".join(one.name for one in fields)
    yield from ("", f"**`{row.name}({names})`** → `{annotation_source(answer_type(row.request))}`")
    yield from ("", *map(_request_field, fields)) if fields else ()


def _request_field(field: FieldInfo) -> str:
    asides = [aside for aside, so in (("optional", not field.required), ("signed, not sent", not field.sent)) if so]
    aside = f" *({', '.join(asides)})*" if asides else ""
    return f"- `{field.name}`{aside}: {to_markdown(describe_field(field))}"


def _referenced_models(rows: Sequence[Endpoint]) -> list[type]:
    """What the rows take and answer beside plain values, each once: items first."""
    taken = [model for row in rows for model in nested_models(row.request) if model is not row.request]
    answers = [model for row in rows if (answer := response_model_for(row)) for model in nested_models(answer)]
    return list(dict.fromkeys((*taken, *answers)))


def _model_entry(model: type) -> Iterator[str]:
    yield from ("", f"**`{model.__name__}`**: {to_markdown(docstring_summary(model))}", "")
    if is_response_model(model):
        yield f"- {', '.join((*map(_response_field, named_fields(model)), '`extra`'))}"
    else:
        yield from map(_request_field, fields_of(model))


def _response_field(field: FieldInfo) -> str:
    words = [word.value for kind in annotation_classes(field.annotation) if issubclass(kind, StrEnum) for word in kind]
    said = ", ".join(filter(None, (field.doc, " · ".join(words))))
    return f"`{field.name}: {annotation_source(field.annotation)}`" + (f" ({said})" if said else "")
