"""One HTTP/1.1 connection on asyncio."""

import asyncio
import ipaddress
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiohappyeyeballs

from paystar_async.transport.engine import KEEPALIVE_EXPIRY_SECONDS
from paystar_async.transport.native.parser import RawResponse, ResponseParser

WRITE_BYTES = 256 << 10
"""Bytes handed to the transport at once; then its buffer has to drain."""
HAPPY_EYEBALLS_SECONDS = 0.25
"""Seconds after which the next address is tried in parallel (RFC 8305)."""


async def open_connection(host: str, port: int, ssl_context: ssl.SSLContext | None) -> "HTTP11Connection":
    """Return a new connection.

    Args:
        host: a name or an address.
        port: TCP port.
        ssl_context: for https; None for http.

    Raises:
        OSError: no address of the host could be reached, or the TLS handshake failed.
        ValueError: the host cannot be looked up as written.
    """
    loop = asyncio.get_running_loop()
    addresses: list[Any] = _parse_address(host, port) or await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # The socket is created here and not by the loop, because ``abandon`` must close it after the loop is closed. The
    # loop's own happy eyeballs lose a socket when they are cancelled, and uvloop has none.
    happy_eyeballs: Any = aiohappyeyeballs  # partly untyped
    sock: socket.socket = await happy_eyeballs.start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS)
    name = host if ssl_context is not None else None
    _, connection = await loop.create_connection(
        lambda: HTTP11Connection(loop, sock), sock=sock, ssl=ssl_context, server_hostname=name
    )
    return connection


def _parse_address(host: str, port: int) -> list[Any]:
    """Return an IP address as ``getaddrinfo`` would, which takes a thread; an empty list for a name."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return []
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]


class HTTP11Connection(asyncio.Protocol):
    """An open HTTP/1.1 connection that carries one request at a time.

    Args:
        loop: the event loop of the connection.
        sock: the connected socket.

    Attributes:
        last_used_at: when the connection became idle, on the loop's clock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop, self._sock = loop, sock
        self._has_unread_data = _make_read_check(sock.fileno())
        self._closed = loop.create_future()
        self._is_closed = self._is_paused = False
        self._parser = ResponseParser()
        self._response: asyncio.Future[RawResponse] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self.last_used_at = 0.0

    async def send_request(self, message: bytes, deadline: float) -> RawResponse:
        """Send a request and return its response.

        Args:
            message: head and body.
            deadline: when the response must be complete, on the loop's clock.

        Raises:
            TimeoutError: the deadline passed.
            OSError: the connection broke.
            ProtocolError: the server did not send an HTTP/1.1 response.
            InvalidResponse: the response is too large.
        """
        future: asyncio.Future[RawResponse] = self._loop.create_future()
        self._response = future
        self._set_deadline(deadline)
        try:
            is_written = await self._write(message, future)
            response = await future
        except BaseException:
            future.cancel()
            self.close()
            raise
        finally:
            self._response = None
            self._parser.reset()  # an idle connection must hold no body in memory
        if not response.keep_alive or not is_written or self._transport.get_write_buffer_size():
            self.close()  # unread or unwritten bytes would be taken for the next response or request
        return response

    def _set_deadline(self, deadline: float) -> None:
        """Fail the request in flight at its deadline.

        An earlier request's timer is reused if it fires before the deadline: setting and cancelling a timer for each
        request would cost more than writing the request.
        """
        self._deadline = deadline
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._response is None:
            return
        if self._loop.time() < self._deadline:
            self._set_deadline(self._deadline)
        else:
            self._fail(TimeoutError())

    async def _write(self, message: bytes, response: asyncio.Future[RawResponse]) -> bool:
        """Write a message as fast as the peer reads; return False if the response or a failure came before its end."""
        if len(message) <= WRITE_BYTES:
            self._transport.write(message)
            return True
        response.add_done_callback(lambda _: self._wake_writer())
        for start in range(0, len(message), WRITE_BYTES):
            if response.done() or self._transport.is_closing():
                return False
            self._transport.write(message[start : start + WRITE_BYTES])
            if self._is_paused and not response.done():
                self._drained = self._loop.create_future()
                await self._drained
        return True

    @property
    def is_open(self) -> bool:
        """Return True until either side has closed the connection."""
        return not self._is_closed

    def is_reusable(self) -> bool:
        """Return True if the connection is open and has no unread data."""
        return not self._is_closed and not self._has_unread_data()

    def has_expired(self, now: float) -> bool:
        """Return True if the connection has been idle for too long at ``now``, on the loop's clock."""
        return self.last_used_at <= now - KEEPALIVE_EXPIRY_SECONDS

    def close(self) -> None:
        """Abort the connection; a request in flight fails."""
        self._is_closed = True
        self._transport.abort()
        self._fail(ConnectionAbortedError("the connection was closed"))

    def abandon(self) -> None:
        """Close the socket without the event loop, which is closed."""
        self._is_closed = True
        self._sock.close()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Feed the parser, or close the connection if no response is due."""
        if self._response is None or self._response.done():
            self.close()  # unread bytes would be taken for the next response
            return
        try:
            response = self._parser.feed(data)
        except Exception as error:
            self._fail(error)
        else:
            if response is not None:
                self._response.set_result(response)

    def eof_received(self) -> None:
        """End the response, which may be delimited by the end of the connection."""
        self._is_closed = True
        if self._response is not None and not self._response.done():
            try:
                self._response.set_result(self._parser.end())
            except Exception as error:
                self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request in flight."""
        self._is_closed = True
        self._fail(exc or ConnectionResetError("the connection ended"))
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Stop writing until the buffer drains."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Continue writing."""
        self._is_paused = False
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)


def _make_read_check(fileno: int) -> Callable[[], bool]:
    """Return a check whether a socket has data or has ended, which the event loop may not have read yet."""
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([fileno], [], [], 0)[0])
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return lambda: bool(poll.poll(0))
