"""The default engine: httpx, called below its client, so that nothing follows, retries, logs or pools cookies."""

import contextlib
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import anyio
import httpx

from paystar_async.errors import NotSent, Unanswered
from paystar_async.transport.engine import Headers


class MaskedURL(httpx.URL):
    """A URL whose query holds secrets: shows itself without it, in httpx's own log lines too."""

    def __str__(self) -> str:
        return super().__str__().partition("?")[0]

    def __repr__(self) -> str:
        return f"MaskedURL({str(self)!r})"


class _Stage(Enum):
    UNTOLD = "nothing heard from below: it may have left"
    CONNECTING = "provably not sent"
    LEFT = "may have left"


class _Journey:
    """How far one request has come, heard from httpcore's trace hook."""

    def __init__(self, before_send: Callable[[], None] | None) -> None:
        self.stage = _Stage.UNTOLD
        self._before_send = before_send

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            if self._before_send is not None:
                self._before_send()
            self.stage = _Stage.LEFT
        elif event.startswith("connection.connect_") and self.stage is _Stage.UNTOLD:
            self.stage = _Stage.CONNECTING


class _ClientTransport(httpx.AsyncBaseTransport):
    """A client that the caller handed in: its proxies and hooks stay, its redirects and logins do not."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)


def _stock(connections: int) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30.0)
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits, retries=0)


class HttpxEngine:
    """Carries requests over httpx.

    Args:
        connections: how many connections its own pool holds.
        given: a client or transport to use instead of its own; it is never closed here.
    """

    def __init__(
        self, *, connections: int = 16, given: httpx.AsyncClient | httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._connections, self._given = connections, given
        self._own: httpx.AsyncBaseTransport | None = None

    @property
    def fences(self) -> bool:
        """Only its own transport surely tells when the first byte is due."""
        return self._given is None or type(self._given) is httpx.AsyncHTTPTransport

    def _transport(self) -> httpx.AsyncBaseTransport:
        if isinstance(self._given, httpx.AsyncClient):
            return _ClientTransport(self._given)
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = _stock(self._connections)
        return self._own

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
        journey = _Journey(before_send)
        request = httpx.Request(method, url, headers=list(headers), content=body, extensions={"trace": journey.trace})
        request.url = MaskedURL(request.url)
        try:
            with anyio.fail_after(timeout):
                return await self._exchange(request)
        except TimeoutError:
            reason = f"no answer within {timeout:.3g} s"
            unsent = journey.stage is _Stage.CONNECTING
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as problem:
            reason = _reason(problem)
            unsent = journey.stage is not _Stage.LEFT
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as problem:
            reason = _reason(problem)
            unsent = False
        raise NotSent(f"not connected: {reason}") if unsent else Unanswered(reason)

    async def _exchange(self, request: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
        response = await self._transport().handle_async_request(request)
        async with contextlib.aclosing(response):
            body = await response.aread()
        return response.status_code, dict(response.headers), body

    async def aclose(self) -> None:
        """Close its own pool; what was handed in stays open."""
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()


def _reason(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
