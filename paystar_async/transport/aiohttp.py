"""The aiohttp engine, for services that run aiohttp anyway: over a session of its own, or over theirs.

aiohttp repeats a request by itself when a kept connection breaks and the method may be repeated; here every attempt but
the first is refused, so that a request leaves once. Its own session knows when a connection is there and asks
``before_send`` at that moment; what is written then is written within a turn of the loop. A session that is handed in
has a connector of the caller's, which does not say so: it cannot fence, and what ran out of time may have left.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
from attrs import define
from yarl import URL

from paystar_async.errors import ConfigurationError, NotSent, Unanswered
from paystar_async.transport.answer import LARGEST, too_large
from paystar_async.transport.content_encoding import ACCEPT_ENCODING, decode_content
from paystar_async.transport.engine import Headers
from paystar_async.transport.limits import CONNECT_SECONDS, IDLE_SECONDS, only_on_asyncio, refuse_fence

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_UNASKED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_COPIED = 1 << 20
"""Bytes from which on aiohttp wants a body as a file."""
_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
_FOREIGN = (aiohttp.ClientError, OSError, ValueError, RuntimeError)


@define
class _Attempt:
    """How far one call has come.

    Attributes:
        before_send: whom to ask for leave.
        tells: whether the connector says when there is a connection; else it may have left from the start.
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
        return await go_on(request)

    def leave(self) -> None:
        """There is a connection: with leave, it may have left from here on."""
        if self.before_send is not None:
            try:
                self.before_send()
            except BaseException as refusal:
                self.refusal = refusal
                raise
        self.left = True

    def never_left(self, problem: Exception) -> bool:
        """Whether the request provably never left, given how it ended."""
        return not self.left or (not self.tells and _never_connected(problem))


def _never_connected(problem: Exception) -> bool:
    if isinstance(problem, UnicodeError):
        return not isinstance(problem, UnicodeDecodeError)  # a host or a header that cannot be written
    return isinstance(problem, _NEVER_CONNECTED)


_attempt: ContextVar[_Attempt] = ContextVar("paystar_async attempt")


class _Connector(aiohttp.TCPConnector):
    """Says when there is a connection, to the call it is for."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> "Connection":
        connection = await super().connect(req, traces, timeout)
        try:
            _attempt.get().leave()
        except BaseException:
            connection.close()
            raise
        return connection


class AiohttpEngine:
    """Carries requests over aiohttp, on asyncio.

    Args:
        connections: how many connections its own session holds.
        given: a session to use instead; it is never closed here, and its middlewares are not asked.

    Raises:
        ConfigurationError: the session would sign in by itself, or go where the environment says.
    """

    def __init__(self, *, connections: int = 16, given: aiohttp.ClientSession | None = None) -> None:
        if given is not None and (given.trust_env or given.auth is not None):
            # Only base_url's host is contacted, and no password goes there but Paystar's.
            raise ConfigurationError(
                "the aiohttp session brings logins or proxies of its own", hint="make it without auth= and trust_env="
            )
        self._given, self._connections = given, connections
        self._own: aiohttp.ClientSession | None = None
        self._closed = False

    @property
    def fences(self) -> bool:
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
        only_on_asyncio("aiohttp")
        if self._given is not None:
            if before_send is not None:
                refuse_fence()
            if self._given.closed:
                raise ConfigurationError("the aiohttp session that was handed in is closed", hint="keep it open")
        attempt = _Attempt(before_send, tells=self._given is None)
        _attempt.set(attempt)
        try:
            async with asyncio.timeout(timeout):
                return await self._carried(method, url, headers, body, attempt)
        except _FOREIGN as problem:
            if attempt.refusal is not None:
                raise attempt.refusal from None
            reason = f"no answer within {timeout:.3g} s" if type(problem) is TimeoutError else _reason(problem)
            unsent = attempt.never_left(problem)
        raise NotSent(f"not connected: {reason}") if unsent else Unanswered(reason)

    async def _carried(
        self, method: str, url: str, headers: Headers, body: bytes | None, attempt: _Attempt
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
        ) as response:
            return response.status, _headers(response), await _read(response)

    def _session(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        if self._own is None:
            connector = _Connector(limit=self._connections, keepalive_timeout=IDLE_SECONDS)
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
        if size > LARGEST:
            raise too_large(response.status)
    body = b"".join(parts)
    if "Content-Encoding" not in response.headers:
        return body
    codings = ", ".join(response.headers.getall("Content-Encoding"))
    return decode_content(body, codings, LARGEST, response.status)


def _reason(problem: Exception) -> str:
    if isinstance(problem, aiohttp.ClientConnectorError):
        return str(problem)  # names the host; others quote the URL, or what the server sent
    return type(problem).__name__
