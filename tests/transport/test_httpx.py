"""The httpx engine by itself; ``test_conformance`` tests all engines."""

import logging
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.abc
import httpcore
import httpx
import pytest
import respx

from paystar_async import Application, Paystar
from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.transport.engine import Engine
from paystar_async.transport.httpx import HttpxEngine, load_library
from tests.support import transfer
from tests.transport.conformance import OK, URL, Counter, keep_responding, send, send_error
from tests.transport.tcp import TcpPeer, free_port, run_server


class TestResponses:
    """Responses that cost more than their bytes."""

    async def test_send_many_headers_are_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A search among all headers for each of them took seconds, in which the event loop stood still."""
        searches = 0
        search = httpx.Headers.__getitem__

        def count_search(headers: httpx.Headers, name: str) -> str:
            nonlocal searches
            searches += 1
            return search(headers, name)

        monkeypatch.setattr(httpx.Headers, "__getitem__", count_search)
        sent_headers = {f"x-{number}": "1" for number in range(100)}
        engine = HttpxEngine(transport=httpx.MockTransport(lambda _: httpx.Response(200, headers=sent_headers)))
        _, headers, _ = await send(engine, URL)

        assert sent_headers.items() <= headers.items()
        assert searches < 50

    async def test_send_small_pieces_take_only_their_bytes(self) -> None:
        class Pieces(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                for _ in range(50_000):
                    yield b"{" + b"}"

        engine = HttpxEngine(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Pieces())))
        tracemalloc.start()
        try:
            _, _, body = await send(engine, URL)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert len(body) == 100_000
        assert peak < 500_000


class TestNotSent:
    """Failures in which the request was provably not sent."""

    async def test_send_proxy_refusal_is_not_sent(self) -> None:
        async def script(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond(b"", status=b"407 Proxy Authentication Required")

        before_send = Counter()
        async with run_server(script) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await send_error(
                HttpxEngine(transport=transport), URL.replace("http:", "https:"), before_send=before_send
            )
            await transport.aclose()

        assert type(error) is NotSent
        assert before_send.count == 0
        assert b"canary" not in server.received

    @pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
    async def test_send_user_transport_connect_error_is_not_sent(self, kind: type[httpx.TransportError]) -> None:
        assert type(await send_error(HttpxEngine(transport=failing_transport(kind("x"))), URL)) is NotSent


def failing_transport(problem: Exception) -> httpx.AsyncBaseTransport:
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
        httpcore.ConnectionNotAvailable(),
        OSError(5, "Input/output error"),
        TimeoutError("canary"),
        UnicodeError("canary"),
        RuntimeError("closed"),
    ],
    ids=lambda problem: type(problem).__name__,
)
async def test_send_user_transport_error_is_no_response(problem: Exception) -> None:
    error = await send_error(HttpxEngine(transport=failing_transport(problem)), URL)

    assert type(error) is NoResponse
    assert error.__cause__ is None


async def test_send_connect_error_after_sending_is_no_response() -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("connection.connect_tcp.started", {})
        await request.extensions["trace"]("http11.send_request_headers.started", {"request": request})
        raise httpx.ConnectError("the second try")

    assert type(await send_error(HttpxEngine(transport=httpx.MockTransport(handle)), URL)) is NoResponse


async def test_send_http2_goaway_is_not_retried_by_httpcore() -> None:
    """HTTP/2 lets a server disown a request that it has received; httpcore then sends the request again."""
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    ok_to_first_stream = b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"
    goaway_after_first_stream = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"
    first_get, second_get = b"\x01\x05\x00\x00\x00\x01", b"\x01\x05\x00\x00\x00\x03"

    async def script(peer: TcpPeer) -> None:
        await peer.write(settings)
        received = b""
        for frame, reply in ((first_get, ok_to_first_stream), (second_get, goaway_after_first_stream)):
            while frame not in received and (data := await peer.read()):
                received += data
            await peer.write(reply)

    async with run_server(script) as server, httpx.AsyncHTTPTransport(http1=False, http2=True) as transport:
        engine = HttpxEngine(transport=transport)
        await send(engine, server.url, method="GET")
        error = await send_error(engine, server.url, method="GET")

    assert type(error) is NoResponse
    assert (server.received.count(first_get), server.received.count(second_get)) == (1, 1)


async def test_send_mock_assertion_error_is_unchanged() -> None:
    with pytest.raises(AssertionError, match="no route"):
        await send(HttpxEngine(transport=failing_transport(AssertionError("no route"))), URL)


class TestBeforeSend:
    """``before_send`` is called once, after connecting and before the first byte."""

    def test_supports_before_send_only_with_library_transport(self) -> None:
        class UserTransport(httpx.AsyncHTTPTransport):
            pass

        assert HttpxEngine().supports_before_send
        assert HttpxEngine(transport=httpx.AsyncHTTPTransport()).supports_before_send
        assert not HttpxEngine(transport=UserTransport()).supports_before_send
        assert not HttpxEngine(transport=httpx.AsyncClient()).supports_before_send
        assert not HttpxEngine(transport=failing_transport(KeyError())).supports_before_send

    async def test_before_send_is_not_called_for_proxy_tunnel(self) -> None:
        before_send_calls: list[bytes] = []

        async def script(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond(b"", status=b"200 Connection established")
            await peer.read()
            peer.reset()

        async with run_server(script) as server:
            transport = httpx.AsyncHTTPTransport(proxy=f"http://127.0.0.1:{server.port}")
            error = await send_error(
                HttpxEngine(transport=transport),
                URL.replace("http:", "https:"),
                before_send=lambda: before_send_calls.append(b""),
            )
            await transport.aclose()

        assert server.requests[0].startswith(b"CONNECT")
        assert (type(error), before_send_calls) == (NotSent, [])


class TestHandedIn:
    """A handed-in client or transport, which stays open."""

    async def test_send_client_keeps_hooks_but_not_logins(self) -> None:
        hook_calls: list[str] = []

        async def on_request(request: httpx.Request) -> None:
            hook_calls.append(request.method)

        async def on_response(response: httpx.Response) -> None:
            hook_calls.append(str(response.status_code))

        client = httpx.AsyncClient(
            auth=("user", "other"),
            follow_redirects=True,
            headers={"X-Client": "1"},
            event_hooks={"request": [on_request], "response": [on_response]},
        )
        async with run_server(keep_responding) as server:
            engine = HttpxEngine(transport=client)
            await send(engine, server.url)
            await engine.aclose()
            assert not client.is_closed
            await send(HttpxEngine(transport=client), server.url)
            await client.aclose()

        assert hook_calls == ["POST", "200", "POST", "200"]
        assert b"Authorization: Bearer canary" in server.received
        assert b"Basic" not in server.received

    @pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), ValueError("x"), OSError("x")])
    async def test_send_response_hook_error_is_kept_as_cause(self, error: Exception) -> None:
        async def fail(_: httpx.Response) -> None:
            raise error

        async with run_server(keep_responding) as server, httpx.AsyncClient(event_hooks={"response": [fail]}) as client:
            account = Application(id="1", access_password="p", api_key="k")
            async with Paystar(account, base_url=server.url.partition("?")[0], engine=client) as paystar:
                with pytest.raises(NoResponse) as caught:
                    await paystar.transfers.settle(transfers=[transfer("t-1")])
                with pytest.raises(type(error)):
                    await paystar.transfers.find(track_id="t-1")

        assert caught.value.executed == "maybe"
        assert caught.value.__cause__ is error

    async def test_send_closed_client_is_refused(self) -> None:
        client = httpx.AsyncClient()
        await client.aclose()

        with pytest.raises(ConfigurationError, match="closed"):
            await send(HttpxEngine(transport=client), URL)

    @pytest.mark.parametrize("unsupported", [httpx.Client, httpx.HTTPTransport, object])
    def test_init_unsupported_object_is_refused(self, unsupported: Any) -> None:
        with pytest.raises(ConfigurationError, match="cannot send requests"):
            HttpxEngine(transport=unsupported())

    async def test_aclose_leaves_user_transport_open(self) -> None:
        class UserTransport(httpx.MockTransport):
            was_closed = False

            async def aclose(self) -> None:
                self.was_closed = True

        transport = UserTransport(lambda _: httpx.Response(200, json={}))
        engine = HttpxEngine(transport=transport)
        await send(engine, URL)
        await engine.aclose()

        assert not transport.was_closed

    async def test_send_httpx_log_has_no_query(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        client = httpx.AsyncClient()
        async with run_server(keep_responding) as server:
            await send(HttpxEngine(transport=client), server.url)
            await client.aclose()

        assert f"HTTP Request: POST http://127.0.0.1:{server.port}/api " in caplog.text
        assert "canary" not in caplog.text

    def test_parse_url_masked_url_hides_query_but_sends_it(self) -> None:
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

    async def test_send_request_repr_shows_no_query(self) -> None:
        reprs: list[str] = []

        def handle(request: httpx.Request) -> httpx.Response:
            reprs.append(repr(request))
            return httpx.Response(200)

        await send(HttpxEngine(transport=httpx.MockTransport(handle)), URL)
        assert reprs == ["<Request('POST', 'http://paystar.example/api')>"]


class TestMocks:
    """Mocks of httpx in a user's tests."""

    async def test_send_respx_route_responds(self) -> None:
        with respx.mock:
            route = respx.post("http://paystar.example/api").respond(200, json={"status": 1})
            status, _, body = await send(HttpxEngine(), URL)

        assert (status, body, route.call_count) == (200, b'{"status":1}', 1)

    async def test_send_respx_unknown_route_raises(self) -> None:
        with respx.mock, pytest.raises(AssertionError):
            await send(HttpxEngine(), URL)

    async def test_send_respx_side_effects_are_errors(self) -> None:
        with respx.mock:
            respx.post("http://paystar.example/api").mock(side_effect=[httpx.ConnectError, httpx.ReadTimeout])
            first, second = await send_error(HttpxEngine(), URL), await send_error(HttpxEngine(), URL)

        assert (type(first), type(second)) == (NotSent, NoResponse)


