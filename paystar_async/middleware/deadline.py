"""The deadline of a call, which includes queueing, key refreshes, all attempts and the pauses between them.

This middleware cancels nothing. Each layer that waits reads the deadline and raises the error that fits: the queue
NotSent, the engine NoResponse.
"""

from typing import Any

from attrs import frozen

from paystar_async.endpoint import Request, Send
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock
from paystar_async.values.numbers import require_seconds


@frozen
class DeadlineMiddleware:
    """The middleware that turns the timeout of a call into its deadline.

    Args:
        clock: the client's clock.
    """

    clock: Clock

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Set the deadline and pass the request on."""
        timeout = require_seconds("timeout", request.timeout)
        return await next(request.replace(deadline=self.clock.monotonic() + timeout))
