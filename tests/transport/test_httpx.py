"""The httpx engine alone; ``test_conformance`` tests all engines."""

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
    """Failures in which the request was provably not sent."""

    async def test_proxy_refusal_is_not_sent(self) -> None:
        async def play(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond(b"", status=b"407 Proxy Authentication Required")

        before_send = Counter()
        async with serving(play) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await failure(
                HttpxEngine(transport=transport), URL.replace("http:", "https:"), before_send=before_send
            )
            await transport.aclose()

        assert type(error) is NotSent
        assert before_send.count == 0
        assert b"canary" not in server.received

    @pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
    async def test_user_transport_connect_error_is_not_sent(self, kind: type[httpx.TransportError]) -> None:
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
async def test_user_transport_error_is_no_response(problem: Exception) -> None:
    error = await failure(HttpxEngine(transport=failing(problem)), URL)

    assert type(error) is NoResponse
    assert error.__cause__ is None


async def test_connect_error_after_sending_is_no_response() -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("connection.connect_tcp.started", {})
        await request.extensions["trace"]("http11.send_request_headers.started", {"request": request})
        raise httpx.ConnectError("the second try")

    assert type(await failure(HttpxEngine(transport=httpx.MockTransport(handle)), URL)) is NoResponse


async def test_mock_assertion_error_is_raised_unchanged() -> None:
    with pytest.raises(AssertionError, match="no route"):
        await post(HttpxEngine(transport=failing(AssertionError("no route"))), URL)


class TestBeforeSend:
    """``before_send`` is called once, after connecting and before the first byte."""

    def test_supports_before_send_of_library_transport_alone(self) -> None:
        class Own(httpx.AsyncHTTPTransport):
            pass

        assert HttpxEngine().supports_before_send
        assert HttpxEngine(transport=httpx.AsyncHTTPTransport()).supports_before_send
        assert not HttpxEngine(transport=Own()).supports_before_send
        assert not HttpxEngine(transport=httpx.AsyncClient()).supports_before_send
        assert not HttpxEngine(transport=failing(KeyError())).supports_before_send

    async def test_before_send_is_not_called_for_proxy_tunnel(self) -> None:
        seen: list[bytes] = []

        async def play(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond(b"", status=b"200 Connection established")
            await peer.read()
            peer.reset()

        async with serving(play) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await failure(
                HttpxEngine(transport=transport), URL.replace("http:", "https:"), before_send=lambda: seen.append(b"")
            )
            await transport.aclose()

        assert server.requests[0].startswith(b"CONNECT")
        assert (type(error), seen) == (NotSent, [])


class TestHandedIn:
    """A handed-in client or transport, which stays open."""

    async def test_client_keeps_hooks_but_not_logins(self) -> None:
        seen: list[str] = []

        async def on_request(request: httpx.Request) -> None:
            seen.append(request.method)

        async def on_response(response: httpx.Response) -> None:
            seen.append(str(response.status_code))

        client = httpx.AsyncClient(
            auth=("user", "other"),
            follow_redirects=True,
            headers={"X-Theirs": "1"},
            event_hooks={"request": [on_request], "response": [on_response]},
        )
        async with serving(keep_answering) as server:
            engine = HttpxEngine(transport=client)
            await post(engine, server.url)
            await engine.aclose()
            assert not client.is_closed
            await post(HttpxEngine(transport=client), server.url)
            await client.aclose()

        assert seen == ["POST", "200", "POST", "200"]
        assert b"Authorization: Bearer canary" in server.received
        assert b"Basic" not in server.received

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

    async def test_closed_client_is_refused(self) -> None:
        client = httpx.AsyncClient()
        await client.aclose()

        with pytest.raises(ConfigurationError, match="closed"):
            await post(HttpxEngine(transport=client), URL)

    @pytest.mark.parametrize("unsupported", [httpx.Client, httpx.HTTPTransport, object])
    def test_init_unsupported_object_is_refused(self, unsupported: Any) -> None:
        with pytest.raises(ConfigurationError, match="cannot send requests"):
            HttpxEngine(transport=unsupported())

    async def test_aclose_leaves_user_transport_open(self) -> None:
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

    def test_masked_url_hides_query_but_sends_it(self) -> None:
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

    async def test_request_repr_shows_no_query(self) -> None:
        shown: list[str] = []

        def handle(request: httpx.Request) -> httpx.Response:
            shown.append(repr(request))
            return httpx.Response(200)

        await post(HttpxEngine(transport=httpx.MockTransport(handle)), URL)
        assert shown == ["<Request('POST', 'http://paystar.example/api')>"]


class TestMocks:
    """What a user's tests stand on."""

    async def test_respx_mocks_default_engine(self) -> None:
        with respx.mock:
            route = respx.post("http://paystar.example/api").respond(200, json={"status": 1})
            status, _, body = await post(HttpxEngine(), URL)

        assert (status, body, route.call_count) == (200, b'{"status":1}', 1)

    async def test_respx_unknown_route_is_refused(self) -> None:
        with respx.mock, pytest.raises(AssertionError):
            await post(HttpxEngine(), URL)

    async def test_respx_side_effects_are_errors(self) -> None:
        with respx.mock:
            respx.post("http://paystar.example/api").mock(side_effect=[httpx.ConnectError, httpx.ReadTimeout])
            first, second = await failure(HttpxEngine(), URL), await failure(HttpxEngine(), URL)

        assert (type(first), type(second)) == (NotSent, NoResponse)


def test_httpx_engine_fits_protocol() -> None:
    engine: Engine = HttpxEngine()

    assert isinstance(engine, Engine)
    assert not isinstance(httpx.AsyncClient(), Engine)
    assert not isinstance(failing(KeyError()), Engine)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_send_works_on_asyncio_and_trio(backend: str) -> None:
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
            seen.append(await post(engine, f"http://127.0.0.1:{port}/", before_send=lambda: seen.append("called")))
            seen.append(type(await failure(engine, f"http://127.0.0.1:{port}/reset")))
            seen.append(type(await failure(engine, f"http://127.0.0.1:{free_port()}/")))
            seen.append(type(await failure(engine, f"https://127.0.0.1:{port}/", 0.2)))
            await engine.aclose()
            group.cancel_scope.cancel()
        return seen

    seen = anyio.run(run, backend=backend)
    assert seen == [
        "called",
        (200, {"content-length": "2", "connection": "close"}, b"{}"),
        NoResponse,
        NotSent,
        NotSent,
    ]
