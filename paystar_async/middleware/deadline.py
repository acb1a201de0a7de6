"""One deadline for the whole call: queueing, refreshing a key, every attempt and every pause.

No scope is cancelled from here. Each place that waits knows the deadline and raises what is known when it passes: the
queue that nothing was sent, the engine that the response is missing.
"""

from typing import Any

from attrs import frozen

from paystar_async.endpoint import Request, Response, Send
from paystar_async.runtime.clock import Clock
from paystar_async.values.numbers import checked_seconds


@frozen
class DeadlineMiddleware:
    """Turns a call's timeout into the moment it must be over.

    Args:
        clock: the client's clock.
    """

    clock: Clock

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Set the deadline and pass the request on."""
        timeout = checked_seconds("timeout", request.timeout)
        return await next(request.replace(deadline=self.clock.monotonic() + timeout))
