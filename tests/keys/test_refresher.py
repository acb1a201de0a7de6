"""The refresher of one key, with a scripted refresh call and a store of each test."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from paystar_async import Secret
from paystar_async.errors import InvalidRefreshToken, InvalidResponse, NotSent, StorageUnavailable
from paystar_async.keys.lease import LEASE_SECONDS
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.refresher import STORE_CHECK_SECONDS, KeyRefresher
from paystar_async.keys.store import KeyId, KeyRecord, RefreshedKey
from paystar_async.runtime.tasks import BackgroundTasks
from tests.keys.backends import LossyMemoryStore
from tests.support import EventRecorder, QuickClock, RunningClock, wait_all_tasks_blocked

HOUR = 3600.0
KEY = KeyId("application", "app-1")
SEED = KeyRecord(token=Secret("key-0"), refresh_token=Secret("refresh-0"))


class FakeRefreshCall:
    """A refresh call that records the refresh tokens it sends, and may wait or fail."""

    def __init__(self, clock: Any, lifetime: float = 24 * HOUR) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.sent_tokens: list[str] = []
        self.error: Exception | None = None
        self.omits_key = False
        self.may_return = asyncio.Event()
        self.may_return.set()

    async def __call__(self, refresh_token: Secret, before_send: Callable[[], None]) -> RefreshedKey:
        before_send()
        self.sent_tokens.append(refresh_token.reveal())
        await self.may_return.wait()
        if self.error is not None:
            raise self.error
        number = len(self.sent_tokens)
        return RefreshedKey(
            token=None if self.omits_key else Secret(f"key-{number}"),
            refresh_token=Secret(f"refresh-{number}"),
            expires_at=self.clock.time() + self.lifetime,
        )


class RefresherFixture:
    """A refresher, its store, its clock, and the events it emits."""

    def __init__(self, *, clock: Any = None, store: Any = None, seed: KeyRecord = SEED) -> None:
        self.clock = clock or QuickClock()
        self.store: Any = store or MemoryKeyStore(self.clock)
        self.events, self.refresh_call = EventRecorder(), FakeRefreshCall(self.clock)
        self.refresher = KeyRefresher(
            key=KEY,
            seed=seed,
            store=self.store,
            clock=self.clock,
            background=BackgroundTasks(),
            notify=self.events,
        )

    async def token(self) -> str | None:
        token = self.refresher.cached_token() or await self.refresher.get_token(self.refresh_call)
        return token.reveal() if token else None

    async def record(self) -> KeyRecord:
        record: KeyRecord | None = await self.store.load(KEY)
        assert record is not None
        return record


async def test_get_token_stores_configured_key_in_empty_store() -> None:
    fixture = RefresherFixture()

    assert await fixture.token() == "key-0"

    record = await fixture.record()
    assert (record.version, record.token, record.refresh_token) == (1, SEED.token, SEED.refresh_token)


async def test_get_token_prefers_stored_key_to_configured_key() -> None:
    store = MemoryKeyStore()
    await store.commit(KEY, 0, "", KeyRecord(token=Secret("key-7"), refresh_token=Secret("refresh-7")))

    assert await RefresherFixture(store=store).token() == "key-7"


async def test_get_token_without_any_token_returns_none() -> None:
    assert await RefresherFixture(seed=KeyRecord()).token() is None


async def test_refresh_now_sends_latest_refresh_token() -> None:
    fixture = RefresherFixture()

    for _ in range(4):
        await fixture.refresher.refresh_now(fixture.refresh_call)

    assert fixture.refresh_call.sent_tokens == ["refresh-0", "refresh-1", "refresh-2", "refresh-3"]
    assert (await fixture.record()).refresh_token == Secret("refresh-4")


async def test_refresh_lease_precedes_request_and_commit_precedes_use() -> None:
    fixture = RefresherFixture()
    fixture.refresh_call.may_return.clear()
    refreshing = asyncio.create_task(fixture.refresher.refresh_now(fixture.refresh_call))
    await wait_all_tasks_blocked()

    leased = await fixture.record()
    assert fixture.refresh_call.sent_tokens == ["refresh-0"]
    assert leased.lease_owner is not None
    assert leased.lease_expires_at == fixture.clock.time() + LEASE_SECONDS
    assert leased.refresh_token == Secret("refresh-0")

    fixture.refresh_call.may_return.set()
    record = await refreshing
    assert record == await fixture.record()


async def test_failed_refresh_releases_lease() -> None:
    fixture = RefresherFixture()
    fixture.refresh_call.error = NotSent("no connection")

    with pytest.raises(NotSent):
        await fixture.refresher.refresh_now(fixture.refresh_call)

    record = await fixture.record()
    assert (record.lease_owner, record.token, record.refresh_token) == (None, SEED.token, SEED.refresh_token)


async def test_second_refresher_waits_for_store() -> None:
    clock = RunningClock()
    store = MemoryKeyStore(clock)
    first, second = RefresherFixture(clock=clock, store=store), RefresherFixture(clock=clock, store=store)
    await first.token()
    await second.token()
    first.refresh_call.may_return.clear()
    async with clock.running():
        running_refresh = asyncio.create_task(first.refresher.refresh_now(first.refresh_call))
        await wait_all_tasks_blocked()
        waiting_refresh = asyncio.create_task(
            second.refresher.refresh_rejected_token(Secret("key-0"), second.refresh_call)
        )
        await wait_all_tasks_blocked(300)
        assert not waiting_refresh.done()
        first.refresh_call.may_return.set()
        await running_refresh

        assert await waiting_refresh == (Secret("key-1"), False)

    assert second.refresh_call.sent_tokens == []
    assert second.events.names == ["key_reloaded"]


async def test_refresh_expired_lease_of_dead_owner_is_taken_over() -> None:
    clock = RunningClock()
    fixture = RefresherFixture(clock=clock)
    await fixture.token()
    await fixture.store.acquire_lease(KEY, 1, "a host that died", LEASE_SECONDS)
    started = clock.monotonic()

    async with clock.running():
        await fixture.refresher.refresh_now(fixture.refresh_call)

    assert LEASE_SECONDS <= clock.monotonic() - started < LEASE_SECONDS + 5
    assert fixture.refresh_call.sent_tokens == ["refresh-0"]


async def test_refresh_starts_after_half_life_with_jitter() -> None:
    refresh_hours: list[float] = []
    for _ in range(40):
        fixture = RefresherFixture()
        await fixture.refresher.refresh_now(fixture.refresh_call)
        while len(fixture.refresh_call.sent_tokens) == 1:
            fixture.clock.advance(0.1 * HOUR)
            assert await fixture.token() == "key-1"
            await wait_all_tasks_blocked(8)
        refresh_hours.append(fixture.clock.monotonic() / HOUR)

    assert min(refresh_hours) >= 12.0
    assert max(refresh_hours) <= 14.6
    assert len(set(refresh_hours)) > 5


@pytest.mark.parametrize(("life", "margin"), [(24 * HOUR, 1800.0), (HOUR, 360.0)])
async def test_refresh_margin_is_half_an_hour_or_a_tenth_of_life(life: float, margin: float) -> None:
    fixture = RefresherFixture()
    fixture.refresh_call.lifetime = life
    await fixture.refresher.refresh_now(fixture.refresh_call)
    fixture.refresh_call.error = NotSent("no connection")

    fixture.clock.advance(life - margin - 1)
    fixture.refresh_call.may_return.clear()
    assert await fixture.token() == "key-1"  # in the background
    fixture.refresh_call.may_return.set()
    await wait_all_tasks_blocked()

    fixture.clock.advance(20)
    fixture.refresh_call.error = None
    assert await fixture.token() == f"key-{len(fixture.refresh_call.sent_tokens)}"  # before the call
    assert len(fixture.refresh_call.sent_tokens) >= 3


async def test_get_token_near_expiry_of_stored_key_refreshes() -> None:
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    now = clock.time()
    stored_key = KeyRecord(
        token=Secret("key-7"),
        refresh_token=Secret("refresh-7"),
        issued_at=now - 23.8 * HOUR,
        expires_at=now + 0.2 * HOUR,
    )
    await store.commit(KEY, 0, "", stored_key)
    fixture = RefresherFixture(clock=clock, store=store)

    assert await fixture.token() == "key-1"


async def test_stored_key_from_future_lives_at_most_one_lifetime() -> None:
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    now = clock.time() + 48 * HOUR  # the clock was set back since
    stored_key = KeyRecord(
        token=Secret("key-7"), refresh_token=Secret("refresh-7"), issued_at=now, expires_at=now + 24 * HOUR
    )
    await store.commit(KEY, 0, "", stored_key)
    fixture = RefresherFixture(clock=clock, store=store)

    assert await fixture.token() == "key-7"
    clock.advance(15 * HOUR)
    await fixture.token()
    await wait_all_tasks_blocked()
    assert fixture.refresh_call.sent_tokens == ["refresh-7"]


async def test_rejected_key_refreshed_elsewhere_is_reloaded() -> None:
    fixture = RefresherFixture()
    await fixture.refresher.refresh_now(fixture.refresh_call)

    assert await fixture.refresher.refresh_rejected_token(Secret("key-0"), fixture.refresh_call) == (
        Secret("key-1"),
        False,
    )
    assert len(fixture.refresh_call.sent_tokens) == 1


async def test_refresh_returning_rejected_key_replaces_nothing() -> None:
    fixture = RefresherFixture(seed=KeyRecord(token=Secret("key-1"), refresh_token=Secret("refresh-0")))

    assert await fixture.refresher.refresh_rejected_token(Secret("key-1"), fixture.refresh_call) == (None, True)


async def test_key_without_refresh_token_is_reloaded_from_store() -> None:
    store = MemoryKeyStore()
    fixture = RefresherFixture(store=store, seed=KeyRecord(token=Secret("key-0")))
    assert await fixture.token() == "key-0"
    assert await fixture.refresher.refresh_rejected_token(Secret("key-0"), fixture.refresh_call) == (None, False)

    await store.commit(KEY, 1, "", KeyRecord(token=Secret("key-panel")))

    assert await fixture.refresher.refresh_rejected_token(Secret("key-0"), fixture.refresh_call) == (
        Secret("key-panel"),
        False,
    )


async def test_rejected_refresh_is_shared_and_not_sent_again() -> None:
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    first, second = RefresherFixture(clock=clock, store=store), RefresherFixture(clock=clock, store=store)
    first.refresh_call.error = InvalidRefreshToken(13)
    with pytest.raises(InvalidRefreshToken):
        await first.refresher.refresh_now(first.refresh_call)

    with pytest.raises(InvalidRefreshToken, match="rejected before"):
        await second.refresher.refresh_now(second.refresh_call)

    assert second.refresh_call.sent_tokens == []
    assert (await first.record()).refresh_token == SEED.refresh_token
    assert first.events.names == ["refresh_token_rejected"]
    assert second.events.names == []


async def test_replace_wins_over_concurrent_changes() -> None:
    class BusyStore(MemoryKeyStore):
        changes = 3

        async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
            if owner != "other" and version and self.changes:
                self.changes -= 1
                await super().commit(key, version, "other", KeyRecord(token=Secret("key-other")))
            return await super().commit(key, version, owner, new)

    fixture = RefresherFixture(store=BusyStore())

    await fixture.refresher.replace(Secret("key-panel"), Secret("refresh-panel"), None)

    assert await fixture.token() == "key-panel"
    assert (await fixture.record()).token == Secret("key-panel")


async def test_replace_without_refresh_token_keeps_stored_token() -> None:
    fixture = RefresherFixture()

    await fixture.refresher.replace(Secret("key-panel"), None, fixture.clock.time() + HOUR)

    record = await fixture.record()
    assert record.refresh_token == Secret("refresh-0")
    fixture.clock.advance(0.95 * HOUR)
    assert await fixture.token() == "key-1"
    assert fixture.events.names == ["key_reloaded", "key_refreshed"]


async def test_refresh_cancelled_with_its_loop_releases_lease() -> None:
    fixture = RefresherFixture()
    fixture.refresh_call.may_return.clear()
    waiting = asyncio.create_task(fixture.refresher.refresh_now(fixture.refresh_call))
    await wait_all_tasks_blocked()
    for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
        task.cancel()
    waiting.cancel()
    await wait_all_tasks_blocked()

    assert (await fixture.record()).lease_owner is None


async def test_refresh_now_after_loss_sends_newest_refresh_token() -> None:
    fixture = RefresherFixture(store=LossyMemoryStore())
    for _ in range(2):
        await fixture.refresher.refresh_now(fixture.refresh_call)
    fixture.store.lose()

    await fixture.refresher.refresh_now(fixture.refresh_call)

    assert fixture.refresh_call.sent_tokens == ["refresh-0", "refresh-1", "refresh-2"]
    assert fixture.events.names == ["key_refreshed", "key_refreshed", "key_replaced", "key_refreshed"]
    assert (await fixture.record()).refresh_token == Secret("refresh-3")


@pytest.mark.parametrize("hours", [-24, 24], ids=["behind", "ahead"])
async def test_lost_record_is_restored_despite_wrong_clock(hours: int) -> None:
    """Of three pairs, the second was issued by a host whose clock is a day off; then the store loses its record."""
    store = LossyMemoryStore()
    right, wrong = RefresherFixture(store=store), RefresherFixture(store=store)
    wrong.refresh_call = right.refresh_call
    wrong.clock.jump(hours * HOUR)
    await right.refresher.refresh_now(right.refresh_call)
    await wrong.token()
    await wrong.refresher.refresh_now(right.refresh_call)
    await right.refresher.refresh_now(right.refresh_call)  # loads that pair
    await right.refresher.refresh_now(right.refresh_call)
    store.lose()

    await right.refresher.refresh_now(right.refresh_call)

    sent = right.refresh_call.sent_tokens
    assert sent == [f"refresh-{number}" for number in range(len(sent))]
    assert (await right.record()).refresh_token == Secret(f"refresh-{len(sent)}")


async def test_wrong_clock_replaces_no_restored_pair() -> None:
    """A host whose clock is ahead has an older pair in memory than the pair that another host has restored."""
    store = LossyMemoryStore()
    right, ahead = RefresherFixture(store=store), RefresherFixture(store=store)
    ahead.refresh_call = right.refresh_call
    ahead.clock.jump(23 * HOUR)
    for fixture in (ahead, right):
        await fixture.refresher.refresh_now(right.refresh_call)
    store.lose()
    right.clock.advance(STORE_CHECK_SECONDS + 1)
    await right.token()
    await wait_all_tasks_blocked()
    assert (await right.record()).refresh_token == Secret("refresh-2")

    ahead.clock.advance(STORE_CHECK_SECONDS + 1)
    await ahead.token()
    await wait_all_tasks_blocked()

    assert (await right.record()).refresh_token == Secret("refresh-2")
    assert await ahead.token() == "key-2"
    await wait_all_tasks_blocked()


@pytest.mark.parametrize("leased", [False, True])
async def test_refresh_with_unchangeable_record_raises(leased: bool) -> None:
    """As with a rule or a right of the database that lets the record be read, and changes nothing."""

    class ReadableStore(MemoryKeyStore):
        async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
            return None

    fixture = RefresherFixture(store=ReadableStore())
    await fixture.store.commit(KEY, 0, "", SEED)
    if leased:
        assert await MemoryKeyStore.acquire_lease(fixture.store, KEY, 1, "killed", LEASE_SECONDS) is not None
    with pytest.raises(StorageUnavailable, match="does not change the application key of app-1") as raised:
        await fixture.refresher.refresh_now(fixture.refresh_call)
    assert "rights" in raised.value.hint
    assert fixture.refresh_call.sent_tokens == []


async def test_stored_refresh_token_without_key_is_used() -> None:
    """A record whose key was removed by hand, with the times of that key."""
    fixture = RefresherFixture()
    now = fixture.clock.time()
    record = KeyRecord(refresh_token=Secret("kept"), issued_at=now, expires_at=now + HOUR)
    await fixture.store.commit(KEY, 0, "", record)

    assert await fixture.token() == "key-1"
    assert fixture.refresh_call.sent_tokens == ["kept"]


async def test_background_refresh_after_loss_sends_newest_token() -> None:
    fixture = RefresherFixture(store=LossyMemoryStore())
    await fixture.refresher.refresh_now(fixture.refresh_call)
    fixture.store.lose()
    fixture.clock.advance(15 * HOUR)

    assert await fixture.token() == "key-1"
    await wait_all_tasks_blocked()

    assert fixture.refresh_call.sent_tokens == ["refresh-0", "refresh-1"]
    assert await fixture.token() == "key-2"


async def test_refresh_with_lost_record_is_stored() -> None:
    fixture = RefresherFixture(store=LossyMemoryStore())
    fixture.refresh_call.may_return.clear()
    refreshing = asyncio.create_task(fixture.refresher.refresh_now(fixture.refresh_call))
    await wait_all_tasks_blocked()
    fixture.store.lose()
    fixture.refresh_call.may_return.set()
    await refreshing

    record = await fixture.record()
    assert (record.token, record.refresh_token, record.refresh_rejected) == (
        Secret("key-1"),
        Secret("refresh-1"),
        False,
    )


async def test_failed_refresh_with_lost_record_restores_newest() -> None:
    """Also if this process has just loaded that pair from the store."""
    store = LossyMemoryStore()
    first, second = RefresherFixture(store=store), RefresherFixture(store=store)
    await second.token()
    await first.refresher.refresh_now(first.refresh_call)
    second.clock.advance(25 * HOUR)  # a clock that is a day ahead: the process refreshes a key that has not expired
    second.refresh_call.may_return.clear()
    refreshing = asyncio.create_task(second.refresher.refresh_now(second.refresh_call))
    await wait_all_tasks_blocked()
    assert second.refresh_call.sent_tokens == ["refresh-1"]
    store.lose()
    second.refresh_call.error = NotSent("no connection")
    second.refresh_call.may_return.set()
    with pytest.raises(NotSent):
        await refreshing

    second.refresh_call.error = None
    await second.refresher.refresh_now(second.refresh_call)
    assert second.refresh_call.sent_tokens == ["refresh-1", "refresh-1"]


async def test_cached_token_restores_lost_record_within_a_minute() -> None:
    fixture = RefresherFixture(store=LossyMemoryStore())
    await fixture.refresher.refresh_now(fixture.refresh_call)
    fixture.store.lose()
    fixture.clock.advance(STORE_CHECK_SECONDS + 1)

    for _ in range(5):
        assert await fixture.token() == "key-1"
        await wait_all_tasks_blocked()

    assert (await fixture.record()).token == Secret("key-1")
    assert fixture.events.names == ["key_refreshed", "key_replaced"]
    assert len(fixture.refresh_call.sent_tokens) == 1


async def test_cached_token_uses_key_refreshed_elsewhere() -> None:
    store = LossyMemoryStore()
    first, second = RefresherFixture(store=store), RefresherFixture(store=store)
    await first.refresher.refresh_now(first.refresh_call)
    assert await second.token() == "key-1"
    await first.refresher.refresh_now(first.refresh_call)
    second.clock.advance(STORE_CHECK_SECONDS + 1)

    await second.token()
    await wait_all_tasks_blocked()

    assert await second.token() == "key-2"


async def test_store_check_that_fails_raises_in_no_call() -> None:
    class DownStore(MemoryKeyStore):
        async def load(self, key: KeyId) -> KeyRecord | None:
            if is_down:
                raise RuntimeError("down")
            return await super().load(key)

    is_down = False
    fixture = RefresherFixture(store=DownStore())
    await fixture.refresher.refresh_now(fixture.refresh_call)
    is_down = True
    for _ in range(3):
        fixture.clock.advance(STORE_CHECK_SECONDS + 1)
        assert await fixture.token() == "key-1"
        await wait_all_tasks_blocked()
    assert fixture.events.names == ["key_refreshed"]


async def test_refresh_without_key_keeps_new_refresh_token() -> None:
    fixture = RefresherFixture()
    await fixture.token()
    fixture.refresh_call.omits_key = True
    with pytest.raises(InvalidResponse) as error:
        await fixture.refresher.refresh_now(fixture.refresh_call)

    assert error.value.executed == "maybe"
    record = await fixture.record()
    assert (record.token, record.refresh_token) == (Secret("key-0"), Secret("refresh-1"))
    assert (record.refresh_rejected, record.lease_owner) == (False, None)
    assert fixture.events.names == ["key_refresh_failed"]

    fixture.refresh_call.omits_key = False
    await fixture.refresher.refresh_now(fixture.refresh_call)
    assert fixture.refresh_call.sent_tokens == ["refresh-0", "refresh-1"]
    assert await fixture.token() == "key-2"


async def test_refresh_resumed_after_takeover_repairs_key() -> None:
    """Stopped before the response: the process that took over was rejected and marked the refresh token as rejected."""
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    stopped, successor = RefresherFixture(clock=clock, store=store), RefresherFixture(clock=clock, store=store)
    stopped.refresh_call.may_return.clear()
    refreshing = asyncio.create_task(stopped.refresher.refresh_now(stopped.refresh_call))
    await wait_all_tasks_blocked()
    clock.advance(LEASE_SECONDS + 1)
    successor.refresh_call.error = InvalidRefreshToken(13)
    with pytest.raises(InvalidRefreshToken):
        await successor.refresher.refresh_now(successor.refresh_call)
    assert (await stopped.record()).refresh_rejected

    stopped.refresh_call.may_return.set()
    await refreshing

    record = await stopped.record()
    assert (record.token, record.refresh_token, record.refresh_rejected) == (
        Secret("key-1"),
        Secret("refresh-1"),
        False,
    )
    await successor.refresher.refresh_rejected_token(Secret("key-0"), successor.refresh_call)
    assert await successor.token() == "key-1"
