"""A user middleware that means well."""

from typing import Any

from paystar_async.endpoint import Request, Response, Safety, Send
from paystar_async.errors import PaystarError
from tests.payouts.simulator.world import Host


class FaultyMiddleware:
    """Repeats what failed, and raises after what went well.

    Args:
        host: the process it is a part of.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Pass a request on, once or twice."""
        world = self._host.world
        try:
            response = await next(request)
        except PaystarError:
            if request.endpoint.safety is Safety.READ or not world.chance(world.fault_rates.middleware_fault):
                raise
            world.note(f"{self._host.name} repeats a call that failed")
            return await next(request)
        if world.chance(world.fault_rates.middleware_fault / 4):
            world.note(f"{self._host.name} stumbles after a call")
            raise RuntimeError("a user middleware has a mistake")
        return response
