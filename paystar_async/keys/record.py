"""The record of one key, changed only by compare-and-set."""

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
    in_flight_owner: str | None = None
    in_flight_until: float | None = None
    lost: bool = False
    suspect: bool = False


@frozen(kw_only=True)
class Fresh:
    """What a renewal answered.

    Attributes:
        token: the new key, or None if the response held no usable key.
        refresh_token: the new refresh token, if the answer carried one.
        expires_at: seconds since 1970, or None where the answer does not say.
    """

    token: Secret | None
    refresh_token: Secret | None
    expires_at: float | None
