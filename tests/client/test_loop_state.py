"""The detection of the running event loop, and the client's separate state in each loop."""

import asyncio

import anyio
import trio

from paystar_async.runtime.tasks import asyncio_loop
from tests.support import Engine, client, in_turn, ok


def test_asyncio_loop_is_named_for_asyncio_alone() -> None:
    async def current() -> object:
        return asyncio_loop()

    async def is_running_loop() -> bool:
        return asyncio_loop() is asyncio.get_running_loop()

    assert asyncio_loop() is None
    assert asyncio.run(is_running_loop())
    assert anyio.run(current, backend="trio") is None


def test_trio_guest_of_asyncio_has_its_own_loop_state() -> None:
    paystar = client(Engine(in_turn(ok({"is_matched": True}))))

    async def use_client() -> object:
        """Send a request and return the client's state in this loop."""
        await paystar.identity.match_mobile(national_id="0012345679", mobile_number="09121234567")
        return paystar._loop_state()  # pyright: ignore[reportPrivateUsage]

    async def guest() -> tuple[object, object]:
        return asyncio_loop(), await use_client()

    async def host() -> None:
        ended: asyncio.Future[tuple[object, object]] = asyncio.get_running_loop().create_future()
        host_state = await use_client()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=lambda outcome: ended.set_result(outcome.unwrap()),
        )
        loop, guest_state = await ended
        assert loop is None
        assert guest_state is not host_state
        assert await use_client() is host_state
        await paystar.aclose()
        assert await use_client() is not host_state

    asyncio.run(host())
