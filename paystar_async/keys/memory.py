"""Keys in this process alone: the default."""

from threading import Lock

from attrs import evolve

from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import Clock, SystemClock


class MemoryKeyStore:
    """Holds key records while the process lives; several clients may share one.

    Args:
        clock: what time it is; the machine's own by default.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: dict[KeyId, KeyRecord] = {}
        # Loops in several threads may share a store; nothing is awaited while it is held.
        self._lock = Lock()

    async def load(self, key: KeyId) -> KeyRecord | None:
        """The record as it stands."""
        return self._records.get(key)

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Claim the renewal for ``ttl`` seconds or extend one's own; None if another has it or the version is gone."""
        now = self._clock.time()
        with self._lock:
            record = self._at(key, version)
            if record is None:
                return None
            if record.lease_owner == owner:
                extended = self._records[key] = evolve(record, lease_expires_at=now + ttl)
                return extended
            if record.lease_owner is not None and _holds(record, now, ttl):
                return None
            return self._put(key, evolve(record, lease_owner=owner, lease_expires_at=now + ttl))

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:  # noqa: ARG002
        """Put ``new`` in place of ``version`` and end the claim; None if the version is gone."""
        with self._lock:
            if self._at(key, version) is None and (version != 0 or key in self._records):
                return None
            return self._put(key, evolve(new, version=version, lease_owner=None, lease_expires_at=None))

    async def aclose(self) -> None:
        """There is nothing to let go of: the records stay."""

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Note that the refresh token is dead, keep everything else; None if the version is gone."""
        with self._lock:
            record = self._at(key, version)
            if record is None:
                return None
            return self._put(key, evolve(record, refresh_rejected=True, lease_owner=None, lease_expires_at=None))

    def _at(self, key: KeyId, version: int) -> KeyRecord | None:
        record = self._records.get(key)
        return record if record is not None and record.version == version else None

    def _put(self, key: KeyId, record: KeyRecord) -> KeyRecord:
        stored = self._records[key] = evolve(record, version=record.version + 1)
        return stored


def _holds(record: KeyRecord, now: float, ttl: float) -> bool:
    """Whether a claim is still good; one that ends later than any could was made before the clock was set back."""
    return record.lease_expires_at is not None and now < record.lease_expires_at <= now + ttl
