"""The aiohttp engine: sends requests through its own aiohttp session, or through a handed-in session.

aiohttp sends a request again when a reused connection breaks and the method is idempotent; here every attempt but the
first is refused, so that a request is sent once.

``ClientRequest.send`` is called when aiohttp has a connection and has written nothing: there ``before_send`` is called,
and a connection with unread bytes is refused, because aiohttp would take those bytes for the response. A handed-in
session has the user's connector, which may fail in other ways: ``before_send`` is not supported, and a request that
timed out may have been sent.
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
    CONNECT_TIMEOUT_SECONDS,
    KEEPALIVE_EXPIRY_SECONDS,
    MAX_HEAD_BYTES,
    MAX_RESPONSE_BYTES,
    Headers,
    SendState,
    refuse_before_send,
    require_asyncio,
    response_too_large,
)
from paystar_async.values.secret import Secret

if TYPE_CHECKING:
    from aiohttp.connector import Connection

_SKIPPED_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_MIN_FILE_BYTES = 1 << 20
"""Smallest size of a body for which aiohttp warns unless the body is a file."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?:\r\n|$)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
_ERRORS = (aiohttp.ClientError, OSError, ValueError, RuntimeError)


class _UnreadBytes(Exception):
    """A reused connection has unread bytes; nothing was written to the connection."""


