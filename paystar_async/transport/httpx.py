"""The httpx and httpx2 engines, and handed-in clients and transports of either.

Requests go to the transport below httpx's client, so that nothing follows redirects, retries, logs or stores cookies.
"""

import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from itertools import chain
from traceback import walk_tb
from typing import Any

import anyio

from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.transport.content_encoding import ACCEPT_ENCODING, decode_content
from paystar_async.transport.engine import (
    KEEPALIVE_EXPIRY_SECONDS,
    MAX_RESPONSE_BYTES,
    Headers,
    SendState,
    response_too_large,
)
from paystar_async.values.secret import Secret

MAX_ADDRESSES = 64
"""Parsed addresses in the cache: one for each endpoint in use, at each base URL."""

_PARSER_PATH = ("_httpcore_stream", "_connection", "_stream")


class _Library:
    """The parts of httpx or httpx2 that the engine uses.

    Args:
        name: the module's name.
    """

    def __init__(self, name: str) -> None:
        module: Any = importlib.import_module(name)
        self.module = module
        self.not_connected: tuple[type[Exception], ...] = (
            module.ConnectError,
            module.ConnectTimeout,
            module.PoolTimeout,
            module.UnsupportedProtocol,
            module.InvalidURL,
        )
        # Not every Exception: a mock without a matching route raises AssertionError, and its test must see the error.
        self.errors: tuple[type[Exception], ...] = (
            module.HTTPError,
            module.InvalidURL,
            # httpcore's own, which httpx does not map: HTTP/2's GOAWAY in the middle of a response.
            importlib.import_module(name.replace("httpx", "httpcore")).ConnectionNotAvailable,
            OSError,
            ValueError,
            RuntimeError,
        )

        def without_query(url: object) -> str:
            text: str = module.URL.__str__(url)
            return text.partition("?")[0]

        # The library's client logs URLs, and a query holds secrets.
        self._masked_url: Any = type("MaskedURL", (module.URL,), {"__str__": without_query, "__repr__": without_query})
        self._parse_address = lru_cache(MAX_ADDRESSES)(self._masked_url)

    def parse_url(self, url: str) -> Any:
        """Return a URL that shows itself without its query."""
        # Only addresses are cached: a query holds secrets.
        return self._masked_url(url) if "?" in url else self._parse_address(url)

    def owns(self, value: object) -> bool:
        """Return True for a client or transport of this library."""
        return isinstance(value, self.module.AsyncClient | self.module.AsyncBaseTransport)


load_library = lru_cache(_Library)


def library_of(value: object) -> str | None:
    """Return the library whose client or transport ``value`` is, or None."""
    # A user who has a client has imported its library; nothing is imported here for other users.
    return next((name for name in ("httpx", "httpx2") if name in sys.modules and load_library(name).owns(value)), None)


class _SendTracker:
    """The progress of one request, as httpcore's trace hook reports.

    Args:
        before_send: called right before the first byte.
    """

    def __init__(self, before_send: Callable[[], None] | None) -> None:
        self.state = SendState.UNKNOWN
        self.is_refused = False
        self._before_send = before_send
        self._stream: Any = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Update the state after an event of the connection."""
        if event.endswith("send_request_headers.started"):
            if info["request"].method == b"CONNECT":
                return  # asks a proxy for a tunnel, and holds nothing of the request
            if self.state is SendState.SENT:
                # httpcore does so after HTTP/2's GOAWAY; another transport may do so after any error.
                raise RuntimeError("the library was about to send the request again")
            self._call_before_send()
            self.state = SendState.SENT
        elif event.startswith("connection.connect_") and self.state is SendState.UNKNOWN:
            self.state = SendState.CONNECTING
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]

    async def close_unsent(self) -> None:
        """Close a connection without a request: httpcore leaves a connection in its TLS handshake open."""
        if self._stream is not None and self.state is SendState.CONNECTING:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()

    def _call_before_send(self) -> None:
        if self._before_send is None:
            return
        self.is_refused = True
        self._before_send()
        self.is_refused = False

    def provably_not_sent(self, error: Exception, library: "_Library") -> bool:
        """Return True if the request was provably not sent, given the error that ended it."""
        if self.state is SendState.UNKNOWN:
            return isinstance(error, library.not_connected)
        return self.state is SendState.CONNECTING


class _ClientTransport:
    """A client as a transport: its proxies and hooks stay, its redirects and authentication do not."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def handle_async_request(self, request: Any) -> Any:
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)


