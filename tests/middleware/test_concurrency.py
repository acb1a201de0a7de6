"""The concurrency middleware: order, deadline, and slots after cancellation, also with httpx."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.endpoint import Request
from paystar_async.errors import NotSent
from paystar_async.middleware.concurrency import ConcurrencyMiddleware
from paystar_async.response import Response
from paystar_async.runtime.clock import ManualClock
from tests.support import APPLICATION, RESPONSE, Next, client, request, wait_all_tasks_blocked


class GatedStack:
    """The inner stack, which lets one call through for each release of ``gate``."""

    def __init__(self) -> None:
        self.in_flight = self.max_in_flight = self.passed = 0
        self.gate = asyncio.Semaphore(0)

    async def __call__(self, request: Request[Any], /) -> Response[Any]:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await self.gate.acquire()
            self.passed += 1
        finally:
            self.in_flight -= 1
        return RESPONSE


async def test_concurrency_limit_queues_further_calls_in_order() -> None:
    middleware, stack = ConcurrencyMiddleware(3, ManualClock()), GatedStack()
    calls = [asyncio.create_task(middleware(request(), stack)) for _ in range(10)]
    for done in range(10):
        await wait_all_tasks_blocked(5)
        assert stack.in_flight == min(3, 10 - done)
        assert [call.done() for call in calls].count(True) == done
        stack.gate.release()
    await asyncio.gather(*calls)

    assert stack.max_in_flight == 3
    assert stack.passed == 10


async def test_concurrency_without_slot_until_deadline_is_not_sent() -> None:
    middleware, stack = ConcurrencyMiddleware(1, ManualClock()), GatedStack()
    busy = asyncio.create_task(middleware(request(), stack))
    await wait_all_tasks_blocked(5)

    with pytest.raises(NotSent, match="1 calls were in flight") as error:
        await middleware(request(deadline=0.0), stack)

    assert error.value.executed == "no"
    assert stack.in_flight == 1
    stack.gate.release()
    await busy


async def test_concurrency_slot_is_released_after_error_and_cancel() -> None:
    middleware, stack = ConcurrencyMiddleware(1, ManualClock()), GatedStack()
    with pytest.raises(NotSent):
        await middleware(request(), Next(NotSent("x")))
    cancelled = asyncio.create_task(middleware(request(), stack))
    await wait_all_tasks_blocked(5)
    cancelled.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await cancelled

    assert await middleware(request(), Next(RESPONSE)) is RESPONSE


@given(seed=st.integers(0, 10**6), limit=st.integers(1, 5), calls=st.integers(1, 30))
def test_concurrency_random_cancellation_releases_all_slots(seed: int, limit: int, calls: int) -> None:
    async def run_calls() -> None:
        random_source = Random(seed)
        middleware, stack = ConcurrencyMiddleware(limit, ManualClock()), GatedStack()
        tasks = [asyncio.create_task(middleware(request(), stack)) for _ in range(calls)]
        while not all(task.done() for task in tasks):
            await wait_all_tasks_blocked(random_source.randrange(3))
            # In the same turn: a slot may pass to a call that is cancelled now.
            if random_source.random() < 0.6:
                stack.gate.release()
            if random_source.random() < 0.5:
                random_source.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert stack.max_in_flight <= limit
        assert stack.in_flight == 0
        second_stack = GatedStack()
        later_calls = [asyncio.create_task(middleware(request(), second_stack)) for _ in range(limit + 1)]
        await wait_all_tasks_blocked(5)
        assert second_stack.in_flight == limit
        for _ in later_calls:
            second_stack.gate.release()
        await asyncio.gather(*later_calls)

    asyncio.run(run_calls())


def test_concurrency_cancellation_on_trio_releases_slots() -> None:
    async def run_calls() -> None:
        middleware = ConcurrencyMiddleware(2, ManualClock())
        never = anyio.Event()

        async def hold(_: Request[Any], /) -> Response[Any]:
            await never.wait()
            return RESPONSE

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(middleware, request(), hold)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        for _ in range(2):
            assert await middleware(request(), Next(RESPONSE)) is RESPONSE

    anyio.run(run_calls, backend="trio")


class ClosingServer:
    """A server on loopback that responds to each request on command, and closes the connection after it."""

    def __init__(self) -> None:
        self.pending: list[asyncio.Event] = []
        self.responds_at_once = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if length:
                await reader.readexactly(int(length[0].partition(b":")[2]))
            if not self.responds_at_once:
                may_respond = asyncio.Event()
                self.pending.append(may_respond)
                await may_respond.wait()
            body = b'{"status": 1, "data": {"is_matched": true}}'
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[str, None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def wait_requests(server: ClosingServer, count: int) -> None:
    """Wait until ``count`` requests have arrived."""
    while len(server.pending) < count:
        await wait_all_tasks_blocked(1)


async def test_plain_httpx_cancelled_waiter_loses_pool_slot() -> None:
    # This tests httpx: it shows that the limit is needed.
    server = ClosingServer()
    async with (
        server.listening() as url,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=1), timeout=httpx.Timeout(5, pool=0.2)) as http_client,
    ):
        first = await _start_streaming(http_client, url, server)
        waiting = asyncio.create_task(http_client.get(url))
        await wait_all_tasks_blocked()
        await first.aclose()  # passes its slot to the waiting call …
        waiting.cancel()  # … which is cancelled before it takes the slot
        with pytest.raises(asyncio.CancelledError):
            await waiting

        server.responds_at_once = True
        try:
            await http_client.get(url)
        except httpx.PoolTimeout:
            return
    pytest.skip("this httpx version loses no slot")


async def _start_streaming(http_client: httpx.AsyncClient, url: str, server: ClosingServer) -> httpx.Response:
    sending = asyncio.create_task(http_client.send(http_client.build_request("GET", url), stream=True))
    await wait_requests(server, 1)
    server.pending.pop().set()
    return await sending


async def test_concurrency_keeps_default_engine_from_losing_slots() -> None:
    server = ClosingServer()
    random_source = Random(5)
    async with (
        server.listening() as url,
        client("auto", application=APPLICATION, base_url=url, concurrency=2, max_retries=0) as paystar,
    ):
        for _ in range(20):
            calls = [asyncio.create_task(paystar.identity.match_mobile(**MATCH_FIELDS)) for _ in range(6)]
            await wait_requests(server, 2)
            for may_respond in server.pending:
                may_respond.set()
            server.pending.clear()
            while not calls[0].done() and not calls[1].done():
                await wait_all_tasks_blocked(1)
            await wait_all_tasks_blocked(random_source.randrange(4))
            for call in calls[2:]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            server.pending.clear()

        server.responds_at_once = True
        matches = await asyncio.gather(*[paystar.identity.match_mobile(**MATCH_FIELDS) for _ in range(8)])

    assert all(match.is_matched for match in matches)


MATCH_FIELDS: dict[str, Any] = {"national_id": "0012345679", "mobile_number": "09121234567", "timeout": 10.0}
