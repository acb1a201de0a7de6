"""``paystar --install-completion``: completion of commands and options in the user's shell."""

import sys
from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import App
from cyclopts.completion.detect import ShellDetectionError

from paystar_async.cli.console import EXIT_FAILED, print_error
from paystar_async.cli.parameters import choice_parameter
from paystar_async.errors import ConfigurationError

Shell = Literal["bash", "zsh", "fish"]

_SHELLS: tuple[Shell, ...] = ("bash", "zsh", "fish")
_SHELL = choice_parameter(_SHELLS, "bash, zsh or fish; the shell that runs the command by default")


def completion_command(app: App) -> Callable[..., int]:
    """Return the command that installs the completion of an application."""

    def install_completion(*, shell: Annotated[Shell | None, _SHELL] = None) -> int:
        """Complete commands and options with Tab in bash, zsh or fish.

        Writes a script into your home directory and, for bash and zsh, a line into `.bashrc` or `.zshrc` that loads it.
        """
        try:
            path = app.install_completion(shell=shell)
        except ShellDetectionError:
            raise ConfigurationError("this shell is not recognised", hint="--shell bash, zsh or fish") from None
        except OSError as error:
            print_error(f"the completion cannot be written: {error.strerror or error}", hint=str(error.filename))
            return EXIT_FAILED
        sys.stdout.write(f"{path}\nopen a new shell to use it\n")
        return 0

    return install_completion
