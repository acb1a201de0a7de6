"""The connection pool of one event loop. The concurrency limit is applied before the pool, so no call waits here."""

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

import httpx

from paystar_async.errors import NoResponse, NotSent
from paystar_async.transport.native.connection import HTTP11Connection, open_connection
from paystar_async.transport.native.parser import ProtocolError, RawResponse


class Origin(NamedTuple):
    """A server: scheme, host and port."""

    scheme: str
    host: str
    port: int


class ConnectionPool:
    """A pool of the connections of one event loop.

    Args:
        max_idle: the largest number of idle connections for each origin.

    Attributes:
        connections: all open connections, idle or in use.
    """

    def __init__(self, max_idle: int) -> None:
        self._max_idle = max_idle
        self._idle: defaultdict[Origin, deque[HTTP11Connection]] = defaultdict(deque)
        self.connections: set[HTTP11Connection] = set()
        self._ssl_context: ssl.SSLContext | None = None
        self._is_closed = False

    async def send_request(
        self, origin: Origin, message: bytes, timeout: float, before_send: Callable[[], None] | None
    ) -> RawResponse:
        """Send a request over an idle or a new connection and return its response.

        Args:
            origin: the server.
            message: head and body.
            timeout: seconds, connecting included.
            before_send: called right before the first byte; if it raises, the request is not sent.

        Raises:
            NotSent: no connection could be opened.
            NoResponse: the request may have been sent, and no complete response came.
            InvalidResponse: the response is too large.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + timeout
        connection = self._acquire(origin, now) or await self._connect(origin, deadline)
        try:
            if before_send is not None:
                before_send()
        except BaseException:
            self._release(origin, connection, loop.time())
            raise
        try:
            return await connection.send_request(message, deadline)
        except TimeoutError:
            reason = f"no response within {timeout:.3g} s"
        except (OSError, ProtocolError) as error:
            reason = str(error)
        finally:
            self._release(origin, connection, loop.time())
        raise NoResponse(reason)

    async def aclose(self) -> None:
        """Close all connections for good; requests in flight fail."""
        self._is_closed = True
        connections = list(self.connections)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.wait_closed()

    def abandon(self) -> None:
        """Close all sockets without the event loop, which is closed."""
        self._is_closed = True
        for connection in self.connections:
            connection.abandon()

    def _acquire(self, origin: Origin, now: float) -> HTTP11Connection | None:
        """Return the reusable connection used last, or None."""
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if not connection.has_expired(now) and connection.is_reusable():
                return connection
            self._discard(connection)
        return None

    def _release(self, origin: Origin, connection: HTTP11Connection, now: float) -> None:
        """Return a connection to the pool and close expired and surplus idle ones."""
        connection.last_used_at = now
        idle = self._idle[origin]
        if connection.is_open and not self._is_closed:
            idle.append(connection)
        else:
            self._discard(connection)
        while idle and (len(idle) > self._max_idle or idle[0].has_expired(now)):
            self._discard(idle.popleft())

    def _discard(self, connection: HTTP11Connection) -> None:
        connection.close()
        self.connections.discard(connection)

    async def _connect(self, origin: Origin, deadline: float) -> HTTP11Connection:
        ssl_context = self._get_ssl_context() if origin.scheme == "https" else None
        try:
            async with asyncio.timeout_at(deadline):
                connection = await open_connection(origin.host, origin.port, ssl_context)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error) or "no connection in time"
        else:
            self.connections.add(connection)
            if self._is_closed:
                self._discard(connection)
                raise NotSent("the client was closed before the request was sent")
            return connection
        raise NotSent(f"not connected: {reason}")

    def _get_ssl_context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = httpx.create_ssl_context(trust_env=False)
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context
