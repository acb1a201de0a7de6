"""Helpers of the conformance suite: the engines, calls over an engine, and scripts of servers that misbehave."""

import asyncio
import contextlib
import functools
import gzip
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import httpx
import pytest

from paystar_async.errors import NotSent, PaystarError
from paystar_async.transport.engine import Engine
from paystar_async.transport.factory import make_engine
from tests.transport.tcp import Script, ScriptedServer, TcpPeer, run_server

ENGINE_KINDS = ("native", "httpx", "httpx2", "httpx client", "httpx transport", "aiohttp", "aiohttp session")
OWN_ENGINES = ("native", "httpx", "httpx2", "aiohttp")
BEFORE_SEND_ENGINES = ("native", "httpx", "httpx2", "httpx transport", "aiohttp")
HEADERS = (("Authorization", "Bearer canary"), ("Content-Type", "application/json"))
BODY = b'{"password":"canary"}'
URL = "http://paystar.example/api?access_password=canary"
OK = b"HTTP/1.1 200 OK\r\n"


@contextlib.asynccontextmanager
async def open_engine(kind: str, connections: int = 4) -> AsyncGenerator[Engine]:
    """Open an engine of this kind; a handed-in client is closed after the engine, as its owner would."""
    async with contextlib.AsyncExitStack() as owner:
        engine = make_engine(await _engine_option(kind, owner), connections)
        try:
            yield engine
        finally:
            await engine.aclose()


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # cached: reading all certificate authorities takes longer than most tests


async def _engine_option(kind: str, owner: contextlib.AsyncExitStack) -> Any:
    match kind:
        case "httpx client":
            return await owner.enter_async_context(
                httpx.AsyncClient(follow_redirects=True, trust_env=False, verify=_ssl_context())
            )
        case "httpx transport":
            return await owner.enter_async_context(httpx.AsyncHTTPTransport(verify=_ssl_context()))
        case "aiohttp session":
            return await owner.enter_async_context(aiohttp.ClientSession(raise_for_status=True))
        case _:
            return kind


