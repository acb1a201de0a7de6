"""A key store for checks: it shows the keys of another store, and changes nothing there."""

from attrs import evolve

from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore


class ReadOnlyKeyStore(MemoryKeyStore):
    """The keys of another store without refresh tokens, so that a check refreshes no key of a running service.

    A client with this store must be configured without refresh tokens too. Changes stay in memory.

    Args:
        store: the store to read; closed by ``aclose``.
    """

    def __init__(self, store: KeyStore) -> None:
        super().__init__()
        self._store = store

    async def load(self, key: KeyId) -> KeyRecord | None:
        """Return the stored record without its refresh token, or else the record in memory, or None."""
        stored = await self._store.load(key)
        return await super().load(key) if stored is None else evolve(stored, refresh_token=None)

    async def aclose(self) -> None:
        """Close the store that is read."""
        await self._store.aclose()
