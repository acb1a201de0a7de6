"""OpenTelemetry: a middleware that records a span for every call, and one that records metrics.

    metrics = Metered()
    paystar = Paystar.from_env(middleware=[Traced(), metrics], on_event=metrics.on_event)
    ...
    await metrics.watch(paystar)  # in the background of one process: payouts and orders by state

The attributes follow the semantic conventions for HTTP clients. Neither spans nor metrics contain a query string, a
body, a header, a message or any value that was sent; the attributes of metrics have few values.
"""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from paystar_async._version import VERSION
from paystar_async.client import Paystar
from paystar_async.config import normalize_base_url, read_setting
from paystar_async.credentials import BASE_URL, Realm
from paystar_async.endpoint import Endpoint, Request, Send
from paystar_async.errors import (
    ConfigurationError,
    InvalidResponse,
    MissingExtra,
    PaystarError,
    StatusError,
    StorageError,
)
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock, clock_or_system
from paystar_async.runtime.events import Event, EventName, logger
from paystar_async.values.arguments import require_instance, require_methods
from paystar_async.values.numbers import require_seconds

try:
    from opentelemetry.metrics import MeterProvider, get_meter
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer
except ImportError:
    raise MissingExtra("paystar_async.contrib.opentelemetry", "otel") from None


T = TypeVar("T")

DURATION_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)
"""The bounds that the semantic conventions advise for HTTP clients, and the default timeout."""
WATCH_SECONDS = 60.0
_MIN_PAUSE_FACTOR = 9
"""Length of the pause between two reads, at least, in units of the last read: reading takes a tenth of the time."""

_REFRESH_RESULTS: Mapping[EventName, str] = {
    "key_refreshed": "refreshed",
    "key_reloaded": "reloaded",
    "key_replaced": "replaced",
    "key_refresh_failed": "failed",
    "refresh_token_rejected": "rejected",
}
_STOP_REASONS: Mapping[EventName, str] = {
    "payouts_suspended": "suspended",
    "payouts_insufficient_funds": "insufficient_funds",
    "payouts_unauthorized": "unauthorized",
}