async def send(engine: Engine, url: str, timeout: float = 5, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """Send a POST with a body, or a request with another ``method`` and no body."""
    method = options.pop("method", "POST")
    headers = options.pop("headers", HEADERS)
    body = BODY if method == "POST" else None
    status, response_headers, content = await engine.send(method, url, headers, body, timeout, **options)
    return status, dict(response_headers), content


async def send_error(engine: Engine, url: str, timeout: float = 5, **options: Any) -> PaystarError:
    """Return the error of a call, which shows no secret."""
    with pytest.raises(PaystarError) as caught:
        await send(engine, url, timeout, **options)
    assert "canary" not in str(caught.value)
    return caught.value


async def send_to_script(
    kind: str, script: Script, timeout: float = 5, **options: Any
) -> tuple[PaystarError, ScriptedServer]:
    """Return the error of a call to a scripted server, and the server; received bytes are never "not sent"."""
    before_send = Counter()
    if kind in BEFORE_SEND_ENGINES:
        options["before_send"] = before_send
    async with run_server(script) as server, open_engine(kind) as engine:
        error = await send_error(engine, server.url, timeout, **options)
    if isinstance(error, NotSent):
        assert (server.received, before_send.count) == (b"", 0)
    elif kind in BEFORE_SEND_ENGINES:
        assert before_send.count == 1
    return error, server


class Counter:
    """A ``before_send`` that counts its calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def respond_with(*parts: bytes) -> Script:
    """Return a script that reads a request, writes these bytes and closes the connection."""

    async def script(peer: TcpPeer) -> None:
        await peer.read_request()
        await peer.write(*parts)

    return script


async def reset_at_once(peer: TcpPeer) -> None:
    peer.reset()


async def reset_after_some_bytes(peer: TcpPeer) -> None:
    await peer.read(1)
    peer.reset()


async def reset_after_reading(peer: TcpPeer) -> None:
    await peer.read_request()
    peer.reset()


async def reset_in_the_response(peer: TcpPeer) -> None:
    await peer.read_request()
    await peer.write(OK + b'Content-Length: 10\r\n\r\n{"sta')
    peer.reset()


async def reset_in_a_response_without_length(peer: TcpPeer) -> None:
    await peer.read_request()
    await peer.write(OK + b'\r\n{"status":10}')
    await asyncio.sleep(0.01)  # so that the bytes are read before the reset
    peer.reset()


async def respond_with_an_invalid_chunk_later(peer: TcpPeer) -> None:
    await peer.read_request()
    await peer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
    await asyncio.sleep(0.01)  # so that the response has begun
    await peer.write(b"zz\r\n")
    await asyncio.sleep(60)


async def close_after_reading(peer: TcpPeer) -> None:
    await peer.read_request()


async def stay_silent(peer: TcpPeer) -> None:
    await peer.read_request()
    await asyncio.sleep(60)


async def respond_half(peer: TcpPeer) -> None:
    await peer.read_request()
    await peer.write(OK + b"Content-Length: 10\r\n\r\n{")
    await asyncio.sleep(60)


async def never_respond(peer: TcpPeer) -> None:
    """Read, and never write a byte, not even of a handshake."""
    while await peer.read():
        pass


async def respond_slowly(peer: TcpPeer) -> None:
    await peer.read_request()
    await peer.write(OK + b"Content-Length: 1000\r\n\r\n")
    while True:
        await peer.write(b" ")
        await asyncio.sleep(0.01)


async def keep_responding(peer: TcpPeer) -> None:
    while await peer.read_request():
        await peer.respond()


async def respond_once_and_close(peer: TcpPeer) -> None:
    await peer.read_request()
    await peer.respond()


async def respond_once_and_read_another(peer: TcpPeer) -> None:
    await peer.read_request()
    await peer.respond()
    await peer.read_request()


async def echo(peer: TcpPeer) -> None:
    await peer.write(await peer.read_request())


async def echo_in_a_header(peer: TcpPeer) -> None:
    await peer.write(b"HTTP/1.1 200 OK\r\n\x00" + await peer.read_request())


async def echo_in_a_chunk(peer: TcpPeer) -> None:
    await peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", await peer.read_request())


BROKEN_RESPONSES: dict[str, Script] = {
    "reset after a byte": reset_after_some_bytes,
    "reset after the whole request": reset_after_reading,
    "reset in the response": reset_in_the_response,
    "reset in a response without length": reset_in_a_response_without_length,
    "closed after the whole request": close_after_reading,
    "half a status line": respond_with(b"HTTP/1.1 20"),
    "half a header": respond_with(OK + b"Content-Le"),
    "only an interim response": respond_with(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "no body": respond_with(OK + b"Content-Length: 10\r\n\r\n"),
    "half a body": respond_with(OK + b'Content-Length: 10\r\n\r\n{"sta'),
    "two lengths": respond_with(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "an invalid length": respond_with(OK + b"Content-Length: two\r\n\r\n{}"),
    "half the chunks": respond_with(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "an invalid chunk": respond_with(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "an unknown transfer encoding": respond_with(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "an invalid chunk later": respond_with_an_invalid_chunk_later,
    "invalid gzip": respond_with(OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    "half a gzip": respond_with(
        OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n", gzip.compress(b"{}" * 9)[:9]
    ),
    "garbage": respond_with(b"\x00\xff garbage \r\n\r\n"),
    "another protocol": respond_with(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a header of a megabyte": respond_with(OK + b"X: " + b"x" * 2**20 + b"\r\n\r\n{}"),
    "its own request": echo,
    "its own request as a header": echo_in_a_header,
    "its own request as a chunk": echo_in_a_chunk,
}
"""Ways in which a server can fail a request that has reached the server."""

UNREAD_BYTES = {
    "response": OK + b"X-Path: /stray\r\nContent-Length: 5\r\n\r\nstray",
    "half a head": OK + b"X-Path: /str",
    "interim response": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "text": b"stray",
}
"""Bytes that belong to no request."""
