"""One client in one loop, in several, one after the other and at the same time, on asyncio and on trio."""

import asyncio
import gc
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest

from paystar_async import Paystar
from paystar_async.clock import SystemClock
from paystar_async.keys.memory import MemoryKeyStore
from tests.support import MATCH, Engine, KeyServer, client, in_turn, ok

YES = ok({"is_matched": True})


class _Yes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: in two, the second waits for the first one to be acknowledged

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(YES[2])))
        self.end_headers()
        self.wfile.write(YES[2])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def _server() -> Generator[str, None, None]:
    """A server in a thread of its own, so that it outlives every loop."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Yes) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


async def some_calls(paystar: Paystar, *, close: bool = True) -> None:
    answers: list[bool] = []

    async def call() -> None:
        answers.append((await paystar.send(MATCH)).value.is_matched)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(call)
    if close:
        await paystar.aclose()
    assert answers == [True] * 8


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_client_serves_one_loop_after_the_other(backend: str) -> None:
    with _server() as url:
        paystar = client("httpx", base_url=url, concurrency=3)
        for _ in range(3):
            anyio.run(some_calls, paystar, backend=backend)
    gc.collect()


def test_one_client_serves_asyncio_and_then_trio() -> None:
    with _server() as url:
        paystar = client("httpx", base_url=url)
        for backend in ("asyncio", "trio", "asyncio"):
            anyio.run(some_calls, paystar, backend=backend)
    gc.collect()


def test_a_loop_that_ended_without_closing_leaves_nothing_that_hinders_the_next() -> None:
    paystar = client(Engine(in_turn(YES)), concurrency=2)

    async def leave_in_the_middle() -> None:
        waiting = [asyncio.create_task(paystar.transfers.wait(track_id="t")) for _ in range(5)]
        await some_calls(paystar, close=False)
        assert waiting

    for _ in range(3):
        asyncio.run(leave_in_the_middle())
    asyncio.run(some_calls(paystar))


def test_one_client_serves_two_loops_in_two_threads() -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(2)

    def run(paystar: Paystar, backend: str) -> None:
        try:
            together.wait()
            for _ in range(3):
                anyio.run(some_calls, paystar, backend=backend)
        except BaseException as error:
            failures.append(error)

    with _server() as url:
        paystar = client("httpx", base_url=url, concurrency=2)
        threads = [threading.Thread(target=run, args=(paystar, one)) for one in ("asyncio", "trio")]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    gc.collect()

    assert failures == []


def test_loops_in_two_threads_share_the_keys_and_one_of_them_renews(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.keys.keeper.POLL", 0.002)
    for _ in range(5):
        server = KeyServer(SystemClock())  # a clock of a test's own would run away while one thread waits for the other
        server.keys.clear()
        paystar = client(Engine(server), keys=MemoryKeyStore())
        together = threading.Barrier(2)

        def run(paystar: Any = paystar, together: Any = together) -> None:
            together.wait()
            asyncio.run(some_calls(paystar))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

        assert server.renewals == 1


def test_a_closed_client_keeps_no_session_and_no_task_in_its_loop() -> None:
    async def play() -> None:
        before = asyncio.all_tasks()
        async with client(Engine(in_turn(ok([])))) as paystar:
            await paystar.transfers.find()
        assert asyncio.all_tasks() == before

    asyncio.run(play())
