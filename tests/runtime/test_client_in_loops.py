"""One client in several event loops, threads and processes: each loop has its own state, and leaves nothing behind."""

import asyncio
import gc
import logging
import os
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest

from paystar_async import Paystar
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.runtime.clock import SystemClock
from paystar_async.sandbox import Sandbox
from tests.support import MATCH, Engine, KeyServer, client, in_turn, ok, transfer

MATCHED = ok({"is_matched": True})


class _MatchHandler(BaseHTTPRequestHandler):
    """Responds to every request with a match, and counts connections."""

    opened = 0
    ended = 0

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: a second packet waits until the first is acknowledged

    def setup(self) -> None:
        super().setup()
        _MatchHandler.opened += 1

    def finish(self) -> None:
        super().finish()
        _MatchHandler.ended += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(MATCHED[2])))
        self.end_headers()
        self.wfile.write(MATCHED[2])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@contextmanager
def _server() -> Generator[str, None, None]:
    """Run a server in its own thread, so that the server outlives every loop."""
    _MatchHandler.opened = _MatchHandler.ended = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), _MatchHandler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


def open_connections(expected: int = 0) -> int:
    """Return how many connections the server has, once ``expected`` or fewer are open or 5 seconds have passed."""
    deadline = time.monotonic() + 5
    while (count := _MatchHandler.opened - _MatchHandler.ended) > expected and time.monotonic() < deadline:
        time.sleep(0.005)
    return count


async def call(paystar: Paystar) -> None:
    assert (await paystar.send(MATCH)).value.is_matched


async def concurrent_calls(paystar: Paystar, *, close: bool = True) -> None:
    results: list[bool] = []

    async def call() -> None:
        results.append((await paystar.send(MATCH)).value.is_matched)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(call)
    if close:
        await paystar.aclose()
    assert results == [True] * 8


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_client_works_in_successive_loops(backend: str) -> None:
    with _server() as url:
        paystar = client("auto", base_url=url, concurrency=3)
        for _ in range(3):
            anyio.run(concurrent_calls, paystar, backend=backend)
    gc.collect()


def test_client_works_in_asyncio_then_trio() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        for backend in ("asyncio", "trio", "asyncio"):
            anyio.run(concurrent_calls, paystar, backend=backend)
    gc.collect()


def test_client_in_loop_ended_without_close_works_again() -> None:
    paystar = client(Engine(in_turn(MATCHED)), concurrency=2)

    async def end_with_waiting_calls() -> None:
        waiting = [asyncio.create_task(paystar.transfers.wait(track_id="t")) for _ in range(5)]
        await concurrent_calls(paystar, close=False)
        assert waiting

    for _ in range(3):
        asyncio.run(end_with_waiting_calls())
    asyncio.run(concurrent_calls(paystar))


