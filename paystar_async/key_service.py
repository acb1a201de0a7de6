"""The keys service: its endpoints and ``replace``."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, cast

from paystar_async.credentials import Realm, check_header_value, check_secret_text
from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.keys.refresher import KeyRefresher
from paystar_async.services import Caller, KeysCalls
from paystar_async.values.field_type import short_repr
from paystar_async.values.secret import Secret, to_optional_secret, to_secret


class Keys(KeysCalls):
    """The keys that are valid for 24 hours: refreshed or replaced by hand, besides the refreshes of the client."""

    def __init__(self, caller: Caller, refresher_of: Callable[[Realm], KeyRefresher]) -> None:
        super().__init__(caller)
        self._refresher_of = refresher_of

    async def replace(
        self,
        realm: Realm | Literal["application", "wallet", "inquiry"],
        *,
        token: str | Secret,
        refresh_token: str | Secret | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """Replace a key pair by one from the panel, without a restart; also repairs a rejected refresh token.

        Args:
            realm: ``application``, ``wallet`` or ``inquiry``.
            token: the new key.
            refresh_token: the token that refreshes the new key; None keeps the stored one.
            expires_at: when the key expires, with a time zone; None: the key is used until it is rejected.

        Raises:
            ConfigurationError: the realm's account is not configured, or has no key to replace.
            InvalidValue: an unknown realm, a token that is not valid in a header, an empty ``refresh_token``, or an
                ``expires_at`` without a time zone.
        """
        # First, so that no frame holds the plain texts: error trackers print the variables of frames.
        token, refresh_token = to_secret(token), to_optional_secret(refresh_token)
        if realm not in tuple(Realm):
            raise InvalidValue("realm", expected="application, wallet or inquiry", got=short_repr(realm))
        key_realm = Realm(realm)
        if key_realm is Realm.GATEWAY:
            raise ConfigurationError("a gateway_id is permanent", hint="create a client with another Gateway(id=…)")
        expiry = cast("object", expires_at)
        if expiry is not None and not (isinstance(expiry, datetime) and expiry.tzinfo):
            raise InvalidValue("expires_at", expected="a datetime with a time zone", got=type(expiry).__name__)
        if refresh_token is not None:
            check_secret_text("refresh_token", refresh_token)
        expires_at_seconds = expires_at.timestamp() if expires_at else None
        new_token = check_header_value("token", token)
        await self._refresher_of(key_realm).replace(new_token, refresh_token, expires_at_seconds)
