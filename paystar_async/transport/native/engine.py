"""The native engine: write requests, send them over the pool, decode the content encoding."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import httpx

from paystar_async.errors import NotSent
from paystar_async.transport.content_encoding import ACCEPT_ENCODING, decode_content
from paystar_async.transport.engine import MAX_RESPONSE_BYTES, Headers, require_asyncio
from paystar_async.transport.native.pool import ConnectionPool, Origin

MAX_HEADS = 64
"""Request heads that an engine caches: one for each endpoint and key in use."""

_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+: [\t -~]*")
_QUERY = re.compile(r"[!\"$-~]*")


class NativeEngine:
    """An engine over its own asyncio connections, which knows whether a byte was sent.

    Args:
        connections: idle connections that the pool keeps.
    """

    supports_before_send = True

    def __init__(self, *, connections: int = 16) -> None:
        self._pool = ConnectionPool(connections)
        # A cache for each engine, because heads hold keys.
        self._write_head = lru_cache(MAX_HEADS)(_write_head)
        self._is_closed = False

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
        require_asyncio("native")
        if timeout <= 0:
            raise NotSent("no time was left to send the request")
        if self._is_closed:
            raise NotSent("the client was closed before the request was sent")
        address, mark, query = url.partition("?")
        if mark and not _QUERY.fullmatch(query):
            raise NotSent("the URL cannot be written")
        origin, path, lines = self._write_head(address, tuple(headers))
        length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
        start = f"{method} {path}{mark}{query} HTTP/1.1\r\n".encode("ascii")
        message = b"".join((start, lines, length, b"\r\n", body or b""))
        response = await self._pool.send_request(origin, message, timeout, before_send)
        content = response.body
        if "content-encoding" in response.headers:
            encoding = response.headers["content-encoding"]
            content = decode_content(content, encoding, MAX_RESPONSE_BYTES, response.status)
        return response.status, response.headers, content

    async def aclose(self) -> None:
        """Close the pool's connections, for good."""
        self._is_closed = True
        await self._pool.aclose()

    def abandon(self) -> None:
        """Close the pool's sockets without the event loop, which is closed."""
        self._is_closed = True
        self._pool.abandon()


def _write_head(address: str, headers: tuple[tuple[str, str], ...]) -> tuple[Origin, str, bytes]:
    """Return the origin, path and header lines of a request; raise NotSent if a header cannot be written.

    Args:
        address: the URL without its query.
        headers: names and values.
    """
    lines = [f"{name}: {value}" for name, value in (*headers, ACCEPT_ENCODING)]
    # A line break in a value would be a second header, or a second request.
    if not all(map(_HEADER.fullmatch, lines)):
        raise NotSent("a header cannot be written")
    origin, path, host = _split_url(address)
    return origin, path, "".join(f"{line}\r\n" for line in (f"Host: {host}", *lines)).encode("ascii")


@lru_cache(64)
def _split_url(address: str) -> tuple[Origin, str, str]:
    """Return the origin, path and Host header of a URL without its query; raise NotSent for an invalid URL."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        raise NotSent("the URL is not valid") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise NotSent("the URL is not valid")
    port = url.port or (443 if url.scheme == "https" else 80)
    path, host, name = (part.decode("ascii") for part in (url.raw_path, url.raw_host, url.netloc))
    return Origin(url.scheme, host, port), path, name
