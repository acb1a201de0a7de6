"""Terminal input and output: results on stdout, messages and questions on stderr."""

import io
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Never, TextIO, cast

import attrs
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from paystar_async.endpoint import Endpoint
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError
from paystar_async.errors.text import visible
from paystar_async.models.base import Call, FieldInfo, fields_of
from paystar_async.response import Response
from paystar_async.runtime.events import replace_log_output
from paystar_async.table import BY_ID
from paystar_async.values.secret import Secret

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3
"""The exit status of a call that may have been executed: repeating it without a check may pay twice."""

AMOUNT_KIND = "amount in Rial"
_MAX_LOOKUP_COMMANDS = 3


class _Console(Console):
    """A console that leaves a closed pipe to the command."""

    def on_broken_pipe(self) -> Never:
        """Raise the BrokenPipeError, because only the command knows whether a closed pipe matters."""
        raise  # rich calls this method while it handles the error


class _SafeConsole(_Console):
    """A console that makes control characters of texts from servers and files visible instead of executing them."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments with control characters escaped, rich's own control segments excepted."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control is None and text != "\n" and not text.isprintable():
                text = "\n".join(map(visible, text.split("\n")))
                yield Segment(text, segment.style)
            else:
                yield segment


def stdout_console() -> Console:
    """Return a console for results."""
    return _SafeConsole(highlight=False, markup=False)


def guide_console() -> Console:
    """Return a console for the package's own texts, whose Persian needs characters that are not printable."""
    return _Console(highlight=False, markup=False)


class _Stderr:
    """The current stderr without its write errors: a full disk must not change how a command ends or its status."""

    def write(self, text: str) -> int:
        self._try(lambda: sys.stderr.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda: sys.stderr.flush())

    def _try(self, operation: Callable[[], object]) -> None:
        try:
            operation()
        except OSError:
            _redirect_to_null(sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def stderr_console() -> Console:
    """Return a console for messages."""
    return _SafeConsole(file=cast("TextIO", _Stderr()), stderr=True, highlight=False, markup=False)


def report_write_failure(error: OSError) -> None:
    """Print that stdout cannot be written, unless its reader closed the pipe, and discard further output."""
    _redirect_to_null(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        print_error(f"the output cannot be written: {error.strerror or error}")


def _redirect_to_null(stream: TextIO) -> None:
    """Discard what a stream still buffers, which would end the process with the interpreter's own exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepare_streams() -> None:
    """Make the three standard streams usable, whatever the process was started with.

    A missing stream is replaced, because a file opened later would take its descriptor. A character that stdout's
    encoding lacks is replaced when written, as the interpreter does on stderr.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open until the process ends
            setattr(sys, name, stream)
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")


def print_error(error: PaystarError | str, *, hint: str = "") -> None:
    """Print in one line what went wrong and what to do."""
    if isinstance(error, str):
        message = f"{error} – {hint}" if hint else error
    elif isinstance(error, ConfigurationError | InvalidValue):
        message = str(error)
    else:
        message = f"{error} (executed: {error.executed})"
    _print_line(f"paystar: {message}", "red")


def print_warning(text: str) -> None:
    """Print an important message in one line."""
    _print_line(f"paystar: {text}", "bold red")


def print_note(text: str) -> None:
    """Print a message that is not an error on stderr."""
    stderr_console().print(text, soft_wrap=True)


def _print_line(text: str, style: str, console: Console | None = None) -> None:
    # A server's message may contain control characters.
    (console or stderr_console()).print(Text(visible(text), style), soft_wrap=True)


def confirm(question: str) -> bool:
    """Ask the user at the terminal, and return True for a yes.

    Args:
        question: the question and its possible replies.

    Raises:
        ConfigurationError: stdin is not a terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "nothing was sent: it needs confirmation, and stdin is not a terminal", hint="use --yes to go ahead"
        )
    stderr_console().print(question, end="", soft_wrap=True)
    reply = sys.stdin.readline()
    if not reply:
        stderr_console().print()  # stdin ended: the cursor is still behind the question
    return reply.strip().lower() in ("y", "yes")


class _ConsoleHandler(logging.Handler):
    """A log handler that prints on a console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        _print_line(f"paystar: {record.getMessage()}", style, self._console)


@contextmanager
def show_warnings(console: Console) -> Generator[None]:
    """Print the package's log during the block, one line each, above a progress bar of the same console.

    These are warnings, or what PAYSTAR_LOG asks for.
    """
    with replace_log_output(_ConsoleHandler(console)):
        yield


def to_json(value: object) -> Any:
    """Return a value as JSON types; a Secret becomes its mask."""
    if attrs.has(type(value)):
        attributes = {field.name: getattr(value, field.name) for field in fields_of(type(value))}
        if any(isinstance(attribute, Secret) for attribute in attributes.values()):
            # An unknown field next to a key may be another key.
            attributes["extra"] = dict.fromkeys(attributes["extra"], Secret(""))
        return {name: to_json(attribute) for name, attribute in attributes.items()}
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in cast("Sequence[object]", value)]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def response_to_json(response: Response[Any], endpoint: Endpoint) -> dict[str, object]:
    """Return a response with its envelope as JSON types; a body that contains a new key is masked."""
    return {
        "value": to_json(response.value),
        "status": response.status,
        "message": response.message,
        "http_status": response.http_status,
        "body": str(Secret("")) if endpoint.refresh_token_field else response.body.decode("utf-8", "replace"),
    }


def print_json(value: object) -> None:
    """Print a value as JSON; control characters, and what stdout cannot encode, are escaped, so nothing is lost."""
    is_unicode = "utf" in (sys.stdout.encoding or "").lower()
    text = json.dumps(value, ensure_ascii=not is_unicode, indent=2)
    escaped = (char if char == "\n" or visible(char) == char else _escape(char) for char in text)
    sys.stdout.write("".join(escaped) + "\n")


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) > 127 else f"\\u{ord(character):04x}"


