"""The FastAPI shop as a process: it prints its URL and has an endpoint that advances its clock."""

import os
import socket
import sys
import threading
from typing import Any

import uvicorn

from paystar_async import Paystar
from paystar_async.sandbox.clock import SandboxClock

clock = SandboxClock()
_from_env = Paystar.from_env


def _with_clock(**overrides: Any) -> Paystar:
    return _from_env(clock=clock, **overrides)


setattr(Paystar, "from_env", _with_clock)  # noqa: B010 - a test double for a class method

from tests.examples.fastapi_shop import app  # noqa: E402


@app.post("/test/clock")
async def advance(seconds: float) -> None:
    clock.advance(seconds)


def _exit_with_parent() -> None:
    sys.stdin.read()  # returns when the test process has ended
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
