"""A sandbox in a process of its own, and the clients that call it, each a process too."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any

import httpx


class Play:
    """A running sandbox, seen through its control API.

    Args:
        base_url: its URL, as a client is configured.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._control = httpx.Client(base_url=base_url.removesuffix("/api") + "/_sandbox/", trust_env=False)

    def close(self) -> None:
        self._control.close()

    def get(self, name: str) -> Any:
        answer = self._control.get(name)
        answer.raise_for_status()
        return answer.json()

    def post(self, name: str, **values: object) -> None:
        self._control.post(name, json=values).raise_for_status()

    @property
    def refreshes(self) -> int:
        """Return how often the application's key was refreshed."""
        return int(self.get("stats")["refreshes"].get("application", 0))

    @property
    def requests(self) -> int:
        """How many requests came in."""
        return sum(self.get("stats")["requests"].values())

    @property
    def refused_renewals(self) -> int:
        """Return the number of refreshes that were refused."""
        return int(self.get("stats")["requests"].get("keys.refresh_application_key", 0)) - self.refreshes


@contextmanager
def sandbox(*, rotate: bool = False, key_life: float = 86_400.0) -> Generator[Play]:
    """Run a sandbox as a separate process on loopback; it ends with the block."""
    with program("tests.soak.server", {"rotate": rotate, "key_life": key_life}) as process:
        play = Play(read(process))
        try:
            yield play
        finally:
            play.close()


@contextmanager
def program(module: str, settings: dict[str, Any]) -> Generator["subprocess.Popen[str]"]:
    """Run a Python process that reads its settings from its arguments; it is killed at the end of the block."""
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


def read(process: "subprocess.Popen[str]") -> Any:
    """Return the next line of JSON that a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended without a word; its last words are above"
    return json.loads(line)


def tell(process: "subprocess.Popen[str]", word: str) -> None:
    """Give a process a word on its standard input."""
    assert process.stdin is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()


def say(value: object) -> None:
    """Send a message to the parent process."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def heard(stream: IO[str]) -> str:
    """Return the next line of standard input without blocking the loop."""
    return (await asyncio.to_thread(stream.readline)).strip()
