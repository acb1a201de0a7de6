"""The interface of key stores: processes that share a store share its keys, and one refreshes at a time."""

from typing import Protocol

from attrs import field, frozen

from paystar_async.values.secret import Secret


@frozen
class KeyId:
    """The identity of a key: a realm and the account's id in it."""

    realm: str
    account: str


@frozen(kw_only=True)
class KeyRecord:
    """The record of a key.

    Attributes:
        version: number of changes; each change names the version that it replaces.
        token: the key in use.
        refresh_token: the token that refreshes the key.
        issued_at: seconds since 1970, or None for a key of unknown age.
        expires_at: seconds since 1970, or None for a key that is used until it is rejected.
        lease_owner: the refresher that holds the lease.
        lease_expires_at: end of the lease, seconds since 1970.
        refresh_rejected: True once the refresh token was rejected.
        suspect: True if the key replaced a refreshed key that was rejected and had never been accepted.
        order: tells which of two pairs is newer: the time of issue, or later, to follow the order of the replaced pair
            although the clocks of hosts differ; None: the time of issue counts.
    """

    version: int = 0
    token: Secret | None = None
    refresh_token: Secret | None = field(default=None)
    issued_at: float | None = None
    expires_at: float | None = None
    lease_owner: str | None = None
    lease_expires_at: float | None = None
    refresh_rejected: bool = False
    suspect: bool = False
    order: float | None = None


@frozen(kw_only=True)
class RefreshedKey:
    """The result of a refresh.

    Attributes:
        token: the new key, or None if the response held no usable key.
        refresh_token: the new refresh token, or None if the response has none.
        expires_at: seconds since 1970, or None if the response does not say.
    """

    token: Secret | None
    refresh_token: Secret | None
    expires_at: float | None


class KeyStore(Protocol):
    """A store of key records; a change names the version it replaces, and fails if that version is outdated.

    A key without a record has version 0. Methods raise StorageError if the store cannot be used or trusted.
    """

    async def load(self, key: KeyId) -> KeyRecord | None:
        """Return the stored record, or None."""
        ...

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Acquire or extend the lease for ``ttl`` seconds; None if another owner has it or ``version`` is outdated.

        The owner of the lease extends it by acquiring it again: only its end changes, the version stays.
        """
        ...

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
        """Replace ``version`` by ``new`` and end the lease; None if ``version`` is outdated."""
        ...

    async def aclose(self) -> None:
        """Close files and connections; the next use opens them again."""
        ...

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Mark the refresh token as rejected and end the lease; None if ``version`` is outdated."""
        ...
