"""The key store in memory: threads and clocks."""

import asyncio
import time
from threading import Barrier, Thread

from paystar_async import Secret
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord

KEY = KeyId("application", "app-1")


class SlowStore(MemoryKeyStore):
    """A store that lets other threads run between reading and writing, unless a lock prevents it."""

    def _find(self, key: KeyId, version: int) -> KeyRecord | None:
        record = super()._find(key, version)
        time.sleep(0.002)
        return record


def test_acquire_lease_from_several_threads_has_one_winner() -> None:
    thread_count = 4
    store, winners, start = SlowStore(), list[str](), Barrier(thread_count)
    asyncio.run(store.commit(KEY, 0, "", KeyRecord(refresh_token=Secret("refresh-0"))))

    async def acquire(name: str) -> None:
        if await store.acquire_lease(KEY, 1, name, 60) is not None:
            winners.append(name)

    def run(name: str) -> None:
        start.wait()
        asyncio.run(acquire(name))

    threads = [Thread(target=run, args=(f"thread-{number}",)) for number in range(thread_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(winners) == 1


async def test_acquire_lease_without_clock_uses_system_clock() -> None:
    store = MemoryKeyStore()
    stored = await store.commit(KEY, 0, "", KeyRecord(refresh_token=Secret("refresh-0")))
    assert stored is not None

    leased = await store.acquire_lease(KEY, stored.version, "me", 60)

    assert leased is not None
    assert await store.acquire_lease(KEY, leased.version, "other", 60) is None
