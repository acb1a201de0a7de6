"""Calls as spans: ``paystar sandbox -- python -m tests.examples.opentelemetry_app`` prints one.

A library asks for spans through the API alone; an application chooses where they go, here to the terminal.
"""

import asyncio

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor, SpanExporter

from paystar_async import Paystar
from paystar_async.contrib.opentelemetry import Traced


async def main(exporter: SpanExporter) -> int:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with Paystar.from_env(middleware=[Traced(provider)]) as paystar:
        return (await paystar.transfers.balance(account_number="011123456789")).balance


if __name__ == "__main__":
    asyncio.run(main(ConsoleSpanExporter()))
