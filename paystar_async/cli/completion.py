"""``paystar --install-completion``: completion of commands and options in the user's shell."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App
from cyclopts.completion.detect import ShellDetectionError, detect_shell

from paystar_async.cli.console import EXIT_FAILED, print_error
from paystar_async.cli.parameters import choice_parameter
from paystar_async.errors import ConfigurationError

Shell = Literal["bash", "zsh", "fish"]

_SHELLS: tuple[Shell, ...] = ("bash", "zsh", "fish")
_SHELL = choice_parameter(_SHELLS, "the shell; the one that runs the command by default")

_BASH_FILES = 'COMPREPLY=( $(compgen -f -- "${cur}") )'
# The generated line splits a name at its spaces. Readline's own completion does not, but bash 3 lacks compopt.
_BASH_QUOTED_FILES = f"COMPREPLY=(); compopt -o default 2>/dev/null || {_BASH_FILES}"


def completion_command(app: App) -> Callable[..., int]:
    """Return the command that installs the completion of an application."""

    def install_completion(*, shell: Annotated[Shell | None, _SHELL] = None) -> int:
        """Complete commands and options with Tab in bash, zsh or fish.

        Writes a script into your home directory and, for bash and zsh, lines into `.bashrc` or `.zshrc` that load it.
        """
        try:
            path = _install(app, shell or detect_shell())
        except ShellDetectionError:
            raise ConfigurationError("this shell is not recognised", hint="--shell bash, zsh or fish") from None
        except OSError as error:
            print_error(f"the completion cannot be written: {error.strerror or error}", hint=str(error.filename))
            return EXIT_FAILED
        sys.stdout.write(f"{path}\nopen a new shell to use it\n")
        return 0

    return install_completion


def _install(app: App, shell: str) -> Path:
    """Write the script of a shell and what loads it, and return the script's path."""
    if shell not in _SHELLS:
        raise ShellDetectionError
    output = None
    if shell == "fish":
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        output = folder / "fish" / "completions" / "paystar.fish"
    path = app.install_completion(shell=shell, output=output, add_to_startup=shell == "bash")
    if shell == "zsh":
        _load_in_zsh(path)
    elif shell == "bash":
        path.write_text(path.read_text("utf-8").replace(_BASH_FILES, _BASH_QUOTED_FILES), "utf-8")
    return path


def _load_in_zsh(path: Path) -> None:
    """Add lines to ``.zshrc`` that load a script, whether ``.zshrc`` starts the completion system or not, and when."""
    startup = Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
    content = startup.read_bytes() if startup.exists() else b""
    lines = f"""\
# paystar completion
fpath=({shlex.quote(str(path.parent))} $fpath)
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i }}
autoload -Uz {path.name} && compdef {path.name} paystar
""".encode()
    if lines not in content:
        separator = b"" if content.endswith(b"\n") or not content else b"\n"
        startup.write_bytes(content + separator + lines)
