"""OpenTelemetry: a middleware that records one client span for every call, including its retries.

    paystar = Paystar.from_env(middleware=[Traced()])

The attributes follow the semantic conventions for HTTP clients. A span never contains a query string, a body, a header,
a message or any value that was sent.
"""

from typing import Any, TypeVar
from urllib.parse import urlsplit

from paystar_async._version import VERSION
from paystar_async.config import normalize_base_url, read_setting
from paystar_async.credentials import BASE_URL
from paystar_async.endpoint import Request, Response, Send
from paystar_async.errors import InvalidResponse, MissingExtra, PaystarError, StatusError

try:
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer
except ImportError:
    raise MissingExtra("paystar_async.contrib.opentelemetry", "otel") from None

T = TypeVar("T")


class Traced:
    """A middleware that records a span for each call: queueing, attempts and backoff included.

    Args:
        tracer_provider: provider of the spans; the global provider by default.
        base_url: the client's base URL, for ``server.address``; by default as ``Paystar.from_env`` reads it.

    Raises:
        ConfigurationError: ``base_url`` is not a valid base URL.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None, *, base_url: str | None = None) -> None:
        self._tracer = get_tracer("paystar_async", VERSION, tracer_provider)
        parts = urlsplit(normalize_base_url(base_url or read_setting("PAYSTAR_BASE_URL") or BASE_URL))
        self._server = {
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }

    async def __call__(self, request: Request[T], next: Send, /) -> Response[T]:  # noqa: A002
        """Pass the request on inside a span."""
        endpoint = request.endpoint
        attributes: dict[str, Any] = {
            **self._server,
            "http.request.method": endpoint.method,
            "url.template": endpoint.path,
            "paystar.endpoint": endpoint.id,
        }
        with self._tracer.start_as_current_span(
            f"{endpoint.method} {endpoint.path}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            # Both would record the error's text and traceback.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await next(request)
            except BaseException as error:
                _record_error(span, error)
                raise
            span.set_attribute("http.response.status_code", response.http_status)
            return response


def _record_error(span: Span, error: BaseException) -> None:
    """Record an error in a span by its class and status."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__name__)
    if isinstance(error, PaystarError):
        span.set_attribute("paystar.executed", error.executed)
    if isinstance(error, StatusError | InvalidResponse) and error.http_status is not None:
        span.set_attribute("http.response.status_code", error.http_status)
    if isinstance(error, StatusError):
        span.set_attribute("paystar.status", str(error.status)[:20])