class HttpxEngine:
    """An engine over httpx or httpx2.

    Args:
        connections: idle connections that the engine's own transport keeps.
        transport: a client or transport of either library to use instead; it is never closed here.
        library: ``"httpx"`` or ``"httpx2"``, for the own transport.
        through_client: whether the own transport is used through a client, for mocks and tracers of the client.
        proxy: URL of the own transport's proxy.
    """

    def __init__(
        self,
        *,
        connections: int = 16,
        transport: object = None,
        library: str = "httpx",
        through_client: bool = False,
        proxy: Secret | None = None,
    ) -> None:
        name = library if transport is None else library_of(transport)
        if name is None:
            raise ConfigurationError(
                f"a {type(transport).__name__} cannot send requests",
                hint="hand in an AsyncClient or AsyncBaseTransport of httpx or httpx2, or an Engine",
            )
        self._library = load_library(name)
        self._handed_in: Any = transport
        self._connections, self._through_client, self._proxy = connections, through_client, proxy
        self._own: Any = None
        self._is_closed = False

    @property
    def supports_before_send(self) -> bool:
        """Return True if the transport reports its first byte for certain: only the library's transport does."""
        return self._handed_in is None or type(self._handed_in) is self._library.module.AsyncHTTPTransport

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and read its whole response; see ``Engine.send``."""
        if timeout <= 0:
            raise NotSent("no time was left to send the request")
        if self._is_closed:
            raise NotSent("the client was closed before the request was sent")
        if getattr(self._handed_in, "is_closed", False):
            raise ConfigurationError("the httpx client that was handed in is closed", hint="keep it open while in use")
        tracker = _SendTracker(before_send)
        try:
            request = self._request(method, url, headers, body, tracker)
            with anyio.fail_after(timeout):
                return await _exchange(self._transport(), request, tracker)
        except self._library.errors as error:
            if tracker.is_refused or self._is_raised_by_hook(error):
                raise  # the user's error: the sender chains the error to the outcome of the call
            reason = f"no response within {timeout:.3g} s" if type(error) is TimeoutError else self._reason(error)
            not_sent = tracker.provably_not_sent(error, self._library)
        where = " through the proxy" if self._proxy is not None else ""
        raise NotSent(f"not connected{where}: {reason}") if not_sent else NoResponse(reason)

    def _request(self, method: str, url: str, headers: Headers, body: bytes | None, tracker: _SendTracker) -> Any:
        sent_headers = [*headers, ACCEPT_ENCODING]
        extensions = {"trace": tracker.trace}
        parsed_url = self._library.parse_url(url)
        request = self._library.module.Request(
            method, parsed_url, headers=sent_headers, content=body, extensions=extensions
        )
        request.url = parsed_url
        return request

    def _transport(self) -> Any:
        library = self._library.module
        if self._handed_in is not None:
            is_client = isinstance(self._handed_in, library.AsyncClient)
            return _ClientTransport(self._handed_in) if is_client else self._handed_in
        if self._own is None:
            # No bound on connections: ConcurrencyMiddleware has a bound, and a bounded pool loses slots when a call is
            # cancelled at certain moments (httpcore's shields do not hold against a task's own ``cancel``).
            limits = library.Limits(
                max_keepalive_connections=self._connections, keepalive_expiry=KEEPALIVE_EXPIRY_SECONDS
            )
            proxy = library.Proxy(self._proxy.reveal()) if self._proxy is not None else None
            self._own = library.AsyncHTTPTransport(trust_env=False, limits=limits, retries=0, proxy=proxy)
            if self._through_client:
                self._own = library.AsyncClient(transport=self._own, trust_env=False)
        return _ClientTransport(self._own) if self._through_client else self._own

    def _is_raised_by_hook(self, error: BaseException) -> bool:
        """Return True if an event hook of the handed-in client raised the error."""
        hooks = chain.from_iterable(getattr(self._handed_in, "event_hooks", {}).values())
        codes = {getattr(hook, "__code__", None) or getattr(type(hook).__call__, "__code__", None) for hook in hooks}
        return any(frame.f_code in codes for frame, _ in walk_tb(error.__traceback__))

    def _reason(self, error: Exception) -> str:
        library, text = self._library.module, str(error)
        if not text and isinstance(error, library.NetworkError | library.RemoteProtocolError):
            return f"the connection broke ({type(error).__name__})"
        if isinstance(error, library.RemoteProtocolError | library.DecodingError):
            text = text.partition(":")[0]  # the rest quotes the server, which may echo the request
        if isinstance(error, ValueError):
            text = ""  # quotes the bytes that were not valid
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    async def aclose(self) -> None:
        """Close the engine's own connections, for good; a handed-in client or transport stays open."""
        self._is_closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()


async def _exchange(transport: Any, request: Any, tracker: _SendTracker) -> tuple[int, Mapping[str, str], bytes]:
    try:
        response = await transport.handle_async_request(request)
    except BaseException:
        await tracker.close_unsent()
        raise
    # A mock's response, and one that a hook of a handed-in client has read, is decoded and in memory.
    is_decoded = response.is_stream_consumed
    async with contextlib.aclosing(response):
        body = await _read(response.aiter_bytes() if is_decoded else response.aiter_raw(), response.status_code)
    if _has_unread_bytes(response):
        await response.extensions["network_stream"].aclose()
    # Not ``dict(response.headers)``, which searches all headers for each one: seconds for some thousand headers.
    headers = dict(response.headers.items())
    # Last: the connection of a response that cannot be decoded is reused, too.
    if not is_decoded and "content-encoding" in headers:
        body = decode_content(body, headers["content-encoding"], MAX_RESPONSE_BYTES, response.status_code)
    return response.status_code, headers, body


async def _read(pieces: AsyncIterator[bytes], http_status: int) -> bytes:
    """Return the body of at most ``MAX_RESPONSE_BYTES``."""
    body = bytearray()  # not a list of pieces, of which each would take 40 bytes more
    async for piece in pieces:
        body += piece
        if len(body) > MAX_RESPONSE_BYTES:
            raise response_too_large(http_status)
    return bytes(body)


def _has_unread_bytes(response: Any) -> bool:
    """Return True if bytes follow the response: left in the connection, they would be read as the next response.

    httpcore looks for such bytes in the socket, not in the parser's buffer. There is no public way to that buffer, so
    these names are private to httpcore; if they change, nothing is found and a test fails.
    """
    layer: Any = response.stream
    while layer is not None and not hasattr(layer, "_h11_state"):
        layer = next((getattr(layer, name) for name in _PARSER_PATH if hasattr(layer, name)), None)
    return layer is not None and bool(layer._h11_state.trailing_data[0])  # noqa: SLF001
