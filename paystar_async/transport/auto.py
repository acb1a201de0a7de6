"""The default engine: native on asyncio, httpx on trio and while a mock or tracer patches httpx."""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import httpcore
import httpx

from paystar_async.runtime.tasks import asyncio_loop
from paystar_async.transport.engine import Engine, Headers
from paystar_async.transport.httpx import HttpxEngine
from paystar_async.transport.native.engine import NativeEngine


def must_use_httpx() -> bool:
    """Return True if calls must go through httpx: on trio, or while httpx or httpcore is patched.

    Mocks and tracers replace one of four methods: ``AsyncClient.send`` (Sentry), ``AsyncHTTPTransport`` (pytest-httpx,
    OpenTelemetry), ``AsyncConnectionPool`` (respx, vcrpy) or ``AsyncHTTPConnection.handle_async_request``. Without
    this rule a test that mocks httpx would reach the network.
    """
    return asyncio_loop() is None or not (
        _is_original(httpx.AsyncClient.send)
        and _is_original(httpx.AsyncHTTPTransport.handle_async_request)
        and _is_original(httpcore.AsyncConnectionPool.handle_async_request)
        and _is_original(httpcore.AsyncHTTPConnection.handle_async_request)
    )


def _is_original(method: Any) -> bool:
    # A patch may copy the name and module of what it wraps, but not its globals.
    return type(method) is FunctionType and method.__globals__["__name__"].startswith(("httpx.", "httpcore."))


class AutoEngine:
    """An engine that sends through the native engine, or through httpx if ``must_use_httpx()``.

    Args:
        connections: idle connections that each engine keeps.
    """

    supports_before_send = True

    def __init__(self, *, connections: int = 16) -> None:
        self._native = NativeEngine(connections=connections)
        self._httpx = HttpxEngine(connections=connections, through_client=True)

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
        engine: Engine = self._httpx if must_use_httpx() else self._native
        return await engine.send(method, url, headers, body, timeout, before_send)

    async def aclose(self) -> None:
        """Close the connections of both engines, for good."""
        try:
            await self._native.aclose()
        finally:
            await self._httpx.aclose()

    def abandon(self) -> None:
        """Close the sockets of the native connections without the event loop, which is closed."""
        self._native.abandon()