def test_httpx_engine_fits_protocol() -> None:
    engine: Engine = HttpxEngine()

    assert isinstance(engine, Engine)
    assert not isinstance(httpx.AsyncClient(), Engine)
    assert not isinstance(failing_transport(KeyError()), Engine)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_send_works_on_asyncio_and_trio(backend: str) -> None:
    async def respond(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            request = await stream.receive()
            if b"/reset" not in request:
                await stream.send(OK + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
            if b"/silent" in request:
                await anyio.sleep_forever()

    async def run() -> list[object]:
        engine = HttpxEngine()
        results: list[object] = []
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            group.start_soon(listener.serve, respond)
            results.append(
                await send(engine, f"http://127.0.0.1:{port}/", before_send=lambda: results.append("called"))
            )
            results.append(type(await send_error(engine, f"http://127.0.0.1:{port}/reset")))
            results.append(type(await send_error(engine, f"http://127.0.0.1:{free_port()}/")))
            results.append(type(await send_error(engine, f"https://127.0.0.1:{port}/", 0.2)))
            await engine.aclose()
            group.cancel_scope.cancel()
        return results

    results = anyio.run(run, backend=backend)
    assert results == [
        "called",
        (200, {"content-length": "2", "connection": "close"}, b"{}"),
        NoResponse,
        NotSent,
        NotSent,
    ]
