"""The server that everything is measured against: a bare asyncio protocol in another process.

Responses are encoded in advance, so the server is cheap. Its cost is in no figure: only the CPU of the client's process
is read.
"""

import asyncio
import contextlib
import json
import re
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from functools import partial
from typing import cast

from attrs import frozen

LATENCIES_MS = (0, 20)
MATCH = b'{"status":1,"message":"ok","data":{"is_matched":true}}'
NO_TRANSFERS = b'{"status":"ok","message":"ok","data":[]}'
_LIMIT = {"limit": 5000, "used": 1, "remaining": 4999, "reset": 1700000000}
_BODIES = {
    b"/v1/customers": b'{"id":"cus_1","object":"customer","created":1700000000,"livemode":false,"email":"a@b.example"}',
    b"/models/": b'{"id":"gpt","object":"model","created":1700000000,"owned_by":"openai"}',
    b"/rate_limit": json.dumps({"resources": {"core": _LIMIT, "search": _LIMIT}, "rate": _LIMIT}).encode(),
    b"/dynamodb": b'{"Item":{"id":{"S":"1"},"name":{"S":"Ali"}}}',
    b"/settlement-requests": NO_TRANSFERS,
    b"/info-matching/": MATCH,
}
_SETTLE, _SETTLED_CALLS = b"/v2/settlement", b"/_settled_calls"
_TRACK_ID = re.compile(rb'"track_id": ?"([^"]+)"')
_CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: ?(\d+)")


def make_response(body: bytes) -> bytes:
    """Return a 200 response with this JSON body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


_RESPONSES = {path: make_response(body) for path, body in _BODIES.items()}


def settle(request_body: bytes) -> bytes:
    """Return the response body that reports each transfer of a settle request as paid."""
    items = b",".join(
        b'{"hashid":"h-%s","track_id":"%s","status":"success","message":"done","ref_code":"1"}' % (track_id, track_id)
        for track_id in _TRACK_ID.findall(request_body)
    )
    return b'{"status":"ok","message":"ok","data":[' + items + b"]}"


class ServerProtocol(asyncio.Protocol):
    """A connection that responds to each request after a latency, and records settle calls.

    Args:
        latency: seconds before each response.
        settled_calls: ``(time, transfers)`` of each settle call, of all connections.
    """

    def __init__(self, latency: float, settled_calls: list[tuple[float, int]]) -> None:
        self._latency, self._settled_calls, self._buffer = latency, settled_calls, b""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n")) >= 0:
            content_length = _CONTENT_LENGTH.search(self._buffer, 0, head_end + 2)
            end = head_end + 4 + (int(content_length[1]) if content_length else 0)
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            response = self.respond(request)
            if self._latency:
                self._loop.call_later(self._latency, self._write, response)
            else:
                self._write(response)

    def respond(self, request: bytes) -> bytes:
        """Return the response to a request."""
        target = request[: request.find(b" HTTP/1.1")]
        if _SETTLE in target:
            body = settle(request)
            self._settled_calls.append((time.perf_counter(), body.count(b'"track_id"')))
            return make_response(body)
        if _SETTLED_CALLS in target:
            response = make_response(json.dumps(self._settled_calls).encode())
            self._settled_calls.clear()
            return response
        return next(response for path, response in _RESPONSES.items() if path in target)

    def _write(self, response: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(response)


@frozen
class Server:
    """A running server.

    Attributes:
        ports: port by latency in ms.
    """

    ports: dict[int, int]

    def url(self, latency_ms: int = 0) -> str:
        """Return the base URL at which each response takes ``latency_ms``."""
        return f"http://127.0.0.1:{self.ports[latency_ms]}"

    def take_settled_calls(self) -> list[tuple[float, int]]:
        """Return time in seconds and number of transfers of each settle call since the last call of this method."""
        with urllib.request.urlopen(self.url() + _SETTLED_CALLS.decode()) as response:
            return json.load(response)


@contextlib.contextmanager
def running_server() -> Generator[Server]:
    """Run the server in another process."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ports = json.loads(process.stdout.readline())
            yield Server({int(latency_ms): port for latency_ms, port in ports.items()})
        finally:
            process.stdin.close()
            process.wait(10)


def raise_open_files_limit() -> None:
    """Allow this process as many open sockets as it may have."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    ports: dict[int, int] = {}
    settled_calls: list[tuple[float, int]] = []
    for latency_ms in LATENCIES_MS:
        protocol = partial(ServerProtocol, latency_ms / 1000, settled_calls)
        listener = await loop.create_server(protocol, "127.0.0.1", 0, backlog=2048)
        ports[latency_ms] = listener.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    # The server ends with the process that holds the other end of its standard input, also if that process is killed.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    raise_open_files_limit()
    uvloop.run(_serve())
