import asyncio
import time
from threading import Barrier, Thread

from paystar_async import Secret
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord

KEY = KeyId("application", "app-1")


class Hesitant(MemoryKeyStore):
    """Lets the other threads go ahead between reading and writing, where it can."""

    def _find(self, key: KeyId, version: int) -> KeyRecord | None:
        record = super()._find(key, version)
        time.sleep(0.002)
        return record


def test_memory_store_shared_by_threads_refreshes_once() -> None:
    threads = 4
    store, won, together = Hesitant(), list[str](), Barrier(threads)
    asyncio.run(store.commit(KEY, 0, "", KeyRecord(refresh_token=Secret("refresh-0"))))

    async def claim(name: str) -> None:
        if await store.acquire_lease(KEY, 1, name, 60) is not None:
            won.append(name)

    def run(name: str) -> None:
        together.wait()
        asyncio.run(claim(name))

    running = [Thread(target=run, args=(f"thread-{n}",)) for n in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()

    assert len(won) == 1


async def test_a_store_made_without_a_clock_goes_by_the_machine_s_own() -> None:
    store = MemoryKeyStore()
    stored = await store.commit(KEY, 0, "", KeyRecord(refresh_token=Secret("refresh-0")))
    assert stored is not None

    claimed = await store.acquire_lease(KEY, stored.version, "me", 60)

    assert claimed is not None
    assert await store.acquire_lease(KEY, claimed.version, "you", 60) is None
