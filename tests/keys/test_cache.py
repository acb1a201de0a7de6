"""The record cache of a process whose store loses records, on every backend and in every way."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from attrs import evolve

from paystar_async import Secret
from paystar_async.errors import StorageError, StorageUnavailable
from paystar_async.keys.cache import RecordCache
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import ManualClock
from tests.keys.backends import (
    BACKENDS,
    Backend,
    MemoryBackend,
    PostgresBackend,
    RedisBackend,
    SqliteBackend,
    make_backend,
)

KEY = KeyId("application", "app-1")
SEED = KeyRecord(token=Secret("key-0"), refresh_token=Secret("refresh-0"))
BACKEND_CLASSES: dict[str, type[MemoryBackend | SqliteBackend | RedisBackend | PostgresBackend]] = dict(
    zip(BACKENDS, (MemoryBackend, SqliteBackend, RedisBackend, PostgresBackend), strict=True)
)
LOSSES = [
    pytest.param((name, loss), id=f"{name}, {loss}") for name in BACKENDS for loss in BACKEND_CLASSES[name].losses
]


def pair(number: int) -> KeyRecord:
    """Return the pair of the refresh ``number``; one refresh happens each hour."""
    token, refresh_token = Secret(f"key-{number}"), Secret(f"refresh-{number}")
    return KeyRecord(token=token, refresh_token=refresh_token, issued_at=number * 3600.0, expires_at=9e9)


class LossyBackend:
    """A backend that loses its records on command, and the processes that share the backend."""

    def __init__(self, backend: Backend, loss: str) -> None:
        self.backend, self._loss = backend, loss
        self.restored_count = 0

    def lose(self) -> None:
        self.backend.lose(self._loss)

    def process(self, newest: dict[KeyId, KeyRecord] | None = None) -> RecordCache:
        def count_restored() -> None:
            self.restored_count += 1

        clock, newest = ManualClock(start=5 * 3600.0), {} if newest is None else newest
        return RecordCache(KEY, SEED, self.backend.store(), clock, on_restore=count_restored, newest=newest)

    async def stored_pair(self) -> KeyRecord | None:
        record = await self.backend.store().load(KEY)
        return None if record is None else evolve(record, version=0)


@pytest_asyncio.fixture(params=LOSSES)
async def lossy_backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LossyBackend]:
    request.param, loss = request.param
    lossy_backend = LossyBackend(make_backend(request, tmp_path), loss)
    yield lossy_backend
    await lossy_backend.backend.aclose()


async def refresh(process: RecordCache, *numbers: int) -> None:
    """Refresh the key of a process once for each number; the pair of the last number is its newest pair."""
    for number in numbers:
        stored = process.use(await process.load())
        assert await process.replace(stored, pair(number))


@pytest.mark.parametrize(
    ("seed", "completed"),
    [
        (SEED, KeyRecord(version=2, token=Secret("stored"), refresh_token=Secret("refresh-0"), expires_at=1.0)),
        (KeyRecord(token=Secret("key-0")), KeyRecord(version=1, token=Secret("stored"), expires_at=1.0)),
        (KeyRecord(), KeyRecord(version=1, token=Secret("stored"), expires_at=1.0)),
    ],
)
async def test_load_adds_configured_refresh_token(seed: KeyRecord, completed: KeyRecord) -> None:
    """The record was stored by a process that was configured without a refresh token."""
    store = MemoryKeyStore()
    await store.commit(KEY, 0, "", KeyRecord(token=Secret("stored"), expires_at=1.0))
    cache = RecordCache(KEY, seed, store, ManualClock(), on_restore=lambda: None, newest={})

    assert await cache.load() == completed
    assert await store.load(KEY) == completed


async def test_load_adds_configured_pair_to_empty_record() -> None:
    store = MemoryKeyStore()
    await store.commit(KEY, 0, "", KeyRecord())
    cache = RecordCache(KEY, SEED, store, ManualClock(), on_restore=lambda: None, newest={})

    assert await cache.load() == evolve(SEED, version=2)


async def test_load_after_loss_restores_newest_record(lossy_backend: LossyBackend) -> None:
    process = lossy_backend.process()
    await refresh(process, 1, 2)
    lossy_backend.lose()

    assert evolve(await process.load(), version=0) == pair(2)

    assert await lossy_backend.stored_pair() == pair(2)
    assert lossy_backend.restored_count == 1
    await refresh(process, 3)
    assert await lossy_backend.stored_pair() == pair(3)


async def test_load_in_another_loop_restores_lost_record(lossy_backend: LossyBackend) -> None:
    """As after several ``asyncio.run``, or after a client was closed and entered again."""
    newest: dict[KeyId, KeyRecord] = {}
    await refresh(lossy_backend.process(newest), 1, 2)
    lossy_backend.lose()

    assert evolve(await lossy_backend.process(newest).load(), version=0) == pair(2)

    assert await lossy_backend.stored_pair() == pair(2)
    assert lossy_backend.restored_count == 1


async def test_load_restores_record_of_another_loop(lossy_backend: LossyBackend) -> None:
    newest: dict[KeyId, KeyRecord] = {}
    older, newer = lossy_backend.process(newest), lossy_backend.process(newest)
    await refresh(older, 1)
    await refresh(newer, 2)
    lossy_backend.lose()

    assert (await older.load()).token == pair(2).token


async def test_load_in_another_loop_uses_newer_stored_record(lossy_backend: LossyBackend) -> None:
    newest: dict[KeyId, KeyRecord] = {}
    await refresh(lossy_backend.process(newest), 1)
    await refresh(lossy_backend.process(), 2)

    assert (await lossy_backend.process(newest).load()).token == pair(2).token
    assert lossy_backend.restored_count == 0


async def test_load_after_loss_in_new_process_stores_seed(lossy_backend: LossyBackend) -> None:
    await refresh(lossy_backend.process(), 1)
    lossy_backend.lose()

    assert evolve(await lossy_backend.process().load(), version=0) == SEED

    assert await lossy_backend.stored_pair() == SEED
    assert lossy_backend.restored_count == 0


async def test_load_replaces_seed_of_new_process(lossy_backend: LossyBackend) -> None:
    process = lossy_backend.process()
    await refresh(process, 1, 2)
    lossy_backend.lose()
    new_process = lossy_backend.process()
    await new_process.load()

    assert (await process.load()).token == pair(2).token
    assert (await new_process.load()).token == pair(2).token


async def test_load_replaces_older_pair_of_other_process(lossy_backend: LossyBackend) -> None:
    """Also if the other process stored its pair first and has changed the record since."""
    older, newer = lossy_backend.process(), lossy_backend.process()
    await refresh(older, 1)
    await refresh(newer, 2, 3)
    lossy_backend.lose()
    restored = await older.load()
    assert restored.token == pair(1).token
    lease = await older.lease(restored)
    assert lease is not None
    assert await older.mark_rejected(lease)

    newest = await newer.load()
    assert (newest.token, newest.refresh_rejected, newest.lease_owner) == (pair(3).token, False, None)
    assert (await older.load()).token == pair(3).token
    assert await lossy_backend.stored_pair() == pair(3)


async def test_store_refreshed_after_loss_is_stored(lossy_backend: LossyBackend) -> None:
    process = lossy_backend.process()
    await refresh(process, 1)
    lease = await process.lease(await process.load())
    assert lease is not None
    lossy_backend.lose()

    await process.store_refreshed(lease, evolve(pair(2), issued_at=5 * 3600.0))
    while not process.is_saved:  # the first operation after the loss may fail
        await process.save()

    stored = await lossy_backend.stored_pair()
    assert stored is not None
    assert (stored.token, stored.refresh_token) == (pair(2).token, pair(2).refresh_token)


async def test_store_refreshed_replaces_restored_older_pair(lossy_backend: LossyBackend) -> None:
    process, other = lossy_backend.process(), lossy_backend.process()
    await refresh(other, 1)
    await refresh(process, 2)
    lease = await process.lease(await process.load())
    assert lease is not None
    lossy_backend.lose()
    await other.load()

    await process.store_refreshed(lease, evolve(pair(3), issued_at=5 * 3600.0))

    stored = await lossy_backend.stored_pair()
    assert stored is not None
    assert (stored.token, stored.refresh_token) == (pair(3).token, pair(3).refresh_token)


async def test_release_after_loss_keeps_newest_record(lossy_backend: LossyBackend) -> None:
    process = lossy_backend.process()
    await refresh(process, 1)
    lease = await process.lease(await process.load())
    assert lease is not None
    lossy_backend.lose()
    with suppress(StorageError):
        await process.release(lease)

    assert (await process.load()).token == pair(1).token


async def test_load_from_store_that_keeps_nothing_raises() -> None:
    class ForgetfulStore(MemoryKeyStore):
        async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
            return None

    process = RecordCache(KEY, SEED, ForgetfulStore(), ManualClock(), on_restore=lambda: None, newest={})

    with pytest.raises(StorageUnavailable, match="keeps no record"):
        await process.load()
