"""Source generator of ``services.py`` and ``blocking/services.py``: a class per service, a typed method per endpoint.

The methods are generated as source and not at run time, so that editors, type checkers, ``create_autospec`` and readers
see them. The generator formats lines as ruff would, so that its output is the same without a formatter.
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
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.errors import ConfigurationError, InvalidResponse, InvalidValue, NoResponse, NotSent, StatusError
from paystar_async.models.base import Call, FieldInfo, fields_of, response_type
from paystar_async.response import Response
from paystar_async.table import TABLE

MAX_LINE_LENGTH = 120
HEADER = '''"""The services as typed{blocking} methods, one per endpoint of the table.

Generated from ``table.py`` by ``python -m paystar_async.describe``; edits here are overwritten.
"""
'''
CALLER = '''
T = TypeVar("T")


class {prefix}Caller(Protocol):
    """A client, as far as the methods use it: it sends a request value and builds the address of a page."""

    {asynchronous}def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        """Send a request value and return its response."""
        ...

    def page(self, value: Call[str], /) -> str:
        """Return the address of a page; nothing is sent."""
        ...

'''


def generate_source(table: Table = TABLE, *, blocking: bool = False) -> str:
    """Return the source of ``services.py``, or of ``blocking/services.py``."""
    words = {
        "blocking": ", blocking" if blocking else "",
        "prefix": _prefix(blocking),
        "asynchronous": "" if blocking else "async ",
    }
    services = endpoints_by_service(table).items()
    classes = (_class(service, endpoints, blocking=blocking) for service, endpoints in services)
    return "\n".join((HEADER.format(**words), _imports(table), CALLER.format(**words), "\n\n".join(classes)))


def class_name(service: str, *, blocking: bool = False) -> str:
    """Return the name of a service's class: ``transfers`` → ``TransfersCalls``."""
    return f"{_prefix(blocking)}{service.capitalize()}Calls"


def _prefix(blocking: bool) -> str:  # noqa: FBT001
    return "Blocking" if blocking else ""


def _class(service: str, endpoints: Sequence[Endpoint], *, blocking: bool) -> str:
    head = [
        "@hide_method_arguments",
        f"class {class_name(service, blocking=blocking)}:",
        f'    """{service_summary(endpoints)}"""',
        "",
        f"    def __init__(self, caller: {_prefix(blocking)}Caller) -> None:",
        "        self._caller = caller",
        "",
        "    def __repr__(self) -> str:",
        '        return f"<{type(self).__name__} of {self._caller!r}>"',
    ]
    lines = [*head, *(line for endpoint in endpoints for line in ("", *_method(endpoint, blocking=blocking)))]
    return "\n".join(lines) + "\n"


def _method(endpoint: Endpoint, *, blocking: bool) -> Iterator[str]:
    is_page = endpoint.kind == "page"
    is_async = not (is_page or blocking)
    awaiting = "await " if is_async else ""
    parameters = [_parameter(endpoint, field) for field in _ordered_fields(endpoint)]
    if not is_page:
        parameters.append("timeout: float | None = None")
    opening = f"    {'async ' if is_async else ''}def {endpoint.name}("
    closing = f") -> {annotation_source(response_type(endpoint.request))}:"
    yield from _bracketed(opening, ["self", "*", *parameters], closing)
    yield from _docstring(endpoint)
    arguments = ", ".join(f"{field.name}={field.name}" for field in fields_of(endpoint.request))
    value = f"{endpoint.request.__name__}({arguments})"
    if is_page:
        yield from _nested_call("        return self._caller.page(", value, [], ")")
    else:
        yield from _nested_call(f"        response = {awaiting}self._caller.send(", value, ["timeout=timeout"], ")")
        yield "        return response.value"


def _ordered_fields(endpoint: Endpoint) -> list[FieldInfo]:
    return sorted(fields_of(endpoint.request), key=lambda field: not field.required)


def _parameter(endpoint: Endpoint, field: FieldInfo) -> str:
    text = f"{field.name}: {annotation_source(field.annotation)}"
    request: Any = endpoint.request
    return text if field.required else f"{text} = {attrs.fields_dict(request)[field.name].default!r}"


