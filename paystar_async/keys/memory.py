"""The default key store: the memory of this process."""

from threading import Lock

from attrs import evolve

from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import Clock, clock_or_system


class MemoryKeyStore:
    """A key store in memory; several clients may share one.

    Args:
        clock: the source of time; the system clock by default.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock_or_system(clock)
        self._records: dict[KeyId, KeyRecord] = {}
        # Event loops in several threads may share a store; nothing is awaited under the lock.
        self._lock = Lock()

    async def load(self, key: KeyId) -> KeyRecord | None:
        """Return the stored record, or None."""
        return self._records.get(key)

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Acquire or extend the lease for ``ttl`` seconds; None if another owner has it or ``version`` is outdated."""
        now = self._clock.time()
        with self._lock:
            record = self._find(key, version)
            if record is None:
                return None
            if record.lease_owner == owner:
                extended = self._records[key] = evolve(record, lease_expires_at=now + ttl)
                return extended
            if record.lease_owner is not None and _is_leased(record, now, ttl):
                return None
            return self._put(key, evolve(record, lease_owner=owner, lease_expires_at=now + ttl))

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:  # noqa: ARG002
        """Replace ``version`` by ``new`` and end the lease; None if ``version`` is outdated."""
        with self._lock:
            if self._find(key, version) is None and (version != 0 or key in self._records):
                return None
            return self._put(key, evolve(new, version=version, lease_owner=None, lease_expires_at=None))

    async def aclose(self) -> None:
        """Do nothing: the records stay in memory."""

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Mark the refresh token as rejected and end the lease; None if ``version`` is outdated."""
        with self._lock:
            record = self._find(key, version)
            if record is None:
                return None
            return self._put(key, evolve(record, refresh_rejected=True, lease_owner=None, lease_expires_at=None))

    def _find(self, key: KeyId, version: int) -> KeyRecord | None:
        record = self._records.get(key)
        return record if record is not None and record.version == version else None

    def _put(self, key: KeyId, record: KeyRecord) -> KeyRecord:
        stored = self._records[key] = evolve(record, version=record.version + 1)
        return stored


def _is_leased(record: KeyRecord, now: float, ttl: float) -> bool:
    """Return True if a lease is valid; a lease longer than ``ttl`` was acquired before the clock was set back."""
    return record.lease_expires_at is not None and now < record.lease_expires_at <= now + ttl
