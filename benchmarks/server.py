"""The server everything is measured against: a bare protocol in a process of its own.

It answers bytes that were made before, so that next to nothing of what is measured is the server's: about 15 µs of its
own process for a call (uvloop; plain asyncio where that is missing), where the cheapest client here takes 100. Nothing
smaller that keeps connections, TLS and a latency is in reach of a Python checkout. What it costs is not in the figures
anyway: CPU is read from the client's process alone.
"""

import asyncio
import contextlib
import json
import re
import resource
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import cast

from attrs import frozen

from benchmarks.asked import MATCH
from benchmarks.certificate import certificate, key

LATENCIES = {"plain": 0.0, "20ms": 0.02, "200ms": 0.2}
"""Seconds before an answer, by the port's name; ``tls`` answers at once."""
_JSON = {
    b"/v1/customers": b'{"id":"cus_1","object":"customer","created":1700000000,"livemode":false,"email":"a@b.example"}',
    b"/models/": b'{"id":"gpt","object":"model","created":1700000000,"owned_by":"openai"}',
    b"/rate_limit": json.dumps(
        {
            "resources": {
                name: {"limit": 5000, "used": 1, "remaining": 4999, "reset": 1700000000} for name in ("core", "search")
            },
            "rate": {"limit": 5000, "used": 1, "remaining": 4999, "reset": 1700000000},
        }
    ).encode(),
    b"/dynamodb": b'{"Item":{"id":{"S":"1"},"name":{"S":"Ali"}}}',
}
_SETTLE = b"/settlement"
_TRACK_ID = re.compile(rb'"track_id": ?"([^"]+)"')
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: ?(\d+)")


def whole(body: bytes) -> bytes:
    """An answer with its head."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _settled(request: bytes) -> bytes:
    """The one answer that is not made before: what it says must name the transfers that were asked for."""
    items = b",".join(
        b'{"hashid":"h-%s","track_id":"%s","status":"success","message":"done","ref_code":"1"}' % (one, one)
        for one in _TRACK_ID.findall(request)
    )
    return whole(b'{"status":"ok","message":"ok","data":[' + items + b"]}")


_ANSWERS = {path: whole(body) for path, body in _JSON.items()}
_MATCH = whole(MATCH)


def answer_to(request: bytes) -> bytes:
    """The answer to a whole request."""
    path = request[: request.find(b" HTTP/1.1")]
    if _SETTLE in path:
        return _settled(request)
    return next((answer for part, answer in _ANSWERS.items() if part in path), _MATCH)


class Protocol(asyncio.Protocol):
    """One connection; requests are answered in turn."""

    def __init__(self, latency: float) -> None:
        self._latency, self._heard = latency, b""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._heard = self._heard + data if self._heard else data
        while (end := self._heard.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._heard, 0, end + 2)
            whole_length = end + 4 + (int(length[1]) if length else 0)
            if len(self._heard) < whole_length:
                return
            request, self._heard = self._heard[:whole_length], self._heard[whole_length:]
            if self._latency:
                self._loop.call_later(self._latency, self._say, answer_to(request))
            else:
                self._say(answer_to(request))

    def _say(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def many_files() -> None:
    """Lift the limit on open sockets as far as this process may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve() -> None:
    loop = asyncio.get_running_loop()

    def made(latency: float) -> Callable[[], Protocol]:
        return lambda: Protocol(latency)

    ports: dict[str, int] = {}
    for name, latency in LATENCIES.items():
        listening = await loop.create_server(made(latency), "127.0.0.1", 0, backlog=2048)
        ports[name] = listening.sockets[0].getsockname()[1]
    listening = await loop.create_server(made(0.0), "127.0.0.1", 0, ssl=_context(), backlog=2048)
    ports["tls"] = listening.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    # It lives as long as whoever started it holds the other end of its input, however that one ends.
    await loop.run_in_executor(None, sys.stdin.read)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "both.pem")
        path.write_text(key() + certificate())
        context.load_cert_chain(path)
    return context


@frozen
class Place:
    """Where the server listens.

    Attributes:
        ports: port by name; see LATENCIES.
    """

    ports: dict[str, int]

    def url(self, name: str) -> str:
        """The base URL of one port."""
        return f"{'https' if name == 'tls' else 'http'}://127.0.0.1:{self.ports[name]}"


@contextlib.contextmanager
def running() -> Generator[Place]:
    """The server, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Place(json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(10)


if __name__ == "__main__":
    many_files()
    try:
        import uvloop  # type: ignore[import-not-found,unused-ignore]  # pyright: ignore

        uvloop.run(_serve())
    except ImportError:
        asyncio.run(_serve())
