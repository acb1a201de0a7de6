"""One suite for every engine, over real sockets: each failure has one verdict, whatever carried the call."""

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
    BODY,
    BROKEN,
    FENCING,
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
    """Every engine, unless a test names some."""
    name: str = request.param
    return name


own_alone = pytest.mark.parametrize("kind", OWN)
fencing = pytest.mark.parametrize("kind", FENCING)


async def test_each_is_an_engine(kind: str) -> None:
    async with opened(kind) as engine:
        assert isinstance(engine, Engine)
        assert engine.supports_before_send is (kind in FENCING)


@pytest.mark.parametrize("name", BROKEN)
async def test_what_breaks_after_it_left_is_unanswered_and_sent_once(kind: str, name: str) -> None:
    error, server = await played(kind, BROKEN[name])

    assert type(error) is NoResponse
    assert error.executed == "maybe"
    assert len(server.talks) == 1
    assert len(server.requests) <= 1


async def test_a_reset_at_once_is_not_sent_only_where_nothing_was_heard(kind: str) -> None:
    # Whether the connection stands for a moment or not at all is for the two kernels to settle.
    error, server = await played(kind, c.reset_at_once)

    assert isinstance(error, NotSent | NoResponse)
    assert len(server.talks) == 1


@pytest.mark.parametrize("play", [c.silence, c.drip, c.half_an_answer])
async def test_the_timeout_is_for_the_whole_of_it(kind: str, play: Play) -> None:
    error, _ = await played(kind, play, timeout=0.4)

    assert type(error) is NoResponse
    assert error.args[0] == "no response within 0.4 s"


