"""``Metered``: metrics of calls, keys, payouts and orders."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from paystar_async import ManualClock, Paystar
from paystar_async.contrib.opentelemetry import Metered
from paystar_async.errors import InsufficientBalance, InvalidValue, StorageError
from paystar_async.payments.models import OrderStatus
from paystar_async.payouts.models import TransferState
from paystar_async.runtime.events import Event, EventName
from paystar_async.sandbox import Sandbox
from tests.payouts.sandbox_clients import transfers
from tests.support import Engine, QuickClock, Script, client, html_page, ok, refused, transfer

BALANCE = {"balance": 1, "account_number": "0100000000001", "available_balance": 1}
CALL = {
    "http.request.method": "GET",
    "url.template": "/open-banking/service/balance",
    "server.address": "core.paystar.ir",
    "server.port": 443,
    "paystar.endpoint": "transfers.balance",
}


class Metrics:
    """A provider and what it recorded."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])
        self._points: dict[str, dict[str, Any]] = {}

    def points(self, name: str) -> dict[str, Any]:
        """Return the newest data points of a metric by their attributes, as sorted JSON."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        for metric in (metric for scope in scopes for metric in scope.metrics):
            for point in metric.data.data_points:  # old versions of OpenTelemetry report the value of a gauge once
                key = json.dumps(dict(point.attributes or {}), sort_keys=True)
                self._points.setdefault(metric.name, {})[key] = point
        return self._points.get(name, {})

    def values(self, name: str) -> dict[str, Any]:
        """Return the values of a counter or gauge by the values of their attributes."""
        return {" ".join(json.loads(key).values()): point.value for key, point in self.points(name).items()}


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics()
    yield metrics
    metrics.provider.shutdown()


def metered(metrics: Metrics, play: Script, clock: ManualClock) -> Paystar:
    recorder = Metered(metrics.provider, base_url="https://core.paystar.ir/api", clock=clock)
    return client(Engine(play), clock=clock, middleware=[recorder], on_event=recorder.on_event)


async def test_metered_call_is_one_duration(metrics: Metrics) -> None:
    clock = QuickClock()

    def play(_: object) -> Any:
        clock.advance(0.25)
        return ok(BALANCE)

    await metered(metrics, play, clock).transfers.balance(account_number="0100000000001")

    ((key, point),) = metrics.points("paystar.client.call.duration").items()
    assert json.loads(key) == CALL | {"http.response.status_code": 200}
    assert (point.count, point.sum) == (1, 0.25)
    assert 30.0 in point.explicit_bounds


async def test_metered_retries_are_counted_by_endpoint(metrics: Metrics) -> None:
    responses = [html_page(502), html_page(502), ok(BALANCE)]

    await metered(metrics, lambda _: responses.pop(0), QuickClock()).transfers.balance(account_number="0100000000001")

    assert metrics.values("paystar.client.retries") == {"transfers.balance application": 2}
    (point,) = metrics.points("paystar.client.call.duration").values()
    assert point.count == 1


async def test_metered_failure_has_type_and_no_content(metrics: Metrics) -> None:
    response = refused(9, "account 0012345679 of علی is empty", http=400)
    paystar = metered(metrics, lambda _: response, QuickClock())
    with pytest.raises(InsufficientBalance):
        await paystar.transfers.settle(transfers=[transfer("t-1")])

    (key,) = metrics.points("paystar.client.call.duration")
    attributes = json.loads(key)
    assert attributes["error.type"] == "InsufficientBalance"
    assert (attributes["paystar.executed"], attributes["http.response.status_code"]) == ("no", 400)
    assert not [value for value in ("0012345679", "علی", "t-1") if value in key]


@pytest.mark.parametrize("name", get_args(EventName))
def test_on_event_counts_each_event_once(name: EventName, metrics: Metrics) -> None:
    Metered(metrics.provider).on_event(
        Event(name=name, realm="wallet", account="w1", detail="wallet.find: ServerFault")
    )
    counters = ("paystar.client.retries", "paystar.client.key.refreshes", "paystar.payout.stops")
    points = [metrics.values(counter) for counter in counters]
    assert sum(value for point in points for value in point.values()) == 1
    assert "w1" not in str(points)


def test_counters_of_alerts_begin_at_zero(metrics: Metrics) -> None:
    """Prometheus would see no increase in a counter whose first sample is 1."""
    recorder = Metered(metrics.provider)
    counters = ("paystar.client.key.refreshes", "paystar.payout.stops")
    before = [metrics.values(counter) for counter in counters]
    for name in get_args(EventName):
        for realm in ("application", "wallet"):
            recorder.on_event(Event(name=name, realm=realm, account="a"))
    for counter, initial in zip(counters, before, strict=True):
        values = metrics.values(counter)
        assert set(initial.values()) == {0}
        assert values.keys() == initial.keys()
        assert 1 in values.values()


async def test_observe_records_states_of_transfers_and_orders(metrics: Metrics, tmp_path: Path) -> None:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0.0
    recorder = Metered(metrics.provider)
    async with Paystar(
        sandbox.application, sandbox.gateway, engine=sandbox.engine(), database=tmp_path / "paystar.db"
    ) as paystar:
        await recorder.observe(paystar)
        assert set(metrics.values("paystar.payout.transfers").values()) == {0}
        await (await paystar.payouts.submit(transfers(3), batch_id="b")).wait()
        await paystar.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
        await recorder.observe(paystar)

    counts = metrics.values("paystar.payout.transfers")
    assert counts == dict.fromkeys(TransferState, 0) | {TransferState.SUCCESS: 3}
    amount = sum(value.amount for value in transfers(3))
    assert metrics.values("paystar.payout.amount")["success"] == amount
    assert metrics.values("paystar.payment.orders") == dict.fromkeys(OrderStatus, 0) | {OrderStatus.OPEN: 1}


async def test_observe_without_database_records_nothing(metrics: Metrics) -> None:
    await Metered(metrics.provider).observe(client(Engine(lambda _: ok())))
    assert metrics.values("paystar.payout.transfers") == {}


async def test_observe_without_gateway_records_transfers(metrics: Metrics, tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with Paystar(sandbox.application, engine=sandbox.engine(), database=tmp_path / "paystar.db") as paystar:
        await Metered(metrics.provider).observe(paystar)
    assert metrics.values("paystar.payout.transfers")["planned"] == 0
    assert metrics.values("paystar.payment.orders") == {}


class Stopped(Exception):
    """Ends ``watch``."""


class SlowMetered(Metered):
    """Metrics whose passes take a time of their own, or raise."""

    def __init__(self, provider: MeterProvider, clock: ManualClock, *passes: float | BaseException) -> None:
        super().__init__(provider, clock=clock)
        self._passes = list(passes)

    async def observe(self, paystar: Paystar) -> None:
        seconds = self._passes.pop(0)
        if isinstance(seconds, BaseException):
            raise seconds
        self._clock.advance(seconds)  # type: ignore[attr-defined]


async def test_watch_pauses_longer_after_slow_read(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    clock = QuickClock()
    recorder = SlowMetered(metrics.provider, clock, 1.0, 20.0, StorageError("the disk is full"), 0.0, Stopped())
    with pytest.raises(Stopped):
        await recorder.watch(client(Engine(lambda _: ok())), every=60)
    assert clock.slept == [60.0, 180.0, 60.0, 60.0]
    assert "the states cannot be read: the disk is full" in caplog.text


async def test_watch_interval_of_zero_is_refused(metrics: Metrics) -> None:
    with pytest.raises(InvalidValue, match="every"):
        await Metered(metrics.provider).watch(client(Engine(lambda _: ok())), every=0)
