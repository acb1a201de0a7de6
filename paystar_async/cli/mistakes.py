"""What is said of a command line that was wrongly put: the command library's errors in plain sentences."""

import re
import shlex

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from paystar_async.cli.show import complain

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