class TestNotSent:
    """What provably never left; that is said of nothing else."""

    async def test_a_connection_that_is_refused(self, kind: str) -> None:
        async with opened(kind) as engine:
            error = await failure(engine, f"http://127.0.0.1:{free_port()}/?access_password=canary")

        assert type(error) is NotSent
        assert error.executed == "no"
        assert "call again" in error.hint

    async def test_a_handshake_that_never_ends(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("aiohttp",):
            monkeypatch.setattr(f"paystar_async.transport.{module}.CONNECT_SECONDS", 0.2)
        async with serving(c.mute) as server, opened(kind) as engine:
            error = await failure(engine, server.url.replace("http:", "https:"), 0.8)

        assert type(error) is NotSent
        assert b"canary" not in server.heard

    @pytest.mark.parametrize("tls", [True, False])
    async def test_a_certificate_nobody_trusts_and_a_server_without_one(self, kind: str, tls: bool) -> None:
        async def play(talk: TcpPeer) -> None:
            await talk.hear()
            await talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with serving(play, tls=tls) as server, opened(kind) as engine:
            error = await failure(engine, server.url.replace("http:", "https:"))

        assert type(error) is NotSent
        assert b"canary" not in server.heard

    @pytest.mark.parametrize("timeout", [0.0, -1.0])
    async def test_no_time_left(self, kind: str, timeout: float) -> None:
        async with opened(kind) as engine:
            assert type(await failure(engine, URL, timeout)) is NotSent

    @pytest.mark.parametrize(
        "url", ["ftp://paystar.example/", "http://bad host/", "http://[::1/", f"http://{'a' * 70}.example/", "nothing"]
    )
    async def test_an_address_that_is_none(self, kind: str, url: str) -> None:
        async with opened(kind) as engine:
            assert type(await failure(engine, url)) is NotSent

    @settings(max_examples=30)
    @given(st.integers(0, 150), st.binary(max_size=40), st.booleans(), st.booleans())
    def test_never_once_a_byte_was_heard(self, kind: str, heard: int, said: bytes, starts: bool, resets: bool) -> None:
        async def play(talk: TcpPeer) -> None:
            left = heard
            while left and (more := await talk.hear(left)):
                left -= len(more)
            await talk.say((OK if starts else b"") + said)
            if resets:
                talk.reset()

        async def run() -> None:
            async with serving(play) as server, opened(kind) as engine:
                try:
                    await ask(engine, server.url, 0.1)
                except NotSent:
                    assert server.heard == b""
                except NoResponse:
                    pass

        asyncio.run(run())


class TestAnswers:
    """What arrives whole is handed up as it came."""

    @pytest.mark.parametrize(
        ("said", "body"),
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
    async def test_a_body_in_every_wrapping(self, kind: str, said: bytes, body: bytes) -> None:
        answer = c.answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"X-Odd: 1\r\n" + said)
        async with serving(answer) as server, opened(kind) as engine:
            status, headers, came = await ask(engine, server.url)

        assert (status, headers["x-odd"], came) == (200, "1", body)

    @pytest.mark.parametrize("code", [b"400 Bad Request", b"401 Unauthorized", b"503 Service Unavailable"])
    async def test_a_refusal_is_an_answer(self, kind: str, code: bytes) -> None:
        answer = c.answering(b"HTTP/1.1 " + code + b"\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}")
        async with serving(answer) as server, opened(kind) as engine:
            status, headers, body = await ask(engine, server.url)

        assert (status, headers["retry-after"], body) == (int(code[:3]), "3", b"{}")

    async def test_headers_that_come_twice_or_are_no_text(self, kind: str) -> None:
        said = b"X-Odd: a\r\nX-Odd: b\r\nX-Bytes: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}"
        async with serving(c.answering(OK + said)) as server, opened(kind) as engine:
            _, headers, body = await ask(engine, server.url)

        assert (headers["x-odd"], headers["content-length"], body) == ("a, b", "2", b"{}")

    async def test_what_is_sent(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, server.url)
            await ask(engine, server.url, method="GET")

        posted, got = server.requests
        head, _, body = posted.decode().partition("\r\n\r\n")
        first, *headers = head.split("\r\n")
        assert first == "POST /api?access_password=canary HTTP/1.1"
        assert {one.lower() for one in headers} - MAY_BE_ADDED == {
            "authorization: bearer canary",
            f"content-length: {len(BODY)}",
            "content-type: application/json",
            f"host: 127.0.0.1:{server.port}",
        }
        assert body.encode() == BODY
        assert got.startswith(b"GET /api?access_password=canary HTTP/1.1\r\n")
        assert got.endswith(b"\r\n\r\n")

    async def test_a_query_travels_to_the_letter(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, f"{server.url}&track_id=a%2Fb%2Bc%26%7E+x%3D", method="GET")

        assert server.requests[0].split()[1] == b"/api?access_password=canary&track_id=a%2Fb%2Bc%26%7E+x%3D"

    @pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "a\x00b"])
    async def test_a_header_with_a_line_break_is_never_sent(self, kind: str, value: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await failure(engine, server.url, headers=(("Authorization", value),))

        assert server.heard == b""

    @pytest.mark.parametrize("code", [b"301", b"302", b"303", b"307", b"308"])
    async def test_a_redirect_is_an_answer_and_nothing_is_sent_anywhere_else(self, kind: str, code: bytes) -> None:
        async with serving(c.close_after_reading) as other, opened(kind) as engine:
            location = f"Location: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
            async with serving(c.answering(b"HTTP/1.1 " + code + b" Elsewhere\r\n" + location)) as server:
                status, _, _ = await ask(engine, server.url)

        assert status == int(code)
        assert (len(server.requests), other.talks) == (1, [])

    async def test_an_answer_without_end_is_cut_off(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    async def test_nested_content_encoding_is_bounded(self, kind: str, codings: str, chunked: bool) -> None:
        """A second stage of 64 MB, which libraries undo whole before anybody sees it."""
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

    async def test_a_large_answer_and_a_large_request_arrive_whole(self, kind: str) -> None:
        large = b"x" * 3_000_000

        async def play(talk: TcpPeer) -> None:
            await talk.request()
            await talk.answer(large)

        async with serving(play) as server, opened(kind) as engine:
            _, _, body = await engine.send("POST", server.url, c.HEADERS, large, 10)

        assert body == large
        assert server.requests[0].endswith(b"\r\n\r\n" + large)


NESTED = gzip.compress(gzip.compress(bytes(64 << 20), 9), 9)

MAY_BE_ADDED = {"accept: */*", "accept-encoding: gzip,deflate", "user-agent: python-pyreqwest/1.0.0"}
"""What a library adds where the wire says nothing of its own; the wire names what it accepts, and itself."""


class TestKeepAlive:
    """One connection for several calls, and what happens when it closes in between."""

    async def test_each_call_says_its_own_headers(self, kind: str) -> None:
        keys = ["one", "two", "one"]
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for key in keys:
                await ask(engine, server.url, headers=(("Authorization", f"Bearer {key}"),))

        assert [one.partition(b"Bearer ")[2].split()[0].decode() for one in server.requests] == keys

    async def test_a_connection_is_used_again(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for _ in range(3):
                await ask(engine, server.url)

        assert (len(server.talks), len(server.requests)) == (1, 3)

    async def test_no_more_connections_than_calls_at_once(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for _ in range(3):
                await asyncio.gather(*[ask(engine, server.url) for _ in range(4)])

        assert len(server.requests) == 12
        assert len(server.talks) <= 4

    async def test_one_that_was_closed_meanwhile_is_replaced(self, kind: str) -> None:
        async with serving(c.answer_once_and_close) as server, opened(kind) as engine:
            for _ in range(3):
                await ask(engine, server.url)
                await asyncio.sleep(0.02)  # so that its end is heard before the next call

        assert (len(server.talks), len(server.requests)) == (3, 3)

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_one_that_closes_on_the_second_request_leaves_it_unanswered_and_unrepeated(
        self, kind: str, method: str
    ) -> None:
        async with serving(c.answer_once_and_hear_another) as server, opened(kind) as engine:
            await ask(engine, server.url, method=method)
            error = await failure(engine, server.url, method=method)

        assert type(error) is NoResponse
        assert (len(server.talks), len(server.requests)) == (1, 2)

    async def test_what_stands_behind_an_answer_is_not_the_next_calls(self, kind: str) -> None:
        async def play(talk: TcpPeer) -> None:
            while request := await talk.request():
                body = request.split()[1]
                forged = OK + b"Content-Length: 6\r\n\r\nforged"
                await talk.say(OK + b"Content-Length: 2\r\n\r\n" + body + forged)

        async with serving(play) as server, opened(kind) as engine:
            base = f"http://127.0.0.1:{server.port}"
            bodies = [(await ask(engine, f"{base}/{place}"))[2] for place in range(3)]

        assert bodies == [b"/0", b"/1", b"/2"]
        assert len(server.talks) == 3

    @pytest.mark.parametrize("stray", c.STRAY.values(), ids=c.STRAY)
    @pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified"])
    @pytest.mark.parametrize("idle", [False, True])
    async def test_unread_bytes_never_answer_the_next_call(
        self, kind: str, stray: bytes, status: bytes, idle: bool
    ) -> None:
        async def play(talk: TcpPeer) -> None:
            while request := await talk.request():
                path = request.split()[1]
                body = path if status.startswith(b"200") else b""
                length = b"Content-Length: %d\r\n" % len(body) if body else b""
                head = b"HTTP/1.1 " + status + b"\r\n" + length + b"X-Path: " + path + b"\r\n\r\n"
                await talk.say(head + body, stray) if idle else await talk.say(head + body + stray)

        async with serving(play) as server, opened(kind) as engine:
            for place in range(3):
                try:
                    _, headers, _ = await ask(engine, f"http://127.0.0.1:{server.port}/{place}")
                except NoResponse:
                    continue
                assert headers["x-path"] == f"/{place}"
                await asyncio.sleep(0.01)  # so that the stray bytes arrive

        assert len(server.talks) == len(server.requests) == 3

    async def test_unread_bytes_in_the_socket_are_seen(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, server.url)
            await server.talks[0].say(c.STRAY["response"])  # the loop does not turn before the next call
            assert (await ask(engine, server.url))[2] == b"{}"

        assert len(server.talks) == 2

    async def test_garbage_behind_an_answer_is_nobodys(self, kind: str) -> None:
        async with serving(c.answering(OK + b"Content-Length: 2\r\n\r\n{}trailing")) as server, opened(kind) as engine:
            for _ in range(2):
                try:
                    assert (await ask(engine, server.url))[2] == b"{}"
                except NoResponse:
                    assert "aiohttp" in kind  # it reads on before it hands the answer up, and drops both

        assert (len(server.talks), len(server.requests)) == (2, 2)

    async def test_a_closed_engine_sends_nothing_more(self, kind: str) -> None:
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            await ask(engine, server.url)
            await engine.aclose()
            await engine.aclose()
            error = await failure(engine, server.url)

        assert type(error) is NotSent
        assert len(server.requests) == 1


class TestCancelled:
    """A call given up by its caller, at each point of its way: it ends as cancelled, and spoils no other call."""

    @pytest.mark.parametrize("play", [c.silence, c.half_an_answer, c.drip])
    async def test_while_it_waits_for_the_answer(self, kind: str, play: Play) -> None:
        reached = asyncio.Event()

        async def once(talk: TcpPeer) -> None:
            if reached.is_set():
                await c.keep_answering(talk)
            else:
                reached.set()
                await play(talk)

        async with serving(once) as server, opened(kind) as engine:
            call = asyncio.create_task(ask(engine, server.url))
            await reached.wait()
            await asyncio.sleep(0.02)  # so that it has come as far as this server lets it
            await cancelled(call)
            assert (await ask(engine, server.url))[2] == b"{}"

    async def test_in_the_handshake(self, kind: str) -> None:
        greeted = asyncio.Event()

        async def play(talk: TcpPeer) -> None:
            await talk.hear()
            greeted.set()
            await c.mute(talk)

        async with serving(play) as server, opened(kind) as engine:
            call = asyncio.create_task(ask(engine, server.url.replace("http:", "https:")))
            await greeted.wait()
            await cancelled(call)

        assert b"canary" not in server.heard

    async def test_it_leaves_no_answer_to_the_next(self, kind: str) -> None:
        came = asyncio.Event()

        async def play(talk: TcpPeer) -> None:
            while request := await talk.request():
                if b"/slow" in request:
                    came.set()
                    await asyncio.sleep(0.02)
                    await talk.answer(b'{"for": "slow"}')
                else:
                    await talk.answer(b'{"for": "fast"}')

        async with serving(play) as server, opened(kind, connections=1) as engine:
            base = f"http://127.0.0.1:{server.port}"
            for _ in range(2):
                call = asyncio.create_task(ask(engine, f"{base}/slow"))
                await came.wait()
                came.clear()
                await cancelled(call)
            assert (await ask(engine, f"{base}/fast"))[2] == b'{"for": "fast"}'

    async def test_at_any_moment_it_costs_no_slot_for_long(self, kind: str) -> None:
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
    async def test_the_engine_closed_under_it(self, kind: str) -> None:
        reached = asyncio.Event()

        async def play(talk: TcpPeer) -> None:
            await talk.request()
            reached.set()
            await c.mute(talk)

        async with serving(play) as server, opened(kind) as engine:
            call = asyncio.create_task(failure(engine, server.url, 1))
            await reached.wait()
            await engine.aclose()
            assert type(await call) is NoResponse


async def cancelled(call: "asyncio.Task[Any]") -> None:
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


class TestTheFence:
    """``before_send`` is asked once, after connecting and before the first byte; who cannot do that says so."""

    pytestmark = fencing

    async def test_it_is_asked_when_connected_and_nothing_has_left(self, kind: str) -> None:
        seen: list[tuple[int, bytes]] = []
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            for _ in range(2):
                await ask(engine, server.url, before_send=lambda: seen.append((len(server.requests), server.heard)))
                server.heard = b""

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
    async def test_what_it_raises_keeps_every_byte_from_leaving(
        self, kind: str, refusal: Exception, used: bool
    ) -> None:
        def refuse() -> None:
            raise refusal

        async with serving(c.keep_answering) as server, opened(kind, connections=1) as engine:
            if used:
                await ask(engine, server.url)
            before = server.heard
            with pytest.raises(type(refusal)) as caught:
                await ask(engine, server.url, before_send=refuse)
            await asyncio.sleep(0.01)
            assert caught.value is refusal
            assert server.heard == before
            await ask(engine, server.url)


class TestQuiet:
    """What an engine never does of its own accord."""

    @own_alone
    async def test_the_environments_proxy_is_not_used(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        async with serving(c.keep_answering) as server, opened(kind) as engine:
            assert (await ask(engine, server.url))[0] == 200

    @own_alone
    async def test_no_cookie_comes_back(self, kind: str) -> None:
        async def play(talk: TcpPeer) -> None:
            while await talk.request():
                await talk.answer(head=b"Set-Cookie: session=1; Path=/\r\n")

        async with serving(play) as server, opened(kind) as engine:
            # Cookies are kept for names, not for addresses.
            for _ in range(2):
                await ask(engine, server.url.replace("127.0.0.1", "localhost"))

        assert b"ookie" not in server.heard

    async def test_no_log_line_shows_a_secret(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
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


def test_it_starts_and_ends_with_each_loop_and_leaves_nothing_behind(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOOPS, kind], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
