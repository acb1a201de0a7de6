"""What a process does when a store has lost its record, on every store and in every way."""

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
from tests.keys.places import PLACES, File, Memory, Place, Redis, Server, make_place

KEY = KeyId("application", "app-1")
SEED = KeyRecord(token=Secret("key-0"), refresh_token=Secret("refresh-0"))
KINDS: dict[str, type[Memory | File | Redis | Server]] = dict(zip(PLACES, (Memory, File, Redis, Server), strict=True))
LOSSES = [pytest.param((name, way), id=f"{name}, {way}") for name in PLACES for way in KINDS[name].losses]


def pair(number: int) -> KeyRecord:
    """Return the pair of the refresh ``number``, an hour after the one before."""
    token, refresh_token = Secret(f"key-{number}"), Secret(f"refresh-{number}")
    return KeyRecord(token=token, refresh_token=refresh_token, issued_at=number * 3600.0, expires_at=9e9)


class Losing:
    """A place that loses its records on command, and the processes that share it."""

    def __init__(self, place: Place, way: str) -> None:
        self.place, self.way = place, way
        self.restored = 0

    def lose(self) -> None:
        self.place.lose(self.way)

    def process(self, newest: dict[KeyId, KeyRecord] | None = None) -> RecordCache:
        def restore() -> None:
            self.restored += 1

        clock, newest = ManualClock(start=5 * 3600.0), {} if newest is None else newest
        return RecordCache(KEY, SEED, self.place.store(), clock, on_restore=restore, newest=newest)

    async def stored(self) -> KeyRecord | None:
        record = await self.place.store().load(KEY)
        return None if record is None else evolve(record, version=0)


@pytest_asyncio.fixture(params=LOSSES)
async def losing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Losing]:
    name, way = request.param
    request.param = name
    losing = Losing(make_place(request, tmp_path), way)
    yield losing
    await losing.place.aclose()


async def refreshed(process: RecordCache, *numbers: int) -> None:
    """Refresh the key of a process: its newest pair is that of the last number."""
    for number in numbers:
        stored = process.use(await process.load())
        assert await process.replace(stored, pair(number))


async def test_load_lost_record_gets_back_the_newest(losing: Losing) -> None:
    process = losing.process()
    await refreshed(process, 1, 2)
    losing.lose()

    assert evolve(await process.load(), version=0) == pair(2)

    assert await losing.stored() == pair(2)
    assert losing.restored == 1
    await refreshed(process, 3)
    assert await losing.stored() == pair(3)


async def test_load_in_another_loop_of_the_process_puts_back(losing: Losing) -> None:
    """As under ``asyncio.run`` time and again, or after a client was closed and entered again."""
    newest: dict[KeyId, KeyRecord] = {}
    await refreshed(losing.process(newest), 1, 2)
    losing.lose()

    assert evolve(await losing.process(newest).load(), version=0) == pair(2)

    assert await losing.stored() == pair(2)
    assert losing.restored == 1


async def test_load_puts_back_what_another_loop_knows(losing: Losing) -> None:
    newest: dict[KeyId, KeyRecord] = {}
    behind, ahead = losing.process(newest), losing.process(newest)
    await refreshed(behind, 1)
    await refreshed(ahead, 2)
    losing.lose()

    assert (await behind.load()).token == pair(2).token


async def test_load_in_another_loop_takes_what_is_newer(losing: Losing) -> None:
    newest: dict[KeyId, KeyRecord] = {}
    await refreshed(losing.process(newest), 1)
    await refreshed(losing.process(), 2)

    assert (await losing.process(newest).load()).token == pair(2).token
    assert losing.restored == 0


async def test_load_lost_record_newcomer_stores_its_seed(losing: Losing) -> None:
    await refreshed(losing.process(), 1)
    losing.lose()

    assert evolve(await losing.process().load(), version=0) == SEED

    assert await losing.stored() == SEED
    assert losing.restored == 0


async def test_load_seed_of_a_newcomer_gives_way_to_the_newest(losing: Losing) -> None:
    process = losing.process()
    await refreshed(process, 1, 2)
    losing.lose()
    newcomer = losing.process()
    await newcomer.load()

    assert (await process.load()).token == pair(2).token
    assert (await newcomer.load()).token == pair(2).token


async def test_load_older_pair_of_another_gives_way(losing: Losing) -> None:
    """Also if the other process came first and has changed the record since, in either order of reading."""
    behind, ahead = losing.process(), losing.process()
    await refreshed(behind, 1)
    await refreshed(ahead, 2, 3)
    losing.lose()
    put_back = await behind.load()
    assert put_back.token == pair(1).token
    lease = await behind.lease(put_back)
    assert lease is not None
    assert await behind.mark_rejected(lease)

    newest = await ahead.load()
    assert (newest.token, newest.refresh_rejected, newest.lease_owner) == (pair(3).token, False, None)
    assert (await behind.load()).token == pair(3).token
    assert await losing.stored() == pair(3)


async def test_keep_record_lost_under_its_lease_is_stored(losing: Losing) -> None:
    process = losing.process()
    await refreshed(process, 1)
    lease = await process.lease(await process.load())
    assert lease is not None
    losing.lose()

    await process.store_refreshed(lease, evolve(pair(2), issued_at=5 * 3600.0))
    while not process.is_saved:  # a store may say once that it was taken away
        await process.save()

    stored = await losing.stored()
    assert stored is not None
    assert (stored.token, stored.refresh_token) == (pair(2).token, pair(2).refresh_token)


async def test_keep_beats_older_pair_put_back(losing: Losing) -> None:
    process, other = losing.process(), losing.process()
    await refreshed(other, 1)
    await refreshed(process, 2)
    lease = await process.lease(await process.load())
    assert lease is not None
    losing.lose()
    await other.load()

    await process.store_refreshed(lease, evolve(pair(3), issued_at=5 * 3600.0))

    stored = await losing.stored()
    assert stored is not None
    assert (stored.token, stored.refresh_token) == (pair(3).token, pair(3).refresh_token)


async def test_release_after_a_loss_leaves_the_newest(losing: Losing) -> None:
    process = losing.process()
    await refreshed(process, 1)
    lease = await process.lease(await process.load())
    assert lease is not None
    losing.lose()
    with suppress(StorageError):
        await process.release(lease)

    assert (await process.load()).token == pair(1).token


async def test_load_store_that_keeps_nothing_is_unavailable() -> None:
    class Forgetful(MemoryKeyStore):
        async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
            return None

    process = RecordCache(KEY, SEED, Forgetful(), ManualClock(), on_restore=lambda: None, newest={})

    with pytest.raises(StorageUnavailable, match="keeps no record"):
        await process.load()
