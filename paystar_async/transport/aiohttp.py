"""The aiohttp engine, for services that run aiohttp anyway: over a session of its own, or over theirs.

aiohttp repeats a request by itself when a kept connection breaks and the method may be repeated; here every attempt but
the first is refused, so that a request leaves once.

``ClientRequest.send`` is where aiohttp has a connection and has written nothing: there ``before_send`` is called, and a
connection with unread bytes is refused, because aiohttp would hand them to the next request. A handed-in session has a
connector of the caller's, which may fail in ways of its own: it cannot fence, and what ran out of time may have left.
"""

import asyncio
import re
import selectors
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
from attrs import define
from yarl import URL

from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.transport.content_encoding import ACCEPT_ENCODING, decode_content
from paystar_async.transport.engine import (
    CONNECT_SECONDS,
    IDLE_SECONDS,
    MAX_RESPONSE_BYTES,
    Headers,
    refuse_before_send,
    require_asyncio,
    response_too_large,
)
from paystar_async.values.secret import Secret

if TYPE_CHECKING:
    from aiohttp.connector import Connection

_UNASKED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_COPIED = 1 << 20
"""Bytes from which on aiohttp wants a body as a file."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?:\r\n|$)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
_MAX_HEAD_BYTES = 64 << 10
_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)


class _UnreadBytes(Exception):
    """A reused connection holds bytes nobody has read; nothing was written to it."""


_FOREIGN = (aiohttp.ClientError, OSError, ValueError, RuntimeError)


@define
class _SendTracker:
    """How far one call has come.

    Attributes:
        before_send: whom to ask for leave.
        tells: whether it is known when there is a connection; else it may have left from the start.
        begun: whether aiohttp has tried.
        left: whether it may have left.
        refusal: what ``before_send`` raised.
    """

    before_send: Callable[[], None] | None
    tells: bool
    begun: bool = False
    left: bool = False
    refusal: BaseException | None = None

    async def once(self, request: aiohttp.ClientRequest, go_on: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """A middleware: the first try goes on, and there is no second."""
        if self.begun:
            raise RuntimeError("aiohttp was about to send it once more")
        self.begun, self.left = True, not self.tells
        send = request.send

        async def send_over_clean(connection: "Connection") -> aiohttp.ClientResponse:
            try:
                _refuse_unread_bytes(connection)
            except (_UnreadBytes, aiohttp.ClientConnectionError):
                self.begun = self.left = False
                raise
            self.mark_connected()
            return await send(connection)

        request.send = send_over_clean  # type: ignore[method-assign, assignment]  # the session may be the caller's
        return await go_on(request)

    def mark_connected(self) -> None:
        """There is a connection: with leave, it may have left from here on."""
        if self.before_send is not None:
            try:
                self.before_send()
            except BaseException as refusal:
                self.refusal = refusal
                raise
        self.left = True

    def provably_not_sent(self, problem: Exception) -> bool:
        """Whether the request provably never left, given how it ended."""
        return not self.left or (not self.tells and _never_connected(problem))


class _Watch(asyncio.Protocol):
    """Passes the events of a connection to aiohttp's protocol, and notes bytes that belong to no response."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._head = self._end = b""
        self._size = 0
        self._is_idle = self.has_unread = False

    def start_request(self, connection: "Connection") -> None:
        """Note that a request uses the connection until aiohttp releases it."""
        self._head, self._end, self._size, self._is_idle = b"", b"", 0, False
        connection.add_callback(self._end_request)

    def _end_request(self) -> None:
        # aiohttp's parser may hold the beginning of another head, and does not say so.
        self._is_idle, self.has_unread = True, self.has_unread or not self._ends_with_response()

    def data_received(self, data: bytes) -> None:
        self.has_unread = self.has_unread or self._is_idle
        self._size += len(data)
        self._end = (self._end + data)[-len(_LAST_CHUNK) :]
        if len(self._head) < _MAX_HEAD_BYTES:
            self._head += data
        self._protocol.data_received(data)

    def _ends_with_response(self) -> bool:
        """Return True if the bytes since the request are one response to its end, as far as that can be told."""
        head, blank_line, _ = self._head.partition(b"\r\n\r\n")
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if status is None or not blank_line:
            return False
        if status[1] in (b"204", b"304"):
            return self._size == len(head) + len(blank_line)
        if length is not None:
            return self._size == len(head) + len(blank_line) + int(length[1])
        return self._end == _LAST_CHUNK

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def _refuse_unread_bytes(connection: "Connection") -> None:
    """Raise if the connection must not carry a request: what waits there would be read as its response.

    Raises:
        _UnreadBytes: on a reused connection; another one may be clean.
        ClientConnectionError: on any other, or it is closed.
    """
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ClientConnectionError("closed before anything was sent")
    watch = transport.get_protocol()
    if isinstance(watch, _Watch):
        if watch.has_unread or protocol.should_close or _is_readable(transport):
            raise _UnreadBytes
    elif protocol.should_close:
        raise aiohttp.ClientConnectionError("the server sent bytes before the request")
    else:
        watch = _Watch(protocol)
        transport.set_protocol(watch)
    watch.start_request(connection)


