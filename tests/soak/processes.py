"""Processes of the soak: a sandbox, programs that call it, and messages between them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any

import httpx


class SandboxProcess:
    """A running sandbox in another process, controlled through its control API.

    Args:
        base_url: the URL of its API, as for a client.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._control = httpx.Client(base_url=base_url.removesuffix("/api") + "/_sandbox/", trust_env=False)

    def close(self) -> None:
        self._control.close()

    def get(self, name: str) -> Any:
        response = self._control.get(name)
        response.raise_for_status()
        return response.json()

    def post(self, name: str, **values: object) -> None:
        self._control.post(name, json=values).raise_for_status()

    @property
    def refreshes(self) -> int:
        """Return the number of successful refreshes of the application's key."""
        return int(self.get("stats")["refreshes"].get("application", 0))

    @property
    def requests(self) -> int:
        """Return the number of requests."""
        return sum(self.get("stats")["requests"].values())

    @property
    def refused_refreshes(self) -> int:
        """Return the number of refreshes that were refused."""
        return int(self.get("stats")["requests"].get("keys.refresh_application_key", 0)) - self.refreshes


@contextmanager
def running_sandbox(*, rotate: bool = False, key_life: float = 86_400.0) -> Generator[SandboxProcess]:
    """Run a sandbox in another process on loopback until the end of the block."""
    with running_program("tests.soak.server", {"rotate": rotate, "key_life": key_life}) as process:
        sandbox = SandboxProcess(read_message(process))
        try:
            yield sandbox
        finally:
            sandbox.close()


@contextmanager
def running_program(module: str, settings: dict[str, Any]) -> Generator["subprocess.Popen[str]"]:
    """Run a Python module that reads its settings from its arguments; kill the process at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def read_message(process: "subprocess.Popen[str]") -> Any:
    """Return the next message that a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended without a message; its errors are above"
    return json.loads(line)


def send_line(process: "subprocess.Popen[str]", line: str) -> None:
    """Write a line to the standard input of a process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def print_message(message: object) -> None:
    """Print a message for ``read_message`` of the parent process."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def read_line(stream: IO[str]) -> str:
    """Return the next line of standard input without blocking the loop."""
    return (await asyncio.to_thread(stream.readline)).strip()
