"""The conformance suite of all engines, over real sockets: a failure has the same error in each engine."""

import asyncio
import gzip
import logging
import resource
import subprocess
import sys
import zlib
from typing import Any

import aiohttp
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async.errors import InvalidResponse, InvalidValue, NoResponse, NotSent
from paystar_async.transport.engine import Engine
from tests.transport import conformance
from tests.transport.conformance import (
    BEFORE_SEND_ENGINES,
    BODY,
    BROKEN_RESPONSES,
    ENGINE_KINDS,
    OK,
    OWN_ENGINES,
    URL,
    open_engine,
    send,
    send_error,
    send_to_script,
)
from tests.transport.tcp import Script, TcpPeer, free_port, run_server


@pytest.fixture(params=ENGINE_KINDS, scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """Return the kind of each engine; a test may parametrize it with some kinds."""
    name: str = request.param
    return name


own_engines_only = pytest.mark.parametrize("kind", OWN_ENGINES)
before_send_engines_only = pytest.mark.parametrize("kind", BEFORE_SEND_ENGINES)


async def test_engine_fits_protocol(kind: str) -> None:
    async with open_engine(kind) as engine:
        assert isinstance(engine, Engine)
        assert engine.supports_before_send is (kind in BEFORE_SEND_ENGINES)


@pytest.mark.parametrize("name", BROKEN_RESPONSES)
async def test_send_broken_response_is_no_response_and_sent_once(kind: str, name: str) -> None:
    error, server = await send_to_script(kind, BROKEN_RESPONSES[name])

    assert type(error) is NoResponse
    assert error.executed == "maybe"
    assert "no response within" not in str(error)  # it is known at once
    assert len(server.peers) == 1
    assert len(server.requests) <= 1


async def test_send_reset_at_once_is_not_sent_if_nothing_received(kind: str) -> None:
    # Whether the client sees a connection at all before the reset depends on timing in the kernel.
    error, server = await send_to_script(kind, conformance.reset_at_once)

    assert isinstance(error, NotSent | NoResponse)
    assert len(server.peers) == 1


@pytest.mark.parametrize("script", [conformance.stay_silent, conformance.respond_slowly, conformance.respond_half])
async def test_send_timeout_covers_whole_response(kind: str, script: Script) -> None:
    error, _ = await send_to_script(kind, script, timeout=0.4)

    assert type(error) is NoResponse
    assert error.args[0] == "no response within 0.4 s"


class TestNotSent:
    """Failures in which the request was provably not sent."""

    async def test_send_refused_connection_is_not_sent(self, kind: str) -> None:
        async with open_engine(kind) as engine:
            error = await send_error(engine, f"http://127.0.0.1:{free_port()}/?access_password=canary")

        assert type(error) is NotSent
        assert error.executed == "no"
        assert "repeating the call is safe" in error.hint

    async def test_send_silent_handshake_is_not_sent(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("paystar_async.transport.aiohttp.CONNECT_TIMEOUT_SECONDS", 0.2)
        async with run_server(conformance.never_respond) as server, open_engine(kind) as engine:
            error = await send_error(engine, server.url.replace("http:", "https:"), 0.8)

        assert type(error) is NotSent
        assert b"canary" not in server.received

    @pytest.mark.parametrize("tls", [True, False])
    async def test_send_untrusted_or_missing_certificate_is_not_sent(self, kind: str, tls: bool) -> None:
        async def script(peer: TcpPeer) -> None:
            await peer.read()
            await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with run_server(script, tls=tls) as server, open_engine(kind) as engine:
            error = await send_error(engine, server.url.replace("http:", "https:"))

        assert type(error) is NotSent
        assert b"canary" not in server.received

    @pytest.mark.parametrize("timeout", [0.0, -1.0])
    async def test_send_without_time_left_is_not_sent(self, kind: str, timeout: float) -> None:
        async with open_engine(kind) as engine:
            assert type(await send_error(engine, URL, timeout)) is NotSent

    @pytest.mark.parametrize(
        "url", ["ftp://paystar.example/", "http://bad host/", "http://[::1/", f"http://{'a' * 70}.example/", "nothing"]
    )
    async def test_send_invalid_url_is_not_sent(self, kind: str, url: str) -> None:
        async with open_engine(kind) as engine:
            assert type(await send_error(engine, url)) is NotSent

    @settings(max_examples=30)
    @given(st.integers(0, 150), st.binary(max_size=40), st.booleans(), st.booleans())
    def test_send_received_byte_is_never_not_sent(
        self, kind: str, read: int, reply: bytes, starts: bool, resets: bool
    ) -> None:
        async def script(peer: TcpPeer) -> None:
            bytes_left = read
            while bytes_left and (data := await peer.read(bytes_left)):
                bytes_left -= len(data)
            await peer.write((OK if starts else b"") + reply)
            if resets:
                peer.reset()

        async def run() -> None:
            async with run_server(script) as server, open_engine(kind) as engine:
                try:
                    await send(engine, server.url, 0.1)
                except NotSent:
                    assert server.received == b""
                except NoResponse:
                    pass

        asyncio.run(run())


class TestResponses:
    """Complete responses, as each engine returns them."""

    @pytest.mark.parametrize(
        ("head", "body"),
        [
            (b"Content-Length: 2\r\n\r\n{}", b"{}"),
            (b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
            (b"Connection: close\r\n\r\n{}", b"{}"),
            (b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"{}"), b"{}"),
            (b"Content-Encoding: gzip, gzip\r\nConnection: close\r\n\r\n" + gzip.compress(gzip.compress(b"{}")), b"{}"),
            (b"Content-Encoding: deflate\r\nConnection: close\r\n\r\n" + zlib.compress(b"{}"), b"{}"),
            (b"Content-Length: 0\r\n\r\n", b""),
        ],
        ids=["length", "chunks", "connection end", "gzip", "gzip twice", "deflate", "empty"],
    )
    async def test_send_framed_or_encoded_body_is_decoded(self, kind: str, head: bytes, body: bytes) -> None:
        script = conformance.respond_with(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"X-Odd: 1\r\n" + head)
        async with run_server(script) as server, open_engine(kind) as engine:
            status, headers, content = await send(engine, server.url)

        assert (status, headers["x-odd"], content) == (200, "1", body)

    @pytest.mark.parametrize("code", [b"400 Bad Request", b"401 Unauthorized", b"503 Service Unavailable"])
    async def test_send_error_status_is_a_response(self, kind: str, code: bytes) -> None:
        script = conformance.respond_with(b"HTTP/1.1 " + code + b"\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}")
        async with run_server(script) as server, open_engine(kind) as engine:
            status, headers, body = await send(engine, server.url)

        assert (status, headers["retry-after"], body) == (int(code[:3]), "3", b"{}")

    async def test_send_repeated_and_binary_headers_are_read(self, kind: str) -> None:
        head = b"X-Odd: a\r\nX-Odd: b\r\nX-Bytes: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}"
        async with run_server(conformance.respond_with(OK + head)) as server, open_engine(kind) as engine:
            _, headers, body = await send(engine, server.url)

        assert (headers["x-odd"], headers["content-length"], body) == ("a, b", "2", b"{}")

    @own_engines_only
    async def test_send_long_header_is_read(self, kind: str) -> None:
        """A policy of the browser, or a proxy's trace, may be longer than aiohttp's own limit of 8 kB."""
        head = b"X-Long: " + b"x" * 40_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
        async with run_server(conformance.respond_with(OK + head)) as server, open_engine(kind) as engine:
            _, headers, body = await send(engine, server.url)

        assert (len(headers["x-long"]), body) == (40_000, b"{}")

    async def test_send_writes_request_and_headers(self, kind: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            await send(engine, server.url)
            await send(engine, server.url, method="GET")

        post_request, get_request = server.requests
        head, _, body = post_request.decode().partition("\r\n\r\n")
        first, *headers = head.split("\r\n")
        assert first == "POST /api?access_password=canary HTTP/1.1"
        assert {header.lower() for header in headers} - MAY_BE_ADDED == {
            "authorization: bearer canary",
            f"content-length: {len(BODY)}",
            "content-type: application/json",
            f"host: 127.0.0.1:{server.port}",
        }
        assert body.encode() == BODY
        assert get_request.startswith(b"GET /api?access_password=canary HTTP/1.1\r\n")
        assert get_request.endswith(b"\r\n\r\n")

    async def test_send_query_is_unchanged(self, kind: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            await send(engine, f"{server.url}&track_id=a%2Fb%2Bc%26%7E+x%3D", method="GET")

        assert server.requests[0].split()[1] == b"/api?access_password=canary&track_id=a%2Fb%2Bc%26%7E+x%3D"

    @pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "a\x00b"])
    async def test_send_header_with_line_break_is_refused(self, kind: str, value: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            await send_error(engine, server.url, headers=(("Authorization", value),))

        assert server.received == b""

    @pytest.mark.parametrize("code", [b"301", b"302", b"303", b"307", b"308"])
    async def test_send_redirect_is_not_followed(self, kind: str, code: bytes) -> None:
        async with run_server(conformance.close_after_reading) as other, open_engine(kind) as engine:
            location = f"Location: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
            async with run_server(
                conformance.respond_with(b"HTTP/1.1 " + code + b" Elsewhere\r\n" + location)
            ) as server:
                status, _, _ = await send(engine, server.url)

        assert status == int(code)
        assert (len(server.requests), other.peers) == (1, [])

    async def test_send_too_large_response_is_refused(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("native.parser", "native.engine", "httpx", "aiohttp"):
            monkeypatch.setattr(f"paystar_async.transport.{module}.MAX_RESPONSE_BYTES", 10_000)
        bomb = gzip.compress(b" " * 10_001)
        head = OK + b"Content-Encoding: gzip\r\nContent-Length: " + str(len(bomb)).encode() + b"\r\n\r\n"
        error, _ = await send_to_script(kind, conformance.respond_with(head + bomb))

        assert type(error) is InvalidResponse
        assert error.executed == "maybe"

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
    @pytest.mark.parametrize(
        "codings", ["gzip, gzip", "gzip\r\nContent-Encoding: gzip", "gzip, gzip, gzip", "deflate, gzip, br"]
    )
    async def test_send_nested_content_encoding_is_bounded(self, kind: str, codings: str, chunked: bool) -> None:
        """The second stage has 64 MB, which HTTP libraries decode completely before they return a byte."""
        packed = NESTED
        length = f"Content-Length: {len(packed)}"
        if chunked:
            length, packed = "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
        head = OK + f"Content-Encoding: {codings}\r\n{length}\r\n\r\n".encode()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error, _ = await send_to_script(kind, conformance.respond_with(head + packed))
        growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        assert (type(error), error.executed) == (InvalidResponse, "maybe")
        assert growth_kib < 48 << 10

    async def test_send_large_request_and_response_are_complete(self, kind: str) -> None:
        large = b"x" * 3_000_000

        async def script(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond(large)

        async with run_server(script) as server, open_engine(kind) as engine:
            _, _, body = await engine.send("POST", server.url, conformance.HEADERS, large, 10)

        assert body == large
        assert server.requests[0].endswith(b"\r\n\r\n" + large)


NESTED = gzip.compress(gzip.compress(bytes(64 << 20), 9), 9)

MAY_BE_ADDED = {"accept: */*", "accept-encoding: gzip,deflate", "user-agent: python-pyreqwest/1.0.0"}
"""Headers that a library adds unless the request has them; RequestTemplate sets the first and the last."""


class TestKeepAlive:
    """Reuse of a connection, and connections that close between two calls."""

    async def test_connection_reused_sends_new_headers(self, kind: str) -> None:
        keys = ["one", "two", "one"]
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            for key in keys:
                await send(engine, server.url, headers=(("Authorization", f"Bearer {key}"),))

        assert [request.partition(b"Bearer ")[2].split()[0].decode() for request in server.requests] == keys

    async def test_connection_is_reused(self, kind: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            for _ in range(3):
                await send(engine, server.url)

        assert (len(server.peers), len(server.requests)) == (1, 3)

    async def test_connections_are_at_most_concurrent_calls(self, kind: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            for _ in range(3):
                await asyncio.gather(*[send(engine, server.url) for _ in range(4)])

        assert len(server.requests) == 12
        assert len(server.peers) <= 4

    async def test_connection_closed_while_idle_is_replaced(self, kind: str) -> None:
        async with run_server(conformance.respond_once_and_close) as server, open_engine(kind) as engine:
            for _ in range(3):
                await send(engine, server.url)
                await asyncio.sleep(0.02)  # until the end of the connection is read

        assert (len(server.peers), len(server.requests)) == (3, 3)

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_connection_closed_on_reuse_is_not_retried(self, kind: str, method: str) -> None:
        async with run_server(conformance.respond_once_and_read_another) as server, open_engine(kind) as engine:
            await send(engine, server.url, method=method)
            error = await send_error(engine, server.url, method=method)

        assert type(error) is NoResponse
        assert (len(server.peers), len(server.requests)) == (1, 2)

    async def test_connection_forged_response_is_not_read_by_next_call(self, kind: str) -> None:
        async def script(peer: TcpPeer) -> None:
            while request := await peer.read_request():
                body = request.split()[1]
                forged_response = OK + b"Content-Length: 6\r\n\r\nforged"
                await peer.write(OK + b"Content-Length: 2\r\n\r\n" + body + forged_response)

        async with run_server(script) as server, open_engine(kind) as engine:
            base = f"http://127.0.0.1:{server.port}"
            bodies = [(await send(engine, f"{base}/{number}"))[2] for number in range(3)]

        assert bodies == [b"/0", b"/1", b"/2"]
        assert len(server.peers) == 3

    @pytest.mark.parametrize("stray", conformance.UNREAD_BYTES.values(), ids=conformance.UNREAD_BYTES)
    @pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified"])
    @pytest.mark.parametrize("idle", [False, True])
    async def test_connection_unread_bytes_are_not_next_response(
        self, kind: str, stray: bytes, status: bytes, idle: bool
    ) -> None:
        async def script(peer: TcpPeer) -> None:
            while request := await peer.read_request():
                path = request.split()[1]
                body = path if status.startswith(b"200") else b""
                length = b"Content-Length: %d\r\n" % len(body) if body else b""
                head = b"HTTP/1.1 " + status + b"\r\n" + length + b"X-Path: " + path + b"\r\n\r\n"
                await peer.write(head + body, stray) if idle else await peer.write(head + body + stray)

        async with run_server(script) as server, open_engine(kind) as engine:
            for number in range(3):
                try:
                    _, headers, _ = await send(engine, f"http://127.0.0.1:{server.port}/{number}")
                except NoResponse:
                    continue
                assert headers["x-path"] == f"/{number}"
                await asyncio.sleep(0.01)  # so that the stray bytes arrive

        assert len(server.peers) == len(server.requests) == 3

    @pytest.mark.parametrize("coding", ["gzip", "br"], ids=["broken coding", "other coding"])
    async def test_connection_undecodable_response_leaves_no_bytes(self, kind: str, coding: str) -> None:
        """The bytes behind a response that raises an error are not the next response either."""
        forged_response = conformance.UNREAD_BYTES["response"]
        head = OK + f"Content-Encoding: {coding}\r\nContent-Length: 2\r\n\r\n".encode()

        async def script(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.write(head + b"{}" + forged_response)
            await conformance.keep_responding(peer)

        async with run_server(script) as server, open_engine(kind) as engine:
            await send_error(engine, server.url)
            await send_error(engine, server.url)

        assert len(server.peers) == len(server.requests) == 2

    async def test_connection_with_unread_bytes_in_socket_is_closed(self, kind: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            await send(engine, server.url)
            await server.peers[0].write(conformance.UNREAD_BYTES["response"])  # no loop turn before the next call
            assert (await send(engine, server.url))[2] == b"{}"

        assert len(server.peers) == 2

    async def test_connection_trailing_bytes_are_dropped(self, kind: str) -> None:
        async with (
            run_server(conformance.respond_with(OK + b"Content-Length: 2\r\n\r\n{}trailing")) as server,
            open_engine(kind) as engine,
        ):
            for _ in range(2):
                try:
                    assert (await send(engine, server.url))[2] == b"{}"
                except NoResponse:
                    assert "aiohttp" in kind  # reads on before it returns the response, and drops both

        assert (len(server.peers), len(server.requests)) == (2, 2)

    async def test_send_after_aclose_is_not_sent(self, kind: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            await send(engine, server.url)
            await engine.aclose()
            await engine.aclose()
            error = await send_error(engine, server.url)

        assert type(error) is NotSent
        assert len(server.requests) == 1


class TestCancelled:
    """Cancelled calls, at each point: they raise CancelledError, and affect no other call."""

    @pytest.mark.parametrize("script", [conformance.stay_silent, conformance.respond_half, conformance.respond_slowly])
    async def test_cancel_while_waiting_raises_cancelled_error(self, kind: str, script: Script) -> None:
        reached = asyncio.Event()

        async def script_then_respond(peer: TcpPeer) -> None:
            if reached.is_set():
                await conformance.keep_responding(peer)
            else:
                reached.set()
                await script(peer)

        async with run_server(script_then_respond) as server, open_engine(kind) as engine:
            call = asyncio.create_task(send(engine, server.url))
            await reached.wait()
            await asyncio.sleep(0.02)  # until the call waits for this server
            await cancel(call)
            assert (await send(engine, server.url))[2] == b"{}"

    async def test_cancel_in_handshake_raises_cancelled_error(self, kind: str) -> None:
        greeted = asyncio.Event()

        async def script(peer: TcpPeer) -> None:
            await peer.read()
            greeted.set()
            await conformance.never_respond(peer)

        async with run_server(script) as server, open_engine(kind) as engine:
            call = asyncio.create_task(send(engine, server.url.replace("http:", "https:")))
            await greeted.wait()
            await cancel(call)

        assert b"canary" not in server.received

    async def test_cancel_late_response_is_not_read_by_next_call(self, kind: str) -> None:
        reached = asyncio.Event()

        async def script(peer: TcpPeer) -> None:
            while request := await peer.read_request():
                if b"/slow" in request:
                    reached.set()
                    await asyncio.sleep(0.02)
                    await peer.respond(b'{"for": "slow"}')
                else:
                    await peer.respond(b'{"for": "fast"}')

        async with run_server(script) as server, open_engine(kind, connections=1) as engine:
            base = f"http://127.0.0.1:{server.port}"
            for _ in range(2):
                call = asyncio.create_task(send(engine, f"{base}/slow"))
                await reached.wait()
                reached.clear()
                await cancel(call)
            assert (await send(engine, f"{base}/fast"))[2] == b'{"for": "fast"}'

    async def test_cancel_at_any_moment_frees_its_slot(self, kind: str) -> None:
        async with run_server(conformance.keep_responding) as server, open_engine(kind, connections=2) as engine:
            for turns in range(80):
                call = asyncio.create_task(send(engine, server.url))
                for _ in range(turns % 40):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            responses = await asyncio.gather(*[send(engine, server.url) for _ in range(2)])

        assert [status for status, _, _ in responses] == [200, 200]

    @own_engines_only
    async def test_aclose_during_request_is_no_response(self, kind: str) -> None:
        reached = asyncio.Event()

        async def script(peer: TcpPeer) -> None:
            await peer.read_request()
            reached.set()
            await conformance.never_respond(peer)

        async with run_server(script) as server, open_engine(kind) as engine:
            call = asyncio.create_task(send_error(engine, server.url, 1))
            await reached.wait()
            await engine.aclose()
            assert type(await call) is NoResponse


async def cancel(call: "asyncio.Task[Any]") -> None:
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


class TestBeforeSend:
    """``before_send`` is called once, after connecting and before the first byte."""

    pytestmark = before_send_engines_only

    async def test_before_send_runs_connected_before_first_byte(self, kind: str) -> None:
        server_states: list[tuple[int, bytes]] = []
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            for _ in range(2):
                await send(
                    engine,
                    server.url,
                    before_send=lambda: server_states.append((len(server.requests), server.received)),
                )
                server.received = b""

        assert server_states == [(0, b""), (1, b"")]

    @pytest.mark.parametrize(
        "refusal",
        [
            NotSent("the lease ran out"),
            InvalidValue("x", expected="y", got="z"),
            TimeoutError("by before_send"),
            OSError("by before_send"),
            RuntimeError("by before_send"),
            httpx.ReadError("by before_send"),
            aiohttp.ClientError("by before_send"),
            KeyError("by before_send"),
        ],
        ids=lambda refusal: type(refusal).__name__,
    )
    @pytest.mark.parametrize("reused", [False, True])
    async def test_before_send_error_sends_no_byte(self, kind: str, refusal: Exception, reused: bool) -> None:
        def refuse() -> None:
            raise refusal

        async with run_server(conformance.keep_responding) as server, open_engine(kind, connections=1) as engine:
            if reused:
                await send(engine, server.url)
            before = server.received
            with pytest.raises(type(refusal)) as caught:
                await send(engine, server.url, before_send=refuse)
            await asyncio.sleep(0.01)
            assert caught.value is refusal
            assert server.received == before
            await send(engine, server.url)


class TestPrivacy:
    """Proxies, cookies and logs: what an engine must not do by default."""

    @own_engines_only
    async def test_send_environment_proxy_is_ignored(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            assert (await send(engine, server.url))[0] == 200

    @own_engines_only
    async def test_send_cookies_are_not_sent_back(self, kind: str) -> None:
        async def script(peer: TcpPeer) -> None:
            while await peer.read_request():
                await peer.respond(head=b"Set-Cookie: session=1; Path=/\r\n")

        async with run_server(script) as server, open_engine(kind) as engine:
            # Cookies are stored for host names, not for IP addresses.
            for _ in range(2):
                await send(engine, server.url.replace("127.0.0.1", "localhost"))

        assert b"ookie" not in server.received

    async def test_send_log_lines_show_no_secret(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(1)
        async with run_server(conformance.keep_responding) as server, open_engine(kind) as engine:
            await send(engine, server.url)
            await send_error(engine, f"http://127.0.0.1:{free_port()}/?access_password=canary")
        logging.getLogger().debug("logs are recorded")

        assert "logs are recorded" in caplog.text
        assert "canary" not in caplog.text


LOOPS = """
import asyncio, sys
from tests.transport.conformance import keep_responding, open_engine, send, stay_silent
from tests.transport.tcp import run_server

async def call(kind):
    async with run_server(keep_responding) as server, open_engine(kind) as engine:
        assert (await send(engine, server.url))[0] == 200

async def cancel_call(kind):
    async with run_server(stay_silent) as server, open_engine(kind) as engine:
        task = asyncio.create_task(send(engine, server.url))
        while not server.requests:
            await asyncio.sleep(0)
        task.cancel()

kind = sys.argv[1]
asyncio.run(call(kind))
asyncio.run(cancel_call(kind))
asyncio.run(call(kind))
"""


def test_engine_in_successive_loops_leaves_no_resource(kind: str) -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOOPS, kind], capture_output=True, text=True, timeout=60
    )

    assert (process.returncode, process.stderr) == (0, "")
