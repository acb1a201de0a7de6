"""One key's refresher, with a refresh call and a store of the test's own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from paystar_async import Secret
from paystar_async.errors import InvalidRefreshToken, InvalidResponse, NotSent
from paystar_async.keys.lease import LEASE_SECONDS
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.refresher import STORE_CHECK_SECONDS, KeyRefresher
from paystar_async.keys.store import KeyId, KeyRecord, RefreshedKey
from paystar_async.runtime.tasks import BackgroundTasks
from tests.keys.places import Emptied
from tests.support import EventRecorder, QuickClock, RunningClock, wait_all_tasks_blocked

HOUR = 3600.0
KEY = KeyId("application", "app-1")
FIRST = KeyRecord(token=Secret("key-0"), refresh_token=Secret("refresh-0"))


class Renewing:
    """A refresh call that counts, and may be delayed or fail."""

    def __init__(self, clock: Any, life: float = 24 * HOUR) -> None:
        self.clock, self.life = clock, life
        self.shown: list[str] = []
        self.error: Exception | None = None
        self.is_keyless = False
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, refresh_token: Secret, before_send: Callable[[], None]) -> RefreshedKey:
        before_send()
        self.shown.append(refresh_token.reveal())
        await self.go.wait()
        if self.error is not None:
            raise self.error
        number = len(self.shown)
        return RefreshedKey(
            token=None if self.is_keyless else Secret(f"key-{number}"),
            refresh_token=Secret(f"refresh-{number}"),
            expires_at=self.clock.time() + self.life,
        )


class Keeping:
    """A keeper and all it stands on."""

    def __init__(self, *, clock: Any = None, store: Any = None, first: KeyRecord = FIRST) -> None:
        self.clock = clock or QuickClock()
        self.store: Any = store or MemoryKeyStore(self.clock)
        self.background, self.told, self.renew = BackgroundTasks(), EventRecorder(), Renewing(self.clock)
        self.keeper = KeyRefresher(
            key=KEY, seed=first, store=self.store, clock=self.clock, background=self.background, notify=self.told
        )

    async def token(self) -> str | None:
        token = self.keeper.cached_token() or await self.keeper.get_token(self.renew)
        return token.reveal() if token else None

    async def record(self) -> KeyRecord:
        record: KeyRecord | None = await self.store.load(KEY)
        assert record is not None
        return record


async def test_configured_key_is_stored_in_empty_store() -> None:
    at = Keeping()

    assert await at.token() == "key-0"

    record = await at.record()
    assert (record.version, record.token, record.refresh_token) == (1, FIRST.token, FIRST.refresh_token)


async def test_a_stored_key_goes_before_the_configured_one() -> None:
    store = MemoryKeyStore()
    await store.commit(KEY, 0, "", KeyRecord(token=Secret("key-7"), refresh_token=Secret("refresh-7")))

    assert await Keeping(store=store).token() == "key-7"


async def test_get_token_without_key_and_refresh_token_is_none() -> None:
    assert await Keeping(first=KeyRecord()).token() is None


async def test_each_refresh_sends_the_last_refresh_token() -> None:
    at = Keeping()

    for _ in range(4):
        await at.keeper.refresh_now(at.renew)

    assert at.renew.shown == ["refresh-0", "refresh-1", "refresh-2", "refresh-3"]
    assert (await at.record()).refresh_token == Secret("refresh-4")


async def test_refresh_lease_precedes_request_and_commit_precedes_use() -> None:
    at = Keeping()
    at.renew.go.clear()
    renewing = asyncio.create_task(at.keeper.refresh_now(at.renew))
    await wait_all_tasks_blocked()

    claimed = await at.record()
    assert at.renew.shown == ["refresh-0"]
    assert claimed.lease_owner is not None
    assert claimed.lease_expires_at == at.clock.time() + LEASE_SECONDS
    assert claimed.refresh_token == Secret("refresh-0")

    at.renew.go.set()
    record = await renewing
    assert record == await at.record()


async def test_failed_refresh_releases_lease() -> None:
    at = Keeping()
    at.renew.error = NotSent("no connection")

    with pytest.raises(NotSent):
        await at.keeper.refresh_now(at.renew)

    record = await at.record()
    assert (record.lease_owner, record.token, record.refresh_token) == (None, FIRST.token, FIRST.refresh_token)


async def test_second_refresher_waits_for_store() -> None:
    clock = RunningClock()
    store = MemoryKeyStore(clock)
    first, second = Keeping(clock=clock, store=store), Keeping(clock=clock, store=store)
    await first.token()
    await second.token()
    first.renew.go.clear()
    async with clock.running():
        ahead = asyncio.create_task(first.keeper.refresh_now(first.renew))
        await wait_all_tasks_blocked()
        behind = asyncio.create_task(second.keeper.refresh_rejected_token(Secret("key-0"), second.renew))
        await wait_all_tasks_blocked(300)
        assert not behind.done()
        first.renew.go.set()
        await ahead

        assert await behind == (Secret("key-1"), False)

    assert second.renew.shown == []
    assert second.told.names == ["key_reloaded"]


async def test_refresh_expired_lease_of_dead_owner_is_taken_over() -> None:
    clock = RunningClock()
    at = Keeping(clock=clock)
    await at.token()
    await at.store.acquire_lease(KEY, 1, "a host that died", LEASE_SECONDS)
    started = clock.monotonic()

    async with clock.running():
        await at.keeper.refresh_now(at.renew)

    assert LEASE_SECONDS <= clock.monotonic() - started < LEASE_SECONDS + 5
    assert at.renew.shown == ["refresh-0"]


async def test_refresh_starts_after_half_life_with_jitter() -> None:
    begun: list[float] = []
    for _ in range(40):
        at = Keeping()
        await at.keeper.refresh_now(at.renew)
        while len(at.renew.shown) == 1:
            at.clock.advance(0.1 * HOUR)
            assert await at.token() == "key-1"
            await wait_all_tasks_blocked(8)
        begun.append(at.clock.monotonic() / HOUR)

    assert min(begun) >= 12.0
    assert max(begun) <= 14.6
    assert len(set(begun)) > 5


@pytest.mark.parametrize(("life", "margin"), [(24 * HOUR, 1800.0), (HOUR, 360.0)])
async def test_the_last_part_of_the_life_is_half_an_hour_or_a_tenth(life: float, margin: float) -> None:
    at = Keeping()
    at.renew.life = life
    await at.keeper.refresh_now(at.renew)
    at.renew.error = NotSent("no connection")

    at.clock.advance(life - margin - 1)
    at.renew.go.clear()
    assert await at.token() == "key-1"  # beside the call
    at.renew.go.set()
    await wait_all_tasks_blocked()

    at.clock.advance(20)
    at.renew.error = None
    assert await at.token() == f"key-{len(at.renew.shown)}"  # before the call
    assert len(at.renew.shown) >= 3


async def test_an_old_key_from_the_store_is_as_old_as_the_store_says() -> None:
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    now = clock.time()
    old = KeyRecord(
        token=Secret("key-7"),
        refresh_token=Secret("refresh-7"),
        issued_at=now - 23.8 * HOUR,
        expires_at=now + 0.2 * HOUR,
    )
    await store.commit(KEY, 0, "", old)
    at = Keeping(clock=clock, store=store)

    assert await at.token() == "key-1"


async def test_stored_key_from_future_lives_at_most_one_lifetime() -> None:
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    now = clock.time() + 48 * HOUR  # the clock was set back since
    young = KeyRecord(
        token=Secret("key-7"), refresh_token=Secret("refresh-7"), issued_at=now, expires_at=now + 24 * HOUR
    )
    await store.commit(KEY, 0, "", young)
    at = Keeping(clock=clock, store=store)

    assert await at.token() == "key-7"
    clock.advance(15 * HOUR)
    await at.token()
    await wait_all_tasks_blocked()
    assert at.renew.shown == ["refresh-7"]


async def test_rejected_key_refreshed_elsewhere_is_reloaded() -> None:
    at = Keeping()
    await at.keeper.refresh_now(at.renew)

    assert await at.keeper.refresh_rejected_token(Secret("key-0"), at.renew) == (Secret("key-1"), False)
    assert len(at.renew.shown) == 1


async def test_refresh_returning_rejected_key_is_no_success() -> None:
    at = Keeping(first=KeyRecord(token=Secret("key-1"), refresh_token=Secret("refresh-0")))

    assert await at.keeper.refresh_rejected_token(Secret("key-1"), at.renew) == (None, True)


async def test_key_without_refresh_token_is_reloaded_from_store() -> None:
    store = MemoryKeyStore()
    at = Keeping(store=store, first=KeyRecord(token=Secret("key-0")))
    assert await at.token() == "key-0"
    assert await at.keeper.refresh_rejected_token(Secret("key-0"), at.renew) == (None, False)

    await store.commit(KEY, 1, "", KeyRecord(token=Secret("key-panel")))

    assert await at.keeper.refresh_rejected_token(Secret("key-0"), at.renew) == (Secret("key-panel"), False)


async def test_rejected_refresh_is_shared_and_not_sent_again() -> None:
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    first, second = Keeping(clock=clock, store=store), Keeping(clock=clock, store=store)
    first.renew.error = InvalidRefreshToken(13)
    with pytest.raises(InvalidRefreshToken):
        await first.keeper.refresh_now(first.renew)

    with pytest.raises(InvalidRefreshToken, match="rejected before"):
        await second.keeper.refresh_now(second.renew)

    assert second.renew.shown == []
    assert (await first.record()).refresh_token == FIRST.refresh_token
    assert first.told.names == ["refresh_token_rejected"]
    assert second.told.names == []


async def test_replace_wins_over_concurrent_changes() -> None:
    class Busy(MemoryKeyStore):
        changes = 3

        async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
            if owner != "other" and version and self.changes:
                self.changes -= 1
                await super().commit(key, version, "other", KeyRecord(token=Secret("key-other")))
            return await super().commit(key, version, owner, new)

    at = Keeping(store=Busy())

    await at.keeper.replace(Secret("key-panel"), Secret("refresh-panel"), None)

    assert await at.token() == "key-panel"
    assert (await at.record()).token == Secret("key-panel")


async def test_replace_without_refresh_token_keeps_stored_token() -> None:
    at = Keeping()

    await at.keeper.replace(Secret("key-panel"), None, at.clock.time() + HOUR)

    record = await at.record()
    assert record.refresh_token == Secret("refresh-0")
    at.clock.advance(0.95 * HOUR)
    assert await at.token() == "key-1"
    assert at.told.names == ["key_reloaded", "key_refreshed"]


async def test_refresh_ended_with_its_loop_leaves_no_lease() -> None:
    at = Keeping()
    at.renew.go.clear()
    waiting = asyncio.create_task(at.keeper.refresh_now(at.renew))
    await wait_all_tasks_blocked()
    for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
        task.cancel()
    waiting.cancel()
    await wait_all_tasks_blocked()

    assert (await at.record()).lease_owner is None


async def test_refresh_after_a_loss_shows_the_newest_token() -> None:
    at = Keeping(store=Emptied())
    for _ in range(2):
        await at.keeper.refresh_now(at.renew)
    at.store.lose()

    await at.keeper.refresh_now(at.renew)

    assert at.renew.shown == ["refresh-0", "refresh-1", "refresh-2"]
    assert at.told.names == ["key_refreshed", "key_refreshed", "key_replaced", "key_refreshed"]
    assert (await at.record()).refresh_token == Secret("refresh-3")


async def test_refresh_after_lost_record_sends_newest_token() -> None:
    at = Keeping(store=Emptied())
    await at.keeper.refresh_now(at.renew)
    at.store.lose()
    at.clock.advance(15 * HOUR)

    assert await at.token() == "key-1"
    await wait_all_tasks_blocked()

    assert at.renew.shown == ["refresh-0", "refresh-1"]
    assert await at.token() == "key-2"


async def test_refresh_with_lost_record_is_stored() -> None:
    at = Keeping(store=Emptied())
    at.renew.go.clear()
    refreshing = asyncio.create_task(at.keeper.refresh_now(at.renew))
    await wait_all_tasks_blocked()
    at.store.lose()
    at.renew.go.set()
    await refreshing

    record = await at.record()
    assert (record.token, record.refresh_token, record.refresh_rejected) == (
        Secret("key-1"),
        Secret("refresh-1"),
        False,
    )


async def test_failed_refresh_with_lost_record_restores_newest() -> None:
    """Also if this process had only just learnt of that pair from the store."""
    store = Emptied()
    first, second = Keeping(store=store), Keeping(store=store)
    await second.token()
    await first.keeper.refresh_now(first.renew)
    second.clock.advance(25 * HOUR)  # its clock is a day ahead: it sees an expired key and refreshes it
    second.renew.go.clear()
    refreshing = asyncio.create_task(second.keeper.refresh_now(second.renew))
    await wait_all_tasks_blocked()
    assert second.renew.shown == ["refresh-1"]
    store.lose()
    second.renew.error = NotSent("no connection")
    second.renew.go.set()
    with pytest.raises(NotSent):
        await refreshing

    second.renew.error = None
    await second.keeper.refresh_now(second.renew)
    assert second.renew.shown == ["refresh-1", "refresh-1"]


async def test_used_key_is_put_back_within_a_minute() -> None:
    at = Keeping(store=Emptied())
    await at.keeper.refresh_now(at.renew)
    at.store.lose()
    at.clock.advance(STORE_CHECK_SECONDS + 1)

    for _ in range(5):
        assert await at.token() == "key-1"
        await wait_all_tasks_blocked()

    assert (await at.record()).token == Secret("key-1")
    assert at.told.names == ["key_refreshed", "key_replaced"]
    assert len(at.renew.shown) == 1


async def test_used_key_that_was_refreshed_elsewhere_is_taken_over() -> None:
    store = Emptied()
    first, second = Keeping(store=store), Keeping(store=store)
    await first.keeper.refresh_now(first.renew)
    assert await second.token() == "key-1"
    await first.keeper.refresh_now(first.renew)
    second.clock.advance(STORE_CHECK_SECONDS + 1)

    await second.token()
    await wait_all_tasks_blocked()

    assert await second.token() == "key-2"


async def test_store_check_that_fails_hurts_no_call() -> None:
    class Down(MemoryKeyStore):
        async def load(self, key: KeyId) -> KeyRecord | None:
            if down:
                raise RuntimeError("down")
            return await super().load(key)

    down = False
    at = Keeping(store=Down())
    await at.keeper.refresh_now(at.renew)
    down = True
    for _ in range(3):
        at.clock.advance(STORE_CHECK_SECONDS + 1)
        assert await at.token() == "key-1"
        await wait_all_tasks_blocked()
    assert at.told.names == ["key_refreshed"]


async def test_refresh_without_a_key_keeps_the_new_refresh_token() -> None:
    at = Keeping()
    await at.token()
    at.renew.is_keyless = True
    with pytest.raises(InvalidResponse) as error:
        await at.keeper.refresh_now(at.renew)

    assert error.value.executed == "maybe"
    record = await at.record()
    assert (record.token, record.refresh_token) == (Secret("key-0"), Secret("refresh-1"))
    assert (record.refresh_rejected, record.lease_owner) == (False, None)
    assert at.told.names == ["key_refresh_failed"]

    at.renew.is_keyless = False
    await at.keeper.refresh_now(at.renew)
    assert at.renew.shown == ["refresh-0", "refresh-1"]
    assert await at.token() == "key-2"


async def test_refresh_resumed_after_a_takeover_heals_the_key() -> None:
    """Stopped with the answer on its way: the one that took over was refused, and has marked the key as lost."""
    clock = QuickClock()
    store = MemoryKeyStore(clock)
    stopped, heir = Keeping(clock=clock, store=store), Keeping(clock=clock, store=store)
    stopped.renew.go.clear()
    refreshing = asyncio.create_task(stopped.keeper.refresh_now(stopped.renew))
    await wait_all_tasks_blocked()
    clock.advance(LEASE_SECONDS + 1)
    heir.renew.error = InvalidRefreshToken(13)
    with pytest.raises(InvalidRefreshToken):
        await heir.keeper.refresh_now(heir.renew)
    assert (await stopped.record()).refresh_rejected

    stopped.renew.go.set()
    await refreshing

    record = await stopped.record()
    assert (record.token, record.refresh_token, record.refresh_rejected) == (
        Secret("key-1"),
        Secret("refresh-1"),
        False,
    )
    await heir.keeper.refresh_rejected_token(Secret("key-0"), heir.renew)
    assert await heir.token() == "key-1"
