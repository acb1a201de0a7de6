"""The default engine's own way on asyncio: idle connections in a plain stack, since the limiter stands in front.

There are no slots to lose, to hand on or to wait for: a call takes the connection that was used last, or opens one.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable
from functools import lru_cache

import httpx
from attrs import frozen

from paystar_async.errors import NotSent, Unanswered
from paystar_async.transport.answer import Answer, Garbled
from paystar_async.transport.content_encoding import ACCEPT_ENCODING
from paystar_async.transport.engine import Headers
from paystar_async.transport.line import Line, connect

IDLE_SECONDS = 30.0
"""How long a connection is kept for the next call; servers close theirs after a minute or so."""
_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+: [\t -~]*")
_QUERY = re.compile(r"[!\"$-~]*")
_KEPT = 64
"""Sets of headers whose bytes are kept: a row and a key make one."""


@frozen
class Place:
    """Where a request goes.

    Attributes:
        host: a name or an address.
        port: of TCP.
        is_tls: whether it is https.
        path: as it is sent.
        name: what ``Host`` says.
    """

    host: str
    port: int
    is_tls: bool
    path: str
    name: str


class Lines:
    """The connections of one event loop.

    Args:
        most: how many are kept while nobody uses them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[tuple[str, int, bool], deque[Line]] = {}
        self._all: set[Line] = set()
        self._heads: dict[Headers, str] = {}
        self._context: ssl.SSLContext | None = None
        self._is_closed = False

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None,
    ) -> Answer:
        """Send a request and wait for its answer; see ``Engine.send``.

        Raises:
            NotSent: no connection could be had.
            Unanswered: it may have left, and no whole answer came.
            BadAnswer: an answer of a size none has.
        """
        until = asyncio.get_running_loop().time() + timeout
        place, message = self._written(method, url, headers, body)
        line = self._take(place) or await self._connected(place, until)
        try:
            if before_send is not None:
                before_send()
        except BaseException:
            self._lay_by(place, line)  # nothing went over it
            raise
        try:
            return await line.exchange(method, message, until)
        except TimeoutError:
            reason = f"no answer within {timeout:.3g} s"
        except (OSError, Garbled) as problem:
            reason = str(problem)
        finally:
            self._lay_by(place, line)
        raise Unanswered(reason)

    async def aclose(self) -> None:
        """Cut all of them off, for good; whoever waits for an answer is told."""
        self._is_closed = True
        lines = list(self._all)
        for line in lines:
            line.hang_up()
        for line in lines:
            await line.gone()

    def abandon(self) -> None:
        """Close the sockets of all of them without the event loop, which is closed."""
        self._is_closed = True
        for line in self._all:
            line.abandon()

    def _take(self, place: Place) -> Line | None:
        """The connection that was used last and can be used again."""
        idle = self._idle.get((place.host, place.port, place.is_tls))
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        while idle:
            line = idle.pop()
            if line.idle_since > oldest and line.is_fit():
                return line
            self._drop(line)
        return None

    def _lay_by(self, place: Place, line: Line) -> None:
        """Keep it for the next call, if it is good for one, and let go of what nobody has used for long."""
        now = line.idle_since = asyncio.get_running_loop().time()
        idle = self._idle.setdefault((place.host, place.port, place.is_tls), deque())
        if line.is_open and not self._is_closed:
            idle.append(line)
        else:
            self._drop(line)
        while idle and (len(idle) > self._most or idle[0].idle_since < now - IDLE_SECONDS):
            self._drop(idle.popleft())

    def _drop(self, line: Line) -> None:
        line.hang_up()
        self._all.discard(line)

    async def _connected(self, place: Place, until: float) -> Line:
        context = self._trust() if place.is_tls else None
        try:
            async with asyncio.timeout_at(until):
                line = await connect(place.host, place.port, context)
        except (OSError, ValueError) as problem:
            reason = str(problem) or "no connection in time"
        else:
            self._all.add(line)
            if self._is_closed:
                self._drop(line)
                raise NotSent("the client was closed before it was sent")
            return line
        raise NotSent(f"not connected: {reason}")

    def _written(self, method: str, url: str, headers: Headers, body: bytes | None) -> tuple[Place, bytes]:
        """Where a request goes, and its bytes; raises NotSent for what cannot be written."""
        address, mark, query = url.partition("?")
        if not _QUERY.fullmatch(query):
            raise NotSent("the address cannot be written")
        place = _place(address)
        lines = self._heads.get(headers)
        if lines is None:
            if len(self._heads) >= _KEPT:
                self._heads.clear()
            lines = self._heads[headers] = _lines_of(headers)
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {place.path}{mark}{query} HTTP/1.1\r\nHost: {place.name}\r\n{lines}{length}\r\n"
        return place, head.encode("ascii") + (body or b"")

    def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = httpx.create_ssl_context(trust_env=False)
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


@lru_cache(64)
def _place(address: str) -> Place:
    """Where an address without its query leads; raises NotSent for one that leads nowhere."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        raise NotSent("the address is none") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise NotSent("the address is none")
    is_tls = url.scheme == "https"
    path, host, name = (part.decode("ascii") for part in (url.raw_path, url.raw_host, url.netloc))
    return Place(host, url.port or (443 if is_tls else 80), is_tls, path, name)


def _lines_of(headers: Headers) -> str:
    lines = [f"{name}: {value}" for name, value in (*headers, ACCEPT_ENCODING)]
    # A line break in a value would be a second header, or a second request.
    if not all(map(_HEADER.fullmatch, lines)):
        raise NotSent("a header cannot be written")
    return "".join(f"{line}\r\n" for line in lines)