@define
class _SendTracker:
    """The progress of one request.

    Attributes:
        before_send: called right before the first byte.
        reports_connection: whether the session is the engine's own, so that CONNECTING and SENT can be distinguished.
        is_started: whether aiohttp has begun an attempt to send the request.
        state: how much of the request may have been sent.
        refusal: the error that ``before_send`` raised.
        detector: the detector of the connection that carries the request.
    """

    before_send: Callable[[], None] | None
    reports_connection: bool
    is_started: bool = False
    state: SendState = SendState.CONNECTING
    refusal: BaseException | None = None
    detector: "_UnreadBytesDetector | None" = None

    async def send_once(
        self, request: aiohttp.ClientRequest, send_request: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass on the first attempt and refuse any other; an aiohttp middleware."""
        if self.is_started:
            raise RuntimeError("aiohttp was about to send the request again")
        self.is_started = True
        self.state = SendState.CONNECTING if self.reports_connection else SendState.UNKNOWN
        send = request.send

        async def send_without_unread_bytes(connection: "Connection") -> aiohttp.ClientResponse:
            try:
                self.detector = _refuse_unread_bytes(connection)
            except (_UnreadBytes, aiohttp.ClientConnectionError):
                self.is_started, self.state = False, SendState.CONNECTING
                raise
            self.mark_connected()
            return await send(connection)

        request.send = send_without_unread_bytes  # type: ignore[method-assign, assignment]  # of a user's session too
        return await send_request(request)

    def mark_connected(self) -> None:
        """Call ``before_send``; unless it raises, the request may have been sent from here on."""
        if self.before_send is not None:
            try:
                self.before_send()
            except BaseException as refusal:
                self.refusal = refusal
                raise
        if self.reports_connection:
            self.state = SendState.SENT

    def provably_not_sent(self, error: Exception) -> bool:
        """Return True if the request was provably not sent, given the error that ended it."""
        if self.state is SendState.UNKNOWN:
            return _is_not_connected(error)
        return self.state is SendState.CONNECTING


class _UnreadBytesDetector(asyncio.Protocol):
    """A protocol around aiohttp's protocol that records bytes which belong to no response."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._head = self._end = b""
        self._size = 0
        self._is_idle = self.has_unread = self._is_broken = False
        self.content: aiohttp.StreamReader | None = None

    def start_request(self, connection: "Connection") -> None:
        """Record that a request uses the connection until aiohttp releases the connection."""
        self._head, self._end, self._size, self._is_idle = b"", b"", 0, False
        connection.add_callback(self._end_request)

    def _end_request(self) -> None:
        # aiohttp's parser may hold the beginning of another head, and does not report that.
        self._is_idle, self.has_unread = True, self.has_unread or not self._ends_with_response()

    def data_received(self, data: bytes) -> None:
        self.has_unread = self.has_unread or self._is_idle
        self._size += len(data)
        self._end = (self._end + data)[-len(_LAST_CHUNK) :]
        if len(self._head) < MAX_HEAD_BYTES:
            self._head += data
        self._protocol.data_received(data)

    def _ends_with_response(self) -> bool:
        """Return True if the bytes since the request look like exactly one complete response."""
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

    def is_cut(self) -> bool:
        """Return True if the connection broke in a response, which aiohttp takes for the end of the response."""
        return self._is_broken and not self._ends_with_response()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_broken = exc is not None
        self._protocol.connection_lost(exc)
        # After bytes that are no chunk aiohttp closes the connection, and leaves the reader waiting for the timeout.
        if self.content is not None and not self.content.is_eof():
            self.content.set_exception(aiohttp.ClientConnectionError("not a complete response"))

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def _refuse_unread_bytes(connection: "Connection") -> _UnreadBytesDetector:
    """Return the connection's detector; raise if there are unread bytes, which would be read as the next response.

    Raises:
        _UnreadBytes: the connection is reused; another connection may have none.
        ClientConnectionError: the connection is new, or closed.
    """
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ClientConnectionError("the connection was closed before anything was sent")
    detector = transport.get_protocol()
    if isinstance(detector, _UnreadBytesDetector):
        if detector.has_unread or protocol.should_close or _is_readable(transport):
            raise _UnreadBytes
    elif protocol.should_close:
        raise aiohttp.ClientConnectionError("the server sent bytes before the request")
    else:
        detector = _UnreadBytesDetector(protocol)
        transport.set_protocol(detector)
    detector.start_request(connection)
    return detector


def _is_readable(transport: asyncio.Transport) -> bool:
    """Return True if the socket has data, or has ended, and the event loop has not read that yet."""
    with selectors.DefaultSelector() as selector:
        selector.register(transport.get_extra_info("socket"), selectors.EVENT_READ)
        return bool(selector.select(0))


def _is_not_connected(error: Exception) -> bool:
    """Return True for an error after which a handed-in session has provably not sent the request."""
    if isinstance(error, UnicodeError):
        return not isinstance(error, UnicodeDecodeError)  # a host or a header that cannot be encoded
    return isinstance(error, _NOT_CONNECTED)


class AiohttpEngine:
    """An engine over aiohttp, on asyncio.

    Args:
        connections: the largest number of connections of the engine's own session.
        session: a session to use instead; it is never closed here, and its middlewares are not called.
        proxy: URL of the own session's proxy.

    Raises:
        ConfigurationError: the session adds a login, or takes proxies or logins from the environment.
    """

    def __init__(
        self, *, connections: int = 16, session: aiohttp.ClientSession | None = None, proxy: Secret | None = None
    ) -> None:
        if session is not None and (session.trust_env or session.auth is not None):
            # Requests go only to base_url's host, and no password but Paystar's may be sent there.
            raise ConfigurationError(
                "the aiohttp session brings its own logins or proxies", hint="create it without auth= and trust_env="
            )
        self._handed_in, self._connections, self._proxy = session, connections, proxy
        self._own: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def supports_before_send(self) -> bool:
        """Return True for the engine's own session, which reports that there is a connection."""
        return self._handed_in is None

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
        require_asyncio("aiohttp")
        if self._handed_in is not None:
            if before_send is not None:
                refuse_before_send()
            if self._handed_in.closed:
                raise ConfigurationError("the aiohttp session that was handed in is closed", hint="keep it open")
        tracker = _SendTracker(before_send, reports_connection=self._handed_in is None)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return await self._exchange(method, url, headers, body, tracker)
                    except _UnreadBytes:
                        continue  # aiohttp has closed that connection: the loop ends with the last reused connection
        except _ERRORS as error:
            if tracker.refusal is not None:
                raise tracker.refusal from None
            reason = f"no response within {timeout:.3g} s" if type(error) is TimeoutError else _reason(error)
            not_sent = tracker.provably_not_sent(error)
        where = " through the proxy" if self._proxy is not None else ""
        raise NotSent(f"not connected{where}: {reason}") if not_sent else NoResponse(reason)

    async def _exchange(
        self, method: str, url: str, headers: Headers, body: bytes | None, tracker: _SendTracker
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with self._get_session().request(
            method,
            URL(url, encoded=True),
            headers=[*headers, ACCEPT_ENCODING],
            data=body if body is None or len(body) < _MIN_FILE_BYTES else BytesIO(body),
            skip_auto_headers=_SKIPPED_HEADERS,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_SECONDS),
            middlewares=(tracker.send_once,),
            proxy=self._proxy.reveal() if self._proxy is not None else None,
        ) as response:
            if tracker.detector is not None:
                tracker.detector.content = response.content
            received_headers, body = _headers(response), await _read(response)
            is_cut = tracker.detector is not None and tracker.detector.is_cut()
            # aiohttp returns a body still in another transfer encoding.
            if is_cut or received_headers.get("transfer-encoding", "chunked").lower() != "chunked":
                raise aiohttp.ClientConnectionError("not a complete response")
            return response.status, received_headers, body

    def _get_session(self) -> aiohttp.ClientSession:
        if self._handed_in is not None:
            return self._handed_in
        if self._own is None:
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEPALIVE_EXPIRY_SECONDS)
            self._own = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=MAX_HEAD_BYTES,
                max_field_size=MAX_HEAD_BYTES,
            )
        return self._own

    async def aclose(self) -> None:
        """Close the engine's own session, for good; a handed-in session stays open."""
        self._is_closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.close()


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > MAX_RESPONSE_BYTES:
            raise response_too_large(response.status)
    body = bytes(content)
    if "Content-Encoding" not in response.headers:
        return body
    codings = ", ".join(response.headers.getall("Content-Encoding"))
    return decode_content(body, codings, MAX_RESPONSE_BYTES, response.status)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error)  # names the host; other errors quote the URL, or bytes from the server
    return type(error).__name__
