"""The conformance suite of key stores: each test checks a guarantee that the refresher relies on."""

import asyncio
import gc
import random
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret
from tests.keys.backends import BACKENDS, NEW_KEY, Backend, make_backend

KEY = KeyId("wallet", "w 1:2")
PAIR = KeyRecord(token=Secret("token"), refresh_token=Secret("refresh"), issued_at=1_700_000_000.25, expires_at=1.8e9)


async def put(store: KeyStore, record: KeyRecord = PAIR, version: int = 0) -> KeyRecord:
    stored = await store.commit(KEY, version, "other", record)
    assert stored is not None
    return stored


async def test_operations_without_record_return_none(store: KeyStore) -> None:
    assert await store.load(KEY) is None
    assert await store.acquire_lease(KEY, 0, "me", 60) is None
    assert await store.mark_rejected(KEY, 0) is None
    assert await store.commit(KEY, 1, "me", PAIR) is None
    assert await store.load(KEY) is None


@pytest.mark.parametrize(
    "record",
    [
        PAIR,
        KeyRecord(),
        KeyRecord(token=Secret('!"\\~'), refresh_token=Secret('ت"\\ €'), refresh_rejected=True),
        KeyRecord(refresh_token=Secret("x" * 5000), expires_at=0.1),
        KeyRecord(token=Secret("token"), suspect=True),
        KeyRecord(token=Secret("token"), issued_at=1.0, order=2.5),
    ],
)
async def test_commit_record_is_loaded_unchanged(store: KeyStore, record: KeyRecord) -> None:
    stored = await put(store, record)
    assert stored == evolve(record, version=1)
    assert await store.load(KEY) == stored


async def test_commit_version_zero_twice_keeps_first_record(store: KeyStore) -> None:
    first = await put(store)
    assert await store.commit(KEY, 0, "late", evolve(PAIR, token=Secret("late"))) is None
    assert await store.load(KEY) == first


async def test_commit_counts_versions_and_rejects_outdated(store: KeyStore) -> None:
    await put(store)
    second = await put(store, evolve(PAIR, token=Secret("second")), version=1)
    assert second.version == 2
    for outdated in (0, 1, 3):
        assert await store.acquire_lease(KEY, outdated, "me", 60) is None
        assert await store.commit(KEY, outdated, "me", PAIR) is None
        assert await store.mark_rejected(KEY, outdated) is None
    assert await store.load(KEY) == second


async def test_commit_ignores_version_and_lease_of_record(store: KeyStore) -> None:
    stored = await put(store, evolve(PAIR, version=7, lease_owner="x", lease_expires_at=9e9))
    assert stored == evolve(PAIR, version=1)


async def test_acquire_lease_of_other_owner_returns_none(backend: Backend, store: KeyStore) -> None:
    stored = await put(store)
    leased = await store.acquire_lease(KEY, 1, "me", backend.lease_seconds)
    assert leased is not None
    assert leased == evolve(stored, version=2, lease_owner="me", lease_expires_at=leased.lease_expires_at)
    assert await store.load(KEY) == leased
    assert await store.acquire_lease(KEY, 2, "other", 60) is None


async def test_acquire_lease_expires_by_clock_of_store(backend: Backend, store: KeyStore) -> None:
    await put(store)
    leased = await store.acquire_lease(KEY, 1, "me", backend.lease_seconds)
    assert leased is not None
    assert leased.lease_expires_at == pytest.approx(await backend.now() + backend.lease_seconds, abs=1)
    await backend.wait_lease_end()
    taken_over = await store.acquire_lease(KEY, 2, "other", backend.lease_seconds)
    assert taken_over is not None
    assert (taken_over.version, taken_over.lease_owner) == (3, "other")
    # The process whose lease has expired continues, and changes nothing.
    assert await store.commit(KEY, 2, "me", evolve(PAIR, token=Secret("too late"))) is None
    assert await store.load(KEY) == taken_over


async def test_acquire_lease_after_clock_set_back_succeeds(store: KeyStore) -> None:
    """Such a lease would seem to last longer than any lease can."""
    await put(store)
    assert await store.acquire_lease(KEY, 1, "me", 86400) is not None
    taken_over = await store.acquire_lease(KEY, 2, "other", 60)
    assert taken_over is not None
    assert taken_over.lease_owner == "other"


async def test_acquire_lease_by_its_owner_extends_lease(backend: Backend, store: KeyStore) -> None:
    await put(store)
    leased, longer_seconds = await store.acquire_lease(KEY, 1, "me", backend.lease_seconds), backend.lease_seconds + 60
    assert leased is not None

    extended = await store.acquire_lease(KEY, leased.version, "me", longer_seconds)

    assert extended is not None
    assert extended == evolve(leased, lease_expires_at=extended.lease_expires_at)
    assert extended.lease_expires_at == pytest.approx(await backend.now() + longer_seconds, abs=1)
    assert await store.load(KEY) == extended
    await backend.wait_lease_end()
    assert await store.acquire_lease(KEY, leased.version, "other", longer_seconds) is None
    stored = await put(store, evolve(PAIR, token=Secret("fresh")), version=leased.version)
    assert stored == evolve(PAIR, token=Secret("fresh"), version=3)


async def test_acquire_lease_by_its_owner_after_expiry_extends(backend: Backend, store: KeyStore) -> None:
    """A late heartbeat extends a lease that no other owner has taken over."""
    await put(store)
    await store.acquire_lease(KEY, 1, "me", backend.lease_seconds)
    await backend.wait_lease_end()

    extended = await store.acquire_lease(KEY, 2, "me", 60)

    assert extended is not None
    assert (extended.version, extended.lease_owner) == (2, "me")
    assert await store.acquire_lease(KEY, 2, "other", 60) is None


