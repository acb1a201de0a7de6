"""``Traced``: one span per call, with the standard attributes and nothing personal."""

import asyncio
import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from paystar_async import Paystar
from paystar_async.contrib.opentelemetry import Traced
from paystar_async.errors import ConfigurationError, InsufficientBalance, NoResponse, PaystarError
from tests.support import Engine, QuickClock, Script, client, html_page, ok, refused, transfer


class Spans:
    """An exporter that keeps the ended spans."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def traced(spans: Spans, play: Script) -> Paystar:
    return client(Engine(play), clock=QuickClock(), middleware=[Traced(spans.provider)])


async def test_traced_call_is_one_client_span(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYSTAR_BASE_URL", raising=False)
    inside: list[bool] = []

    def play(_: object) -> Any:
        inside.append(get_current_span().is_recording())
        return ok({"balance": 1, "account_number": "0100000000001", "available_balance": 1})

    await traced(spans, play).transfers.balance(account_number="0100000000001")

    (span,) = spans.ended
    assert (span.name, span.kind) == ("GET /open-banking/service/balance", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.template": "/open-banking/service/balance",
        "server.address": "core.paystar.ir",
        "server.port": 443,
        "http.response.status_code": 200,
        "paystar.endpoint": "transfers.balance",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert inside == [True]


async def test_traced_retries_share_one_span(spans: Spans) -> None:
    responses = [html_page(502), html_page(502), ok({"balance": 1})]

    await traced(spans, lambda _: responses.pop(0)).transfers.balance(account_number="0100000000001")

    assert len(spans.ended) == 1
    assert not responses


FAILURES: list[tuple[Any, type[PaystarError], dict[str, object]]] = [
    (
        refused(9, "account 0012345679 of علی is empty", http=400),
        InsufficientBalance,
        {"http.response.status_code": 400, "paystar.status": "9", "paystar.executed": "no"},
    ),
    (NoResponse("reset"), NoResponse, {"paystar.executed": "maybe"}),
    (html_page(502), PaystarError, {"http.response.status_code": 502, "paystar.executed": "maybe"}),
]


@pytest.mark.parametrize(("response", "kind", "expected"), FAILURES, ids=lambda value: getattr(value, "__name__", ""))
async def test_traced_failure_has_type_and_no_content(
    spans: Spans, response: Any, kind: type[PaystarError], expected: dict[str, object]
) -> None:
    with pytest.raises(kind) as raised:
        await traced(spans, lambda _: response).transfers.settle(transfers=[transfer("t-1")])

    (span,) = spans.ended
    attributes = dict(span.attributes or {})
    assert attributes["error.type"] == type(raised.value).__name__
    assert expected.items() <= attributes.items()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.status.description, span.events) == (None, ())
    span_text = json.dumps(json.loads(span.to_json()), ensure_ascii=False)
    assert not [value for value in ("0012345679", "علی", "t-1", "0100000000001", "?") if value in span_text]


async def test_traced_cancelled_call_ends_span(spans: Spans) -> None:
    started = asyncio.Event()

    async def play() -> Any:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(traced(spans, lambda _: play()).transfers.balance(account_number="0100000000001"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (spans.ended[0].attributes or {})["error.type"] == "CancelledError"


@pytest.mark.parametrize(
    ("base_url", "address", "port"),
    [
        (None, "127.0.0.1", 8901),
        ("https://api.paystar.shop/api", "api.paystar.shop", 443),
        ("http://localhost/api", "localhost", 80),
    ],
)
async def test_traced_server_is_base_url_or_environment(
    spans: Spans, monkeypatch: pytest.MonkeyPatch, base_url: str | None, address: str, port: int
) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://127.0.0.1:8901/api")
    middleware = Traced(spans.provider, base_url=base_url)
    paystar = client(Engine(lambda _: ok({"balance": 1})), clock=QuickClock(), middleware=[middleware])

    await paystar.transfers.balance(account_number="0100000000001")

    attributes = dict(spans.ended[0].attributes or {})
    assert (attributes["server.address"], attributes["server.port"]) == (address, port)


def test_traced_invalid_base_url_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Traced(base_url="nowhere")
