"""The sandbox as a process: says where it serves, then serves until it is killed."""

import asyncio
import json
import sys

from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import serve
from tests.soak.play import say


def main() -> None:
    settings = json.loads(sys.argv[1])
    sandbox = Sandbox(key_life=settings["key_life"])
    sandbox.settings.rotate_refresh_tokens = settings["rotate"]
    sandbox.settings.refresh_ends_old_key = settings["rotate"]
    asyncio.run(serve(sandbox, ready=lambda port: say(f"http://127.0.0.1:{port}/api")))


if __name__ == "__main__":
    main()
