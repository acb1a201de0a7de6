"""The one retry layer. It repeats what changes nothing, and what provably never left; nothing else."""

from random import Random
from typing import Any

from attrs import define, field

from paystar_async.endpoint import Request, Response, Safety, Send
from paystar_async.errors import InvalidResponse, NotSent, PaystarError, StatusError
from paystar_async.errors.transient import is_transient
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import Event, OnEvent


def may_repeat(error: PaystarError, safety: Safety) -> bool:
    """Whether a call that ended so may be made again without asking."""
    if isinstance(error, NotSent):
        return True
    return safety is Safety.READ and is_transient(error)


@define
class RetryBudget:
    """Keeps retries from multiplying the load on a server that is down: successes earn them, retries spend them."""

    capacity: float = 8.0
    earned: float = 0.5
    tokens: float = field(default=8.0)

    def earn(self) -> None:
        """A call went through."""
        if self.tokens < self.capacity:
            self.tokens = min(self.capacity, self.tokens + self.earned)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@define
class RetryMiddleware:
    """Repeats with full jitter, ``Retry-After`` and a budget.

    Args:
        clock: what time it is, and how to wait.
        retries: how many repetitions at the most.
        notify: told of each repetition.
        first: seconds of the longest first pause; doubled each time.
        longest: seconds no pause is longer than, unless the server asks.
        budget: what retries are paid from.
        source: where the jitter comes from.
    """

    clock: Clock
    retries: int
    notify: OnEvent
    first: float = 0.25
    longest: float = 8.0
    budget: RetryBudget = field(factory=RetryBudget)
    source: Random = field(factory=Random)

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Pass the request on, and again where that is safe and likely to help."""
        attempt = 1
        while True:
            try:
                response = await next(request if attempt == 1 else request.replace(attempt=attempt))
            except PaystarError as error:
                pause = self._pause(error, request, attempt)
                if pause is None:
                    raise
                self._tell(request, error)
            else:
                self.budget.earn()
                return response
            await self.clock.sleep(pause)
            attempt += 1

    def _pause(self, error: PaystarError, request: Request[Any], attempt: int) -> float | None:
        """Seconds to wait before the next attempt; None if there is none."""
        if attempt > self.retries or not may_repeat(error, request.endpoint.safety):
            return None
        pause = self.source.uniform(0, min(self.longest, self.first * 2 ** (attempt - 1)))
        asked = error.retry_after if isinstance(error, InvalidResponse | StatusError) else None
        pause = max(pause, asked or 0.0)
        # No time left for the pause and an answer after it: what is known now is worth more than a timeout.
        if pause >= request.time_left(self.clock.monotonic()) or not self.budget.spend():
            return None
        return pause

    def _tell(self, request: Request[Any], error: PaystarError) -> None:
        self.notify(
            Event(
                name="request_retried",
                realm=request.endpoint.realm.value,
                account=request.account,
                detail=f"{request.endpoint.id}: {type(error).__name__}",
            )
        )
