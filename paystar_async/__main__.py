"""``python -m paystar_async`` is the command ``paystar``."""

import sys

from paystar_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
