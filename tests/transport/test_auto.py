"""The default engine: native, except on trio and while a mock or tracer patches httpx."""

import asyncio
import importlib
import subprocess
import sys
from functools import wraps
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
import respx
import trio
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_httpx import HTTPXMock

from paystar_async.errors import NotSent
from paystar_async.transport import auto
from paystar_async.transport.auto import AutoEngine, must_use_httpx
from paystar_async.transport.native.engine import NativeEngine
from tests.transport.conformance import keep_responding
from tests.transport.tcp import run_server

vcr: Any = importlib.import_module("vcr")  # has no types
URL = "http://paystar.example/api"
SENTRY = """
import asyncio, sentry_sdk
from sentry_sdk.integrations.httpx import HttpxIntegration
from paystar_async.transport.auto import must_use_httpx
from tests.transport.test_auto import keep_responding, run_server, send

transactions = []

async def main():
    print("httpx" if must_use_httpx() else "native")
    sentry_sdk.init(
        "http://key@127.0.0.1:1/1",
        traces_sample_rate=1.0,
        before_send_transaction=lambda event, _: transactions.append(event),
        integrations=[HttpxIntegration()],
        default_integrations=False,
    )
    async with run_server(keep_responding) as server:
        with sentry_sdk.start_transaction(name="test"):
            print(await send(server.url))

asyncio.run(main())
print(*[span["op"] for span in transactions[0]["spans"]])
"""


async def send(url: str = URL) -> int:
    """Return the HTTP status of one call."""
    engine = AutoEngine()
    try:
        status, _, _ = await engine.send("POST", url, (("Accept", "application/json"),), b"{}", 5)
    finally:
        await engine.aclose()
    return status


class TestMustUseHttpx:
    """Whether a call goes through httpx, for each mock and tracer."""

    async def test_must_use_httpx_asyncio_without_patches_is_false(self) -> None:
        assert not must_use_httpx()

    def test_must_use_httpx_on_trio_is_true(self) -> None:
        async def check() -> bool:
            return must_use_httpx()

        assert trio.run(check)

    async def test_auto_respx_responds_to_call(self, respx_mock: respx.MockRouter) -> None:
        respx_mock.post(URL).respond(218)

        assert await send() == 218

    async def test_auto_pytest_httpx_responds_to_call(self, httpx_mock: HTTPXMock) -> None:
        httpx_mock.add_response(status_code=218)

        assert await send() == 218

    async def test_auto_vcr_records_and_replays_call(self, tmp_path: Path) -> None:
        cassette = str(tmp_path / "calls.yaml")
        async with run_server(keep_responding) as server:
            with vcr.use_cassette(cassette):
                assert await send(server.url) == 200
        with vcr.use_cassette(cassette, record_mode="none"):
            assert await send(server.url) == 200
        assert len(server.requests) == 1

    async def test_auto_opentelemetry_traces_call(self) -> None:
        spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(spans))
        instrumentor = HTTPXClientInstrumentor()
        instrumentor.instrument(tracer_provider=provider)
        try:
            async with run_server(keep_responding) as server:
                assert await send(server.url) == 200
        finally:
            instrumentor.uninstrument()
        assert len(spans.get_finished_spans()) == 1
        assert not must_use_httpx()

    def test_auto_sentry_traces_call(self) -> None:
        """Run in a subprocess, since Sentry cannot undo its patches."""
        process = subprocess.run([sys.executable, "-c", SENTRY], capture_output=True, text=True, check=True)

        assert process.stdout.split() == ["native", "200", "http.client"]

    @pytest.mark.parametrize(
        "patched", [httpx.AsyncHTTPTransport, httpcore.AsyncConnectionPool, httpcore.AsyncHTTPConnection]
    )
    async def test_auto_wrapper_of_any_part_gets_every_call(
        self, patched: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = patched.handle_async_request
        requests: list[object] = []

        @wraps(original)
        async def traced(self: object, request: object) -> object:
            requests.append(request)
            return await original(self, request)

        monkeypatch.setattr(patched, "handle_async_request", traced)
        engine = AutoEngine()
        async with run_server(keep_responding) as server:
            for _ in range(3):
                await engine.send("POST", server.url, (), b"{}", 5)
            await engine.aclose()
        assert len(requests) == 3
        assert len(server.peers) == 1

    async def test_auto_callable_object_patch_is_called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Handler:
            async def __call__(self, request: object) -> httpx.Response:
                return httpx.Response(218)

        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", Handler())

        assert await send() == 218


class TestAclose:
    """Closing both engines."""

    async def test_aclose_cancelled_still_closes_httpx(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def hang(_: NativeEngine) -> None:
            await asyncio.sleep(60)

        engine = AutoEngine()
        monkeypatch.setattr(NativeEngine, "aclose", hang)
        closing = asyncio.create_task(engine.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

        monkeypatch.setattr(auto, "must_use_httpx", lambda: True)
        with pytest.raises(NotSent, match="closed"):
            await engine.send("POST", URL, (), b"{}", 5)
