"""The command ``paystar``."""

import sys
from collections.abc import Sequence

_NEEDED = {"cyclopts", "rich"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: what stands behind ``paystar``; that of the process by default.

    Returns:
        The exit status: 0 done, 1 refused or failed, 2 wrongly used or configured, 3 a call that may have been carried
        out, 130 interrupted, 143 ended by SIGTERM.
    """
    try:
        from paystar_async.cli.app import run
    except KeyboardInterrupt:
        # Importing takes long enough to be interrupted.
        sys.stderr.write("paystar: interrupted\n")
        return 130
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(f"paystar: the command needs {missing.name}: pip install 'paystar-async[cli]'\n")
        return 2
    return run(sys.argv[1:] if arguments is None else arguments)