def _is_readable(transport: asyncio.Transport) -> bool:
    """Return True if bytes, or the end, wait in the socket that the loop has not read yet."""
    with selectors.DefaultSelector() as selector:
        selector.register(transport.get_extra_info("socket"), selectors.EVENT_READ)
        return bool(selector.select(0))


def _never_connected(problem: Exception) -> bool:
    if isinstance(problem, UnicodeError):
        return not isinstance(problem, UnicodeDecodeError)  # a host or a header that cannot be written
    return isinstance(problem, _NEVER_CONNECTED)


class AiohttpEngine:
    """Carries requests over aiohttp, on asyncio.

    Args:
        connections: how many connections its own session holds.
        given: a session to use instead; it is never closed here, and its middlewares are not asked.

        proxy: URL of its own session's proxy.

    Raises:
        ConfigurationError: the session would sign in by itself, or go where the environment says.
    """

    def __init__(
        self, *, connections: int = 16, given: aiohttp.ClientSession | None = None, proxy: Secret | None = None
    ) -> None:
        if given is not None and (given.trust_env or given.auth is not None):
            # Only base_url's host is contacted, and no password goes there but Paystar's.
            raise ConfigurationError(
                "the aiohttp session brings logins or proxies of its own", hint="make it without auth= and trust_env="
            )
        self._given, self._connections, self._proxy = given, connections, proxy
        self._own: aiohttp.ClientSession | None = None
        self._closed = False

    @property
    def supports_before_send(self) -> bool:
        """Only its own session tells when there is a connection."""
        return self._given is None

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
        require_asyncio("aiohttp")
        if self._given is not None:
            if before_send is not None:
                refuse_before_send()
            if self._given.closed:
                raise ConfigurationError("the aiohttp session that was handed in is closed", hint="keep it open")
        attempt = _SendTracker(before_send, tells=self._given is None)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return await self._carried(method, url, headers, body, attempt)
                    except _UnreadBytes:
                        continue  # aiohttp has closed that connection: their number ends this
        except _FOREIGN as problem:
            if attempt.refusal is not None:
                raise attempt.refusal from None
            reason = f"no answer within {timeout:.3g} s" if type(problem) is TimeoutError else _reason(problem)
            unsent = attempt.provably_not_sent(problem)
        raise NotSent(f"not connected: {reason}") if unsent else NoResponse(reason)

    async def _carried(
        self, method: str, url: str, headers: Headers, body: bytes | None, attempt: _SendTracker
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with self._session().request(
            method,
            URL(url, encoded=True),
            headers=[*headers, ACCEPT_ENCODING],
            data=body if body is None or len(body) < _COPIED else BytesIO(body),
            skip_auto_headers=_UNASKED,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
            middlewares=(attempt.once,),
            proxy=self._proxy.reveal() if self._proxy is not None else None,
        ) as response:
            return response.status, _headers(response), await _read(response)

    def _session(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        if self._own is None:
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=IDLE_SECONDS)
            self._own = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        return self._own

    async def aclose(self) -> None:
        """Close its own session, for good; one that was handed in stays open."""
        self._closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.close()


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise response_too_large(response.status)
    body = b"".join(parts)
    if "Content-Encoding" not in response.headers:
        return body
    codings = ", ".join(response.headers.getall("Content-Encoding"))
    return decode_content(body, codings, MAX_RESPONSE_BYTES, response.status)


def _reason(problem: Exception) -> str:
    if isinstance(problem, aiohttp.ClientConnectorError):
        return str(problem)  # names the host; others quote the URL, or what the server sent
    return type(problem).__name__
