"""``paystar call``: one command for each endpoint of the table."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from cyclopts import App, Parameter

from paystar_async.cli.console import (
    EXIT_FAILED,
    EXIT_UNKNOWN,
    confirm,
    lookup_hint,
    print_error,
    print_json,
    print_warning,
    report_write_failure,
    response_to_json,
    show_request,
    to_json,
)
from paystar_async.cli.json_output import JSON_ALWAYS_OPTION
from paystar_async.cli.parameters import field_value, is_json_field, seconds_parameter
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
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.errors import PaystarError
from paystar_async.models.base import Call, FieldInfo, fields_of, response_type, verify_checksums
from paystar_async.response import Response
from paystar_async.table import TABLE

_HELP = """\
Call an endpoint and print its response as JSON.

SERVICE and METHOD are those of the client: `paystar call inquiry iban --iban IR…` is
`await paystar.inquiry.iban(iban="IR…")`. The checksums of IBANs, card numbers and national ids are verified before
anything is sent. A command that moves money or changes something shows the request and asks for confirmation; `--yes`
confirms in advance.

Exit status: 0 success; 1 not executed: refused, failed, or not confirmed; 2 usage or configuration error, nothing was
sent; 3 IT MAY HAVE BEEN EXECUTED, also if interrupted: check its status before you repeat it; 130 interrupted, and
nothing was changed.
"""


def call_app() -> App:
    """Return the command with a subcommand for each endpoint of the table."""
    app = App(name="call", help=_HELP, help_format="markdown")
    for name, endpoints in endpoints_by_service(TABLE).items():
        service = App(name=name, help=service_summary(endpoints), help_format="markdown")
        for endpoint in endpoints:
            service.command(make_command(endpoint), name=endpoint.name.replace("_", "-"))
        app.command(service)
    return app


def make_command(endpoint: Endpoint) -> Callable[..., int]:
    """Return an endpoint as a function whose signature is the command's options."""

    def run(
        *, timeout: float | None = None, raw: bool = False, yes: bool = False, as_json: bool = False, **values: Any
    ) -> int:
        if endpoint.kind == "page":
            return _show_page(endpoint, values, as_json=as_json)
        return _call(endpoint, values, timeout=timeout, raw=raw, yes=yes)

    options = [*map(_field_option, fields_of(endpoint.request)), *_common_options(endpoint)]
    command: Any = run
    command.__signature__ = inspect.Signature(options)
    command.__annotations__ = {option.name: option.annotation for option in options}
    command.__doc__ = "\n\n".join(_help_paragraphs(endpoint))
    return run


def _help_paragraphs(endpoint: Endpoint) -> Iterator[str]:
    yield to_markdown(endpoint.doc)
    path = next(iter(path_variants(endpoint)))
    returned = f"Returns `{annotation_source(response_type(endpoint.request))}`."
    yield f"`{endpoint.method} {path}`. {returned} {describe_safety(endpoint)}"
    for field in fields_of(endpoint.request):
        if field.item is not None:
            lines = [_item_field_line(item_field) for item_field in fields_of(field.item)]
            yield "\n".join((f"Each of `--{field.name}` is a JSON object with", "", *lines))


def _item_field_line(field: FieldInfo) -> str:
    name = field.name if field.required else f"{field.name} (optional)"
    return f"* `{name}`: {to_markdown(describe_field(field))}"


def _field_option(field: FieldInfo) -> inspect.Parameter:
    description = to_markdown(describe_field(field)) + ("; JSON, @FILE or - for stdin" if is_json_field(field) else "")
    # Every field is text to the command library, because it would guess the type of an amount.
    parameter = Parameter(help=description, allow_leading_hyphen=True)
    if field.required:
        return _keyword_only(field.name, str, parameter, default=inspect.Parameter.empty)
    return _keyword_only(field.name, str | None, parameter, default=None)


def _common_options(endpoint: Endpoint) -> Iterator[inspect.Parameter]:
    if endpoint.kind == "page":
        as_json = Parameter(name="--json", help="print the URL as a JSON text", negative=())
        yield _keyword_only("as_json", bool, as_json, default=False)
        return
    yield _keyword_only("as_json", bool, JSON_ALWAYS_OPTION, default=False)
    timeout = seconds_parameter("seconds for the whole call; PAYSTAR_TIMEOUT or 30 by default")
    yield _keyword_only("timeout", float | None, timeout, default=None)
    raw = Parameter(help="print status, message, HTTP status and body beside the value", negative=())
    yield _keyword_only("raw", bool, raw, default=False)
    if endpoint.safety is Safety.ONCE:
        yes = Parameter(help="send without confirmation", negative=())
        yield _keyword_only("yes", bool, yes, default=False)


def _keyword_only(name: str, annotation: Any, parameter: Parameter, *, default: object) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, parameter], default=default
    )


def _make_request(endpoint: Endpoint, values: dict[str, Any]) -> Call[Any]:
    fields = {field.name: field for field in fields_of(endpoint.request)}
    request = endpoint.request(**{name: field_value(fields[name], text) for name, text in values.items()})
    verify_checksums(request)
    return request


def _show_page(endpoint: Endpoint, values: dict[str, Any], *, as_json: bool) -> int:
    url = Paystar.from_env(checks="strict").page(_make_request(endpoint, values))
    if as_json:
        print_json(url)
    else:
        sys.stdout.write(url + "\n")
    return 0


def _call(endpoint: Endpoint, values: dict[str, Any], *, timeout: float | None, raw: bool, yes: bool) -> int:
    request = _make_request(endpoint, values)
    client = Paystar.from_env(checks="strict")
    if endpoint.safety is Safety.ONCE and not _show_and_confirm(endpoint, request, yes=yes):
        print_error("nothing was sent")
        return EXIT_FAILED
    try:
        response = asyncio.run(_send(client, request, timeout))
        # Printed inside the try: after a payment, a failure to print must not read as a failed payment.
        print_json(response_to_json(response, endpoint) if raw else to_json(response.value))
        sys.stdout.flush()
    except (PaystarError, OSError, KeyboardInterrupt) as error:
        if endpoint.safety is Safety.ONCE and getattr(error, "executed", "maybe") == "maybe":
            print_warning(f"IT MAY HAVE BEEN EXECUTED. Do not repeat it; {lookup_hint(endpoint, request)}")
            if isinstance(error, OSError):
                report_write_failure(error)
            if not isinstance(error, PaystarError):
                return EXIT_UNKNOWN
        raise
    return 0


def _show_and_confirm(endpoint: Endpoint, request: Call[Any], *, yes: bool) -> bool:
    """Show the request, and return True if it is confirmed."""
    show_request(endpoint, request, in_full=not yes and sys.stdin.isatty())
    if endpoint.refresh_token_field:
        print_warning("the new key is not shown; it is kept in the key store, and lost with this command if in memory")
    return yes or confirm("Send it? [y/N] ")


async def _send(client: Paystar, request: Call[Any], timeout: float | None) -> Response[Any]:
    async with client:
        return await client.send(request, timeout=timeout)
