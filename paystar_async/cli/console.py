"""How values, requests and errors are shown: answers on stdout, all that is said about them on stderr."""

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

from paystar_async.endpoint import Endpoint, Response
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError
from paystar_async.errors.text import visible
from paystar_async.events import logger
from paystar_async.models.base import Call, FieldInfo, fields_of
from paystar_async.table import BY_ID
from paystar_async.values.secret import Secret

AMOUNT = "amount in Rial"
_SHOWN_QUESTIONS = 3


class _SafeConsole(Console):
    """A console that shows texts from servers and files without what a terminal would obey."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Clean each piece of text; rich's own control codes are no texts."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control is None and text != "\n" and not text.isprintable():
                text = "\n".join(map(visible, text.split("\n")))
                yield Segment(text, segment.style)
            else:
                yield segment

    def on_broken_pipe(self) -> Never:
        """Raise the BrokenPipeError: whether a reader who went away matters, the command knows."""
        raise  # rich calls this while it handles the error


def output() -> Console:
    """Where answers go."""
    return _SafeConsole(highlight=False, markup=False)


class _Beside:
    """stderr as it is now; a full disk behind it must not decide how a command ends, or what its status says."""

    def write(self, text: str) -> int:
        self._try(lambda: sys.stderr.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda: sys.stderr.flush())

    def _try(self, say: Callable[[], object]) -> None:
        try:
            say()
        except OSError:
            _let_go(sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def aside() -> Console:
    """Where everything else goes."""
    return _SafeConsole(file=cast("TextIO", _Beside()), stderr=True, highlight=False, markup=False)


def unwritable(trouble: OSError) -> None:
    """Say that an answer cannot be written, and let go of it."""
    _let_go(sys.stdout)
    if not isinstance(trouble, BrokenPipeError):
        complain(f"the answer cannot be written: {trouble.strerror or trouble}")


def _let_go(stream: TextIO) -> None:
    """Have nobody read it: what it still holds would end the process by a status of the interpreter's own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def open_streams() -> None:
    """Make the three streams writable, whatever the process was started with.

    A missing stream gets a stand-in, for a file opened later would take its place. A character that the encoding of
    stdout lacks is replaced, as the interpreter does on stderr.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")


def complain(error: PaystarError | str, *, hint: str = "") -> None:
    """Say in one line what went wrong and what to do about it."""
    if isinstance(error, str):
        told = f"{error} – {hint}" if hint else error
    elif isinstance(error, ConfigurationError | InvalidValue):
        told = str(error)
    else:
        told = f"{error} (executed: {error.executed})"
    _say(f"paystar: {told}", "red")


def warn(text: str) -> None:
    """Say something in one line that must not be overlooked."""
    _say(f"paystar: {text}", "bold red")


def _say(text: str, style: str, console: Console | None = None) -> None:
    # A server's message may hold what a terminal would obey.
    (console or aside()).print(Text(visible(text), style), soft_wrap=True)


def agreed(question: str) -> bool:
    """Ask the user at the terminal, and return True for a yes.

    Args:
        question: what is asked, and how it can be answered.

    Raises:
        ConfigurationError: there is no terminal, and so nobody to ask.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError("nothing was sent: there is nobody to ask", hint="--yes goes ahead without asking")
    aside().print(question, end="", soft_wrap=True)
    answer = sys.stdin.readline()
    if not answer:
        aside().print()  # the line ended without one
    return answer.strip().lower() in ("y", "yes")


class _Warnings(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        _say(f"paystar: {record.getMessage()}", "yellow", self._console)


@contextmanager
def warnings_shown(console: Console) -> Generator[None]:
    """Show what the package warns of meanwhile, a line each, above a progress bar of the same console."""
    handler = _Warnings(console)
    logger.logger.addHandler(handler)
    try:
        yield
    finally:
        logger.logger.removeHandler(handler)


def plain(value: object) -> Any:
    """A value as JSON holds it; a Secret only as its mask."""
    if attrs.has(type(value)):
        held = {one.name: getattr(value, one.name) for one in fields_of(type(value))}
        if any(isinstance(one, Secret) for one in held.values()):
            # What came beside a key, and nobody knows, may well be another one.
            held["extra"] = dict.fromkeys(held["extra"], Secret(""))
        return {name: plain(one) for name, one in held.items()}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in cast("Sequence[object]", value)]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def whole(response: Response[Any], row: Endpoint) -> dict[str, object]:
    """An answer with all that came with it; the body of a renewal is a key, and stays unseen."""
    return {
        "value": plain(response.value),
        "status": response.status,
        "message": response.message,
        "http_status": response.http_status,
        "body": str(Secret("")) if row.renews else response.body.decode("utf-8", "replace"),
    }


