"""The default engine over real sockets: what it says when the other side misbehaves, and what it never does."""

import asyncio
import gzip
import logging
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async.errors import BadAnswer, ConfigurationError, InvalidValue, NotSent, PaystarError, Unanswered
from paystar_async.transport.engine import Engine
from paystar_async.transport.httpx import HttpxEngine, MaskedURL
from tests.transport.tcp import Play, Server, Talk, free_port, serving

HEADERS = (("Authorization", "Bearer canary"), ("Content-Type", "application/json"))
BODY = b'{"password":"canary"}'
URL = "http://paystar.example/api?access_password=canary"


async def post(engine: HttpxEngine, url: str, timeout: float = 5, **more: Any) -> tuple[int, dict[str, str], bytes]:
    status, headers, body = await engine.send("POST", url, HEADERS, BODY, timeout, **more)
    return status, dict(headers), body


async def failure(engine: HttpxEngine, url: str, timeout: float = 5, **more: Any) -> PaystarError:
    with pytest.raises(PaystarError) as caught:
        await post(engine, url, timeout, **more)
    assert "canary" not in str(caught.value)
    return caught.value


async def played(play: Play, timeout: float = 5) -> tuple[PaystarError, Server]:
    """How a call of a server that plays so fails."""
    engine, asked = HttpxEngine(), Counter()
    async with serving(play) as server:
        error = await failure(engine, server.url, timeout, before_send=asked)
        await engine.aclose()
    if isinstance(error, NotSent):
        assert (server.heard, asked.count) == (b"", 0)
    else:
        assert asked.count == 1
    return error, server


