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
from tests.transport import conformance as c
from tests.transport.conformance import (
    BEFORE_SEND,
    BODY,
    BROKEN,
    KINDS,
    OK,
    OWN,
    URL,
    ask,
    failure,
    opened,
    played,
)
from tests.transport.tcp import Play, TcpPeer, free_port, serving


@pytest.fixture(params=KINDS, scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """Return each engine's kind, unless a test names some."""
    name: str = request.param
    return name


own_alone = pytest.mark.parametrize("kind", OWN)
before_send_alone = pytest.mark.parametrize("kind", BEFORE_SEND)


async def test_engine_fits_protocol(kind: str) -> None:
    async with opened(kind) as engine:
        assert isinstance(engine, Engine)
        assert engine.supports_before_send is (kind in BEFORE_SEND)


@pytest.mark.parametrize("name", BROKEN)
async def test_send_broken_response_is_no_response_and_sent_once(kind: str, name: str) -> None:
    error, server = await played(kind, BROKEN[name])

    assert type(error) is NoResponse
    assert error.executed == "maybe"
    assert len(server.peers) == 1
    assert len(server.requests) <= 1


async def test_send_reset_at_once_is_not_sent_if_nothing_received(kind: str) -> None:
    # Whether the client sees a connection at all before the reset depends on timing in the kernel.
    error, server = await played(kind, c.reset_at_once)

    assert isinstance(error, NotSent | NoResponse)
    assert len(server.peers) == 1


@pytest.mark.parametrize("play", [c.silence, c.drip, c.half_an_answer])
async def test_send_timeout_covers_whole_response(kind: str, play: Play) -> None:
    error, _ = await played(kind, play, timeout=0.4)

    assert type(error) is NoResponse
    assert error.args[0] == "no response within 0.4 s"


class TestNotSent:
    """Failures in which the request was provably not sent."""

    async def test_send_refused_connection_is_not_sent(self, kind: str) -> None:
        async with opened(kind) as engine:
            error = await failure(engine, f"http://127.0.0.1:{free_port()}/?access_password=canary")

        assert type(error) is NotSent
        assert error.executed == "no"
        assert "repeating the call is safe" in error.hint

    async def test_send_silent_handshake_is_not_sent(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("aiohttp",):
            monkeypatch.setattr(f"paystar_async.transport.{module}.CONNECT_SECONDS", 0.2)
        async with serving(c.mute) as server, opened(kind) as engine:
            error = await failure(engine, server.url.replace("http:", "https:"), 0.8)

        assert type(error) is NotSent
        assert b"canary" not in server.received

    @pytest.mark.parametrize("tls", [True, False])
    async def test_send_untrusted_or_missing_certificate_is_not_sent(self, kind: str, tls: bool) -> None:
        async def play(peer: TcpPeer) -> None:
            await peer.read()
            await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with serving(play, tls=tls) as server, opened(kind) as engine:
            error = await failure(engine, server.url.replace("http:", "https:"))

        assert type(error) is NotSent
        assert b"canary" not in server.received

    @pytest.mark.parametrize("timeout", [0.0, -1.0])
    async def test_send_without_time_left_is_not_sent(self, kind: str, timeout: float) -> None:
        async with opened(kind) as engine:
            assert type(await failure(engine, URL, timeout)) is NotSent

    @pytest.mark.parametrize(
        "url", ["ftp://paystar.example/", "http://bad host/", "http://[::1/", f"http://{'a' * 70}.example/", "nothing"]
    )
    async def test_send_invalid_url_is_not_sent(self, kind: str, url: str) -> None:
        async with opened(kind) as engine:
            assert type(await failure(engine, url)) is NotSent

    @settings(max_examples=30)
    @given(st.integers(0, 150), st.binary(max_size=40), st.booleans(), st.booleans())
    def test_send_received_byte_is_never_not_sent(
        self, kind: str, read: int, reply: bytes, starts: bool, resets: bool
    ) -> None:
        async def play(peer: TcpPeer) -> None:
            left = read
            while left and (data := await peer.read(left)):
                left -= len(data)
            await peer.write((OK if starts else b"") + reply)
            if resets:
                peer.reset()

        async def run() -> None:
            async with serving(play) as server, opened(kind) as engine:
                try:
                    await ask(engine, server.url, 0.1)
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
        ids=["a length", "chunks", "until the end", "gzip", "gzip twice", "deflate", "nothing"],
    )
    async def test_send_framed_or_encoded_body_is_decoded(self, kind: str, head: bytes, body: bytes) -> None:
        answer = c.answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"X-Odd: 1\r\n" + head)
        async with serving(answer) as server, opened(kind) as engine:
            status, headers, came = await ask(engine, server.url)

        assert (status, headers["x-odd"], came) == (200, "1", body)

    @pytest.mark.parametrize("code", [b"400 Bad Request", b"401 Unauthorized", b"503 Service Unavailable"])
    async def test_send_error_status_is_a_response(self, kind: str, code: bytes) -> None:
        answer = c.answering(b"HTTP/1.1 " + code + b"\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}")
        async with serving(answer) as server, opened(kind) as engine:
            status, headers, body = await ask(engine, server.url)

        assert (status, headers["retry-after"], body) == (int(code[:3]), "3", b"{}")

    async def test_send_repeated_and_binary_headers_are_read(self, kind: str) -> None:
        head = b"X-Odd: a\r\nX-Odd: b\r\nX-Bytes: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}"
        async with serving(c.answering(OK + head)) as server, opened(kind) as engine:
            _, headers, body = await ask(engine, server.url)

        assert (headers["x-odd"], headers["content-length"], body) == ("a, b", "2", b"{}")

    async def test_send_writes_request_and_headers(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, server.url)
            await ask(engine, server.url, method="GET")

        posted, got = server.requests
        head, _, body = posted.decode().partition("\r\n\r\n")
        first, *headers = head.split("\r\n")
        assert first == "POST /api?access_password=canary HTTP/1.1"
        assert {header.lower() for header in headers} - MAY_BE_ADDED == {
            "authorization: bearer canary",
            f"content-length: {len(BODY)}",
            "content-type: application/json",
            f"host: 127.0.0.1:{server.port}",
        }
        assert body.encode() == BODY
        assert got.startswith(b"GET /api?access_password=canary HTTP/1.1\r\n")
        assert got.endswith(b"\r\n\r\n")

    async def test_send_query_is_unchanged(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, f"{server.url}&track_id=a%2Fb%2Bc%26%7E+x%3D", method="GET")

        assert server.requests[0].split()[1] == b"/api?access_password=canary&track_id=a%2Fb%2Bc%26%7E+x%3D"

    @pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "a\x00b"])
    async def test_send_header_with_line_break_is_refused(self, kind: str, value: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await failure(engine, server.url, headers=(("Authorization", value),))

        assert server.received == b""

    @pytest.mark.parametrize("code", [b"301", b"302", b"303", b"307", b"308"])
    async def test_send_redirect_is_not_followed(self, kind: str, code: bytes) -> None:
        async with serving(c.close_after_reading) as other, opened(kind) as engine:
            location = f"Location: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
            async with serving(c.answering(b"HTTP/1.1 " + code + b" Elsewhere\r\n" + location)) as server:
                status, _, _ = await ask(engine, server.url)

        assert status == int(code)
        assert (len(server.requests), other.peers) == (1, [])

    async def test_send_too_large_response_is_refused(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("native.parser", "native.engine", "httpx", "aiohttp"):
            monkeypatch.setattr(f"paystar_async.transport.{module}.MAX_RESPONSE_BYTES", 10_000)
        bomb = gzip.compress(b" " * 10_001)
        head = OK + b"Content-Encoding: gzip\r\nContent-Length: " + str(len(bomb)).encode() + b"\r\n\r\n"
        error, _ = await played(kind, c.answering(head + bomb))

        assert type(error) is InvalidResponse
        assert error.executed == "maybe"

    @pytest.mark.parametrize("chunked", [False, True], ids=["a length", "chunks"])
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
        error, _ = await played(kind, c.answering(head + packed))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        assert (type(error), error.executed) == (InvalidResponse, "maybe")
        assert grown < 48 << 10

    async def test_send_large_request_and_response_are_complete(self, kind: str) -> None:
        large = b"x" * 3_000_000

        async def play(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond(large)

        async with serving(play) as server, opened(kind) as engine:
            _, _, body = await engine.send("POST", server.url, c.HEADERS, large, 10)

        assert body == large
        assert server.requests[0].endswith(b"\r\n\r\n" + large)


NESTED = gzip.compress(gzip.compress(bytes(64 << 20), 9), 9)

MAY_BE_ADDED = {"accept: */*", "accept-encoding: gzip,deflate", "user-agent: python-pyreqwest/1.0.0"}
"""Headers that a library adds unless the request has them; RequestTemplate sets the first and the last."""


class TestKeepAlive:
    """Reuse of a connection, and connections that close between two calls."""

    async def test_reused_connection_sends_new_headers(self, kind: str) -> None:
        keys = ["one", "two", "one"]
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for key in keys:
                await ask(engine, server.url, headers=(("Authorization", f"Bearer {key}"),))

        assert [request.partition(b"Bearer ")[2].split()[0].decode() for request in server.requests] == keys

    async def test_connection_is_reused(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for _ in range(3):
                await ask(engine, server.url)

        assert (len(server.peers), len(server.requests)) == (1, 3)

    async def test_connections_are_at_most_concurrent_calls(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for _ in range(3):
                await asyncio.gather(*[ask(engine, server.url) for _ in range(4)])

        assert len(server.requests) == 12
        assert len(server.peers) <= 4

    async def test_closed_idle_connection_is_replaced(self, kind: str) -> None:
        async with serving(c.answer_once_and_close) as server, opened(kind) as engine:
            for _ in range(3):
                await ask(engine, server.url)
                await asyncio.sleep(0.02)  # until the end of the connection is read

        assert (len(server.peers), len(server.requests)) == (3, 3)

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_connection_closed_on_reuse_is_not_retried(self, kind: str, method: str) -> None:
        async with serving(c.answer_once_and_hear_another) as server, opened(kind) as engine:
            await ask(engine, server.url, method=method)
            error = await failure(engine, server.url, method=method)

        assert type(error) is NoResponse
        assert (len(server.peers), len(server.requests)) == (1, 2)

    async def test_forged_response_is_not_read_by_next_call(self, kind: str) -> None:
        async def play(peer: TcpPeer) -> None:
            while request := await peer.read_request():
                body = request.split()[1]
                forged = OK + b"Content-Length: 6\r\n\r\nforged"
                await peer.write(OK + b"Content-Length: 2\r\n\r\n" + body + forged)

        async with serving(play) as server, opened(kind) as engine:
            base = f"http://127.0.0.1:{server.port}"
            bodies = [(await ask(engine, f"{base}/{place}"))[2] for place in range(3)]

        assert bodies == [b"/0", b"/1", b"/2"]
        assert len(server.peers) == 3

    @pytest.mark.parametrize("stray", c.STRAY.values(), ids=c.STRAY)
    @pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified"])
    @pytest.mark.parametrize("idle", [False, True])
    async def test_unread_bytes_are_not_the_next_response(
        self, kind: str, stray: bytes, status: bytes, idle: bool
    ) -> None:
        async def play(peer: TcpPeer) -> None:
            while request := await peer.read_request():
                path = request.split()[1]
                body = path if status.startswith(b"200") else b""
                length = b"Content-Length: %d\r\n" % len(body) if body else b""
                head = b"HTTP/1.1 " + status + b"\r\n" + length + b"X-Path: " + path + b"\r\n\r\n"
                await peer.write(head + body, stray) if idle else await peer.write(head + body + stray)

        async with serving(play) as server, opened(kind) as engine:
            for place in range(3):
                try:
                    _, headers, _ = await ask(engine, f"http://127.0.0.1:{server.port}/{place}")
                except NoResponse:
                    continue
                assert headers["x-path"] == f"/{place}"
                await asyncio.sleep(0.01)  # so that the stray bytes arrive

        assert len(server.peers) == len(server.requests) == 3

    async def test_unread_bytes_in_socket_close_connection(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, server.url)
            await server.peers[0].write(c.STRAY["response"])  # the loop does not turn before the next call
            assert (await ask(engine, server.url))[2] == b"{}"

        assert len(server.peers) == 2

    async def test_trailing_garbage_is_dropped(self, kind: str) -> None:
        async with serving(c.answering(OK + b"Content-Length: 2\r\n\r\n{}trailing")) as server, opened(kind) as engine:
            for _ in range(2):
                try:
                    assert (await ask(engine, server.url))[2] == b"{}"
                except NoResponse:
                    assert "aiohttp" in kind  # reads on before it returns the response, and drops both

        assert (len(server.peers), len(server.requests)) == (2, 2)

    async def test_closed_engine_sends_nothing(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, server.url)
            await engine.aclose()
            await engine.aclose()
            error = await failure(engine, server.url)

        assert type(error) is NotSent
        assert len(server.requests) == 1


class TestCancelled:
    """Cancelled calls, at each point: they raise CancelledError, and affect no other call."""

    @pytest.mark.parametrize("play", [c.silence, c.half_an_answer, c.drip])
    async def test_cancel_while_waiting_raises_cancelled_error(self, kind: str, play: Play) -> None:
        reached = asyncio.Event()

        async def once(peer: TcpPeer) -> None:
            if reached.is_set():
                await c.keep_answering(peer)
            else:
                reached.set()
                await play(peer)

        async with serving(once) as server, opened(kind) as engine:
            call = asyncio.create_task(ask(engine, server.url))
            await reached.wait()
            await asyncio.sleep(0.02)  # until the call waits for this server
            await cancelled(call)
            assert (await ask(engine, server.url))[2] == b"{}"

    async def test_cancel_in_handshake_raises_cancelled_error(self, kind: str) -> None:
        greeted = asyncio.Event()

        async def play(peer: TcpPeer) -> None:
            await peer.read()
            greeted.set()
            await c.mute(peer)

        async with serving(play) as server, opened(kind) as engine:
            call = asyncio.create_task(ask(engine, server.url.replace("http:", "https:")))
            await greeted.wait()
            await cancelled(call)

        assert b"canary" not in server.received

    async def test_cancelled_response_is_not_read_by_next_call(self, kind: str) -> None:
        came = asyncio.Event()

        async def play(peer: TcpPeer) -> None:
            while request := await peer.read_request():
                if b"/slow" in request:
                    came.set()
                    await asyncio.sleep(0.02)
                    await peer.respond(b'{"for": "slow"}')
                else:
                    await peer.respond(b'{"for": "fast"}')

        async with serving(play) as server, opened(kind, connections=1) as engine:
            base = f"http://127.0.0.1:{server.port}"
            for _ in range(2):
                call = asyncio.create_task(ask(engine, f"{base}/slow"))
                await came.wait()
                came.clear()
                await cancelled(call)
            assert (await ask(engine, f"{base}/fast"))[2] == b'{"for": "fast"}'

    async def test_cancel_at_any_moment_frees_its_slot(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind, connections=2) as engine:
            for turns in range(80):
                call = asyncio.create_task(ask(engine, server.url))
                for _ in range(turns % 40):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            ends = await asyncio.gather(*[ask(engine, server.url) for _ in range(2)])

        assert [status for status, _, _ in ends] == [200, 200]

    @own_alone
    async def test_aclose_during_request_is_no_response(self, kind: str) -> None:
        reached = asyncio.Event()

        async def play(peer: TcpPeer) -> None:
            await peer.read_request()
            reached.set()
            await c.mute(peer)

        async with serving(play) as server, opened(kind) as engine:
            call = asyncio.create_task(failure(engine, server.url, 1))
            await reached.wait()
            await engine.aclose()
            assert type(await call) is NoResponse


async def cancelled(call: "asyncio.Task[Any]") -> None:
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


class TestBeforeSend:
    """``before_send`` is called once, after connecting and before the first byte."""

    pytestmark = before_send_alone

    async def test_before_send_runs_connected_before_first_byte(self, kind: str) -> None:
        seen: list[tuple[int, bytes]] = []
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for _ in range(2):
                await ask(engine, server.url, before_send=lambda: seen.append((len(server.requests), server.received)))
                server.received = b""

        assert seen == [(0, b""), (1, b"")]

    @pytest.mark.parametrize(
        "refusal",
        [
            NotSent("the lease ran out"),
            InvalidValue("x", expected="y", got="z"),
            TimeoutError("its own"),
            OSError("its own"),
            RuntimeError("its own"),
            httpx.ReadError("its own"),
            aiohttp.ClientError("its own"),
            KeyError("its own"),
        ],
        ids=lambda refusal: type(refusal).__name__,
    )
    @pytest.mark.parametrize("used", [False, True])
    async def test_before_send_error_sends_no_byte(self, kind: str, refusal: Exception, used: bool) -> None:
        def refuse() -> None:
            raise refusal

        async with serving(c.keep_answering) as server, opened(kind, connections=1) as engine:
            if used:
                await ask(engine, server.url)
            before = server.received
            with pytest.raises(type(refusal)) as caught:
                await ask(engine, server.url, before_send=refuse)
            await asyncio.sleep(0.01)
            assert caught.value is refusal
            assert server.received == before
            await ask(engine, server.url)


class TestPrivacy:
    """Proxies, cookies and logs: what an engine must not do by default."""

    @own_alone
    async def test_environment_proxy_is_ignored(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            assert (await ask(engine, server.url))[0] == 200

    @own_alone
    async def test_cookies_are_not_sent_back(self, kind: str) -> None:
        async def play(peer: TcpPeer) -> None:
            while await peer.read_request():
                await peer.respond(head=b"Set-Cookie: session=1; Path=/\r\n")

        async with serving(play) as server, opened(kind) as engine:
            # Cookies are stored for host names, not for IP addresses.
            for _ in range(2):
                await ask(engine, server.url.replace("127.0.0.1", "localhost"))

        assert b"ookie" not in server.received

    async def test_log_lines_show_no_secret(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(1)
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, server.url)
            await failure(engine, f"http://127.0.0.1:{free_port()}/?access_password=canary")
        logging.getLogger().debug("logs are seen")

        assert "logs are seen" in caplog.text
        assert "canary" not in caplog.text


LOOPS = """
import asyncio, sys
from tests.transport.conformance import ask, keep_answering, opened, silence
from tests.transport.tcp import serving

async def work(kind):
    async with serving(keep_answering) as server, opened(kind) as engine:
        assert (await ask(engine, server.url))[0] == 200

async def give_up(kind):
    async with serving(silence) as server, opened(kind) as engine:
        call = asyncio.create_task(ask(engine, server.url))
        while not server.requests:
            await asyncio.sleep(0)
        call.cancel()

kind = sys.argv[1]
asyncio.run(work(kind))
asyncio.run(give_up(kind))
asyncio.run(work(kind))
"""


def test_engine_in_successive_loops_leaves_no_resource(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOOPS, kind], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
