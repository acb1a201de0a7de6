"""Which event loop runs, and whose session a client uses in it."""

import asyncio

import anyio
import trio

from paystar_async.runtime.tasks import asyncio_loop
from tests.support import Engine, client, in_turn, ok


def test_asyncio_loop_is_named_for_asyncio_alone() -> None:
    async def here() -> object:
        return asyncio_loop()

    async def same() -> bool:
        return asyncio_loop() is asyncio.get_running_loop()

    assert asyncio_loop() is None
    assert asyncio.run(same())
    assert anyio.run(here, backend="trio") is None


def test_trio_guest_of_asyncio_has_its_own_loop_state() -> None:
    paystar = client(Engine(in_turn(ok({"is_matched": True}))))

    async def session() -> object:
        await paystar.identity.match_mobile(national_id="0012345679", mobile_number="09121234567")
        return paystar._loop_state()  # pyright: ignore[reportPrivateUsage]

    async def guest() -> tuple[object, object]:
        return asyncio_loop(), await session()

    async def host() -> None:
        ended: asyncio.Future[tuple[object, object]] = asyncio.get_running_loop().create_future()
        ours = await session()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=lambda outcome: ended.set_result(outcome.unwrap()),
        )
        loop, theirs = await ended
        assert loop is None
        assert theirs is not ours
        assert await session() is ours
        await paystar.aclose()
        assert await session() is not ours

    asyncio.run(host())
