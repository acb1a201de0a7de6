"""The traced application: a call is recorded as a span."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from paystar_async.sandbox import Sandbox
from tests.examples.opentelemetry_app import main


async def test_opentelemetry_app_records_span(sandbox: Sandbox) -> None:
    exporter = InMemorySpanExporter()

    assert await main(exporter) > 0
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /open-banking/service/balance"]