async def test_acquire_lease_after_takeover_returns_none(backend: Backend, store: KeyStore) -> None:
    await put(store)
    await store.acquire_lease(KEY, 1, "me", backend.lease_seconds)
    await backend.wait_lease_end()
    taken_over = await store.acquire_lease(KEY, 2, "other", 60)
    assert taken_over is not None

    assert await store.acquire_lease(KEY, 2, "me", 60) is None
    assert await store.acquire_lease(KEY, taken_over.version, "me", 60) is None

    assert await store.load(KEY) == taken_over


async def test_commit_ends_lease(backend: Backend, store: KeyStore) -> None:
    await put(store)
    await store.acquire_lease(KEY, 1, "me", backend.lease_seconds)
    stored = await put(store, evolve(PAIR, token=Secret("fresh")), version=2)
    assert stored == evolve(PAIR, token=Secret("fresh"), version=3)
    assert await store.acquire_lease(KEY, 3, "other", 60) is not None


async def test_commit_from_outside_invalidates_lease(backend: Backend, store: KeyStore) -> None:
    await put(store)
    leased = await store.acquire_lease(KEY, 1, "me", backend.lease_seconds)
    assert leased is not None
    replaced = await put(store, evolve(PAIR, token=Secret("from the panel")), version=2)
    assert await store.commit(KEY, leased.version, "me", PAIR) is None
    assert await store.load(KEY) == replaced


async def test_mark_rejected_keeps_tokens_until_commit(backend: Backend, store: KeyStore) -> None:
    await put(store)
    await store.acquire_lease(KEY, 1, "me", backend.lease_seconds)
    rejected = await store.mark_rejected(KEY, 2)
    assert rejected == evolve(PAIR, version=3, refresh_rejected=True)
    assert await store.load(KEY) == rejected
    leased = await store.acquire_lease(KEY, 3, "me", backend.lease_seconds)
    assert leased is not None
    assert leased.refresh_rejected
    assert await put(store, PAIR, version=4) == evolve(PAIR, version=5)


async def test_commit_separates_realms_and_accounts(store: KeyStore) -> None:
    keys = [KeyId("wallet", "a"), KeyId("inquiry", "a"), KeyId("wallet", "b"), KeyId("application", "ا:ب")]
    for key in keys:
        await store.commit(key, 0, "me", evolve(PAIR, token=Secret(f"token {keys.index(key)}")))
    for key in keys:
        record = await store.load(key)
        assert record is not None
        assert record.token == Secret(f"token {keys.index(key)}")


async def test_commit_is_visible_to_other_process_at_once(backend: Backend, store: KeyStore) -> None:
    other = backend.store(Crypto([NEW_KEY]))
    assert await store.load(KEY) is None
    assert await other.load(KEY) is None
    stored = await put(store)
    assert await other.load(KEY) == stored
    leased = await other.acquire_lease(KEY, 1, "other", backend.lease_seconds)
    assert await store.load(KEY) == leased


async def test_acquire_lease_concurrently_has_one_winner(backend: Backend, store: KeyStore) -> None:
    other_stores = [backend.store(Crypto([NEW_KEY])) for _ in range(3)]
    await put(store)
    leases = await asyncio.gather(
        *(each.acquire_lease(KEY, 1, f"{number}", 60) for number, each in enumerate((store, *other_stores) * 8))
    )
    [winner] = [lease for lease in leases if lease is not None]
    assert await store.load(KEY) == winner


async def test_commit_concurrently_has_one_winner(backend: Backend, store: KeyStore) -> None:
    records = [evolve(PAIR, token=Secret(f"{number}")) for number in range(16)]
    results = await asyncio.gather(*(store.commit(KEY, 0, "me", record) for record in records))
    [winner] = [result for result in results if result is not None]
    assert await store.load(KEY) == winner


# A cancelled client of redis-py that was connecting leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("cancelled_by", ["task", "scope"])
async def test_commit_cancelled_is_applied_or_not_applied(store: KeyStore, cancelled_by: str) -> None:
    random_source = random.Random(2)
    version = (await put(store)).version

    async def change(number: int) -> None:
        await store.commit(KEY, version, "me", evolve(PAIR, token=Secret(f"{number}"), issued_at=number))

    for number in range(40):
        pause = random_source.random() * 0.0005 * (number + 1)  # ever longer, for a busy machine
        if cancelled_by == "scope":
            with anyio.move_on_after(pause):
                await change(number)
        else:
            task = asyncio.create_task(change(number))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.wait([task])
        current = await store.load(KEY)
        assert current is not None
        assert version <= current.version <= version + 1  # a server may apply the cancelled change only now
        if current.version > 1:
            assert current.token == Secret(f"{current.issued_at:.0f}")
        version = current.version
    assert version > 1
    gc.collect()


def test_commit_and_load_work_in_successive_event_loops(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    for name in BACKENDS:
        request.param = name
        backend = make_backend(request, tmp_path)
        store = backend.store()

        async def commit(version: int, store: KeyStore = store) -> int:
            return (await put(store, version=version)).version

        async def load(backend: Backend = backend, store: KeyStore = store) -> KeyRecord | None:
            try:
                return await store.load(KEY)
            finally:
                await backend.aclose()

        assert [asyncio.run(commit(version)) for version in range(3)] == [1, 2, 3]
        assert asyncio.run(load()) == evolve(PAIR, version=3)
