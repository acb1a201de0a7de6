"""The default engine: httpx, called below its client, so that nothing follows, retries, logs or pools cookies."""

import contextlib
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import anyio
import httpx

from paystar_async.errors import BadAnswer, ConfigurationError, NotSent, Unanswered
from paystar_async.transport.engine import Headers
from paystar_async.transport.pool import PATIENCE, Pools


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


LARGEST = 16 << 20
"""Bytes; a list of 500 transfers has about 200,000."""
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
        self._given, self._pools = given, Pools(connections)
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
        journey = _Journey(before_send)
        try:
            request = _request(method, url, headers, body, journey)
            with anyio.fail_after(timeout):
                try:
                    return await self._carried(request, journey)
                except httpx.PoolTimeout:
                    if self._given is not None:
                        raise
                    # The pool had lost its slots. Nothing was sent, and another pool stands in its place.
                    return await self._carried(request, journey)
        except _FOREIGN as problem:
            if journey.refused:
                raise
            reason = f"no answer within {timeout:.3g} s" if type(problem) is TimeoutError else _reason(problem)
            unsent = journey.never_left(problem)
        raise NotSent(f"not connected: {reason}") if unsent else Unanswered(reason)

    async def _carried(self, request: httpx.Request, journey: _Journey) -> tuple[int, Mapping[str, str], bytes]:
        if isinstance(self._given, httpx.AsyncClient):
            return await _exchange(_ClientTransport(self._given), request, journey)
        if self._given is not None:
            return await _exchange(self._given, request, journey)
        pool = self._pools.enter()
        try:
            return await _exchange(pool.transport, request, journey)
        except httpx.PoolTimeout:
            self._pools.give_up(pool)
            raise
        finally:
            await self._pools.leave(pool)

    async def aclose(self) -> None:
        """Close its own pool, for good; what was handed in stays open."""
        self._closed = True
        await self._pools.aclose()


def _request(method: str, url: str, headers: Headers, body: bytes | None, journey: _Journey) -> httpx.Request:
    extensions = {"trace": journey.trace, "timeout": {"pool": PATIENCE}}
    request = httpx.Request(method, url, headers=list(headers), content=body, extensions=extensions)
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
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise BadAnswer("$", f"an answer of more than {LARGEST >> 20} MB", http_status=response.status_code)
    return b"".join(parts)


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
