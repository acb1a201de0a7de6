"""``services.py``: a class per service, a typed method per row.

The methods are source and not made at run time, so that editors, type checkers, ``create_autospec`` and a reader
see them. Lines are laid out as the formatter would, which makes a run without it give the same bytes.
"""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from paystar_async.describe import (
    Table,
    annotation_classes,
    annotation_source,
    describe_field,
    describe_safety,
    docstring_summary,
    endpoints_by_service,
    path_variants,
    public_name,
    response_model_for,
    service_summary,
)
from paystar_async.endpoint import Endpoint, Response, Safety
from paystar_async.models.base import Call, FieldInfo, answer_type, fields_of
from paystar_async.table import TABLE

MAX_LINE_LENGTH = 120
HEADER = '''"""The services as typed methods, one per row of the table.

Generated from ``table.py`` by ``python -m paystar_async.describe``; edits here are overwritten.
"""
'''
CALLER = '''
T = TypeVar("T")


class Caller(Protocol):
    """What the methods need of a client: to send a request value, and to build a page's address."""

    async def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        """Send a request value and bring its answer."""
        ...

    def page(self, value: Call[str], /) -> str:
        """The address of a page; nothing is sent."""
        ...

'''


def generate_source(table: Table = TABLE) -> str:
    """The whole of ``services.py``."""
    classes = (_class(service, rows) for service, rows in endpoints_by_service(table).items())
    return "\n".join((HEADER, _imports(table), CALLER, "\n\n".join(classes)))


def class_name(service: str) -> str:
    """``transfers`` → ``TransfersCalls``."""
    return f"{service.capitalize()}Calls"


def _class(service: str, rows: Sequence[Endpoint]) -> str:
    head = [
        "@private_methods",
        f"class {class_name(service)}:",
        f'    """{service_summary(rows)}"""',
        "",
        "    def __init__(self, caller: Caller) -> None:",
        "        self._caller = caller",
    ]
    lines = [*head, *(line for row in rows for line in ("", *_method(row)))]
    return "\n".join(lines) + "\n"


def _method(row: Endpoint) -> Iterator[str]:
    page = row.kind == "page"
    parameters = [_parameter(row, one) for one in _ordered_fields(row)]
    if not page:
        parameters.append("timeout: float | None = None")
    opening = f"    {'' if page else 'async '}def {row.name}("
    yield from _bracketed(opening, ["self", "*", *parameters], f") -> {annotation_source(answer_type(row.request))}:")
    yield from _docstring(row)
    value = f"{row.request.__name__}({', '.join(f'{one.name}={one.name}' for one in fields_of(row.request))})"
    if page:
        yield from _nested_call("        return self._caller.page(", value, [], ")")
    else:
        yield from _nested_call("        answer = await self._caller.send(", value, ["timeout=timeout"], ")")
        yield "        return answer.value"


def _ordered_fields(row: Endpoint) -> list[FieldInfo]:
    return sorted(fields_of(row.request), key=lambda one: not one.required)


def _parameter(row: Endpoint, field: FieldInfo) -> str:
    text = f"{field.name}: {annotation_source(field.annotation)}"
    request: Any = row.request
    return text if field.required else f"{text} = {attrs.fields_dict(request)[field.name].default!r}"


def _bracketed(opening: str, parts: Sequence[str], closing: str) -> Iterator[str]:
    """A bracket on one line where it fits, else a part a line: what the formatter leaves alone."""
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(line) <= MAX_LINE_LENGTH:
        yield line
        return
    indent = " " * (len(opening) - len(opening.lstrip()))
    yield opening
    yield from (f"{indent}    {part}," for part in parts)
    yield f"{indent}{closing}"


def _nested_call(opening: str, value: str, others: Sequence[str], closing: str) -> Iterator[str]:
    """A call around a request value; a value too long for a line is laid out in its turn."""
    indent = " " * (len(opening) - len(opening.lstrip()))
    name, _, arguments = value.removesuffix(")").partition("(")
    lines = _bracketed(f"{indent}    {name}(", arguments.split(", "), "),")
    return _bracketed(opening, ["\n".join(lines).strip().removesuffix(","), *others], closing)


