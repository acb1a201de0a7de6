"""One line a call: which row, what came of it, how long it took. Never a value, a key, a query or a body."""

import logging
from typing import Any

from attrs import frozen

from paystar_async.endpoint import Request, Response, Send
from paystar_async.errors import InvalidResponse, PaystarError, StatusError
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import logger


@frozen
class LoggingMiddleware:
    """Logs answers at DEBUG and failures at INFO, under the logger ``paystar_async``."""

    clock: Clock

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Pass the request on and note how it went."""
        started = self.clock.monotonic()
        try:
            response = await next(request)
        except PaystarError as error:
            self._note(logging.INFO, request, f"{type(error).__name__}{_status(error)}", started)
            raise
        except BaseException as error:
            self._note(logging.INFO, request, type(error).__name__, started)
            raise
        if logger.isEnabledFor(logging.DEBUG):
            self._note(logging.DEBUG, request, f"{response.status} (HTTP {response.http_status})", started)
        return response

    def _note(self, level: int, request: Request[Any], result: str, started: float) -> None:
        endpoint = request.endpoint
        logger.log(
            level,
            "%s %s %s attempt %d: %s in %.0f ms",
            endpoint.id,
            endpoint.method,
            endpoint.path,
            request.attempt,
            result,
            (self.clock.monotonic() - started) * 1000,
        )


def _status(error: PaystarError) -> str:
    if isinstance(error, StatusError):
        return f" status {error.status} (HTTP {error.http_status})"
    return f" (HTTP {error.http_status})" if isinstance(error, InvalidResponse) else ""
