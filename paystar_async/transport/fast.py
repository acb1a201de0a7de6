"""The fast engine: pyreqwest, an HTTP client in Rust, told to do nothing of its own accord.

Its exception classes cannot be believed: a request that was read and then dropped ends in a ``ConnectError``, and one
that ran out of time after its body had left in a ``ConnectTimeoutError``. Only the causes in an error's details tell
whether there ever was a connection. They are texts of the libraries below it, so its version is capped, here as in the
``fast`` extra, and the conformance tests pin what is read there.

It trusts whom the operating system trusts (or ``SSL_CERT_FILE``); the other engines trust certifi's authorities.

A call that is cancelled is not called back: what was handed to the threads of Rust goes its way until its answer, its
timeout or ``aclose``, and nobody hears of the end.
"""

import asyncio
import atexit
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any, cast

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    DetailedPyreqwestError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.http import HeaderMap, Url
from pyreqwest.request import StreamRequest

from paystar_async.errors import ConfigurationError, NotSent, PaystarError, Unanswered
from paystar_async.transport.answer import LARGEST, too_large
from paystar_async.transport.content_encoding import ACCEPT_ENCODING, decode_content
from paystar_async.transport.engine import Headers
from paystar_async.transport.limits import CONNECT_SECONDS, IDLE_SECONDS, only_on_asyncio, refuse_fence

_Answer = tuple[int, Mapping[str, str], bytes]

READ = "0.15."
"""The versions whose causes were read."""
EXIT_SECONDS = 0.05
"""Seconds a process waits at its exit. A thread of Rust's that still lets go of an answer while the interpreter ends
aborts the process: seen in one run of ten that ended right behind a call, and in none that waited for 20 ms."""
_NEVER_CONNECTED = "client error (Connect)"
"""Stands among the causes if, and only if, there was no connection to send anything over."""


class FastEngine:
    """Carries requests over pyreqwest, on asyncio. It cannot fence, so payouts refuse it.

    Args:
        connections: how many idle connections it keeps.

    Raises:
        ConfigurationError: another version of pyreqwest is installed.
    """

    fences = False

    def __init__(self, *, connections: int = 16) -> None:
        found = version("pyreqwest")
        if not found.startswith(READ):
            raise ConfigurationError(
                f"pyreqwest {found} may tell failures in other words", hint="pip install 'paystar-async[fast]'"
            )
        self._connections = connections
        self._client: Client | None = None
        self._closed = False
        self._latest: tuple[Headers, HeaderMap] = (), HeaderMap([])

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
        if before_send is not None:
            refuse_fence()
        if timeout <= 0:
            raise NotSent("no time was left to send it")
        if self._closed:
            raise NotSent("the client was closed before it was sent")
        task = only_on_asyncio("fast")
        try:
            request = self._request(method, url, headers, body, timeout)
        except (PyreqwestError, ValueError, OverflowError) as problem:
            reason = type(problem).__name__  # its text quotes what it could not read
        else:
            return await cancellable(_exchange(request, timeout), task)
        raise NotSent(f"it cannot be written: {reason}")

    def _request(self, method: str, url: str, headers: Headers, body: bytes | None, timeout: float) -> StreamRequest:
        if self._client is None:
            self._client = _made(self._connections)
        said = tuple(headers)  # the very same, if it is one: a row has one as long as its key is the same
        if said is not self._latest[0]:
            self._latest = said, HeaderMap((*said, ACCEPT_ENCODING))
        # An address with a query holds a password, and differs each time.
        address = url if "?" in url else _address(url)
        request = self._client.request(method, address).headers(self._latest[1]).timeout(timedelta(0, timeout))
        return (request if body is None else request.body_bytes(body)).build_streamed()

    async def aclose(self) -> None:
        """Close its connections, for good."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.close()


async def cancellable(exchange: Coroutine[None, None, _Answer], task: asyncio.Task[Any] | None) -> _Answer:
    """What it brings, unless its caller was cancelled: that is lost below where an end is known in the same moment."""
    before = task.cancelling() if task else 0
    try:
        return await exchange
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


@lru_cache(64)
def _address(url: str) -> Url:
    return Url(url)


@cache
def _wait_at_exit() -> None:
    atexit.register(time.sleep, EXIT_SECONDS)


def _made(connections: int) -> Client:
    _wait_at_exit()
    builder = ClientBuilder().no_proxy().follow_redirects(enable=False).referer(enable=False)
    builder = builder.gzip(enable=False).deflate(enable=False).brotli(enable=False).zstd(enable=False)
    builder = builder.default_cookie_store(enable=False)
    builder = builder.connect_timeout(timedelta(seconds=CONNECT_SECONDS))
    builder = builder.pool_max_idle_per_host(connections).pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
    try:
        return builder.build()
    except PyreqwestError:
        pass
    raise ConfigurationError(
        "the fast engine finds no certificate authorities on this host",
        hint="install the system's ca-certificates, or name a file in SSL_CERT_FILE",
    )


async def _exchange(request: StreamRequest, timeout: float) -> _Answer:
    is_over = False
    try:
        # Not "async with": an answer read to its end has nothing to let go of, and each step hands the GIL to Rust.
        response = await request.__aenter__()
        try:
            # One byte more than there may be: what is larger is never whole in memory.
            body = await response.body_reader.read(LARGEST + 1)
            whole = b"" if body is None else body.to_bytes()
            is_over = len(whole) <= LARGEST
        finally:
            if not is_over:
                await request.__aexit__(None, None, None)
    except PyreqwestError as problem:
        failure = verdict(problem, timeout)
    else:
        if is_over:
            headers = _headers(response.headers)
            if "content-encoding" in headers:
                whole = decode_content(whole, headers["content-encoding"], LARGEST, response.status)
            return response.status, headers, whole
        failure = too_large(response.status)
    raise failure


def verdict(problem: PyreqwestError, timeout: float) -> PaystarError:
    """What is known after an error, read from its causes."""
    causes = problem.details["causes"] or [] if isinstance(problem, DetailedPyreqwestError) else []
    texts = [one["message"] for one in causes]
    # The first one names the URL, and with it the query.
    reason = ": ".join(texts[1:]) or type(problem).__name__
    if isinstance(problem, BuilderError) or _NEVER_CONNECTED in texts:
        return NotSent(f"not connected: {reason}")
    if isinstance(problem, RequestTimeoutError):
        return Unanswered(f"no answer within {timeout:.3g} s")
    if isinstance(problem, ClientClosedError):
        return Unanswered("the client was closed while it waited for the answer")
    return Unanswered(reason)


def _headers(found: HeaderMap) -> dict[str, str]:
    """By name in lower case, the values of a repeated one behind each other; one that is no text is left out."""
    texts: dict[str, str] = {}
    try:
        given = found.dict_multi_value()
        if list not in map(type, given.values()):
            return cast("dict[str, str]", given)
        return {name: _joined(value) for name, value in given.items()}
    except ValueError:
        pass
    for name in found:
        with suppress(ValueError):
            texts[name] = _joined(found.getall(name))
    return texts


def _joined(values: str | list[str]) -> str:
    return values if isinstance(values, str) else ", ".join(values)
