"""Retries: of calls that only read, and of calls that were provably not sent."""

from random import Random
from typing import Any

from attrs import define, field

from paystar_async.endpoint import Request, Safety, Send
from paystar_async.errors import InvalidResponse, NotSent, PaystarError, StatusError
from paystar_async.errors.transient import is_transient
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import Event, OnEvent


def may_retry(error: PaystarError, safety: Safety) -> bool:
    """Return True if a call with this error may be retried without checking its result first."""
    if isinstance(error, NotSent):
        return True
    return safety is Safety.READ and is_transient(error)


@define
class RetryBudget:
    """A budget that successes fill and retries spend, so that retries do not multiply the load on a failing server."""

    capacity: float = 8.0
    earned_by_success: float = 0.5
    tokens: float = field(default=8.0)

    def earn(self) -> None:
        """Add to the budget after a successful call."""
        self.tokens = min(self.capacity, self.tokens + self.earned_by_success)

    def spend(self) -> bool:
        """Spend a retry; return False if the budget is empty."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@define
class RetryMiddleware:
    """The middleware that retries with full jitter, ``Retry-After`` and a budget.

    Args:
        clock: the client's clock.
        retries: maximum number of retries.
        notify: called with an event on each retry.
        first_backoff: maximum seconds of the first backoff; doubled each time.
        max_backoff: maximum seconds of a backoff, unless the server asks for more.
        budget: the budget that retries spend.
        random: source of the jitter.
    """

    clock: Clock
    retries: int
    notify: OnEvent
    first_backoff: float = 0.25
    max_backoff: float = 8.0
    budget: RetryBudget = field(factory=RetryBudget)
    random: Random = field(factory=Random)

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Send the request, and retry where that is safe and likely to help."""
        attempt = 1
        while True:
            try:
                response = await next(request if attempt == 1 else request.replace(attempt=attempt))
            except PaystarError as error:
                pause = self._backoff_seconds(error, request, attempt)
                if pause is None:
                    raise
                self._notify_retry(request, error)
            else:
                self.budget.earn()
                return response
            await self.clock.sleep(pause)
            attempt += 1

    def _backoff_seconds(self, error: PaystarError, request: Request[Any], attempt: int) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        if attempt > self.retries or not may_retry(error, request.endpoint.safety):
            return None
        pause = self.random.uniform(0, min(self.max_backoff, self.first_backoff * 2 ** (attempt - 1)))
        retry_after = error.retry_after if isinstance(error, InvalidResponse | StatusError) else None
        pause = max(pause, retry_after or 0.0)
        # Without time for the pause and a response after it, this error says more than a timeout would.
        if pause >= request.time_left(self.clock.monotonic()) or not self.budget.spend():
            return None
        return pause

    def _notify_retry(self, request: Request[Any], error: PaystarError) -> None:
        self.notify(
            Event(
                name="request_retried",
                realm=request.endpoint.realm.value,
                account=request.account,
                detail=f"{request.endpoint.id}: {type(error).__name__}",
            )
        )
