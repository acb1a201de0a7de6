"""One deadline for the whole call: queueing, renewing a key, every attempt and every pause.

No scope is cancelled from here. Each place that waits knows the deadline and says itself what is known when it
passes: a queue that nothing was sent, an engine that the answer is missing.
"""

from typing import Any

from attrs import frozen

from paystar_async.clock import Clock, checked_seconds
from paystar_async.endpoint import Request, Send


@frozen
class Deadline:
    """Turns a call's timeout into the moment it must be over.

    Args:
        clock: what time it is.
        is_first: whether no ring has seen the request, so that it can be changed and need not be copied.
    """

    clock: Clock
    is_first: bool = False

    # Hands on what ``next`` gives: a coroutine of its own would have nothing to wait for.
    def __call__(self, request: Request[Any], next: Send, /) -> Any:  # noqa: A002
        """Set the deadline and pass the request on."""
        timeout = checked_seconds("timeout", request.timeout)
        deadline = self.clock.monotonic() + timeout
        if self.is_first:
            vars(request)["deadline"] = deadline
            return next(request)
        return next(request.with_deadline(deadline))
