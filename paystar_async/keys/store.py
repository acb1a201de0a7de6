"""What holds key records. Whoever shares a store shares its keys, and one of them renews at a time."""

from typing import Protocol

from paystar_async.keys.record import KeyId, KeyRecord


class KeyStore(Protocol):
    """Holds key records; every change names the version it was made from, and loses if that is gone.

    A key without a record has version 0. Raises StorageError when it cannot be used or trusted.
    """

    async def load(self, key: KeyId) -> KeyRecord | None:
        """The record as it stands."""
        ...

    async def begin(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Claim the renewal for ``ttl`` seconds; None if another has it or the version is gone.

        The owner that holds the claim extends it by claiming again: only its end changes, the version stays.
        """
        ...

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
        """Put ``new`` in place of ``version`` and end the claim; None if the version is gone."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections; it opens itself again when it is next used."""
        ...

    async def mark_lost(self, key: KeyId, version: int) -> KeyRecord | None:
        """Note that the refresh token is dead, keep everything else; None if the version is gone."""
        ...
