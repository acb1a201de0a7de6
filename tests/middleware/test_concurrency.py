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

from paystar_async.endpoint import Request, Response
from paystar_async.errors import NotSent
from paystar_async.middleware.concurrency import ConcurrencyMiddleware
from paystar_async.runtime.clock import ManualClock
from tests.support import APPLICATION, RESPONSE, Next, client, request, wait_all_tasks_blocked


class Gate:
    """The inner stack, which lets calls through one by one on command."""

    def __init__(self) -> None:
        self.inside = self.most = self.passed = 0
        self.open = asyncio.Semaphore(0)

    async def __call__(self, request: Request[Any], /) -> Response[Any]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.acquire()
            self.passed += 1
        finally:
            self.inside -= 1
        return RESPONSE


async def test_concurrency_limit_queues_further_calls_in_order() -> None:
    limit, gate = ConcurrencyMiddleware(3, ManualClock()), Gate()
    calls = [asyncio.create_task(limit(request(), gate)) for _ in range(10)]
    for done in range(10):
        await wait_all_tasks_blocked(5)
        assert gate.inside == min(3, 10 - done)
        assert [one.done() for one in calls].count(True) == done
        gate.open.release()
    await asyncio.gather(*calls)

    assert gate.most == 3
    assert gate.passed == 10


async def test_a_call_that_gets_no_slot_in_time_never_left() -> None:
    limit, gate = ConcurrencyMiddleware(1, ManualClock()), Gate()
    busy = asyncio.create_task(limit(request(), gate))
    await wait_all_tasks_blocked(5)

    with pytest.raises(NotSent, match="1 calls were in flight") as error:
        await limit(request(deadline=0.0), gate)

    assert error.value.executed == "no"
    assert gate.inside == 1
    gate.open.release()
    await busy


async def test_a_slot_is_free_again_after_every_way_to_end() -> None:
    limit, gate = ConcurrencyMiddleware(1, ManualClock()), Gate()
    with pytest.raises(NotSent):
        await limit(request(), Next(NotSent("x")))
    cancelled = asyncio.create_task(limit(request(), gate))
    await wait_all_tasks_blocked(5)
    cancelled.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await cancelled

    assert await limit(request(), Next(RESPONSE)) is RESPONSE


@given(seed=st.integers(0, 10**6), most=st.integers(1, 5), calls=st.integers(1, 30))
def test_every_slot_comes_back_whenever_calls_are_cancelled(seed: int, most: int, calls: int) -> None:
    async def play() -> None:
        dice = Random(seed)
        limit, gate = ConcurrencyMiddleware(most, ManualClock()), Gate()
        tasks = [asyncio.create_task(limit(request(), gate)) for _ in range(calls)]
        while not all(one.done() for one in tasks):
            await wait_all_tasks_blocked(dice.randrange(3))
            # In the same step: the moment in which a slot is handed to one who is cancelled.
            if dice.random() < 0.6:
                gate.open.release()
            if dice.random() < 0.5:
                dice.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert gate.most <= most
        assert gate.inside == 0
        again = Gate()
        after = [asyncio.create_task(limit(request(), again)) for _ in range(most + 1)]
        await wait_all_tasks_blocked(5)
        assert again.inside == most
        for _ in after:
            again.open.release()
        await asyncio.gather(*after)

    asyncio.run(play())


def test_every_slot_comes_back_on_trio_too() -> None:
    async def play() -> None:
        limit = ConcurrencyMiddleware(2, ManualClock())
        held = anyio.Event()

        async def hold(_: Request[Any], /) -> Response[Any]:
            await held.wait()
            return RESPONSE

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(limit, request(), hold)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        for _ in range(2):
            assert await limit(request(), Next(RESPONSE)) is RESPONSE

    anyio.run(play, backend="trio")


class ClosingServer:
    """A server on loopback that responds to each request on command, and closes the connection after it."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Event] = []
        self.at_once = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if length:
                await reader.readexactly(int(length[0].partition(b":")[2]))
            if not self.at_once:
                go = asyncio.Event()
                self.waiting.append(go)
                await go.wait()
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


async def requests(server: ClosingServer, count: int) -> None:
    """Wait until ``count`` requests have arrived."""
    while len(server.waiting) < count:
        await wait_all_tasks_blocked(1)


async def test_plain_httpx_cancelled_waiter_loses_pool_slot() -> None:
    # This tests httpx: it shows that the limit is needed.
    server = ClosingServer()
    async with (
        server.listening() as url,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=1), timeout=httpx.Timeout(5, pool=0.2)) as raw,
    ):
        first = await _streaming(raw, url, server)
        waiting = asyncio.create_task(raw.get(url))
        await wait_all_tasks_blocked()
        await first.aclose()  # hands its place to the one that waits …
        waiting.cancel()  # … which is gone before it takes it
        with pytest.raises(asyncio.CancelledError):
            await waiting

        server.at_once = True
        try:
            await raw.get(url)
        except httpx.PoolTimeout:
            return
    pytest.skip("this httpx does not lose it any more")


async def _streaming(raw: httpx.AsyncClient, url: str, server: ClosingServer) -> httpx.Response:
    sending = asyncio.create_task(raw.send(raw.build_request("GET", url), stream=True))
    await requests(server, 1)
    server.waiting.pop().set()
    return await sending


async def test_behind_the_limiter_the_default_engine_loses_none() -> None:
    server = ClosingServer()
    dice = Random(5)
    async with (
        server.listening() as url,
        client("auto", application=APPLICATION, base_url=url, concurrency=2, max_retries=0) as paystar,
    ):
        for _ in range(20):
            calls = [asyncio.create_task(paystar.identity.match_mobile(**MATCHING)) for _ in range(6)]
            await requests(server, 2)
            for go in server.waiting:
                go.set()
            server.waiting.clear()
            while not calls[0].done() and not calls[1].done():
                await wait_all_tasks_blocked(1)
            await wait_all_tasks_blocked(dice.randrange(4))
            for call in calls[2:]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            server.waiting.clear()

        server.at_once = True
        answers = await asyncio.gather(*[paystar.identity.match_mobile(**MATCHING) for _ in range(8)])

    assert all(one.is_matched for one in answers)


MATCHING: dict[str, Any] = {"national_id": "0012345679", "mobile_number": "09121234567", "timeout": 10.0}
