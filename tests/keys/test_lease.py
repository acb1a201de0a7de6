"""The lease of a refresh, on a clock that runs in no time."""

import pytest

from paystar_async import Secret
from paystar_async.errors import NotSent, StorageError
from paystar_async.keys import lease
from paystar_async.keys.lease import LEASE_SECONDS, Lease
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord
from tests.support import RunningClock

KEY = KeyId("application", "app-1")


class Store(MemoryKeyStore):
    """A store that can be down for the process that holds the lease."""

    down = False

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        if self.down and owner == "me":
            raise StorageError("the store is down")
        return await super().acquire_lease(key, version, owner, ttl)


class Leasing:
    """A leased key, its store and the clock of both."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = RunningClock()
        self.store = Store(self.clock)
        monkeypatch.setattr(lease, "sleep", self.clock.sleep)

    async def acquire(self) -> Lease:
        await self.store.commit(KEY, 0, "", KeyRecord(token=Secret("key-0"), refresh_token=Secret("refresh-0")))
        lease = await Lease.acquire(self.store, self.clock, KEY, 1, "me")
        assert lease is not None
        return lease

    async def is_free(self) -> bool:
        """Whether another process takes the lease over now."""
        return await self.store.acquire_lease(KEY, 2, "other", LEASE_SECONDS) is not None

    async def free_within(self, seconds: int) -> int | None:
        """After how many of these seconds another process takes the lease over."""
        for passed in range(seconds):
            if await self.is_free():
                return passed
            await self.clock.sleep(1)
        return None


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Leasing:
    return Leasing(monkeypatch)


def test_lease_of_a_killed_process_ends_within_seconds() -> None:
    assert 6 <= LEASE_SECONDS <= 10


async def test_hold_extends_the_lease_while_the_work_lasts(at: Leasing) -> None:
    held = await at.acquire()
    async with at.clock.running():
        assert await held.hold(lambda: at.free_within(100)) is None
    held.check()
    assert await at.store.commit(KEY, held.record.version, "me", held.record) is not None


async def test_hold_survives_two_heartbeats_that_fail(at: Leasing) -> None:
    held = await at.acquire()

    async def work() -> int | None:
        await at.clock.sleep(LEASE_SECONDS / 3 + 0.5)  # one heartbeat was in time, the next two are not
        at.store.down = True
        await at.clock.sleep(LEASE_SECONDS / 3 * 2)
        at.store.down = False
        return await at.free_within(50)

    async with at.clock.running():
        assert await held.hold(work) is None
    held.check()


async def test_hold_after_a_takeover_extends_nothing(at: Leasing) -> None:
    held = await at.acquire()

    async def work() -> int | None:
        at.store.down = True
        taken = await at.free_within(20)
        at.store.down = False
        await at.clock.sleep(LEASE_SECONDS)
        return taken

    async with at.clock.running():
        taken = await held.hold(work)

    assert taken == LEASE_SECONDS
    stored = await at.store.load(KEY)
    assert stored is not None
    assert (stored.version, stored.lease_owner) == (3, "other")
    with pytest.raises(NotSent):
        held.check()


async def test_check_after_the_lease_keeps_the_token_from_being_sent(at: Leasing) -> None:
    held = await at.acquire()
    at.clock.advance(LEASE_SECONDS - 0.1)
    held.check()
    at.clock.advance(0.2)  # the process was stopped in between

    with pytest.raises(NotSent, match="lease") as refusal:
        held.check()

    assert refusal.value.executed == "no"


async def test_hold_raises_the_error_of_the_work_itself(at: Leasing) -> None:
    held = await at.acquire()

    async def work() -> None:
        raise NotSent("no connection")

    with pytest.raises(NotSent, match="no connection"):
        await held.hold(work)
