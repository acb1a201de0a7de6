"""The endpoint reference in the README, between its two markers."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from paystar_async.describe import (
    Table,
    about,
    answer_model,
    by_service,
    is_answered,
    known,
    markdown,
    models_within,
    paths,
    service_doc,
    summary,
    type_text,
    types_within,
)
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.errors import ConfigurationError
from paystar_async.models.base import FieldInfo, answer_type, fields_of
from paystar_async.table import TABLE

BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"
_NOTE = "<!-- Written by `python -m paystar_async.describe`; what is changed here by hand is lost. -->"


def placed(readme: str, table: Table = TABLE) -> str:
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
    return f"{before}{BEGIN}\n{text(table)}{END}{after}"


def text(table: Table = TABLE) -> str:
    """The reference as Markdown."""
    lines = [_NOTE]
    for service, rows in by_service(table).items():
        lines += ["", f"### `paystar.{service}`", "", service_doc(rows), ""]
        lines += ["| method | what it does | path | safety |", "| --- | --- | --- | --- |"]
        lines += [_line(row) for row in rows]
        lines += ["", "<details>", f"<summary>What <code>{service}</code> takes and answers</summary>"]
        lines += [line for row in rows for line in _entry(row)]
        lines += [line for model in _models(rows) for line in _model(model)]
        lines += ["", "</details>"]
    return "\n".join((*lines, ""))


def _line(row: Endpoint) -> str:
    where = "<br>".join(f"`{path}`" for path in paths(row))
    cells = (f"`{row.name}`", markdown(row.doc), f"{row.method} {where}", _safety(row))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _safety(row: Endpoint) -> str:
    if row.kind == "page":
        return "page: nothing is sent"
    if row.safety is Safety.READ:
        return "read: repeated freely"
    return "once: never repeated" + (f", ask `{row.ask}`" if row.ask else "")


def _entry(row: Endpoint) -> Iterator[str]:
    fields = fields_of(row.request)
    names = ", ".join(one.name for one in fields)
    yield from ("", f"**`{row.name}({names})`** → `{type_text(answer_type(row.request))}`")
    yield from ("", *map(_taken, fields)) if fields else ()


def _taken(field: FieldInfo) -> str:
    asides = [aside for aside, so in (("optional", not field.required), ("signed, not sent", not field.sent)) if so]
    aside = f" *({', '.join(asides)})*" if asides else ""
    return f"- `{field.name}`{aside}: {markdown(about(field))}"


def _models(rows: Sequence[Endpoint]) -> list[type]:
    """What the rows take and answer beside plain values, each once: items first."""
    taken = [model for row in rows for model in models_within(row.request) if model is not row.request]
    answers = [model for row in rows if (answer := answer_model(row)) for model in models_within(answer)]
    return list(dict.fromkeys((*taken, *answers)))


def _model(model: type) -> Iterator[str]:
    yield from ("", f"**`{model.__name__}`**: {markdown(summary(model))}", "")
    if is_answered(model):
        yield f"- {', '.join((*map(_answered, known(model)), '`extra`'))}"
    else:
        yield from map(_taken, fields_of(model))


def _answered(field: FieldInfo) -> str:
    words = [word.value for kind in types_within(field.annotation) if issubclass(kind, StrEnum) for word in kind]
    said = ", ".join(filter(None, (field.doc, " · ".join(words))))
    return f"`{field.name}: {type_text(field.annotation)}`" + (f" ({said})" if said else "")
