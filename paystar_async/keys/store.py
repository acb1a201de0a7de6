"""What holds key records. Whoever shares a store shares its keys, and one of them renews at a time."""

from typing import Protocol

from attrs import field, frozen

from paystar_async.values.secret import Secret


@frozen
class KeyId:
    """Whose key it is: a realm and the account's id there."""

    realm: str
    account: str


@frozen(kw_only=True)
class KeyRecord:
    """All that is known of a key.

    Attributes:
        version: counts the changes; a change names the version it was made from.
        token: the key in use.
        refresh_token: what renews it.
        issued_at: seconds since 1970, or None for a key of unknown age.
        expires_at: seconds since 1970, or None for a key that is used until it is refused.
        in_flight_owner: who is renewing it.
        in_flight_until: when that one counts as dead, seconds since 1970.
        lost: True once the refresh token was refused for good.
        suspect: True if the key replaced a refreshed key that was rejected and had never been accepted.
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


@frozen(kw_only=True)
class RefreshedKey:
    """What a renewal answered.

    Attributes:
        token: the new key, or None if the response held no usable key.
        refresh_token: the new refresh token, if the answer carried one.
        expires_at: seconds since 1970, or None where the answer does not say.
    """

    token: Secret | None
    refresh_token: Secret | None
    expires_at: float | None


class KeyStore(Protocol):
    """Holds key records; every change names the version it was made from, and loses if that is gone.

    A key without a record has version 0. Raises StorageError when it cannot be used or trusted.
    """

    async def load(self, key: KeyId) -> KeyRecord | None:
        """The record as it stands."""
        ...

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
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

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Note that the refresh token is dead, keep everything else; None if the version is gone."""
        ...
