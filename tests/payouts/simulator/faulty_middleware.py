"""A user middleware with bugs."""

from typing import Any

from paystar_async.endpoint import Request, Safety, Send
from paystar_async.errors import PaystarError
from paystar_async.response import Response
from tests.payouts.simulator.world import Host


class FaultyMiddleware:
    """A user middleware that sometimes repeats a failed call, or raises after a successful call.

    Args:
        host: the process that runs the middleware.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Send a request once or twice."""
        world = self._host.world
        try:
            response = await next(request)
        except PaystarError:
            if request.endpoint.safety is Safety.READ or not world.chance(world.fault_rates.middleware_fault):
                raise
            world.note(f"{self._host.name} repeats a call that failed")
            return await next(request)
        if world.chance(world.fault_rates.middleware_fault / 4):
            world.note(f"{self._host.name} raises after a call")
            raise RuntimeError("a bug in a user middleware")
        return response
