"""The lease of a refresh: short, so that a killed process delays the others by seconds, and extended while it runs."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from anyio import create_task_group, sleep
from attrs import define

from paystar_async.errors import NotSent
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.runtime.clock import Clock

T = TypeVar("T")

LEASE_SECONDS = 9.0
"""Length of a lease from its last heartbeat; three heartbeats in a row must fail before another process takes over."""


@define(kw_only=True)
class Lease:
    """The exclusive right to refresh one key.

    Attributes:
        record: the record as it was leased.
        ends_at: until then no other process can take over, on the monotonic clock.
        store: the store of the record.
        clock: the clock of this process.
        key: identity of the key.
        owner: the name of this refresher in the store.
    """

    record: KeyRecord
    ends_at: float
    store: KeyStore
    clock: Clock
    key: KeyId
    owner: str

    @classmethod
    async def acquire(cls, store: KeyStore, clock: Clock, key: KeyId, version: int, owner: str) -> "Lease | None":
        """Return a lease on a key's record; None if another process holds a lease or ``version`` is outdated."""
        # Read before the request: the store begins to count the seconds later.
        monotonic = clock.monotonic()
        record = await store.acquire_lease(key, version, owner, LEASE_SECONDS)
        if record is None:
            return None
        return cls(
            record=record,
            ends_at=monotonic + LEASE_SECONDS,
            store=store,
            clock=clock,
            key=key,
            owner=owner,
        )

    def check(self) -> None:
        """Raise NotSent if the lease may have ended, as in a process that was stopped for a while.

        Another process may have refreshed the key since: the refresh token must not be sent again.
        """
        if self.clock.monotonic() >= self.ends_at:
            raise NotSent("the lease of the refresh ended before its request was sent", hint="call again")

    async def hold(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` and extend the lease until ``work`` ends; return its result or raise its error."""
        result: list[T] = []
        failure: Exception | None = None
        async with create_task_group() as group:
            group.start_soon(self._extend)
            try:
                result.append(await work())
            except Exception as error:  # raised below, since the task group would wrap it
                failure = error
            finally:
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return result[0]

    async def _extend(self) -> None:
        while True:
            await sleep(LEASE_SECONDS / 3)  # real time, which a server counts, whichever clock the client has
            started = self.clock.monotonic()
            with suppress(Exception):  # the next heartbeat may reach the store in time
                if await self.store.acquire_lease(self.key, self.record.version, self.owner, LEASE_SECONDS) is None:
                    return  # taken over, or the record has changed; the refreshed key is merged with it
                self.ends_at = started + LEASE_SECONDS
