"""One connection on asyncio: a request at a time goes out, its answer comes back."""

import asyncio
import contextlib
import functools
import ipaddress
import itertools
import select
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from paystar_async.transport.answer import Answer, Reading

PIECE = 256 << 10
"""Bytes handed to the socket at once; then it is waited for."""
STAGGER = 0.25
"""Seconds that one address of several is given before the next is tried beside it."""


async def connect(host: str, port: int, context: ssl.SSLContext | None) -> "Line":
    """A new connection; raises OSError, or ValueError for a name that is none."""
    loop = asyncio.get_running_loop()

    async def dial(address: str) -> Line:
        name = host if context is not None else None
        # A socket of our own making: it can be closed when its loop is, and a transport's cannot.
        own = await _connected(loop, address, port)
        _, line = await loop.create_connection(lambda: Line(loop, own), sock=own, ssl=context, server_hostname=name)
        return line

    addresses = await addresses_of(host, port)
    if len(addresses) == 1:
        return await dial(addresses[0])
    return await first_of([functools.partial(dial, address) for address in addresses])


async def _connected(loop: asyncio.AbstractEventLoop, address: str, port: int) -> socket.socket:
    own = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        own.settimeout(0)
        await loop.sock_connect(own, (address, port))
    except BaseException:
        own.close()
        raise
    return own


async def addresses_of(host: str, port: int) -> list[str]:
    """The host's addresses, the families in turn: one that leads nowhere must not stand before all of the other."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    loop = asyncio.get_running_loop()
    families: dict[int, list[str]] = {}
    for family, _, _, _, place in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        families.setdefault(family, []).append(str(place[0]))
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*families.values()))
    return [one for one in dict.fromkeys(in_turn) if one is not None]


async def first_of(tries: list[Callable[[], Coroutine[Any, Any, "Line"]]]) -> "Line":
    """The first that comes about; each starts when the one before has failed or has not come about for a while."""
    tasks: list[asyncio.Task[Line]] = []
    won: asyncio.Task[Line] | None = None
    # asyncio's own race is not used: it loses a socket when it is cancelled, and uvloop has none.
    try:
        while won is None:
            if len(tasks) < len(tries):
                tasks.append(asyncio.create_task(tries[len(tasks)]()))
            under_way = [task for task in tasks if not task.done()]
            if not under_way:
                tasks[-1].result()
            patience = STAGGER if len(tasks) < len(tries) else None
            await asyncio.wait(under_way, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            won = next((task for task in tasks if task.done() and task.exception() is None), None)
        return won.result()
    finally:
        for task in tasks:
            if task is not won:
                task.cancel()
                task.add_done_callback(_let_go)


def _let_go(task: "asyncio.Task[Line]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().hang_up()


class Line(asyncio.Protocol):
    """A connection, once it is made.

    Args:
        loop: the event loop it belongs to.
        own: its socket.

    Attributes:
        idle_since: when it was laid by, on the loop's clock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, own: socket.socket) -> None:
        self._loop, self._own = loop, own
        self._gone = loop.create_future()
        self._is_over = self._is_full = False
        self._reading: Reading | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._room: asyncio.Future[None] | None = None
        self.idle_since = 0.0

    async def exchange(self, method: str, message: bytes, until: float) -> Answer:
        """Send a request and wait for its answer.

        Args:
            method: its method.
            message: all of its bytes.
            until: when it must be over, on the loop's clock.

        Raises:
            TimeoutError: the time is up.
            OSError: the connection broke.
            ValueError: what came is no answer.
        """
        self._reading = Reading(method)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._answer = answer
        alarm = self._loop.call_at(until, self._fail, TimeoutError())
        try:
            sent = await self._say(message, answer)
            came = await answer
        except BaseException:
            answer.cancel()
            self.hang_up()
            raise
        finally:
            alarm.cancel()
            self._reading = self._answer = None
        if came.is_last or not sent or self._transport.get_write_buffer_size():
            self.hang_up()  # the rest of this request, or of this answer, would stand before the next one's
        return came

    async def _say(self, message: bytes, answer: asyncio.Future[Answer]) -> bool:
        """Write it, no faster than it leaves; whether all of it was written before the answer came."""
        if len(message) <= PIECE:
            self._transport.write(message)
            return True
        answer.add_done_callback(lambda _: self._wake())
        for start in range(0, len(message), PIECE):
            if answer.done():
                return False
            self._transport.write(message[start : start + PIECE])
            if self._is_full and not answer.done():
                self._room = self._loop.create_future()
                await self._room
        return True

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended it."""
        return not self._is_over

    def is_fit(self) -> bool:
        """Whether a request may go out: it is open, and nothing is there to be read – an end, or what nobody asked."""
        return not self._is_over and not _is_readable(self._socket)

    def hang_up(self) -> None:
        """Cut it off; what waits for an answer is told."""
        self._is_over = True
        self._transport.abort()
        self._fail(ConnectionAbortedError("the connection was closed"))

    def abandon(self) -> None:
        """Close the socket without the event loop, which is closed."""
        self._is_over = True
        self._own.close()

    async def gone(self) -> None:
        """Come back when the socket is closed."""
        await self._gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        self._transport: Any = transport
        self._socket = self._own.fileno()

    def data_received(self, data: bytes) -> None:
        """Read on in the answer."""
        if self._reading is None or self._answer is None or self._answer.done():
            self.hang_up()  # bytes nobody asked for would be read as the next answer
            return
        try:
            answer = self._reading.feed(data)
        except Exception as problem:
            self._fail(problem)
        else:
            if answer is not None:
                self._answer.set_result(answer)

    def eof_received(self) -> None:
        """The other side says no more, which may be how its answer ends."""
        self._is_over = True
        if self._reading is not None and self._answer is not None and not self._answer.done():
            try:
                self._answer.set_result(self._reading.end())
            except Exception as problem:
                self._fail(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._is_over = True
        self._fail(exc or ConnectionResetError("the connection ended"))
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """The other side takes no more for now."""
        self._is_full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._is_full = False
        self._wake()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _fail(self, problem: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem)


def _is_readable(socket: int) -> bool:
    """Whether there is something to read, or an end; a place in the queue behind the loop may hide both."""
    if not hasattr(select, "poll"):
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
