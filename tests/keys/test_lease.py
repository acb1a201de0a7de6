"""Leases of refreshes, on a clock that advances without waiting."""

import pytest

from paystar_async import Secret
from paystar_async.errors import NotSent, StorageError
from paystar_async.keys import lease
from paystar_async.keys.lease import LEASE_SECONDS, Lease
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord
from tests.support import RunningClock

KEY = KeyId("application", "app-1")


class FailingStore(MemoryKeyStore):
    """A store that can be down for the owner of the lease."""

    is_down = False

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        if self.is_down and owner == "me":
            raise StorageError("the store is down")
        return await super().acquire_lease(key, version, owner, ttl)


class LeaseFixture:
    """A leased key, its store and their clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = RunningClock()
        self.store = FailingStore(self.clock)
        monkeypatch.setattr(lease, "sleep", self.clock.sleep)

    async def acquire(self) -> Lease:
        await self.store.commit(KEY, 0, "", KeyRecord(token=Secret("key-0"), refresh_token=Secret("refresh-0")))
        lease = await Lease.acquire(self.store, self.clock, KEY, 1, "me")
        assert lease is not None
        return lease

    async def take_over(self) -> bool:
        """Acquire the lease as another process; return True if the lease was free."""
        return await self.store.acquire_lease(KEY, 2, "other", LEASE_SECONDS) is not None

    async def take_over_within(self, seconds: int) -> int | None:
        """Return after how many seconds another process takes over the lease; None if not within ``seconds``."""
        for passed in range(seconds):
            if await self.take_over():
                return passed
            await self.clock.sleep(1)
        return None


@pytest.fixture
def lease_fixture(monkeypatch: pytest.MonkeyPatch) -> LeaseFixture:
    return LeaseFixture(monkeypatch)


def test_lease_seconds_are_between_six_and_ten() -> None:
    assert 6 <= LEASE_SECONDS <= 10


async def test_hold_during_work_extends_lease(lease_fixture: LeaseFixture) -> None:
    own_lease = await lease_fixture.acquire()
    async with lease_fixture.clock.running():
        assert await own_lease.hold(lambda: lease_fixture.take_over_within(100)) is None
    own_lease.check()
    assert await lease_fixture.store.commit(KEY, own_lease.record.version, "me", own_lease.record) is not None


async def test_hold_with_two_failed_heartbeats_keeps_lease(lease_fixture: LeaseFixture) -> None:
    own_lease = await lease_fixture.acquire()

    async def work() -> int | None:
        await lease_fixture.clock.sleep(LEASE_SECONDS / 3 + 0.5)  # one heartbeat is in time, the next two fail
        lease_fixture.store.is_down = True
        await lease_fixture.clock.sleep(LEASE_SECONDS / 3 * 2)
        lease_fixture.store.is_down = False
        return await lease_fixture.take_over_within(50)

    async with lease_fixture.clock.running():
        assert await own_lease.hold(work) is None
    own_lease.check()


async def test_hold_after_takeover_does_not_extend_lease(lease_fixture: LeaseFixture) -> None:
    own_lease = await lease_fixture.acquire()

    async def work() -> int | None:
        lease_fixture.store.is_down = True
        taken_after = await lease_fixture.take_over_within(20)
        lease_fixture.store.is_down = False
        await lease_fixture.clock.sleep(LEASE_SECONDS)
        return taken_after

    async with lease_fixture.clock.running():
        taken_after = await own_lease.hold(work)

    assert taken_after == LEASE_SECONDS
    stored = await lease_fixture.store.load(KEY)
    assert stored is not None
    assert (stored.version, stored.lease_owner) == (3, "other")
    with pytest.raises(NotSent):
        own_lease.check()


async def test_check_after_lease_end_raises_not_sent(lease_fixture: LeaseFixture) -> None:
    own_lease = await lease_fixture.acquire()
    lease_fixture.clock.advance(LEASE_SECONDS - 0.1)
    own_lease.check()
    lease_fixture.clock.advance(0.2)  # the process was stopped in between

    with pytest.raises(NotSent, match="lease") as refusal:
        own_lease.check()

    assert refusal.value.executed == "no"


async def test_hold_with_failing_work_raises_its_error(lease_fixture: LeaseFixture) -> None:
    own_lease = await lease_fixture.acquire()

    async def work() -> None:
        raise NotSent("no connection")

    with pytest.raises(NotSent, match="no connection"):
        await own_lease.hold(work)
