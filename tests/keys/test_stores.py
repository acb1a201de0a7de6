"""One suite for all key stores; each test says a thing the keeper builds on."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from attrs import evolve

from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret
from tests.keys.places import NEW_KEY, PLACES, Place, make_place

KEY = KeyId("wallet", "w 1:2")
PAIR = KeyRecord(token=Secret("token"), refresh_token=Secret("refresh"), issued_at=1_700_000_000.25, expires_at=1.8e9)


@pytest_asyncio.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = make_place(request, tmp_path)
    yield place
    await place.aclose()


@pytest.fixture(params=["open", "sealed"])
def store(request: pytest.FixtureRequest, place: Place) -> KeyStore:
    return place.store(Crypto([NEW_KEY]) if request.param == "sealed" else None)


async def put(store: KeyStore, record: KeyRecord = PAIR, version: int = 0) -> KeyRecord:
    stored = await store.commit(KEY, version, "somebody", record)
    assert stored is not None
    return stored


async def test_what_was_never_stored_is_not_there(store: KeyStore) -> None:
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
        KeyRecord(token=Secret(""), refresh_token=Secret('ت"\\\n\x00€'), refresh_rejected=True),
        KeyRecord(refresh_token=Secret("x" * 5000), expires_at=0.1),
        KeyRecord(token=Secret("token"), suspect=True),
    ],
)
async def test_a_record_comes_back_as_it_went(store: KeyStore, record: KeyRecord) -> None:
    stored = await put(store, record)
    assert stored == evolve(record, version=1)
    assert await store.load(KEY) == stored


async def test_the_first_to_store_is_the_only_first(store: KeyStore) -> None:
    first = await put(store)
    assert await store.commit(KEY, 0, "late", evolve(PAIR, token=Secret("late"))) is None
    assert await store.load(KEY) == first


async def test_store_change_counts_version_and_refuses_older(store: KeyStore) -> None:
    await put(store)
    second = await put(store, evolve(PAIR, token=Secret("second")), version=1)
    assert second.version == 2
    for stale in (0, 1, 3):
        assert await store.acquire_lease(KEY, stale, "me", 60) is None
        assert await store.commit(KEY, stale, "me", PAIR) is None
        assert await store.mark_rejected(KEY, stale) is None
    assert await store.load(KEY) == second


async def test_store_ignores_version_and_lease_of_given_record(store: KeyStore) -> None:
    stored = await put(store, evolve(PAIR, version=7, lease_owner="x", lease_expires_at=9e9))
    assert stored == evolve(PAIR, version=1)


async def test_a_claim_keeps_others_out_while_it_lasts(place: Place, store: KeyStore) -> None:
    stored = await put(store)
    claimed = await store.acquire_lease(KEY, 1, "me", place.lease)
    assert claimed is not None
    assert claimed == evolve(stored, version=2, lease_owner="me", lease_expires_at=claimed.lease_expires_at)
    assert await store.load(KEY) == claimed
    assert await store.acquire_lease(KEY, 2, "other", 60) is None


async def test_a_claim_ends_by_the_clock_of_the_store(place: Place, store: KeyStore) -> None:
    await put(store)
    claimed = await store.acquire_lease(KEY, 1, "me", place.lease)
    assert claimed is not None
    assert claimed.lease_expires_at == pytest.approx(await place.now() + place.lease, abs=1)
    await place.wait_out()
    taken = await store.acquire_lease(KEY, 2, "other", place.lease)
    assert taken is not None
    assert (taken.version, taken.lease_owner) == (3, "other")
    # The one that was given up for dead comes back, and changes nothing.
    assert await store.commit(KEY, 2, "me", evolve(PAIR, token=Secret("too late"))) is None
    assert await store.load(KEY) == taken


async def test_lease_from_before_clock_set_back_blocks_no_one(store: KeyStore) -> None:
    """It would seem to last longer than any claim can."""
    await put(store)
    assert await store.acquire_lease(KEY, 1, "me", 86400) is not None
    taken = await store.acquire_lease(KEY, 2, "other", 60)
    assert taken is not None
    assert taken.lease_owner == "other"


async def test_begin_by_its_owner_extends_the_lease(place: Place, store: KeyStore) -> None:
    await put(store)
    leased, longer = await store.acquire_lease(KEY, 1, "me", place.lease), place.lease + 60
    assert leased is not None

    extended = await store.acquire_lease(KEY, leased.version, "me", longer)

    assert extended is not None
    assert extended == evolve(leased, lease_expires_at=extended.lease_expires_at)
    assert extended.lease_expires_at == pytest.approx(await place.now() + longer, abs=1)
    assert await store.load(KEY) == extended
    await place.wait_out()
    assert await store.acquire_lease(KEY, leased.version, "other", longer) is None
    stored = await put(store, evolve(PAIR, token=Secret("fresh")), version=leased.version)
    assert stored == evolve(PAIR, token=Secret("fresh"), version=3)


async def test_begin_by_its_owner_after_the_end_extends(place: Place, store: KeyStore) -> None:
    """A late heartbeat extends a lease that no other owner has taken over."""
    await put(store)
    await store.acquire_lease(KEY, 1, "me", place.lease)
    await place.wait_out()

    extended = await store.acquire_lease(KEY, 2, "me", 60)

    assert extended is not None
    assert (extended.version, extended.lease_owner) == (2, "me")
    assert await store.acquire_lease(KEY, 2, "other", 60) is None


async def test_begin_after_a_takeover_extends_nothing(place: Place, store: KeyStore) -> None:
    await put(store)
    await store.acquire_lease(KEY, 1, "me", place.lease)
    await place.wait_out()
    taken = await store.acquire_lease(KEY, 2, "other", 60)
    assert taken is not None

    assert await store.acquire_lease(KEY, 2, "me", 60) is None
    assert await store.acquire_lease(KEY, taken.version, "me", 60) is None

    assert await store.load(KEY) == taken


async def test_storing_ends_the_claim(place: Place, store: KeyStore) -> None:
    await put(store)
    await store.acquire_lease(KEY, 1, "me", place.lease)
    stored = await put(store, evolve(PAIR, token=Secret("fresh")), version=2)
    assert stored == evolve(PAIR, token=Secret("fresh"), version=3)
    assert await store.acquire_lease(KEY, 3, "other", 60) is not None


async def test_a_pair_put_in_place_from_outside_wins_over_a_claim(place: Place, store: KeyStore) -> None:
    await put(store)
    claimed = await store.acquire_lease(KEY, 1, "me", place.lease)
    assert claimed is not None
    replaced = await put(store, evolve(PAIR, token=Secret("from the panel")), version=2)
    assert await store.commit(KEY, claimed.version, "me", PAIR) is None
    assert await store.load(KEY) == replaced


async def test_a_lost_key_keeps_its_tokens_until_it_is_healed(place: Place, store: KeyStore) -> None:
    await put(store)
    await store.acquire_lease(KEY, 1, "me", place.lease)
    lost = await store.mark_rejected(KEY, 2)
    assert lost == evolve(PAIR, version=3, refresh_rejected=True)
    assert await store.load(KEY) == lost
    claimed = await store.acquire_lease(KEY, 3, "me", place.lease)
    assert claimed is not None
    assert claimed.refresh_rejected
    assert await put(store, PAIR, version=4) == evolve(PAIR, version=5)


async def test_each_account_and_realm_has_a_key_of_its_own(store: KeyStore) -> None:
    keys = [KeyId("wallet", "a"), KeyId("inquiry", "a"), KeyId("wallet", "b"), KeyId("application", "ا:ب")]
    for key in keys:
        await store.commit(key, 0, "me", evolve(PAIR, token=Secret(f"{key}")))
    for key in keys:
        record = await store.load(key)
        assert record is not None
        assert record.token == Secret(f"{key}")


async def test_another_process_sees_it_at_once(place: Place, store: KeyStore) -> None:
    other = place.store(Crypto([NEW_KEY]))
    assert await store.load(KEY) is None
    assert await other.load(KEY) is None
    stored = await put(store)
    assert await other.load(KEY) == stored
    claimed = await other.acquire_lease(KEY, 1, "other", place.lease)
    assert await store.load(KEY) == claimed


async def test_of_many_that_claim_one_wins(place: Place, store: KeyStore) -> None:
    others = [place.store(Crypto([NEW_KEY])) for _ in range(3)]
    await put(store)
    claims = await asyncio.gather(
        *(one.acquire_lease(KEY, 1, f"{number}", 60) for number, one in enumerate((store, *others) * 8))
    )
    [won] = [claim for claim in claims if claim is not None]
    assert await store.load(KEY) == won


async def test_of_many_that_store_first_one_wins(place: Place, store: KeyStore) -> None:
    records = [evolve(PAIR, token=Secret(f"{number}")) for number in range(16)]
    answers = await asyncio.gather(*(store.commit(KEY, 0, "me", record) for record in records))
    [won] = [answer for answer in answers if answer is not None]
    assert await store.load(KEY) == won


# A client of redis that is cut off while it connects leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["task", "scope"])
async def test_a_change_that_is_cut_off_happened_or_did_not(store: KeyStore, how: str) -> None:
    dice = random.Random(2)
    version = (await put(store)).version

    async def change(number: int) -> None:
        await store.commit(KEY, version, "me", evolve(PAIR, token=Secret(f"{number}"), issued_at=number))

    for number in range(40):
        pause = dice.random() * 0.0005 * (number + 1)  # longer and longer: some get through on a busy machine, too
        if how == "scope":
            with anyio.move_on_after(pause):
                await change(number)
        else:
            task = asyncio.create_task(change(number))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.wait([task])
        held = await store.load(KEY)
        assert held is not None
        assert version <= held.version <= version + 1  # a server may come to it only now
        if held.version > 1:
            assert held.token == Secret(f"{held.issued_at:.0f}")
        version = held.version
    assert version > 1
    gc.collect()


def test_event_loops_may_come_one_after_the_other(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    for name in PLACES:
        place = make_place_named(request, name, tmp_path)
        store = place.store()

        async def step(version: int, store: KeyStore = store) -> int:
            return (await put(store, version=version)).version

        async def last(place: Place = place, store: KeyStore = store) -> KeyRecord | None:
            try:
                return await store.load(KEY)
            finally:
                await place.aclose()

        assert [asyncio.run(step(version)) for version in range(3)] == [1, 2, 3]
        assert asyncio.run(last()) == evolve(PAIR, version=3)


def make_place_named(request: pytest.FixtureRequest, name: str, path: Path) -> Place:
    request.param = name
    return make_place(request, path)
