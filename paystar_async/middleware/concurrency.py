"""Limit the calls in flight, in front of the connection pool.

httpx leaks a pool slot when a waiting call is cancelled while the server closes connections. With the limit in front of
the pool, no call waits inside it.
"""

from typing import Any

import anyio
from attrs import define, field

from paystar_async.endpoint import Request, Send
from paystar_async.errors import NotSent
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock


@define
class ConcurrencyMiddleware:
    """The middleware that allows ``limit`` calls in flight; others wait in order until their deadline."""

    limit: int
    clock: Clock
    _slots: anyio.Semaphore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._slots = anyio.Semaphore(self.limit, fast_acquire=True)

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Acquire a slot, pass the request on, release the slot."""
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait(request)
        try:
            return await next(request)
        finally:
            self._slots.release()

    async def _wait(self, request: Request[Any]) -> None:
        try:
            with anyio.fail_after(request.time_left(self.clock.monotonic())):
                return await self._slots.acquire()
        except TimeoutError:
            pass
        raise NotSent(
            f"{self.limit} calls were in flight and none ended before the timeout",
            hint="nothing was sent; raise concurrency or timeout, or make fewer calls at once",
        )
