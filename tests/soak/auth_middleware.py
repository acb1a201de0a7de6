"""The cost of the auth middleware on a hot call, and the effect of clock jumps on it, in one process."""

import time
from statistics import median
from typing import Any

import attrs

from paystar_async import Application, ManualClock, Paystar
from paystar_async.credentials import Credentials
from paystar_async.endpoint import Request
from paystar_async.errors import PaystarError
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.middleware.auth import AuthMiddleware
from paystar_async.models.transfers import FindTransfers
from paystar_async.response import Response
from paystar_async.runtime.clock import SystemClock
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.sandbox import Sandbox
from paystar_async.table import BY_REQUEST, REFRESH_ENDPOINTS

DAY = 86_400.0


async def hot_call_cost(calls: int = 50_000, rounds: int = 7) -> float:
    """Return the CPU microseconds that the middleware adds to a call with a fresh key, the median of paired rounds."""
    credentials = Credentials(application=Application(id="a", access_password="p", api_key="k", refresh_token="r"))
    store = MemoryKeyStore()
    middleware = AuthMiddleware(
        credentials, store, SystemClock(), BackgroundTasks(), lambda _: None, refresh_endpoints=REFRESH_ENDPOINTS
    )
    value = FindTransfers(limit=1)
    request = Request(value=value, endpoint=BY_REQUEST[FindTransfers], account="a", timeout=30)
    response: Response[Any] = Response(value=[], status=1, message="", http_status=200, headers={}, body=b"")

    async def respond(_: Request[Any], /) -> Response[Any]:
        return response

    await middleware(request, respond)
    store.load = None  # type: ignore[method-assign,assignment]  # a hot call that reads the store fails here

    async def cpu_seconds(*, with_middleware: bool) -> float:
        started = time.process_time()
        for _ in range(calls):
            await (middleware(request, respond) if with_middleware else respond(request))
        return time.process_time() - started

    return (
        median(
            [await cpu_seconds(with_middleware=True) - await cpu_seconds(with_middleware=False) for _ in range(rounds)]
        )
        / calls
        * 1e6
    )


@attrs.define
class Jump:
    """The calls after a jump of the wall clock.

    Attributes:
        failed: calls that failed.
        refreshes: key refreshes after the jump.
        refused: requests that the server refused because of their key.
    """

    failed: int = 0
    refreshes: int = 0
    refused: int = 0


async def clock_jumps(calls: int = 50) -> list[tuple[str, Jump]]:
    """Set the clock a day forward and back, for a running and a new client; return the results by name."""
    jumps: list[tuple[str, Jump]] = []
    for seconds in (DAY, -DAY):
        for new_client in (False, True):
            condition = "started after" if new_client else "running at"
            name = f"{condition} a jump of {seconds / 3600:+.0f} h"
            jumps.append((name, await _jump(seconds, calls, new_client=new_client)))
    return jumps


async def _jump(seconds: float, calls: int, *, new_client: bool) -> Jump:
    sandbox, clock = Sandbox(clock=ManualClock()), ManualClock()
    sandbox.settings.rotate_refresh_tokens = sandbox.settings.refresh_ends_old_key = True
    store = MemoryKeyStore(clock)

    def make_client() -> Paystar:
        return Paystar(sandbox.application, engine=sandbox.engine(), keys=store, clock=clock, max_retries=0)

    jump = Jump()
    async with make_client() as paystar:
        await paystar.keys.refresh_application_key()
        before = sandbox.stats["refreshes"]["application"]
        requests = sandbox.stats["requests"].get("transfers.find", 0)
        clock.jump(seconds)
        async with make_client() if new_client else paystar as caller:
            for _ in range(calls):
                try:
                    await caller.transfers.find(limit=1)
                except PaystarError:
                    jump.failed += 1
        jump.refreshes = sandbox.stats["refreshes"]["application"] - before
        jump.refused = sandbox.stats["requests"]["transfers.find"] - requests - calls
    return jump