def format_amount(rial: int) -> str:
    """Return an amount in Rial and in Toman, so that the units cannot be confused."""
    toman, rest = divmod(rial, 10)
    return f"{rial:,} Rial = {toman:,}{f'.{rest}' if rest else ''} Toman"


def show_request(endpoint: Endpoint, request: Call[Any], *, in_full: bool) -> None:
    """Print a request before it is sent.

    Args:
        endpoint: the endpoint that is called.
        request: the request value.
        in_full: True shows personal data, for a user at a terminal; False masks it, for logs.
    """
    console = stderr_console()
    console.print(f"{endpoint.id}: {endpoint.doc}", soft_wrap=True)
    _show_fields(console, request, in_full=in_full)
    for name, items in _item_lists(request):
        for number, item in enumerate(items, 1):
            console.print(f"{name} {number} of {len(items)}")
            _show_fields(console, item, in_full=in_full)
        amounts = [
            getattr(item, field.name) or 0 for item in items for field in fields_of(type(item)) if _is_amount(field)
        ]
        if len(items) > 1 and any(amounts):
            console.print(Text(f"total {format_amount(sum(amounts))}", "bold"), soft_wrap=True)


def _item_lists(request: object) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the fields that hold a list of models, with their items."""
    for field in fields_of(type(request)):
        if field.item is not None and (items := getattr(request, field.name)):
            yield field.name, items


def _show_fields(console: Console, model: object, *, in_full: bool) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for field in fields_of(type(model)):
        value = getattr(model, field.name)
        if value is None or value == {} or field.item is not None:
            continue
        if _is_amount(field):
            cell = Text(format_amount(value), "bold")
        elif in_full and isinstance(value, Mapping):
            cell = Text(json.dumps(to_json(cast("object", value)), ensure_ascii=False))
        else:
            cell = Text(str(value) if in_full or field.field_type is None else field.field_type.mask(value))
        table.add_row(f"  {field.name}", cell)
    if table.row_count:
        console.print(table)


def _is_amount(field: FieldInfo) -> bool:
    return field.field_type is not None and field.field_type.name == AMOUNT_KIND


def lookup_hint(endpoint: Endpoint, request: Call[Any]) -> str:
    """Return the commands that look up the result of a call whose response is missing."""
    if endpoint.lookup is None:
        return "it cannot be looked up: check the Paystar panel"
    commands = list(dict.fromkeys(_lookup_commands(BY_ID[endpoint.lookup], request)))
    hidden = len(commands) - _MAX_LOOKUP_COMMANDS
    more = f" (and {hidden} more like these)" if hidden > 0 else ""
    return f"check first: {' ; '.join(commands[:_MAX_LOOKUP_COMMANDS])}{more}"


def _lookup_commands(lookup: Endpoint, request: Call[Any]) -> Iterator[str]:
    names = {field.name for field in fields_of(lookup.request)}
    for model in (request, *(item for _, items in _item_lists(request) for item in items)):
        for name in ("track_id", "ref_num"):
            if name in names and hasattr(model, name):
                option = f"--{name}".replace("_", "-")
                yield shlex.join(("paystar", "call", lookup.service, lookup.name, option, getattr(model, name)))


def make_table(*headers: str) -> Table:
    """Return a table with a header, readable in a terminal and in a log."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
