"""The ``paystar`` command."""

import sys
from collections.abc import Sequence

_REQUIRED_PACKAGES = {"cyclopts", "rich"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: the arguments after ``paystar``; those of the process by default.

    Returns:
        The exit status: 0 success, 1 refused or failed, 2 usage or configuration error, 3 a call that may have been
        executed, 130 interrupted, 143 terminated by SIGTERM.
    """
    try:
        from paystar_async.cli.app import run
    except KeyboardInterrupt:
        # Importing takes long enough to be interrupted.
        sys.stderr.write("paystar: interrupted\n")
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _REQUIRED_PACKAGES:
            raise
        sys.stderr.write(f"paystar: the command needs {error.name}: pip install 'paystar-async[cli]'\n")
        return 2
    return run(sys.argv[1:] if arguments is None else arguments)
