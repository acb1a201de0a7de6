"""Logging: one line per call with its endpoint, result and duration; never a value, key, query or body."""

import logging
from typing import Any

from attrs import frozen

from paystar_async.endpoint import Request, Send
from paystar_async.errors import InvalidResponse, PaystarError, StatusError
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import logger


@frozen
class LoggingMiddleware:
    """The middleware that logs responses at DEBUG and errors at INFO, to the logger ``paystar_async``."""

    clock: Clock

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Send the request and log its result."""
        started = self.clock.monotonic()
        try:
            response = await next(request)
        except PaystarError as error:
            self._log(logging.INFO, request, f"{type(error).__name__}{_describe_status(error)}", started)
            raise
        except BaseException as error:
            self._log(logging.INFO, request, type(error).__name__, started)
            raise
        if logger.isEnabledFor(logging.DEBUG):
            self._log(logging.DEBUG, request, f"{response.status} (HTTP {response.http_status})", started)
        return response

    def _log(self, level: int, request: Request[Any], result: str, started: float) -> None:
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


def _describe_status(error: PaystarError) -> str:
    if isinstance(error, StatusError):
        return f" status {error.status} (HTTP {error.http_status})"
    return f" (HTTP {error.http_status})" if isinstance(error, InvalidResponse) else ""
