"""So many calls in flight, and no more – in front of the connection pool.

httpx loses a pool slot for ever when a call that waits for one is cancelled while the server closes connections.
With the queue in front, no call ever waits inside a pool; the default engine's own way has none at all.
"""

from collections import deque
from typing import Any

import anyio
from attrs import define, field

from paystar_async.clock import Clock
from paystar_async.endpoint import Request, Response, Send
from paystar_async.errors import NotSent


@define
class Limit:
    """Lets ``most`` calls through at once; the rest wait in turn, until their deadline."""

    most: int
    clock: Clock
    # A count and a queue: a semaphore's checks of its loop cost more than the rest of the rings together.
    _free: int = field(init=False)
    _queue: deque[anyio.Event] = field(factory=deque[anyio.Event], init=False)

    def __attrs_post_init__(self) -> None:
        self._free = self.most

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Wait for a slot, pass the request on, free the slot."""
        if self._free:  # then nobody waits: a slot that gets free is handed on
            self._free -= 1
        else:
            await self._wait(request)
        try:
            return await next(request)
        finally:
            self._hand_on()

    async def _wait(self, request: Request[Any]) -> None:
        turn = anyio.Event()
        self._queue.append(turn)
        try:
            with anyio.fail_after(request.left(self.clock.monotonic())):
                return await turn.wait()
        except TimeoutError:
            self._leave(turn)
        except BaseException:
            self._leave(turn)
            raise
        raise NotSent(
            f"{self.most} calls were in flight and none ended in time",
            hint="nothing happened; raise concurrency or timeout, or call less at once",
        )

    def _leave(self, turn: anyio.Event) -> None:
        if turn.is_set():
            self._hand_on()  # the slot came just when the caller was called off
        else:
            self._queue.remove(turn)

    def _hand_on(self) -> None:
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1