def print_json(value: object) -> None:
    """Print a value as JSON, whatever the terminal can show; what it would obey is escaped, so that nothing is lost."""
    can_all = "utf" in (sys.stdout.encoding or "").lower()
    text = json.dumps(value, ensure_ascii=not can_all, indent=2)
    sys.stdout.write("".join(one if one == "\n" or visible(one) == one else _escaped(one) for one in text) + "\n")


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) > 127 else f"\\u{ord(character):04x}"


def money(rial: int) -> str:
    """An amount in both units, so that nobody takes one for the other."""
    toman, rest = divmod(rial, 10)
    return f"{rial:,} Rial = {toman:,}{f'.{rest}' if rest else ''} Toman"


def preview(row: Endpoint, value: Call[Any], *, in_full: bool) -> None:
    """Show what is about to be sent.

    Args:
        row: the call.
        value: its request.
        in_full: whether personal values are shown whole: to the person who is asked, and to no log.
    """
    console = aside()
    console.print(f"{row.id}: {row.doc}")
    _show_fields(console, value, in_full=in_full)
    for name, items in _lists(value):
        for number, item in enumerate(items, 1):
            console.print(f"{name} {number} of {len(items)}")
            _show_fields(console, item, in_full=in_full)
        amounts = [getattr(item, one.name) or 0 for item in items for one in fields_of(type(item)) if _is_amount(one)]
        if len(items) > 1 and any(amounts):
            console.print(Text(f"together {money(sum(amounts))}", "bold"), soft_wrap=True)


def _lists(value: object) -> Iterator[tuple[str, Sequence[object]]]:
    """The fields that hold several things, each with fields of its own."""
    for one in fields_of(type(value)):
        if one.item is not None and (items := getattr(value, one.name)):
            yield one.name, items


def _show_fields(console: Console, holder: object, *, in_full: bool) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for one in fields_of(type(holder)):
        held = getattr(holder, one.name)
        if held is None or held == {} or one.item is not None:
            continue
        if _is_amount(one):
            shown = Text(money(held), "bold")
        elif in_full and isinstance(held, Mapping):
            shown = Text(json.dumps(plain(cast("object", held)), ensure_ascii=False))
        else:
            shown = Text(str(held) if in_full or one.kind is None else one.kind.mask(held))
        table.add_row(f"  {one.name}", shown)
    if table.row_count:
        console.print(table)


def _is_amount(one: FieldInfo) -> bool:
    return one.kind is not None and one.kind.name == AMOUNT


def questions(row: Endpoint, value: Call[Any]) -> str:
    """The commands that tell what became of a call nobody answered."""
    if row.ask is None:
        return "nothing can be asked about it: look into the Paystar panel"
    asked = list(dict.fromkeys(_questions(BY_ID[row.ask], value)))
    more = f" (and {len(asked) - _SHOWN_QUESTIONS} more like these)" if len(asked) > _SHOWN_QUESTIONS else ""
    return f"ask first: {' ; '.join(asked[:_SHOWN_QUESTIONS])}{more}"


def _questions(ask: Endpoint, value: Call[Any]) -> Iterator[str]:
    names = {one.name for one in fields_of(ask.request)}
    for holder in (value, *(item for _, items in _lists(value) for item in items)):
        for name in ("track_id", "ref_num"):
            if name in names and hasattr(holder, name):
                option = f"--{name}".replace("_", "-")
                yield shlex.join(("paystar", "call", ask.service, ask.name, option, getattr(holder, name)))


def grid(*headers: str) -> Table:
    """A table with a head, ruled so that it reads well in a terminal and in a log."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
