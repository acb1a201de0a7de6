"""The keys service: the rows, and ``replace`` above them."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, cast

from paystar_async.credentials import Realm, checked, header_safe
from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.keys.refresher import KeyRefresher
from paystar_async.services import Caller, KeysCalls
from paystar_async.values.field_type import shown
from paystar_async.values.secret import Secret, to_optional_secret, to_secret


class Keys(KeysCalls):
    """The keys that live for 24 hours. They renew themselves; this is for doing it by hand."""

    def __init__(self, caller: Caller, keeper: Callable[[Realm], KeyRefresher]) -> None:
        super().__init__(caller)
        self._keeper = keeper

    async def replace(
        self,
        realm: Realm | Literal["application", "wallet", "inquiry"],
        *,
        token: str | Secret,
        refresh_token: str | Secret | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """Put a key pair from the panel in place, without a restart; heals a key that was lost.

        Args:
            realm: ``application``, ``wallet`` or ``inquiry``.
            token: the new key.
            refresh_token: what renews it; the one on record stays where None.
            expires_at: when it ends, with its time zone; None: it is used until it is refused.

        Raises:
            ConfigurationError: the realm's account is not configured, or has no key to replace.
            InvalidValue: no such realm, a token that could not stand in a header, an empty ``refresh_token``, or an
                ``expires_at`` without a time zone.
        """
        # At once, and nowhere as texts: a tracker of errors prints a frame's variables.
        token, refresh_token = to_secret(token), to_optional_secret(refresh_token)
        if realm not in tuple(Realm):
            raise InvalidValue("realm", expected="application, wallet or inquiry", got=shown(realm))
        wanted = Realm(realm)
        if wanted is Realm.GATEWAY:
            raise ConfigurationError("a gateway_id is permanent", hint="make a client with another Gateway(id=…)")
        ends = cast("object", expires_at)
        if ends is not None and not (isinstance(ends, datetime) and ends.tzinfo):
            raise InvalidValue("expires_at", expected="a datetime with a time zone", got=type(ends).__name__)
        if refresh_token is not None:
            checked("refresh_token", refresh_token)
        until = expires_at.timestamp() if expires_at else None
        await self._keeper(wanted).replace(header_safe("token", token), refresh_token, until)