def test_client_works_in_two_threads_at_once() -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(2)

    def run(paystar: Paystar, backend: str) -> None:
        try:
            start.wait()
            for _ in range(3):
                anyio.run(concurrent_calls, paystar, backend=backend)
        except BaseException as error:
            failures.append(error)

    with _server() as url:
        paystar = client("auto", base_url=url, concurrency=2)
        threads = [threading.Thread(target=run, args=(paystar, backend)) for backend in ("asyncio", "trio")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    gc.collect()

    assert failures == []


def test_client_in_two_threads_refreshes_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.keys.refresher.STORE_POLL_SECONDS", 0.002)
    for _ in range(5):
        server = KeyServer(SystemClock())  # a manual clock would run ahead while one thread waits for the other
        server.keys.clear()
        paystar = client(Engine(server), keys=MemoryKeyStore())
        start = threading.Barrier(2)

        def run(paystar: Any = paystar, start: Any = start) -> None:
            start.wait()
            asyncio.run(concurrent_calls(paystar))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert server.refreshes == 1


def test_client_aclose_leaves_no_task() -> None:
    async def run_client() -> None:
        before = asyncio.all_tasks()
        async with client(Engine(in_turn(ok([])))) as paystar:
            await paystar.transfers.find()
        assert asyncio.all_tasks() == before

    asyncio.run(run_client())


async def test_clients_in_one_loop_share_no_engine() -> None:
    first, second = Engine(in_turn(MATCHED)), Engine(in_turn(MATCHED))
    async with client(first) as first_client, client(second) as second_client:
        for paystar in (first_client, second_client, second_client):
            await call(paystar)
    assert (len(first.sent), len(second.sent)) == (1, 2)


@pytest.mark.parametrize("engine", ["auto", "aiohttp"])
def test_client_leaves_no_connection_in_ended_loops(engine: str) -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def handle_request(paystar: Paystar) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await call(paystar)

    with _server() as url:
        paystar = client(engine, base_url=url)
        for _ in range(10):
            asyncio.run(handle_request(paystar))
        assert _MatchHandler.opened == 10
        assert open_connections() == 0
    gc.collect()
    assert sum(loop() is not None for loop in loops) == 0


def test_client_leaves_no_connection_in_ended_trio_runs() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        for _ in range(3):
            anyio.run(call, paystar, backend="trio")
        assert open_connections() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # from asyncio's transports
def test_client_next_use_closes_sockets_of_closed_loops() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        gc.disable()  # the sockets are closed, not only collected
        try:
            for _ in range(5):
                loop = asyncio.new_event_loop()
                loop.run_until_complete(call(paystar))
                loop.close()  # without shutdown_asyncgens
            assert open_connections(1) == 1
        finally:
            gc.enable()
        asyncio.run(paystar.aclose())
        asyncio.run(call(paystar))
        assert open_connections() == 0
    gc.collect()


async def test_client_garbage_collected_closes_sockets_and_warns() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        await call(paystar)
        client_reference = weakref.ref(paystar)
        with pytest.warns(ResourceWarning, match="unclosed client"):  # noqa: PT031 - either statement frees the client
            del paystar
            gc.collect()
        assert client_reference() is None
        assert await asyncio.to_thread(open_connections) == 0


async def test_client_with_given_engine_is_collected_without_warning() -> None:
    paystar = client(Engine(in_turn(MATCHED)))
    await call(paystar)
    client_reference = weakref.ref(paystar)
    del paystar
    gc.collect()
    assert client_reference() is None


async def test_client_garbage_collected_stops_payouts_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = Sandbox()
    paystar = Paystar(application=sandbox.application, engine=sandbox.engine(), database=tmp_path / "paystar.db")
    await paystar.payouts.recover()
    background = paystar._background()  # pyright: ignore[reportPrivateUsage]
    client_reference = weakref.ref(paystar)
    del paystar
    with caplog.at_level(logging.WARNING, "paystar_async"):
        gc.collect()
    assert client_reference() is None
    assert "payouts.recover()" in caplog.text
    with anyio.fail_after(5):
        await background.drain(30)


async def test_client_is_kept_alive_by_its_batch(tmp_path: Path) -> None:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    paystar = Paystar(application=sandbox.application, engine=sandbox.engine(), database=tmp_path / "paystar.db")
    client_reference = weakref.ref(paystar)
    batch = await paystar.payouts.submit([transfer("t-1")], batch_id="b")
    del paystar
    gc.collect()
    await batch.wait(timeout=10)
    client_of_batch = client_reference()
    assert client_of_batch is not None
    await client_of_batch.aclose()


def test_background_task_in_other_loop_uses_its_own_state() -> None:
    async def main(paystar: Paystar) -> None:
        states: list[object] = []

        async def record_state() -> None:
            states.append(paystar._loop_state())  # pyright: ignore[reportPrivateUsage]

        async def work() -> None:
            await record_state()
            await asyncio.to_thread(lambda: asyncio.run(record_state()))

        await paystar._background().start(work).wait()  # pyright: ignore[reportPrivateUsage]
        assert len(set(map(id, states))) == 2
        await paystar.aclose()

    asyncio.run(main(client(Engine(in_turn(MATCHED)))))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_client_in_forked_process_uses_new_connection() -> None:
    with _server() as url:
        paystar, loop = client("auto", base_url=url), asyncio.new_event_loop()
        loop.run_until_complete(call(paystar))
        child = os.fork()
        if child == 0:
            try:
                loop.run_until_complete(call(paystar))
                del paystar
                gc.collect()
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert _MatchHandler.opened == 2
        loop.run_until_complete(call(paystar))
        assert _MatchHandler.opened == 2  # the parent still uses its connection
        loop.run_until_complete(paystar.aclose())
        loop.close()