def _docstring(row: Endpoint) -> Iterator[str]:
    yield f'        """{row.doc}'
    yield ""
    yield from _wrapped(f"{_paths_text(row)}. {describe_safety(row).replace('`', '``')}", 8, 8)
    parameters = [(one.name, f"{describe_field(one)}.") for one in _ordered_fields(row)]
    if row.kind != "page":
        parameters.append(("timeout", "seconds the whole call may take; the client's own by default."))
    yield from _section("Args", parameters)
    yield from _section("Returns", [(annotation_source(answer_type(row.request)), _response_text(row))])
    yield from _section("Raises", documented_errors(row))
    yield '        """'


def _section(title: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from ("", f"        {title}:")
    for name, text in entries:
        yield from _wrapped(f"{name}: {text}", 12, 16)


def _wrapped(text: str, first: int, rest: int) -> list[str]:
    return textwrap.wrap(
        text,
        MAX_LINE_LENGTH,
        initial_indent=" " * first,
        subsequent_indent=" " * rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _paths_text(row: Endpoint) -> str:
    said = {"": "", "direct": " for a direct gateway", "alias": " too"}
    return ", ".join(f"``{row.method} {path}``{said[apart]}" for path, apart in path_variants(row).items())


def _response_text(row: Endpoint) -> str:
    model = response_model_for(row)
    return docstring_summary(model) if model else "the address."


def documented_errors(row: Endpoint) -> Iterator[tuple[str, str]]:
    """The errors of a row and what is known once each is raised."""
    account = "wallet" if row.realm == "inquiry" else row.realm
    yield "ConfigurationError", f"the {account} account is not configured; nothing was sent."
    if fields_of(row.request):
        yield "InvalidValue", "a value does not have its shape; nothing was sent."
    if row.kind == "page":
        return
    if row.safety is Safety.READ:
        yield "NotSent", "it never left; nothing can have happened, call again."
        yield "Unanswered", "no answer came; nothing can have happened, call again."
        yield "BadAnswer", "the answer cannot be read; nothing can have happened."
        yield "StatusError", "Paystar refused, the class says why; nothing can have happened."
        return
    ask = f"ask ``{row.ask}`` before you call again" if row.ask else "a second call may do it a second time"
    yield "NotSent", "it never left; nothing happened, call again."
    yield "Unanswered", f"no answer came; it may have happened: {ask}."
    yield "BadAnswer", f"the answer cannot be read; it may have happened: {ask}."
    yield "StatusError", f'Paystar refused, the class says why; where ``executed`` is "maybe" {ask}.'


def _imports(table: Table) -> str:
    used: set[type] = {Call, Response}
    for row in table:
        used |= {row.request, *annotation_classes(answer_type(row.request))}
        used.update(found for one in fields_of(row.request) for found in annotation_classes(one.annotation))
    modules: dict[str, set[str]] = {
        "typing": {"Protocol", "TypeVar"},
        "paystar_async.values.sealed": {"private_methods"},
    }
    for one in used:
        modules.setdefault(one.__module__, set()).add(public_name(one))
    modules.pop("builtins", None)
    lines = {module: list(_import_lines(module, names)) for module, names in sorted(modules.items())}
    stdlib = [line for module in lines if _is_stdlib(module) for line in lines[module]]
    ours = [line for module in lines if not _is_stdlib(module) for line in lines[module]]
    return "\n".join((*stdlib, "", *ours))


def _is_stdlib(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _import_lines(module: str, names: Iterable[str]) -> Iterator[str]:
    # The import sorter puts CamelCase before lower case.
    ordered = sorted(names, key=lambda name: (not name[0].isupper(), name.lower()))
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= MAX_LINE_LENGTH:
        yield line
        return
    yield f"from {module} import ("
    yield from (f"    {name}," for name in ordered)
    yield ")"
