"""The default engine: httpx, called below its client, so that nothing follows, retries, logs or pools cookies.

On asyncio its requests go a plain way of our own (``transport.plain``), at a fraction of what httpx's pool costs – but
only as long as httpx is as it was installed. Where a mock or a tracer has taken the place of its transport, and on
trio, every call goes through httpx's own transport, so that a test that mocks httpx never reaches a network.
"""

import contextlib
from collections.abc import Callable, Mapping
from enum import Enum
from types import FunctionType
from typing import Any

import anyio
import httpcore
import httpx

from paystar_async.errors import ConfigurationError, NotSent, Unanswered
from paystar_async.loops import asyncio_loop
from paystar_async.transport.answer import LARGEST, too_large
from paystar_async.transport.content_encoding import ACCEPT_ENCODING, decode_content
from paystar_async.transport.engine import Headers
from paystar_async.transport.plain import Lines


class MaskedURL(httpx.URL):
    """A URL whose query holds secrets: shows itself without it, in httpx's own log lines too."""

    def __str__(self) -> str:
        return super().__str__().partition("?")[0]

    def __repr__(self) -> str:
        return f"MaskedURL({str(self)!r})"


class _Stage(Enum):
    UNTOLD = "nothing heard from below: it may have left"
    CONNECTING = "provably not sent"
    LEFT = "may have left"


class _Journey:
    """How far one request has come, heard from httpcore's trace hook."""

    def __init__(self, before_send: Callable[[], None] | None) -> None:
        self.stage = _Stage.UNTOLD
        self.refused = False
        self._before_send = before_send
        self._stream: Any = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            if info["request"].method == b"CONNECT":
                return  # a proxy is asked for the way; nothing of the request is in it
            self._ask_leave()
            self.stage = _Stage.LEFT
        elif event.startswith("connection.connect_") and self.stage is _Stage.UNTOLD:
            self.stage = _Stage.CONNECTING
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]

    async def hang_up(self) -> None:
        """Close a connection given up before the request: httpcore leaves one in its handshake to the collector."""
        if self._stream is not None and self.stage is _Stage.CONNECTING:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()

    def _ask_leave(self) -> None:
        if self._before_send is None:
            return
        self.refused = True
        self._before_send()
        self.refused = False

    def never_left(self, problem: Exception) -> bool:
        """Whether the request provably never left, given how it ended."""
        if self.stage is _Stage.UNTOLD:
            return isinstance(problem, _NO_CONNECTION)
        return self.stage is _Stage.CONNECTING


_WAY_TO_THE_PARSER = ("_httpcore_stream", "_connection", "_stream")
_NO_CONNECTION = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
# Not every Exception: a mock that finds no route raises AssertionError, and that is for the test to see.
_FOREIGN = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RuntimeError)


_WAYS: tuple[Any, ...] = (httpx.AsyncHTTPTransport, httpcore.AsyncConnectionPool, httpcore.AsyncHTTPConnection)
"""Where mocks and tracers take httpx's place."""


