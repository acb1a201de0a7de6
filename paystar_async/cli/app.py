"""The command-line application: its commands, error messages, signals and exit status."""

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
    Parameter,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from paystar_async._version import VERSION
from paystar_async.cli.call import call_app
from paystar_async.cli.child_process import SIGNAL_STATUS_BASE
from paystar_async.cli.completion import completion_command
from paystar_async.cli.conform.command import conform
from paystar_async.cli.console import (
    EXIT_FAILED,
    EXIT_UNKNOWN,
    EXIT_USAGE,
    prepare_streams,
    print_error,
    report_write_failure,
)
from paystar_async.cli.demo.command import demo
from paystar_async.cli.docs import docs
from paystar_async.cli.doctor import doctor
from paystar_async.cli.payments import payments_app
from paystar_async.cli.payout import payout_app
from paystar_async.cli.sandbox import sandbox_app
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError

_SUGGESTION = re.compile(r' Did you mean "?([^"? ]+)')
_AVAILABLE_COMMANDS = re.compile(r"Available commands: (.+?)\.?$")
_CAN_BLOCK_SIGNALS = hasattr(signal, "pthread_sigmask")

_HELP = """\
Paystar on the command line.

Credentials are read from the environment only (`PAYSTAR_APPLICATION_ID`, `PAYSTAR_ACCESS_PASSWORD`, …; each also as
`…_FILE`, the path of a file that contains the value), because arguments end up in the shell's history and in the
process list. `paystar sandbox` runs a simulated Paystar with test credentials.

Exit status: 0 success; 1 refused or failed, or a problem was found; 2 usage or configuration error; 3 a call that may
have been executed: check its status before you repeat it; 130 interrupted (143 by SIGTERM).
"""


def make_app() -> App:
    """Return a new application, so that no state is shared between two runs."""
    app = App(
        name="paystar",
        help=_HELP,
        help_format="markdown",
        version=VERSION,
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(show_default=_show_default),
    )
    app.command(call_app())
    app.command(payout_app())
    app.command(payments_app())
    for command in (doctor, conform, sandbox_app(), demo, docs):
        app.command(command)
    app.command(completion_command(app), name="--install-completion")
    return app


def _show_default(value: object) -> str | None:
    """Return a default value for the help; None for a flag that is off and for what is empty."""
    return str(value) if value else None


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit status."""
    prepare_streams()
    stop_signal = signal.Signals["SIGINT"]

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        # Ends as Ctrl-C does: the cursor is shown again, child processes end, unknown outcomes are reported.
        nonlocal stop_signal
        stop_signal = signal.Signals(number)
        on_interrupt = signal.getsignal(signal.SIGINT)
        (on_interrupt if callable(on_interrupt) else _interrupt)(signal.SIGINT, frame)

    # Only the main thread may set signal handlers.
    is_main = threading.current_thread() is threading.main_thread()
    previous_handler = signal.signal(signal.SIGTERM, on_sigterm) if is_main else None
    ignores_sigint = is_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN and _CAN_BLOCK_SIGNALS
    if ignores_sigint:
        # asyncio cancels its main task only if Python's own handler is set. Ctrl-C stays without effect, because a
        # blocked signal is not delivered.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    is_sandbox = "sandbox" in arguments[:1]
    try:
        status = _run_app(list(normalize_names(arguments)))
        # The sandbox's server raises again the signal that stopped it, but a blocked signal is not delivered.
        is_terminated = is_sandbox and stop_signal is signal.SIGTERM
        return SIGNAL_STATUS_BASE + stop_signal if is_terminated else status
    except KeyboardInterrupt:
        if not is_sandbox:  # a signal is the usual way to stop the sandbox
            print_error("interrupted")
        return SIGNAL_STATUS_BASE + stop_signal
    finally:
        if ignores_sigint:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # drops a pending blocked signal
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if previous_handler is not None:
            signal.signal(signal.SIGTERM, previous_handler)


def print_usage_error(error: CycloptsError) -> None:
    """Print in one line what is wrong with a command line, and the closest valid spelling."""
    message = " ".join(str(error).split())
    suggestion = _SUGGESTION.search(message)
    hint = f"did you mean {suggestion[1]}?" if suggestion else "see --help"
    print_error(_explain_usage_error(error, message), hint=hint)


def _explain_usage_error(error: CycloptsError, message: str) -> str:
    match error:
        case UnknownCommandError():
            available = _AVAILABLE_COMMANDS.search(message)
            name = shlex.quote((error.unused_tokens or [""])[0])
            return f"unknown command {name}" + (f"; available: {available[1]}" if available else "")
        case UnknownOptionError():
            return f"unknown option {error.token.keyword or error.token.value}"
        case UnusedCliTokensError():
            return f"unexpected argument {shlex.join(error.unused_tokens or ())}"
        case MissingArgumentError() if error.argument is not None:
            return f"missing value for {error.argument.name}"
        case RepeatArgumentError():
            return f"{error.token.keyword} is given more than once"
        case CoercionError() if error.msg is None and error.token is not None:
            # Numbers have converters in ``parameters``, so only flags get here.
            return f"{error.token.keyword} is a flag and takes no value"
        case _:
            return message.removesuffix(".")


def _interrupt(*_: object) -> Never:
    raise KeyboardInterrupt


def _run_app(tokens: list[str]) -> int:
    if "--" in tokens and not tokens[tokens.index("--") + 1 :]:
        print_error("no command follows --", hint="for example: paystar sandbox -- pytest")
        return EXIT_USAGE
    try:
        status = make_app()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        print_usage_error(error)
        return EXIT_USAGE
    except PaystarError as error:
        print_error(error)
        if error.executed == "maybe":
            return EXIT_UNKNOWN
        return EXIT_USAGE if isinstance(error, ConfigurationError | InvalidValue) else EXIT_FAILED
    except OSError as error:
        report_write_failure(error)
        return EXIT_FAILED
    return status if isinstance(status, int) else 0


def normalize_names(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with dashes in the names of endpoints and options, so that Python's spelling works too."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for position, token in enumerate(arguments[:end]):
        name, equals, value = token.partition("=")
        is_endpoint = arguments[0] == "call" and position in (1, 2)
        yield name.replace("_", "-") + equals + value if is_endpoint or token.startswith("--") else token
    yield from arguments[end:]  # the arguments of another program
