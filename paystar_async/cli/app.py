"""All commands put together, and what becomes of their errors."""

import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Never

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from paystar_async.cli.call import UNDECIDED, call_app
from paystar_async.cli.console import complain, open_streams, unwritable
from paystar_async.cli.demo.command import demo
from paystar_async.cli.doctor import doctor
from paystar_async.cli.payout import payout_app
from paystar_async.cli.sandbox import sandbox
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError
from paystar_async.version import VERSION

_SUGGESTION = re.compile(r' Did you mean "?([^"? ]+)')
_COMMANDS = re.compile(r"Available commands: (.+?)\.?$")


def complain_of(error: CycloptsError) -> None:
    """Say in one line what is wrong with a command line, and what was perhaps meant."""
    said = " ".join(str(error).split())
    meant = _SUGGESTION.search(said)
    hint = f"did you mean {meant[1]}?" if meant else "--help says what it takes"
    complain(_told(error, said), hint=hint)


def _told(error: CycloptsError, said: str) -> str:
    match error:
        case UnknownCommandError():
            known = _COMMANDS.search(said)
            name = shlex.quote((error.unused_tokens or [""])[0])
            return f"there is no command {name}" + (f", only {known[1]}" if known else "")
        case UnknownOptionError():
            return f"there is no option {error.token.keyword or error.token.value}"
        case UnusedCliTokensError():
            return f"nothing here takes {shlex.join(error.unused_tokens or ())}"
        case MissingArgumentError() if error.argument is not None:
            return f"{error.argument.name} is needed, with a value"
        case RepeatArgumentError():
            return f"{error.token.keyword} is given more than once"
        case CoercionError() if error.msg is None and error.token is not None:
            # Numbers are read by converters of our own: what is left are switches.
            return f"{error.token.keyword} is a switch and takes no value"
        case _:
            return said.removesuffix(".")


FAILED, MISUSED = 1, 2
_BY_SIGNAL = 128
_CAN_BLOCK = hasattr(signal, "pthread_sigmask")

_ABOUT = """\
Paystar on the command line.

Accounts come from the environment alone (`PAYSTAR_APPLICATION_ID`, `PAYSTAR_ACCESS_PASSWORD`, …; each also as
`…_FILE`, the path of a file that holds it): an argument would stand in the shell's history and in the list of
processes. `paystar sandbox` plays a Paystar with accounts to begin with.

Exit status: 0 done; 1 refused or failed, or something is to be mended; 2 wrongly used or configured; 3 a call that may
have been carried out: ask before you repeat it; 130 interrupted (143 by SIGTERM).
"""


def make_app() -> App:
    """The application; a new one each time, so that nothing lingers between two runs."""
    app = App(name="paystar", help=_ABOUT, help_format="markdown", version=VERSION, suppress_keyboard_interrupt=False)
    app.command(call_app())
    app.command(payout_app())
    for command in (doctor, sandbox, demo):
        app.command(command)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit status."""
    open_streams()
    stopped_by = signal.Signals["SIGINT"]

    def terminated(number: int, frame: FrameType | None) -> None:
        # It ends as by Ctrl-C: the cursor comes back, processes that were started end, what is in doubt is said.
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        on_interrupt = signal.getsignal(signal.SIGINT)
        (on_interrupt if callable(on_interrupt) else _interrupt)(signal.SIGINT, frame)

    # Only the main thread may set signal handlers.
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminated) if is_main else None
    ignores_interrupts = is_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN and _CAN_BLOCK
    if ignores_interrupts:
        # asyncio cancels its main task only where it may take over Python's own handler. Ctrl-C stays without effect:
        # a blocked signal is not delivered.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = _run(list(_dashed(arguments)))
        # The sandbox's server raises a signal it took again, and a blocked one reaches nobody.
        is_ended = "sandbox" in arguments[:1] and stopped_by is signal.SIGTERM
        return _BY_SIGNAL + stopped_by if is_ended else status
    except KeyboardInterrupt:
        if "sandbox" not in arguments[:1]:  # which ends in no other way
            complain("interrupted")
        return _BY_SIGNAL + stopped_by
    finally:
        if ignores_interrupts:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # which drops one that is blocked
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> Never:
    raise KeyboardInterrupt


def _run(tokens: list[str]) -> int:
    try:
        status = make_app()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        complain_of(error)
        return MISUSED
    except PaystarError as error:
        complain(error)
        if error.executed == "maybe":
            return UNDECIDED
        return MISUSED if isinstance(error, ConfigurationError | InvalidValue) else FAILED
    except OSError as trouble:
        unwritable(trouble)
        return FAILED
    return status if isinstance(status, int) else 0


def _dashed(arguments: Sequence[str]) -> Iterator[str]:
    """The names of rows and fields as commands and options are written: those of Python are taken too."""
    for place, token in enumerate(arguments):
        name, equals, value = token.partition("=")
        is_command = arguments[0] == "call" and place in (1, 2)
        yield name.replace("_", "-") + equals + value if is_command or token.startswith("--") else token