class _ClientTransport(httpx.AsyncBaseTransport):
    """A client that the caller handed in: its proxies and hooks stay, its redirects and logins do not."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)


def _carries(given: object) -> bool:
    return isinstance(given, httpx.AsyncClient | httpx.AsyncBaseTransport)


class HttpxEngine:
    """Carries requests over httpx.

    Args:
        connections: how many connections its own pool holds.
        given: a client or transport to use instead of its own; it is never closed here.
    """

    def __init__(
        self, *, connections: int = 16, given: httpx.AsyncClient | httpx.AsyncBaseTransport | None = None
    ) -> None:
        if given is not None and not _carries(given):
            raise ConfigurationError(
                f"a {type(given).__name__} cannot carry requests",
                hint="hand in an httpx.AsyncClient, an httpx.AsyncBaseTransport or an Engine",
            )
        self._given, self._lines = given, Lines(connections)
        self._connections = connections
        self._stock: httpx.AsyncBaseTransport | None = None
        self._closed = False

    @property
    def fences(self) -> bool:
        """Only its own transport surely tells when the first byte is due."""
        return self._given is None or type(self._given) is httpx.AsyncHTTPTransport

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and read its whole answer; see ``Engine.send``."""
        if timeout <= 0:
            raise NotSent("no time was left to send it")
        if self._closed:
            raise NotSent("the client was closed before it was sent")
        if isinstance(self._given, httpx.AsyncClient) and self._given.is_closed:
            raise ConfigurationError("the httpx client that was handed in is closed", hint="keep it open while in use")
        if self._given is None and _may_go_plainly():
            answer = await self._lines.exchange(method, url, headers, body, timeout, before_send)
            return answer.status, answer.headers, _decoded(answer.status, answer.headers, answer.body)
        journey = _Journey(before_send)
        try:
            request = _request(method, url, headers, body, journey)
            with anyio.fail_after(timeout):
                return await _exchange(self._transport(), request, journey)
        except _FOREIGN as problem:
            if journey.refused:
                raise
            reason = f"no answer within {timeout:.3g} s" if type(problem) is TimeoutError else _reason(problem)
            unsent = journey.never_left(problem)
        raise NotSent(f"not connected: {reason}") if unsent else Unanswered(reason)

    def _transport(self) -> httpx.AsyncBaseTransport:
        if isinstance(self._given, httpx.AsyncClient):
            return _ClientTransport(self._given)
        if self._given is not None:
            return self._given
        if self._stock is None:
            # No bound on connections: the limiter has one, and a pool with a bound loses slots when a call is
            # cancelled at certain moments (httpcore's shields do not hold against a task's own ``cancel``).
            limits = httpx.Limits(max_keepalive_connections=self._connections, keepalive_expiry=30.0)
            self._stock = httpx.AsyncHTTPTransport(trust_env=False, limits=limits, retries=0)
        return self._stock

    async def aclose(self) -> None:
        """Close its own connections, for good; what was handed in stays open."""
        self._closed = True
        await self._lines.aclose()
        stock, self._stock = self._stock, None
        if stock is not None:
            await stock.aclose()

    def abandon(self) -> None:
        """Close the sockets of its own connections without the event loop, which is closed."""
        self._closed = True
        self._lines.abandon()


def _may_go_plainly() -> bool:
    """Whether httpx's own code stands on the way to the network, and this is asyncio."""
    for way in _WAYS:
        if not _is_as_installed(way.handle_async_request):
            return False
    return asyncio_loop() is not None


def _is_as_installed(method: object) -> bool:
    return type(method) is FunctionType and method.__globals__["__name__"].startswith(("httpx.", "httpcore."))


def _request(method: str, url: str, headers: Headers, body: bytes | None, journey: _Journey) -> httpx.Request:
    given = [*headers, ACCEPT_ENCODING]
    request = httpx.Request(method, url, headers=given, content=body, extensions={"trace": journey.trace})
    request.url = MaskedURL(request.url)
    return request


async def _exchange(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, journey: _Journey
) -> tuple[int, Mapping[str, str], bytes]:
    try:
        response = await transport.handle_async_request(request)
    except BaseException:
        await journey.hang_up()
        raise
    async with contextlib.aclosing(response):
        body = await _read(response)
    if _has_more(response):
        await response.extensions["network_stream"].aclose()
    return response.status_code, dict(response.headers), body


async def _read(response: httpx.Response) -> bytes:
    """The whole body, up to a size no answer has; a bomb would take the memory of the process."""
    # A mock's response, and one that a hook of the caller's client has read, is decoded and in memory.
    is_read = response.is_stream_consumed
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes() if is_read else response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise too_large(response.status_code)
    body = b"".join(parts)
    return body if is_read else _decoded(response.status_code, response.headers, body)


def _decoded(http_status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """The body without its content encoding."""
    if "content-encoding" not in headers:
        return body
    return decode_content(body, headers["content-encoding"], LARGEST, http_status)


def _has_more(response: httpx.Response) -> bool:
    """Whether bytes stand behind the answer: left in the connection, they would be read as the next call's answer.

    httpcore looks for such bytes in the socket alone, not in the parser's buffer; there is no public way to that
    buffer, so these names are httpcore's own. Where they are others nothing is found, and a test turns red.
    """
    inner: Any = response.stream
    while inner is not None and not hasattr(inner, "_h11_state"):
        inner = next((getattr(inner, name) for name in _WAY_TO_THE_PARSER if hasattr(inner, name)), None)
    return inner is not None and bool(inner._h11_state.trailing_data[0])  # noqa: SLF001


def _reason(problem: Exception) -> str:
    text = str(problem)
    if not text and isinstance(problem, httpx.NetworkError | httpx.RemoteProtocolError):
        return f"the connection broke ({type(problem).__name__})"
    if isinstance(problem, httpx.RemoteProtocolError | httpx.DecodingError):
        text = text.partition(":")[0]  # behind it stands what the server sent, and that may be an echo
    if isinstance(problem, ValueError):
        text = ""  # quotes what it could not read
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
