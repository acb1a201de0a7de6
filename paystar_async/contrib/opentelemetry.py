"""OpenTelemetry: a ring that makes one client span of every call, however often it is tried.

    paystar = Paystar.from_env(middleware=[Traced()])

The attributes are those of the semantic conventions for HTTP clients. A query string, a body, a header, a message or
any value that was sent never gets into a span: what a call is about stays between you and Paystar.
"""

from typing import Any, TypeVar
from urllib.parse import urlsplit

from paystar_async.endpoint import Request, Response, Send
from paystar_async.errors import BadAnswer, ConfigurationError, PaystarError, StatusError
from paystar_async.settings import BASE_URL, checked_base_url, setting
from paystar_async.version import VERSION

try:
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer
except ImportError:
    raise ConfigurationError(
        "paystar_async.contrib.opentelemetry needs the otel extra", hint="pip install 'paystar-async[otel]'"
    ) from None

T = TypeVar("T")


class Traced:
    """A ring that spans a call, from the moment it is made to its answer: queueing, attempts and pauses included.

    Args:
        tracer_provider: whose spans they are; the global provider by default.
        base_url: the client's, for ``server.address``; by default as ``Paystar.from_env`` finds it.

    Raises:
        ConfigurationError: base_url is none.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None, *, base_url: str | None = None) -> None:
        self._tracer = get_tracer("paystar_async", VERSION, tracer_provider)
        parts = urlsplit(checked_base_url(base_url or setting("PAYSTAR_BASE_URL") or BASE_URL))
        self._server = {
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }

    async def __call__(self, request: Request[T], next: Send, /) -> Response[T]:  # noqa: A002
        """Pass the request on inside a span."""
        row = request.endpoint
        attributes: dict[str, Any] = {
            **self._server,
            "http.request.method": row.method,
            "url.template": row.path,
            "paystar.endpoint": row.id,
        }
        with self._tracer.start_as_current_span(
            f"{row.method} {row.path}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            # Both would write down the error's text and its traceback.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await next(request)
            except BaseException as error:
                _failed(span, error)
                raise
            span.set_attribute("http.response.status_code", response.http_status)
            return response


def _failed(span: Span, error: BaseException) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__name__)
    if isinstance(error, PaystarError):
        span.set_attribute("paystar.executed", error.executed)
    if isinstance(error, StatusError | BadAnswer) and error.http_status is not None:
        span.set_attribute("http.response.status_code", error.http_status)
    if isinstance(error, StatusError):
        span.set_attribute("paystar.status", str(error.status)[:20])