class Traced:
    """A middleware that records a span for each call: queueing, attempts and backoff included.

    Args:
        tracer_provider: provider of the spans; the global provider by default.
        base_url: the client's base URL, for ``server.address``; by default as ``Paystar.from_env`` reads it.

    Raises:
        ConfigurationError: ``base_url`` is not a valid base URL, or another argument is of another type.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None, *, base_url: str | None = None) -> None:
        if tracer_provider is not None:
            require_methods("tracer_provider", tracer_provider, "get_tracer", hint="TracerProvider()")
        self._tracer = get_tracer("paystar_async", VERSION, tracer_provider)
        self._server = _server_attributes(base_url)

    async def __call__(self, request: Request[T], next: Send, /) -> Response[T]:  # noqa: A002
        """Pass the request on inside a span."""
        endpoint = request.endpoint
        with self._tracer.start_as_current_span(
            f"{endpoint.method} {endpoint.path}",
            kind=SpanKind.CLIENT,
            attributes=self._server | _call_attributes(endpoint),
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


class Metered:
    """A middleware that records metrics of calls; its other methods record those of keys, payouts and orders.

    - ``paystar.client.call.duration``, a histogram in seconds: each call, with queueing, attempts and backoff.
    - ``paystar.client.retries``, a counter by realm and endpoint.
    - ``paystar.client.key.refreshes``, a counter by realm and result.
    - ``paystar.payout.stops``, a counter by realm and reason: how often payouts were stopped.
    - ``paystar.payout.transfers`` and ``paystar.payout.amount`` (Rial), gauges by state.
    - ``paystar.payment.orders``, a gauge by state.

    Args:
        meter_provider: provider of the metrics; the global provider by default.
        base_url: the client's base URL, for ``server.address``; by default as ``Paystar.from_env`` reads it.
        clock: the source of time; a ``ManualClock`` in tests.

    Raises:
        ConfigurationError: ``base_url`` is not a valid base URL, or another argument is of another type.
    """

    def __init__(
        self, meter_provider: MeterProvider | None = None, *, base_url: str | None = None, clock: Clock | None = None
    ) -> None:
        self._server = _server_attributes(base_url)
        self._clock = clock_or_system(clock)
        if meter_provider is not None:
            require_methods("meter_provider", meter_provider, "get_meter", hint="MeterProvider()")
        meter = get_meter("paystar_async", VERSION, meter_provider)
        self._duration = meter.create_histogram(
            "paystar.client.call.duration",
            unit="s",
            description="Duration of calls, with queueing, attempts and backoff.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS_SECONDS,
        )
        self._retries = meter.create_counter("paystar.client.retries", unit="{retry}", description="Repeated requests.")
        self._refreshes = meter.create_counter(
            "paystar.client.key.refreshes", unit="{refresh}", description="Key refreshes by result."
        )
        self._stops = meter.create_counter(
            "paystar.payout.stops", unit="{stop}", description="How often payouts were stopped, by reason."
        )
        # Prometheus computes an increase only between two samples: a counter that begins at 1 causes no alert.
        for realm in (Realm.APPLICATION, Realm.WALLET):
            for reason in _STOP_REASONS.values():
                self._stops.add(0, {"paystar.realm": realm.value, "paystar.reason": reason})
        for realm in (Realm.APPLICATION, Realm.WALLET, Realm.INQUIRY):
            for result in _REFRESH_RESULTS.values():
                self._refreshes.add(0, {"paystar.realm": realm.value, "paystar.result": result})
        self._transfers = meter.create_gauge(
            "paystar.payout.transfers", unit="{transfer}", description="Transfers in the payout ledger by state."
        )
        self._amount = meter.create_gauge(
            "paystar.payout.amount", unit="{rial}", description="Sum of the transfers in the payout ledger by state."
        )
        self._orders = meter.create_gauge(
            "paystar.payment.orders", unit="{order}", description="Stored orders by state."
        )

    async def __call__(self, request: Request[T], next: Send, /) -> Response[T]:  # noqa: A002
        """Pass the request on and record its duration."""
        attributes = self._server | _call_attributes(request.endpoint)
        started_at = self._clock.monotonic()
        try:
            response = await next(request)
        except BaseException as error:
            attributes |= _error_attributes(error)
            raise
        else:
            attributes["http.response.status_code"] = response.http_status
            return response
        finally:
            self._duration.record(self._clock.monotonic() - started_at, attributes)

    def on_event(self, event: Event) -> None:
        """Count an event; pass this method as the client's ``on_event``, or call it from yours."""
        realm = {"paystar.realm": event.realm}
        if event.name == "request_retried":
            self._retries.add(1, {**realm, "paystar.endpoint": event.detail.partition(":")[0]})
        elif (result := _REFRESH_RESULTS.get(event.name)) is not None:
            self._refreshes.add(1, {**realm, "paystar.result": result})
        elif (reason := _STOP_REASONS.get(event.name)) is not None:
            self._stops.add(1, {**realm, "paystar.reason": reason})

    async def observe(self, paystar: Paystar) -> None:
        """Read the states of all recorded transfers and orders once, and record their numbers.

        Args:
            paystar: the client; without a database nothing is recorded, without a gateway no orders.

        Raises:
            InvalidValue: ``paystar`` is not a Paystar.
            StorageError: the database cannot be read; some numbers may have been recorded.
        """
        require_instance("paystar", paystar, Paystar)
        try:
            transfers = await paystar.payouts.totals()
        except ConfigurationError:
            return
        for state, subtotal in transfers.items():
            attributes = {"paystar.payout.state": state.value}
            self._transfers.set(subtotal.count, attributes)
            self._amount.set(subtotal.amount, attributes)
        try:
            orders = await paystar.payments.totals()
        except ConfigurationError:
            return
        for status, count in orders.items():
            self._orders.set(count, {"paystar.payment.state": status.value})

    async def watch(self, paystar: Paystar, *, every: float = WATCH_SECONDS) -> None:
        """Observe until cancelled; one process for each database is enough.

        An error of the database is logged, and the next pass tries again.

        Args:
            paystar: the client.
            every: seconds between two passes; longer if reading takes more than a tenth of them.

        Raises:
            InvalidValue: ``every`` is not above 0, or ``paystar`` is not a Paystar.
        """
        every = require_seconds("every", every)
        while True:
            started_at = self._clock.monotonic()
            try:
                await self.observe(paystar)
            except StorageError as error:
                logger.warning("metrics: the states cannot be read: %s", error)
            elapsed = self._clock.monotonic() - started_at
            await self._clock.sleep(max(every, elapsed * _MIN_PAUSE_FACTOR))


def _server_attributes(base_url: str | None) -> dict[str, Any]:
    """Return the attributes of the server; raise ConfigurationError for an invalid base URL."""
    parts = urlsplit(normalize_base_url(base_url or read_setting("PAYSTAR_BASE_URL") or BASE_URL))
    return {
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


def _call_attributes(endpoint: Endpoint) -> dict[str, Any]:
    """Return the attributes of a call that are known before it is sent."""
    return {
        "http.request.method": endpoint.method,
        "url.template": endpoint.path,
        "paystar.endpoint": endpoint.id,
    }


def _error_attributes(error: BaseException) -> dict[str, Any]:
    """Return the attributes of an error: its class and HTTP status, never its text."""
    attributes: dict[str, Any] = {"error.type": type(error).__name__}
    if isinstance(error, PaystarError):
        attributes["paystar.executed"] = error.executed
    if isinstance(error, StatusError | InvalidResponse) and error.http_status is not None:
        attributes["http.response.status_code"] = error.http_status
    return attributes


def _record_error(span: Span, error: BaseException) -> None:
    """Record an error in a span by its class and status."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attributes(_error_attributes(error))
    if isinstance(error, StatusError):
        span.set_attribute("paystar.status", str(error.status)[:20])
