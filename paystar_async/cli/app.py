"""All commands put together, and what becomes of their errors."""

import os
import sys
from collections.abc import Iterator, Sequence

from cyclopts import App, CycloptsError

from paystar_async.cli.call import call_app
from paystar_async.cli.demo import demo
from paystar_async.cli.doctor import doctor
from paystar_async.cli.sandbox import sandbox
from paystar_async.cli.show import complain
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError
from paystar_async.version import VERSION

FAILED, MISUSED, INTERRUPTED = 1, 2, 130

_ABOUT = """\
Paystar on the command line.

Accounts come from the environment alone (`PAYSTAR_APPLICATION_ID`, `PAYSTAR_ACCESS_PASSWORD`, …; each also as
`…_FILE`, the path of a file that holds it): an argument would stand in the shell's history and in the list of
processes. `paystar sandbox` plays a Paystar with accounts to begin with.
"""


def make_app() -> App:
    """The application; a new one each time, so that nothing lingers between two runs."""
    app = App(name="paystar", help=_ABOUT, help_format="markdown", version=VERSION, suppress_keyboard_interrupt=False)
    app.command(call_app())
    for command in (doctor, sandbox, demo):
        app.command(command)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit status."""
    tokens = list(_dashed(arguments))
    try:
        status = make_app()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        complain(" ".join(str(error).split()), hint="--help says what it takes")
        return MISUSED
    except PaystarError as error:
        complain(error)
        return MISUSED if isinstance(error, ConfigurationError | InvalidValue) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter would complain again when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status if isinstance(status, int) else 0


def _dashed(arguments: Sequence[str]) -> Iterator[str]:
    """The names of rows and fields as commands and options are written: those of Python are taken too."""
    for place, token in enumerate(arguments):
        name, equals, value = token.partition("=")
        is_command = arguments[0] == "call" and place in (1, 2)
        yield name.replace("_", "-") + equals + value if is_command or token.startswith("--") else token