def _bracketed(opening: str, parts: Sequence[str], closing: str) -> Iterator[str]:
    """Yield a bracket on one line if it fits, else with one part a line, as the formatter does."""
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(line) <= MAX_LINE_LENGTH:
        yield line
        return
    indent = " " * (len(opening) - len(opening.lstrip()))
    yield opening
    yield from (f"{indent}    {part}," for part in parts)
    yield f"{indent}{closing}"


def _nested_call(opening: str, value: str, options: Sequence[str], closing: str) -> Iterator[str]:
    """Yield a call around a request value; a value too long for a line is split as well."""
    indent = " " * (len(opening) - len(opening.lstrip()))
    name, _, arguments = value.removesuffix(")").partition("(")
    lines = _bracketed(f"{indent}    {name}(", arguments.split(", "), "),")
    return _bracketed(opening, ["\n".join(lines).strip().removesuffix(","), *options], closing)


def _docstring(endpoint: Endpoint) -> Iterator[str]:
    yield f'        """{endpoint.doc}'
    yield ""
    yield from _wrapped(f"{_paths_text(endpoint)}. {describe_safety(endpoint).replace('`', '``')}", 8, 8)
    parameters = [(field.name, f"{describe_field(field)}.") for field in _ordered_fields(endpoint)]
    if endpoint.kind != "page":
        parameters.append(("timeout", "seconds for the whole call; the client's timeout by default."))
    yield from _section("Args", parameters)
    yield from _section("Returns", [(annotation_source(response_type(endpoint.request)), _response_text(endpoint))])
    errors = [(error.__name__, meaning) for error, meaning in documented_errors(endpoint)]
    yield from _section("Raises", errors)
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


def _paths_text(endpoint: Endpoint) -> str:
    suffixes = {"": "", "direct": " for a direct gateway", "alias": " (alias)"}
    variants = path_variants(endpoint).items()
    return ", ".join(f"``{endpoint.method} {path}``{suffixes[variant]}" for path, variant in variants)


def _response_text(endpoint: Endpoint) -> str:
    model = response_model_for(endpoint)
    return docstring_summary(model) if model else "the address."


def documented_errors(endpoint: Endpoint) -> Iterator[tuple[type[Exception], str]]:
    """Yield each error of an endpoint, with the known effect of the call."""
    account = "wallet" if endpoint.realm == "inquiry" else endpoint.realm
    yield ConfigurationError, f"the {account} is not configured; nothing was sent."
    if fields_of(endpoint.request):
        yield InvalidValue, "a value does not have the expected shape; nothing was sent."
    if endpoint.kind == "page":
        return
    if endpoint.safety is Safety.READ:
        yield NotSent, "the request was not sent; it had no effect, call again."
        yield NoResponse, "no response arrived; it had no effect, call again."
        yield InvalidResponse, "the response cannot be read; it had no effect."
        yield StatusError, "Paystar refused, the class says why; it had no effect."
        return
    lookup = (
        f"look it up with ``{endpoint.lookup}`` before you call again"
        if endpoint.lookup
        else "a second call may repeat the effect"
    )
    yield NotSent, "the request was not sent; it had no effect, call again."
    yield NoResponse, f"no response arrived; it may have been executed: {lookup}."
    yield InvalidResponse, f"the response cannot be read; it may have been executed: {lookup}."
    yield StatusError, f'Paystar refused, the class says why; if ``executed`` is "maybe", {lookup}.'


def _imports(table: Table) -> str:
    classes: set[type] = {Call, Response}
    for endpoint in table:
        classes |= {endpoint.request, *annotation_classes(response_type(endpoint.request))}
        for field in fields_of(endpoint.request):
            classes.update(annotation_classes(field.annotation))
    modules: dict[str, set[str]] = {
        "typing": {"Protocol", "TypeVar"},
        "paystar_async.values.secret": {"hide_method_arguments"},
    }
    for cls in classes:
        modules.setdefault(cls.__module__, set()).add(public_name(cls))
    modules.pop("builtins", None)
    lines = {module: list(_import_lines(module, names)) for module, names in sorted(modules.items())}
    stdlib = [line for module in lines if _is_stdlib(module) for line in lines[module]]
    package = [line for module in lines if not _is_stdlib(module) for line in lines[module]]
    return "\n".join((*stdlib, "", *package))


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
