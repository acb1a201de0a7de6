"""The key store for checks: it shows what is stored, and changes nothing there."""

from attrs import evolve

from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.read_only import ReadOnlyKeyStore
from tests.keys.backends import KEY, PAIR


async def test_load_hides_stored_refresh_token() -> None:
    store = MemoryKeyStore()
    stored = await store.commit(KEY, 0, "", PAIR)
    assert stored is not None
    assert await ReadOnlyKeyStore(store).load(KEY) == evolve(stored, refresh_token=None)


async def test_changes_stay_in_memory() -> None:
    store = MemoryKeyStore()
    read_only = ReadOnlyKeyStore(store)
    committed = await read_only.commit(KEY, 0, "", PAIR)
    assert await read_only.load(KEY) == committed == evolve(PAIR, version=1)
    assert await store.load(KEY) is None
    await store.commit(KEY, 0, "", PAIR)
    assert await read_only.acquire_lease(KEY, 1, "me", 9.0) is not None
    assert await read_only.mark_rejected(KEY, 2) is not None
    assert await store.load(KEY) == evolve(PAIR, version=1)
