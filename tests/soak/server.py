"""A sandbox process: prints its URL, then serves until it is killed."""

import asyncio
import json
import sys

from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import serve
from tests.soak.processes import print_message


def main() -> None:
    settings = json.loads(sys.argv[1])
    sandbox = Sandbox(key_life=settings["key_life"])
    sandbox.settings.rotate_refresh_tokens = settings["rotate"]
    sandbox.settings.refresh_ends_old_key = settings["rotate"]
    asyncio.run(serve(sandbox, ready=lambda port: print_message(f"http://127.0.0.1:{port}/api")))


if __name__ == "__main__":
    main()
