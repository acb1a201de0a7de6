"""The engine over httpx: what is its own. What all engines share is in ``test_conformance``."""

import logging
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
import respx

from paystar_async import Application, Paystar
from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.transport.engine import Engine
from paystar_async.transport.httpx import HttpxEngine, load_library
from tests.support import transfer
from tests.transport.conformance import OK, URL, Counter, failure, keep_answering
from tests.transport.conformance import ask as post
from tests.transport.tcp import TcpPeer, free_port, serving


class TestNotSent:
    """What provably never left; that is said of nothing else."""

    async def test_a_proxy_that_refuses_the_way(self) -> None:
        async def play(talk: TcpPeer) -> None:
            await talk.request()
            await talk.answer(b"", status=b"407 Proxy Authentication Required")

        asked = Counter()
        async with serving(play) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await failure(HttpxEngine(transport=transport), URL.replace("http:", "https:"), before_send=asked)
            await transport.aclose()

        assert type(error) is NotSent
        assert asked.count == 0
        assert b"canary" not in server.heard

    @pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
    async def test_a_foreign_transport_that_never_connected(self, kind: type[httpx.TransportError]) -> None:
        assert type(await failure(HttpxEngine(transport=failing(kind("x"))), URL)) is NotSent


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
    error = await failure(HttpxEngine(transport=failing(problem)), URL)

    assert type(error) is NoResponse
    assert error.__cause__ is None


async def test_a_foreign_transport_that_left_and_then_could_not_connect_is_unanswered() -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("connection.connect_tcp.started", {})
        await request.extensions["trace"]("http11.send_request_headers.started", {"request": request})
        raise httpx.ConnectError("the second try")

    assert type(await failure(HttpxEngine(transport=httpx.MockTransport(handle)), URL)) is NoResponse


async def test_a_test_that_finds_no_route_sees_its_own_error() -> None:
    with pytest.raises(AssertionError, match="no route"):
        await post(HttpxEngine(transport=failing(AssertionError("no route"))), URL)


class TestTheFence:
    """``before_send`` is asked once, after connecting and before the first byte."""

    def test_only_what_surely_tells_has_one(self) -> None:
        class Own(httpx.AsyncHTTPTransport):
            pass

        assert HttpxEngine().supports_before_send
        assert HttpxEngine(transport=httpx.AsyncHTTPTransport()).supports_before_send
        assert not HttpxEngine(transport=Own()).supports_before_send
        assert not HttpxEngine(transport=httpx.AsyncClient()).supports_before_send
        assert not HttpxEngine(transport=failing(KeyError())).supports_before_send

    async def test_a_proxy_on_the_way_is_not_asked_about(self) -> None:
        seen: list[bytes] = []

        async def play(talk: TcpPeer) -> None:
            await talk.request()
            await talk.answer(b"", status=b"200 Connection established")
            await talk.hear()
            talk.reset()

        async with serving(play) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await failure(
                HttpxEngine(transport=transport), URL.replace("http:", "https:"), before_send=lambda: seen.append(b"")
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
            engine = HttpxEngine(transport=client)
            await post(engine, server.url)
            await engine.aclose()
            assert not client.is_closed
            await post(HttpxEngine(transport=client), server.url)
            await client.aclose()

        assert seen == ["POST", "200", "POST", "200"]
        assert b"Authorization: Bearer canary" in server.heard
        assert b"Basic" not in server.heard

    @pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), ValueError("x"), OSError("x")])
    async def test_response_hook_that_raises_keeps_its_error(self, error: Exception) -> None:
        async def fail(_: httpx.Response) -> None:
            raise error

        async with serving(keep_answering) as server, httpx.AsyncClient(event_hooks={"response": [fail]}) as client:
            account = Application(id="1", access_password="p", api_key="k")
            async with Paystar(account, base_url=server.url.partition("?")[0], engine=client) as paystar:
                with pytest.raises(NoResponse) as caught:
                    await paystar.transfers.settle(transfers=[transfer("t-1")])
                with pytest.raises(type(error)):
                    await paystar.transfers.find(track_id="t-1")

        assert caught.value.executed == "maybe"
        assert caught.value.__cause__ is error

    async def test_a_client_that_is_closed_is_named(self) -> None:
        client = httpx.AsyncClient()
        await client.aclose()

        with pytest.raises(ConfigurationError, match="closed"):
            await post(HttpxEngine(transport=client), URL)

    @pytest.mark.parametrize("given", [httpx.Client, httpx.HTTPTransport, object])
    def test_what_cannot_carry_is_refused(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="cannot send requests"):
            HttpxEngine(transport=given())

    async def test_a_transport_is_not_closed(self) -> None:
        class Kept(httpx.MockTransport):
            closed = False

            async def aclose(self) -> None:
                self.closed = True

        transport = Kept(lambda _: httpx.Response(200, json={}))
        engine = HttpxEngine(transport=transport)
        await post(engine, URL)
        await engine.aclose()

        assert not transport.closed

    async def test_httpx_logs_the_address_without_its_query(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        client = httpx.AsyncClient()
        async with serving(keep_answering) as server:
            await post(HttpxEngine(transport=client), server.url)
            await client.aclose()

        assert f"HTTP Request: POST http://127.0.0.1:{server.port}/api " in caplog.text
        assert "canary" not in caplog.text

    def test_a_masked_url_shows_no_query_and_travels_whole(self) -> None:
        url = load_library("httpx").parse_url(URL)

        assert f"{url} {url!r} {url!s} {[url]}" == (
            "http://paystar.example/api http://paystar.example/api "
            "http://paystar.example/api [http://paystar.example/api]"
        )
        assert url.raw_path == b"/api?access_password=canary"

    def test_parse_url_keeps_addresses_without_query_alone(self) -> None:
        library = load_library("httpx")

        assert library.parse_url("http://x.example/") is library.parse_url("http://x.example/")
        assert library.parse_url(URL) is not library.parse_url(URL)

    async def test_requests_of_ours_show_no_query(self) -> None:
        shown: list[str] = []

        def handle(request: httpx.Request) -> httpx.Response:
            shown.append(repr(request))
            return httpx.Response(200)

        await post(HttpxEngine(transport=httpx.MockTransport(handle)), URL)
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

        assert (type(first), type(second)) == (NotSent, NoResponse)


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
    assert seen == ["asked", (200, {"content-length": "2", "connection": "close"}, b"{}"), NoResponse, NotSent, NotSent]