class Counter:
    """Counts how often it is asked for leave."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def reset_at_once(talk: Talk) -> None:
    talk.reset()


async def reset_after_some_bytes(talk: Talk) -> None:
    await talk.hear(1)
    talk.reset()


async def reset_after_reading(talk: Talk) -> None:
    await talk.request()
    talk.reset()


async def close_after_reading(talk: Talk) -> None:
    await talk.request()


def answering(*parts: bytes) -> Play:
    async def play(talk: Talk) -> None:
        await talk.request()
        await talk.say(*parts)

    return play


async def echo(talk: Talk) -> None:
    await talk.say(await talk.request())


async def echo_in_a_header(talk: Talk) -> None:
    await talk.say(b"HTTP/1.1 200 OK\r\n\x00" + await talk.request())


async def echo_in_a_chunk(talk: Talk) -> None:
    await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", await talk.request())


OK = b"HTTP/1.1 200 OK\r\n"

BROKEN: dict[str, Play] = {
    "reset at once": reset_at_once,
    "reset after a byte": reset_after_some_bytes,
    "reset after the whole request": reset_after_reading,
    "closed after the whole request": close_after_reading,
    "half a status line": answering(b"HTTP/1.1 20"),
    "half a header": answering(OK + b"Content-Le"),
    "no body": answering(OK + b"Content-Length: 10\r\n\r\n"),
    "half a body": answering(OK + b'Content-Length: 10\r\n\r\n{"sta'),
    "two lengths": answering(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a length that is none": answering(OK + b"Content-Length: two\r\n\r\n{}"),
    "half the chunks": answering(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "a chunk that is none": answering(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "gzip that is none": answering(OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    "half a gzip": answering(
        OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n", gzip.compress(b"{}" * 9)[:9]
    ),
    "garbage": answering(b"\x00\xff garbage \r\n\r\n"),
    "another protocol": answering(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a header of a megabyte": answering(OK + b"X: " + b"x" * 2**20 + b"\r\n\r\n{}"),
    "its own request": echo,
    "its own request as a header": echo_in_a_header,
    "its own request as a chunk": echo_in_a_chunk,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_breaks_after_it_left_is_unanswered(name: str) -> None:
    error, server = await played(BROKEN[name])

    assert type(error) is Unanswered
    assert error.executed == "maybe"
    assert len(server.talks) == 1
    assert len(server.requests) <= 1


async def silence(talk: Talk) -> None:
    await talk.request()
    await asyncio.sleep(60)


async def drip(talk: Talk) -> None:
    await talk.request()
    await talk.say(OK + b"Content-Length: 1000\r\n\r\n")
    while True:
        await talk.say(b" ")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("play", [silence, drip])
async def test_the_timeout_is_for_the_whole_of_it(play: Play) -> None:
    error, _ = await played(play, timeout=0.4)

    assert type(error) is Unanswered
    assert error.args[0] == "no answer within 0.4 s"


class TestNotSent:
    """What provably never left; that is said of nothing else."""

    async def test_a_connection_that_is_refused(self) -> None:
        asked = Counter()
        error = await failure(HttpxEngine(), f"http://127.0.0.1:{free_port()}/", before_send=asked)

        assert type(error) is NotSent
        assert error.executed == "no"
        assert "call again" in error.hint
        assert asked.count == 0

    async def test_a_handshake_that_never_ends(self) -> None:
        async def mute(talk: Talk) -> None:
            await asyncio.sleep(60)

        engine, asked = HttpxEngine(), Counter()
        async with serving(mute) as server:
            error = await failure(engine, server.url.replace("http:", "https:"), 0.4, before_send=asked)
            await engine.aclose()

        assert type(error) is NotSent
        assert asked.count == 0

    @pytest.mark.parametrize("tls", [True, False])
    async def test_a_certificate_nobody_trusts_and_a_server_without_one(self, tls: bool) -> None:
        async def play(talk: Talk) -> None:
            await talk.hear()
            await talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        engine, asked = HttpxEngine(), Counter()
        async with serving(play, tls=tls) as server:
            error = await failure(engine, server.url.replace("http:", "https:"), before_send=asked)
            await engine.aclose()

        assert type(error) is NotSent
        assert asked.count == 0
        assert b"canary" not in server.heard

    @pytest.mark.parametrize("timeout", [0.0, -1.0])
    async def test_no_time_left(self, timeout: float) -> None:
        assert type(await failure(HttpxEngine(), URL, timeout)) is NotSent

    @pytest.mark.parametrize(
        "url", ["ftp://paystar.example/", "http://bad host/", "http://[::1/", f"http://{'a' * 70}.example/", "nothing"]
    )
    async def test_an_address_that_is_none(self, url: str) -> None:
        error = await failure(HttpxEngine(), url)

        assert type(error) is NotSent

    async def test_a_proxy_that_refuses_the_way(self) -> None:
        async def play(talk: Talk) -> None:
            await talk.request()
            await talk.answer(b"", status=b"407 Proxy Authentication Required")

        asked = Counter()
        async with serving(play) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await failure(HttpxEngine(given=transport), URL.replace("http:", "https:"), before_send=asked)
            await transport.aclose()

        assert type(error) is NotSent
        assert asked.count == 0
        assert b"canary" not in server.heard

    @pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
    async def test_a_foreign_transport_that_never_connected(self, kind: type[httpx.TransportError]) -> None:
        assert type(await failure(HttpxEngine(given=failing(kind("x"))), URL)) is NotSent

    @settings(max_examples=60)
    @given(st.integers(0, 150), st.binary(max_size=40), st.booleans(), st.booleans())
    def test_never_once_a_byte_was_heard(self, heard: int, said: bytes, starts: bool, resets: bool) -> None:
        async def play(talk: Talk) -> None:
            left = heard
            while left and (more := await talk.hear(left)):
                left -= len(more)
            await talk.say((OK if starts else b"") + said)
            if resets:
                talk.reset()

        async def run() -> None:
            engine = HttpxEngine()
            async with serving(play) as server:
                try:
                    await post(engine, server.url, 0.1)
                except NotSent:
                    assert server.heard == b""
                except Unanswered:
                    pass
                await engine.aclose()

        asyncio.run(run())


def failing(problem: Exception) -> httpx.AsyncBaseTransport:
    async def handle(_: httpx.Request) -> httpx.Response:
        raise problem

    return httpx.MockTransport(handle)


@pytest.mark.parametrize(
    "problem",
    [
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("illegal: canary"),
        httpx.DecodingError("x: canary"),
        httpx.TooManyRedirects("x"),
        httpx.ProxyError("x"),
        httpx.StreamClosed(),
        OSError(5, "Input/output error"),
        TimeoutError("canary"),
        UnicodeError("canary"),
        RuntimeError("closed"),
    ],
    ids=lambda problem: type(problem).__name__,
)
async def test_a_foreign_transports_failure_is_unanswered(problem: Exception) -> None:
    error = await failure(HttpxEngine(given=failing(problem)), URL)

    assert type(error) is Unanswered
    assert error.__cause__ is None


async def test_a_foreign_transport_that_left_and_then_could_not_connect_is_unanswered() -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("connection.connect_tcp.started", {})
        await request.extensions["trace"]("http11.send_request_headers.started", {"request": request})
        raise httpx.ConnectError("the second try")

    assert type(await failure(HttpxEngine(given=httpx.MockTransport(handle)), URL)) is Unanswered


async def test_a_test_that_finds_no_route_sees_its_own_error() -> None:
    with pytest.raises(AssertionError, match="no route"):
        await post(HttpxEngine(given=failing(AssertionError("no route"))), URL)


class TestAnswers:
    """What arrives whole is handed up as it came."""

    @pytest.mark.parametrize(
        ("said", "body"),
        [
            (b"Content-Length: 2\r\n\r\n{}", b"{}"),
            (b"Content-Length: 2\r\n\r\n{}trailing", b"{}"),
            (b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
            (b"Connection: close\r\n\r\n{}", b"{}"),
            (b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"{}", mtime=0), b"{}"),
            (b"Content-Length: 0\r\n\r\n", b""),
        ],
    )
    async def test_a_body_in_every_wrapping(self, said: bytes, body: bytes) -> None:
        engine = HttpxEngine()
        async with serving(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"X-Odd: 1\r\n" + said)) as server:
            status, headers, came = await post(engine, server.url)
            await engine.aclose()

        assert (status, headers["x-odd"], came) == (200, "1", body)

    async def test_what_is_sent(self) -> None:
        engine = HttpxEngine()
        async with serving(answering(OK + b"Content-Length: 2\r\n\r\n{}")) as server:
            await post(engine, server.url)
            await engine.aclose()
            (sent,) = server.requests

        head, _, body = sent.partition(b"\r\n\r\n")
        first, *headers = head.decode().split("\r\n")
        assert first == "POST /api?access_password=canary HTTP/1.1"
        assert sorted(headers) == [
            "Authorization: Bearer canary",
            f"Content-Length: {len(BODY)}",
            "Content-Type: application/json",
            f"Host: 127.0.0.1:{server.port}",
        ]
        assert body == BODY

    @pytest.mark.parametrize("code", [b"301", b"302", b"303", b"307", b"308"])
    async def test_a_redirect_is_an_answer_and_nothing_is_sent_anywhere_else(self, code: bytes) -> None:
        engine = HttpxEngine()
        async with serving(close_after_reading) as other:
            location = f"Location: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
            async with serving(answering(b"HTTP/1.1 " + code + b" Elsewhere\r\n" + location)) as server:
                status, _, _ = await post(engine, server.url)
                given = httpx.AsyncClient(follow_redirects=True)
                again, _, _ = await post(HttpxEngine(given=given), server.url)
                await engine.aclose()
                await given.aclose()

        assert status == again == int(code)
        assert len(server.requests) == 2
        assert other.talks == []

    async def test_the_environments_proxy_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        engine = HttpxEngine()
        async with serving(answering(OK + b"Content-Length: 2\r\n\r\n{}")) as server:
            assert (await post(engine, server.url))[0] == 200
            await engine.aclose()


async def keep_answering(talk: Talk) -> None:
    while await talk.request():
        await talk.answer()


class TestKeepAlive:
    """One connection for several calls, and what happens when it closes in between."""

    async def test_a_connection_is_used_again(self) -> None:
        engine, asked = HttpxEngine(), Counter()
        async with serving(keep_answering) as server:
            for _ in range(3):
                await post(engine, server.url, before_send=asked)
            await engine.aclose()

        assert (len(server.talks), len(server.requests), asked.count) == (1, 3, 3)

    async def test_one_that_was_closed_meanwhile_is_replaced(self) -> None:
        async def play(talk: Talk) -> None:
            await talk.request()
            await talk.answer()

        engine = HttpxEngine()
        async with serving(play) as server:
            for _ in range(3):
                await post(engine, server.url)
                await asyncio.sleep(0.02)  # so that its end is heard before the next call
            await engine.aclose()

        assert (len(server.talks), len(server.requests)) == (3, 3)

    async def test_one_that_closes_on_the_second_request_leaves_it_unanswered_and_unrepeated(self) -> None:
        async def play(talk: Talk) -> None:
            await talk.request()
            await talk.answer()
            await talk.request()

        engine = HttpxEngine()
        async with serving(play) as server:
            await post(engine, server.url)
            error = await failure(engine, server.url)
            await engine.aclose()

        assert type(error) is Unanswered
        assert (len(server.talks), len(server.requests)) == (1, 2)

    async def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next(self) -> None:
        async def play(talk: Talk) -> None:
            while request := await talk.request():
                if b"/slow" in request:
                    came.set()
                    await asyncio.sleep(0.02)
                    await talk.answer(b'{"for": "slow"}')
                else:
                    await talk.answer(b'{"for": "fast"}')

        engine, came = HttpxEngine(connections=1), asyncio.Event()
        async with serving(play) as server:
            base = f"http://127.0.0.1:{server.port}"
            for _ in range(2):
                task = asyncio.get_running_loop().create_task(post(engine, f"{base}/slow"))
                await came.wait()
                came.clear()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert (await post(engine, f"{base}/fast"))[2] == b'{"for": "fast"}'
            await engine.aclose()

    async def test_calls_that_are_cancelled_at_any_moment_cost_no_slot_for_long(self) -> None:
        engine = HttpxEngine(connections=2)
        async with serving(keep_answering) as server:
            for turns in range(120):
                call = asyncio.create_task(post(engine, server.url))
                for _ in range(turns % 40):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            ends = await asyncio.gather(*[post(engine, server.url) for _ in range(2)])
            await engine.aclose()

        assert [status for status, _, _ in ends] == [200, 200]

    async def test_a_closed_engine_sends_nothing_more(self) -> None:
        engine = HttpxEngine()
        async with serving(keep_answering) as server:
            await post(engine, server.url)
            await engine.aclose()
            await engine.aclose()
            error = await failure(engine, server.url)

        assert type(error) is NotSent
        assert len(server.requests) == 1

    @pytest.mark.parametrize("given", [False, True])
    async def test_what_stands_behind_an_answer_is_not_the_next_calls(self, given: bool) -> None:
        async def play(talk: Talk) -> None:
            while request := await talk.request():
                body = request.split()[1]
                forged = OK + b"Content-Length: 6\r\n\r\nforged"
                await talk.say(OK + b"Content-Length: 2\r\n\r\n" + body + forged)

        transport = httpx.AsyncHTTPTransport() if given else None
        engine = HttpxEngine(given=transport)
        async with serving(play) as server:
            base = f"http://127.0.0.1:{server.port}"
            bodies = [(await post(engine, f"{base}/{place}"))[2] for place in range(3)]
            await engine.aclose()
            if transport is not None:
                await transport.aclose()

        assert bodies == [b"/0", b"/1", b"/2"]
        assert len(server.talks) == 3

    async def test_an_answer_without_end_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("paystar_async.transport.httpx.LARGEST", 10_000)
        bomb = gzip.compress(b" " * 10_001)
        head = OK + b"Content-Encoding: gzip\r\nContent-Length: " + str(len(bomb)).encode() + b"\r\n\r\n"
        error, _ = await played(answering(head + bomb))

        assert type(error) is BadAnswer
        assert error.executed == "maybe"


class TestTheFence:
    """``before_send`` is asked once, after connecting and before the first byte."""

    async def test_it_is_asked_when_connected_and_nothing_has_left(self) -> None:
        engine = HttpxEngine()
        seen: list[tuple[int, bytes]] = []

        async def play(talk: Talk) -> None:
            await keep_answering(talk)

        async with serving(play) as server:
            await post(engine, server.url, before_send=lambda: seen.append((len(server.requests), server.heard)))
            await engine.aclose()

        assert seen == [(0, b"")]

    @pytest.mark.parametrize(
        "refusal",
        [
            NotSent("the lease ran out"),
            InvalidValue("x", expected="y", got="z"),
            TimeoutError("its own"),
            OSError("its own"),
            RuntimeError("its own"),
            httpx.ReadError("its own"),
            KeyError("its own"),
        ],
        ids=lambda refusal: type(refusal).__name__,
    )
    @pytest.mark.parametrize("used", [False, True])
    async def test_what_it_raises_keeps_every_byte_from_leaving(self, refusal: Exception, used: bool) -> None:
        def refuse() -> None:
            raise refusal

        engine = HttpxEngine(connections=1)
        async with serving(keep_answering) as server:
            if used:
                await post(engine, server.url)
            before = server.heard
            with pytest.raises(type(refusal)) as caught:
                await post(engine, server.url, before_send=refuse)
            await asyncio.sleep(0.01)
            assert caught.value is refusal
            assert server.heard == before
            await post(engine, server.url)
            await engine.aclose()

    def test_only_what_surely_tells_has_one(self) -> None:
        class Own(httpx.AsyncHTTPTransport):
            pass

        assert HttpxEngine().fences
        assert HttpxEngine(given=httpx.AsyncHTTPTransport()).fences
        assert not HttpxEngine(given=Own()).fences
        assert not HttpxEngine(given=httpx.AsyncClient()).fences
        assert not HttpxEngine(given=failing(KeyError())).fences

    async def test_a_proxy_on_the_way_is_not_asked_about(self) -> None:
        seen: list[bytes] = []

        async def play(talk: Talk) -> None:
            await talk.request()
            await talk.answer(b"", status=b"200 Connection established")
            await talk.hear()
            talk.reset()

        async with serving(play) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await failure(
                HttpxEngine(given=transport), URL.replace("http:", "https:"), before_send=lambda: seen.append(b"")
            )
            await transport.aclose()

        assert server.requests[0].startswith(b"CONNECT")
        assert (type(error), seen) == (NotSent, [])


class TestHandedIn:
    """A client or transport of the caller's own: it stays theirs."""

    async def test_a_client_keeps_its_hooks_and_loses_its_logins(self) -> None:
        seen: list[str] = []

        async def asked(request: httpx.Request) -> None:
            seen.append(request.method)

        async def came(response: httpx.Response) -> None:
            seen.append(str(response.status_code))

        client = httpx.AsyncClient(
            auth=("user", "other"),
            follow_redirects=True,
            headers={"X-Theirs": "1"},
            event_hooks={"request": [asked], "response": [came]},
        )
        async with serving(keep_answering) as server:
            engine = HttpxEngine(given=client)
            await post(engine, server.url)
            await engine.aclose()
            assert not client.is_closed
            await post(HttpxEngine(given=client), server.url)
            await client.aclose()

        assert seen == ["POST", "200", "POST", "200"]
        assert b"Authorization: Bearer canary" in server.heard
        assert b"Basic" not in server.heard

    async def test_a_client_that_is_closed_is_named(self) -> None:
        client = httpx.AsyncClient()
        await client.aclose()

        with pytest.raises(ConfigurationError, match="closed"):
            await post(HttpxEngine(given=client), URL)

    @pytest.mark.parametrize("given", [httpx.Client, httpx.HTTPTransport, object])
    def test_what_cannot_carry_is_refused(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="cannot carry requests"):
            HttpxEngine(given=given())

    async def test_a_transport_is_not_closed(self) -> None:
        class Kept(httpx.MockTransport):
            closed = False

            async def aclose(self) -> None:
                self.closed = True

        transport = Kept(lambda _: httpx.Response(200, json={}))
        engine = HttpxEngine(given=transport)
        await post(engine, URL)
        await engine.aclose()

        assert not transport.closed

    async def test_httpx_logs_the_address_without_its_query(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        client = httpx.AsyncClient()
        async with serving(keep_answering) as server:
            await post(HttpxEngine(given=client), server.url)
            await client.aclose()

        assert f"HTTP Request: POST http://127.0.0.1:{server.port}/api " in caplog.text
        assert "canary" not in caplog.text

    def test_a_masked_url_shows_no_query_and_travels_whole(self) -> None:
        url = MaskedURL(URL)

        assert f"{url} {url!r} {url!s} {[url]}" == (
            "http://paystar.example/api MaskedURL('http://paystar.example/api') "
            "http://paystar.example/api [MaskedURL('http://paystar.example/api')]"
        )
        assert url.raw_path == b"/api?access_password=canary"

    async def test_requests_of_ours_show_no_query(self) -> None:
        shown: list[str] = []

        def handle(request: httpx.Request) -> httpx.Response:
            shown.append(repr(request))
            return httpx.Response(200)

        await post(HttpxEngine(given=httpx.MockTransport(handle)), URL)
        assert shown == ["<Request('POST', 'http://paystar.example/api')>"]


class TestMocks:
    """What a user's tests stand on."""

    async def test_respx_as_it_is_stands_in_front_of_the_default_engine(self) -> None:
        with respx.mock:
            route = respx.post("http://paystar.example/api").respond(200, json={"status": 1})
            status, _, body = await post(HttpxEngine(), URL)

        assert (status, body, route.call_count) == (200, b'{"status":1}', 1)

    async def test_respx_refuses_what_it_has_no_route_for(self) -> None:
        with respx.mock, pytest.raises(AssertionError):
            await post(HttpxEngine(), URL)

    async def test_respx_plays_failures(self) -> None:
        with respx.mock:
            respx.post("http://paystar.example/api").mock(side_effect=[httpx.ConnectError, httpx.ReadTimeout])
            first, second = await failure(HttpxEngine(), URL), await failure(HttpxEngine(), URL)

        assert (type(first), type(second)) == (NotSent, Unanswered)


def test_it_is_an_engine() -> None:
    engine: Engine = HttpxEngine()

    assert isinstance(engine, Engine)
    assert not isinstance(httpx.AsyncClient(), Engine)
    assert not isinstance(failing(KeyError()), Engine)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_works_under_both_loops(backend: str) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            request = await stream.receive()
            if b"/reset" not in request:
                await stream.send(OK + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
            if b"/silent" in request:
                await anyio.sleep_forever()

    async def run() -> list[object]:
        engine = HttpxEngine()
        seen: list[object] = []
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            group.start_soon(listener.serve, answer)
            seen.append(await post(engine, f"http://127.0.0.1:{port}/", before_send=lambda: seen.append("asked")))
            seen.append(type(await failure(engine, f"http://127.0.0.1:{port}/reset")))
            seen.append(type(await failure(engine, f"http://127.0.0.1:{free_port()}/")))
            seen.append(type(await failure(engine, f"https://127.0.0.1:{port}/", 0.2)))
            await engine.aclose()
            group.cancel_scope.cancel()
        return seen

    seen = anyio.run(run, backend=backend)
    assert seen == ["asked", (200, {"content-length": "2", "connection": "close"}, b"{}"), Unanswered, NotSent, NotSent]
