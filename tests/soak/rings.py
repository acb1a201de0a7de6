"""The cost of the auth middleware on a hot call, and the effect of clock jumps on it, in one process."""

import time
from statistics import median
from typing import Any

import attrs

from paystar_async import Application, ManualClock, Paystar
from paystar_async.credentials import Credentials
from paystar_async.endpoint import Request, Response
from paystar_async.errors import PaystarError
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.middleware.auth import AuthMiddleware
from paystar_async.models.transfers import FindTransfers
from paystar_async.runtime.clock import SystemClock
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.sandbox import Sandbox
from paystar_async.table import BY_REQUEST, REFRESH_ENDPOINTS

DAY = 86_400.0


async def ring_cost(calls: int = 50_000, rounds: int = 7) -> float:
    """Return the CPU microseconds that the middleware adds to a call with a fresh key, the median of paired rounds."""
    accounts = Credentials(application=Application(id="a", access_password="p", api_key="k", refresh_token="r"))
    store = MemoryKeyStore()
    ring = AuthMiddleware(
        accounts, store, SystemClock(), BackgroundTasks(), lambda _: None, refresh_endpoints=REFRESH_ENDPOINTS
    )
    value = FindTransfers(limit=1)
    request = Request(value=value, endpoint=BY_REQUEST[FindTransfers], account="a", timeout=30)
    answer: Response[Any] = Response(value=[], status=1, message="", http_status=200, headers={}, body=b"")

    async def null(_: Request[Any], /) -> Response[Any]:
        return answer

    await ring(request, null)
    store.load = None  # type: ignore[method-assign,assignment]  # a hot call that asks the store fails here

    async def spent(*, through: bool) -> float:
        started = time.process_time()
        for _ in range(calls):
            await (ring(request, null) if through else null(request))
        return time.process_time() - started

    return median([await spent(through=True) - await spent(through=False) for _ in range(rounds)]) / calls * 1e6


@attrs.define
class Jump:
    """What a jump of the wall clock led to.

    Attributes:
        failed: calls that failed.
        renewals: key refreshes after the jump.
        refused: requests that were refused for their key.
    """

    failed: int = 0
    renewals: int = 0
    refused: int = 0


async def clock_jumps(calls: int = 50) -> list[tuple[str, Jump]]:
    """Set the client's clock a day forward or back, in a running client and before one is started."""
    told: list[tuple[str, Jump]] = []
    for seconds in (DAY, -DAY):
        for started_after in (False, True):
            when = "started after" if started_after else "running at"
            told.append((f"{when} a jump of {seconds / 3600:+.0f} h", await _jump(seconds, calls, anew=started_after)))
    return told


async def _jump(seconds: float, calls: int, *, anew: bool) -> Jump:
    sandbox, clock = Sandbox(clock=ManualClock()), ManualClock()
    sandbox.settings.rotate_refresh_tokens = sandbox.settings.refresh_ends_old_key = True
    store = MemoryKeyStore(clock)

    def client() -> Paystar:
        return Paystar(sandbox.application, engine=sandbox.engine(), keys=store, clock=clock, max_retries=0)

    jump = Jump()
    async with client() as paystar:
        await paystar.keys.refresh_application_key()
        before = sandbox.stats["refreshes"]["application"]
        requests = sandbox.stats["requests"].get("transfers.find", 0)
        clock.jump(seconds)
        async with client() if anew else paystar as asking:
            for _ in range(calls):
                try:
                    await asking.transfers.find(limit=1)
                except PaystarError:
                    jump.failed += 1
        jump.renewals = sandbox.stats["refreshes"]["application"] - before
        jump.refused = sandbox.stats["requests"]["transfers.find"] - requests - calls
    return jump
