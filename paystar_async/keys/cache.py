"""The record of one key in the memory of a process, kept in step with the store that several processes share."""

import random
import uuid
from collections.abc import Callable

from attrs import evolve, frozen

from paystar_async.errors import StorageUnavailable
from paystar_async.keys.history import KeyHistory, merge, was_issued_before
from paystar_async.keys.lease import Lease
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.runtime.clock import Clock

MAX_RESTORES = 8
"""Attempts to store a record that the store has lost; an attempt fails only if another process was faster."""
LONG_AGO, NEVER = float("-inf"), float("inf")


@frozen
class KeyTimes:
    """The refresh times of a key, on the monotonic clock, so that a jump of the wall clock changes nothing.

    Attributes:
        refresh_after: start of the time in which the key is refreshed in the background.
        refresh_by: start of the time in which a call waits for the refresh.
        expires_at: the end of the key.
    """

    refresh_after: float = LONG_AGO
    refresh_by: float = LONG_AGO
    expires_at: float = LONG_AGO

    @classmethod
    def of(cls, record: KeyRecord, clock: Clock) -> "KeyTimes":
        """Return the times of a record: a missing key is due now, a key without an expiry is never due."""
        now, wall = clock.monotonic(), clock.time()
        if record.token is None:
            return cls()
        if record.expires_at is None:
            return cls(NEVER, NEVER, NEVER)
        lifetime = record.expires_at - (wall if record.issued_at is None else record.issued_at)
        remaining = min(record.expires_at - wall, lifetime)  # a clock that was set back makes no key live longer
        refresh_by = now + remaining - min(1800.0, lifetime / 10)
        background_refresh_at = now - (lifetime - remaining) + lifetime * random.uniform(0.5, 0.6)
        return cls(min(refresh_by, background_refresh_at), refresh_by, now + remaining)


@frozen(kw_only=True)
class _PendingWrite:
    """A refreshed record that is not stored yet, and the lease it was refreshed under."""

    lease: Lease
    record: KeyRecord


class RecordCache:
    """The newest record that this process knows of one key.

    Args:
        key: identity of the key.
        seed: the configured record, used if neither the process nor the store has a record.
        store: the shared store.
        clock: the clock of this process.
        on_restore: called after a record was restored in a store that had lost it.
        newest: the newest records of the process, shared by the caches of its event loops, which may run in several
            threads.

    Attributes:
        record: the newest record, or None before the first load.
        times: the refresh times of the record.
    """

    def __init__(
        self,
        key: KeyId,
        seed: KeyRecord,
        store: KeyStore,
        clock: Clock,
        *,
        on_restore: Callable[[], object],
        newest: dict[KeyId, KeyRecord],
    ) -> None:
        self._key, self._seed, self._store, self._clock = key, seed, store, clock
        self._on_restore, self._shared = on_restore, newest
        self._owner = uuid.uuid4().hex
        self._history = KeyHistory()
        self._pending_write: _PendingWrite | None = None
        self.record: KeyRecord | None = None
        self.times = KeyTimes()

    @property
    def newest(self) -> KeyRecord:
        """Return the newest record; the configured record before the first load."""
        return self.record or self._seed

    @property
    def is_saved(self) -> bool:
        """Return True if every refreshed record is in the store."""
        return self._pending_write is None

    def use(self, record: KeyRecord) -> KeyRecord:
        """Use a record in place of the previous record, and return it."""
        self._history.add(self.newest, record)
        self.record, self.times = record, KeyTimes.of(record, self._clock)
        shared = self._shared.get(self._key)
        if shared is None or not was_issued_before(record, shared):
            self._shared[self._key] = record
        return record

    async def load(self) -> KeyRecord:
        """Return the stored record.

        If the store has no record, or an older pair than the process, the record of the process is stored again; a
        process without a record stores the configured record. A stored record without a refresh token, as a process
        without one stores it, gets the configured refresh token.

        Raises:
            StorageError: the store cannot be used.
        """
        if self._pending_write is not None:
            await self.save()
        for _ in range(MAX_RESTORES):
            stored, own_record = await self._store.load(self._key), self._newest_shared()
            if stored is not None and (own_record is None or not self._history.is_outdated(stored, own_record)):
                completed = self._complete(stored)
                if completed == stored or (stored := await self._commit(stored, completed)) is not None:
                    return stored
                continue
            stored = await self._commit(stored, own_record or self._seed)
            if stored is not None:
                if own_record is not None:
                    self._on_restore()
                if own_record is not None and own_record is self.record:
                    self.record = self._shared[self._key] = stored  # the same pair with its new version
                return stored
        raise StorageUnavailable("the key store keeps no record", hint="the store accepted a record and lost it")

    def _complete(self, stored: KeyRecord) -> KeyRecord:
        if stored.refresh_token is not None:
            return stored
        return evolve(stored, token=stored.token or self._seed.token, refresh_token=self._seed.refresh_token)

    def _newest_shared(self) -> KeyRecord | None:
        """Return the newest record of the process, also if another of its event loops has read it."""
        shared = self._shared.get(self._key)
        if self.record is None or (shared is not None and was_issued_before(self.record, shared)):
            return shared
        return self.record

    async def replace(self, stored: KeyRecord, new: KeyRecord) -> bool:
        """Store ``new`` in place of ``stored`` and use it; return False if ``stored`` is no longer on record."""
        committed = await self._commit(stored, new)
        if committed is not None:
            self.use(committed)
        return committed is not None

    async def lease(self, stored: KeyRecord) -> Lease | None:
        """Return a lease on the stored record; None if another process holds a lease or the record has changed."""
        return await Lease.acquire(self._store, self._clock, self._key, stored.version, self._owner)

    async def release(self, lease: Lease) -> None:
        """End a lease without a change."""
        await self._commit(lease.record, lease.record)

    async def mark_rejected(self, lease: Lease) -> bool:
        """Note in the store that the refresh token is rejected; return False if the record has changed."""
        return await self._store.mark_rejected(self._key, lease.record.version) is not None

    async def store_refreshed(self, lease: Lease, new: KeyRecord) -> bool:
        """Store a refreshed record and use it; return False if only memory has it, until ``save`` stores it."""
        self._pending_write = _PendingWrite(lease=lease, record=new)
        try:
            await self.save()
        except Exception:
            self.use(new)  # the only copy of the new pair
        return self.is_saved

    async def save(self) -> None:
        """Store the refreshed record, also if the store has changed since."""
        while (pending := self._pending_write) is not None:
            committed = await self._commit(pending.lease.record, pending.record)
            if committed is None:
                stored = await self._store.load(self._key)
                merged = pending.record if stored is None else merge(stored, pending.record, pending.lease)
                committed = stored if merged is None else await self._commit(stored, merged)
            if committed is not None:
                self._pending_write = None
                self.use(committed)

    async def _commit(self, stored: KeyRecord | None, new: KeyRecord) -> KeyRecord | None:
        return await self._store.commit(self._key, stored.version if stored else 0, self._owner, new)
