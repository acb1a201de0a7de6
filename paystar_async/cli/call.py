"""``paystar call``: one command for each row of the table."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from cyclopts import App, Parameter

from paystar_async.cli.console import agreed, complain, plain, preview, print_json, questions, unwritable, warn, whole
from paystar_async.cli.parameters import field_value, is_document, seconds
from paystar_async.client import Paystar
from paystar_async.describe import (
    annotation_source,
    describe_field,
    describe_safety,
    endpoints_by_service,
    path_variants,
    service_summary,
    to_markdown,
)
from paystar_async.endpoint import Endpoint, Response, Safety
from paystar_async.errors import PaystarError
from paystar_async.models.base import Call, FieldInfo, answer_type, fields_of, verify
from paystar_async.table import TABLE

_ABOUT = """\
Call an endpoint and print its answer as JSON.

SERVICE and METHOD are the client's own: `paystar call inquiry iban --iban IR…` is
`await paystar.inquiry.iban(iban="IR…")`. The checksums of IBANs, cards and national ids are proved before anything
is sent. What moves money or changes something shows what will be sent and asks first; `--yes` answers for you.

Exit status: 0 done; 1 not carried out: refused, failed, or not agreed to; 2 wrongly used or configured, nothing was
sent; 3 IT MAY HAVE BEEN CARRIED OUT, also when interrupted: ask before you repeat it; 130 interrupted, and nothing was
changed.
"""
UNDECIDED = 3
"""The exit status of a call that may have been carried out: whoever repeats it unasked may pay twice."""


def call_app() -> App:
    """The command with its subcommands, read off the table."""
    app = App(name="call", help=_ABOUT, help_format="markdown")
    for name, rows in endpoints_by_service(TABLE).items():
        service = App(name=name, help=service_summary(rows), help_format="markdown")
        for row in rows:
            service.command(command(row), name=row.name.replace("_", "-"))
        app.command(service)
    return app


def command(row: Endpoint) -> Callable[..., int]:
    """A row as a function whose signature is the command's options."""

    def run(*, timeout: float | None = None, raw: bool = False, yes: bool = False, **given: Any) -> int:
        return _call(row, given, timeout=timeout, raw=raw, yes=yes)

    options = [*map(_option, fields_of(row.request)), *_switches(row)]
    described: Any = run
    described.__signature__ = inspect.Signature(options)
    described.__annotations__ = {one.name: one.annotation for one in options}
    described.__doc__ = "\n\n".join(_help(row))
    return run


def _help(row: Endpoint) -> Iterator[str]:
    yield to_markdown(row.doc)
    answers = f"Answers `{annotation_source(answer_type(row.request))}`."
    yield f"`{row.method} {next(iter(path_variants(row)))}`. {answers} {describe_safety(row)}"
    for one in fields_of(row.request):
        if one.item is not None:
            names = [f"{inner.name}{'' if inner.required else ' (optional)'}" for inner in fields_of(one.item)]
            told = [
                f"* `{name}`: {to_markdown(describe_field(inner))}"
                for name, inner in zip(names, fields_of(one.item), strict=True)
            ]
            yield "\n".join((f"Each of `--{one.name}` is a JSON object of", "", *told))


def _option(one: FieldInfo) -> inspect.Parameter:
    told = to_markdown(describe_field(one)) + ("; JSON, @FILE or - for stdin" if is_document(one) else "")
    # All of them are texts to the command library: it would guess at an amount.
    parameter = Parameter(help=told, allow_leading_hyphen=True)
    if one.required:
        return _keyword(one.name, str, parameter, default=inspect.Parameter.empty)
    return _keyword(one.name, str | None, parameter, default=None)


def _switches(row: Endpoint) -> Iterator[inspect.Parameter]:
    if row.kind == "page":
        return
    patience = seconds("seconds the whole call may take; PAYSTAR_TIMEOUT or 30 by default")
    yield _keyword("timeout", float | None, patience, default=None)
    raw = Parameter(help="print status, message, HTTP status and body beside the value", negative=())
    yield _keyword("raw", bool, raw, default=False)
    if row.safety is Safety.ONCE:
        yield _keyword("yes", bool, Parameter(help="send it without asking", negative=()), default=False)


def _keyword(name: str, annotation: Any, parameter: Parameter, *, default: object) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, parameter], default=default
    )


def _call(row: Endpoint, given: dict[str, Any], *, timeout: float | None, raw: bool, yes: bool) -> int:
    fields = {one.name: one for one in fields_of(row.request)}
    value = row.request(**{name: field_value(fields[name], text) for name, text in given.items()})
    verify(value)
    client = Paystar.from_env(checks="strict")
    if row.kind == "page":
        sys.stdout.write(client.page(value) + "\n")
        return 0
    if row.safety is Safety.ONCE and not _agreed(row, value, yes=yes):
        complain("nothing was sent")
        return 1
    try:
        response = asyncio.run(_send(client, value, timeout))
        # In here: who was paid must not read of a failure because the answer could not be written.
        print_json(whole(response, row) if raw else plain(response.value))
        sys.stdout.flush()
    except (PaystarError, OSError, KeyboardInterrupt) as failure:
        if row.safety is Safety.ONCE and getattr(failure, "executed", "maybe") == "maybe":
            warn(f"IT MAY HAVE BEEN CARRIED OUT. Do not repeat it; {questions(row, value)}")
            if isinstance(failure, OSError):
                unwritable(failure)
            if not isinstance(failure, PaystarError):
                return UNDECIDED
        raise
    return 0


def _agreed(row: Endpoint, value: Call[Any], *, yes: bool) -> bool:
    """Show what will be sent, and have it agreed to."""
    asked = not yes and sys.stdin.isatty()
    preview(row, value, in_full=asked)
    if row.renews:
        warn("the new key is shown to nobody and kept by the key store alone; in memory it ends with this command")
    return yes or agreed("Send it? [y/N] ")


async def _send(client: Paystar, value: Call[Any], timeout: float | None) -> Response[Any]:
    async with client:
        return await client.send(value, timeout=timeout)
