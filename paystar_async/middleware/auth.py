"""Shows the right key, renews it before it ends, and once more when the server refuses it."""

from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import anyio
from attrs import define, field

from paystar_async.accounts import Accounts, account_of
from paystar_async.background import Background
from paystar_async.clock import Clock
from paystar_async.endpoint import Endpoint, Realm, Request, Response, Safety, Send
from paystar_async.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidToken,
    NotSent,
    PaystarError,
    Unanswered,
    Unauthenticated,
)
from paystar_async.events import OnEvent
from paystar_async.keys.keeper import Keeper
from paystar_async.keys.record import Fresh, KeyId, KeyRecord
from paystar_async.keys.store import KeyStore
from paystar_async.models.keys import RenewedInquiryKey, RenewedKey
from paystar_async.table import RENEWALS
from paystar_async.values.dates import parse_tehran
from paystar_async.values.secret import Secret

T = TypeVar("T")

RENEWAL_SECONDS = 30.0
"""How long one renewal may take; it runs on, whoever stopped waiting for it."""

# ours: a refused key is refused before anything is carried out, so the call may be made again with another.
REFUSED_BEFORE_EXECUTION = (InvalidToken, ExpiredToken, Unauthenticated)


@define
class Auth:
    """Sets each request's key.

    Args:
        accounts: who we are.
        store: where the keys live.
        clock: what time it is.
        background: whose jobs the renewals are.
        notify: told what happens to keys.
    """

    accounts: Accounts
    store: KeyStore
    clock: Clock
    background: Background
    notify: OnEvent
    _keepers: dict[Realm, Keeper] = field(factory=dict[Realm, Keeper], init=False)

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Pass the request on with its key; once more with a renewed one if that is refused."""
        endpoint = request.endpoint
        if endpoint.realm is Realm.GATEWAY:
            return await next(request.with_key(self.accounts.first_key(Realm.GATEWAY)[0]))
        keeper = self._keepers.get(endpoint.realm) or self.keeper(endpoint.realm)
        if endpoint.renews:
            return await self._renew_now(keeper, request, next)
        key = keeper.at_hand()
        if key is None:
            key = await self._in_time(request, keeper.token(_renewal(request, next)))
        if key is None:
            raise ConfigurationError(
                f"the {account_of(endpoint.realm)} account has no key", hint=_NO_KEY[endpoint.realm]
            )
        is_new = False
        while True:
            try:
                return await next(request.with_key(key))
            except REFUSED_BEFORE_EXECUTION as refusal:
                if is_new or (refusal.executed == "maybe" and endpoint.safety is Safety.ONCE):
                    raise
                refused = refusal
            # A key that was renewed elsewhere may be over as well by now; one that was renewed for us is the last try.
            other, is_new = await self._in_time(request, keeper.replace_refused(key, _renewal(request, next)))
            if other is None:
                raise refused
            key = other

    def keeper(self, realm: Realm) -> Keeper:
        """Who keeps the realm's key."""
        if realm not in self._keepers:
            token, refresh_token = self.accounts.first_key(realm)
            self._keepers[realm] = Keeper(
                key=KeyId(realm.value, self.accounts.id(realm)),
                first=KeyRecord(token=token, refresh_token=refresh_token),
                store=self.store,
                clock=self.clock,
                background=self.background,
                notify=self.notify,
            )
        return self._keepers[realm]

    async def _in_time(self, request: Request[Any], waiting: Awaitable[T]) -> T:
        """Wait for a key until the deadline; whatever goes wrong here, the call itself never left."""
        try:
            with anyio.fail_after(request.left(self.clock.monotonic())):
                return await waiting
        except TimeoutError:
            reason = "the time was up"
        except PaystarError as error:
            if error.executed == "no":
                raise
            reason = str(error.args[0])
        raise NotSent(f"the key could not be renewed: {reason}")

    async def _renew_now(self, keeper: Keeper, request: Request[Any], next: Send) -> Response[Any]:  # noqa: A002
        renewal = _Renewal(request.account, request.endpoint, next)
        with anyio.move_on_after(request.left(self.clock.monotonic())):
            record = await keeper.renew_now(renewal)
            if record.refresh_token is None:
                raise ConfigurationError(
                    f"the {account_of(request.endpoint.realm)} account has no refresh token",
                    hint=_NO_KEY[request.endpoint.realm],
                )
            return renewal.response or _renewed_elsewhere(request.endpoint.realm, cast("Secret", record.token))
        raise Unanswered("the renewal went on when the time was up", hint="it is stored once it is answered")


@define
class _Renewal:
    """The call that renews a realm's key, made through the inner rings alone."""

    account: str
    endpoint: Endpoint
    next: Send
    response: Response[Any] | None = None

    async def __call__(self, refresh_token: Secret) -> Fresh:
        self.response = await self.next(
            Request(
                value=self.endpoint.request(),
                endpoint=self.endpoint,
                account=self.account,
                timeout=RENEWAL_SECONDS,
                key=refresh_token,
            )
        )
        return _fresh(self.response.value)


def _renewal(request: Request[Any], next: Send) -> _Renewal:  # noqa: A002
    return _Renewal(request.account, RENEWALS[request.endpoint.realm], next)


def _fresh(value: RenewedKey | RenewedInquiryKey) -> Fresh:
    if isinstance(value, RenewedKey):
        token, refresh_token, expiry = value.api_key, value.refresh_token, value.api_key_expire_date
    else:
        token, refresh_token, expiry = value.inquiry_key, value.refresh_inquiry_key, value.inquiry_key_expire_date
    moment = parse_tehran(expiry) if expiry else None
    return Fresh(token=token, refresh_token=refresh_token, expires_at=moment.timestamp() if moment else None)


def _renewed_elsewhere(realm: Realm, token: Secret) -> Response[Any]:
    """The answer where another call or worker had the renewal under way: its key."""
    value = RenewedInquiryKey(inquiry_key=token) if realm is Realm.INQUIRY else RenewedKey(api_key=token)
    return Response(value=value, status=1, message="renewed elsewhere", http_status=200, headers={}, body=b"")


_NO_KEY = {
    Realm.APPLICATION: "give Application(refresh_token=…) or api_key=…, "
    "or set PAYSTAR_REFRESH_TOKEN or PAYSTAR_API_KEY",
    Realm.WALLET: "give Wallet(refresh_token=…) or api_key=…, "
    "or set PAYSTAR_WALLET_REFRESH_TOKEN or PAYSTAR_WALLET_API_KEY",
    Realm.INQUIRY: "give Wallet(refresh_inquiry_key=…) or inquiry_key=…, "
    "or set PAYSTAR_REFRESH_INQUIRY_KEY or PAYSTAR_INQUIRY_KEY",
}
