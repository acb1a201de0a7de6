"""Shows the right key, renews it before it ends, and once more when the server refuses it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import anyio
from attrs import define, evolve, field

from paystar_async.credentials import Credentials, Realm, account_of, fits_header
from paystar_async.endpoint import Endpoint, Request, Response, Safety, Send
from paystar_async.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidToken,
    NoResponse,
    NotSent,
    PaystarError,
    Unauthenticated,
)
from paystar_async.keys.refresher import KeyRefresher
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore, RefreshedKey
from paystar_async.models.keys import NewApiKey, NewInquiryKey, RefreshKey
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import OnEvent
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.table import REFRESH_ENDPOINTS
from paystar_async.values.dates import parse_tehran
from paystar_async.values.secret import Secret

T = TypeVar("T")

RENEWAL_SECONDS = 30.0
"""How long one renewal may take; it runs on, whoever stopped waiting for it."""

# assumed: a refused key is refused before anything is carried out, so the call may be made again with another.
REFUSED_BEFORE_EXECUTION = (InvalidToken, ExpiredToken, Unauthenticated)


@define
class AuthMiddleware:
    """Sets each request's key.

    Args:
        accounts: who we are.
        store: where the keys live.
        clock: what time it is.
        background: whose jobs the renewals are.
        notify: told what happens to keys.
        supports_before_send: whether the engine calls back right before the first byte of a request.
        newest: the newest records that the process knows, for all event loops of one client.
    """

    accounts: Credentials
    store: KeyStore
    clock: Clock
    background: BackgroundTasks
    notify: OnEvent
    supports_before_send: Callable[[], bool] = lambda: False
    newest: dict[KeyId, KeyRecord] = field(factory=dict[KeyId, KeyRecord], kw_only=True)
    _keepers: dict[Realm, KeyRefresher] = field(factory=dict[Realm, KeyRefresher], init=False)

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Pass the request on with its key; once more with a renewed one if that is refused."""
        endpoint = request.endpoint
        if endpoint.realm is Realm.GATEWAY:
            return await next(request.replace(key=self.accounts.initial_token(Realm.GATEWAY)[0]))
        keeper = self._keepers.get(endpoint.realm) or self.keeper(endpoint.realm)
        if endpoint.refresh_token_field:
            return await self._renew_now(keeper, request, next)
        key = keeper.cached_token()
        if key is None:
            key = await self._in_time(request, keeper.get_token(self._renewal(request, next)))
        if key is None:
            raise ConfigurationError(
                f"the {account_of(endpoint.realm)} account has no key", hint=_NO_KEY[endpoint.realm]
            )
        is_new = False
        while True:
            try:
                response = await next(request.replace(key=key))
            except REFUSED_BEFORE_EXECUTION as refusal:
                if is_new or (refusal.executed == "maybe" and endpoint.safety is Safety.ONCE):
                    raise
                refused = refusal
            else:
                keeper.accept(key)
                return response
            # A key that was renewed elsewhere may be over as well by now; one that was renewed for us is the last try.
            other, is_new = await self._in_time(
                request, keeper.refresh_rejected_token(key, self._renewal(request, next))
            )
            if other is None:
                raise refused
            key = other

    def keeper(self, realm: Realm) -> KeyRefresher:
        """Who keeps the realm's key."""
        if realm not in self._keepers:
            token, refresh_token = self.accounts.initial_token(realm)
            self._keepers[realm] = KeyRefresher(
                key=KeyId(realm.value, self.accounts.account_id(realm)),
                first=KeyRecord(token=token, refresh_token=refresh_token),
                store=self.store,
                clock=self.clock,
                background=self.background,
                notify=self.notify,
                newest=self.newest,
            )
        return self._keepers[realm]

    async def _in_time(self, request: Request[Any], waiting: Awaitable[T]) -> T:
        """Wait for a key until the deadline; whatever goes wrong here, the call itself never left."""
        try:
            with anyio.fail_after(request.time_left(self.clock.monotonic())):
                return await waiting
        except TimeoutError:
            reason = "the time was up"
        except PaystarError as error:
            if error.executed == "no":
                raise
            reason = str(error.args[0])
        raise NotSent(f"the key could not be renewed: {reason}")

    async def _renew_now(self, keeper: KeyRefresher, request: Request[Any], next: Send) -> Response[Any]:  # noqa: A002
        renewal = self._renewal(request, next)
        with anyio.move_on_after(request.time_left(self.clock.monotonic())):
            record = await keeper.refresh_now(renewal)
            if record.refresh_token is None:
                raise ConfigurationError(
                    f"the {account_of(request.endpoint.realm)} account has no refresh token",
                    hint=_NO_KEY[request.endpoint.realm],
                )
            return renewal.response or _renewed_elsewhere(request.endpoint.realm, cast("Secret", record.token))
        raise NoResponse("the renewal went on when the time was up", hint="it is stored once it is answered")

    def _renewal(self, request: Request[Any], next: Send) -> "_RefreshCall":  # noqa: A002
        return _RefreshCall(
            request.account, REFRESH_ENDPOINTS[request.endpoint.realm], next, self.supports_before_send()
        )


@define
class _RefreshCall:
    """The call that renews a realm's key, made through the inner rings alone."""

    account: str
    endpoint: Endpoint
    next: Send
    supports_before_send: bool
    response: Response[Any] | None = None

    async def __call__(self, refresh_token: Secret, before_send: Callable[[], None]) -> RefreshedKey:
        if not self.supports_before_send:
            before_send()
        response: Response[Any] = await self.next(
            Request(
                value=RefreshKey(),
                endpoint=self.endpoint,
                account=self.account,
                timeout=RENEWAL_SECONDS,
                key=refresh_token,
                before_send=before_send if self.supports_before_send else None,
            )
        )
        token, refresh, expiry = _FIELDS[self.endpoint.realm]
        data: Mapping[str, object] = response.value.extra
        fresh = RefreshedKey(
            token=_read_key(data.get(token)),
            refresh_token=_read_refresh_token(data.get(refresh)),
            expires_at=_read_expiry(data.get(expiry)),
        )
        if fresh.token is not None:
            value = _renewed(self.endpoint.realm, fresh.token, fresh.refresh_token, data)
            self.response = evolve(response, value=value)
        return fresh


_FIELDS = {
    Realm.APPLICATION: ("api_key", "refresh_token", "api_key_expire_date"),
    Realm.WALLET: ("api_key", "refresh_token", "api_key_expire_date"),
    Realm.INQUIRY: ("inquiry_key", "refresh_inquiry_key", "inquiry_key_expire_date"),
}
"""What a realm's response calls its new key, its new refresh token and its expiry."""


def _read_key(value: object) -> Secret | None:
    """Return a new key without the blanks around it; None for anything that cannot stand in a header."""
    text = str(value) if type(value) is int else value
    return Secret(text.strip()) if isinstance(text, str) and fits_header(text.strip()) else None


def _read_refresh_token(value: object) -> Secret | None:
    """Return a new refresh token without the blanks around it; None for anything else: the old one stays."""
    return Secret(value.strip()) if isinstance(value, str) and value.strip() else None


def _read_expiry(value: object) -> float | None:
    """Return an expiry in seconds since 1970, or None if it is missing or unreadable."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # assumed: seconds, or JavaScript's milliseconds; the refresher takes neither unless it is in the next two days
        return value / 1000 if value > _LAST_SECONDS else float(value)
    moment = parse_tehran(value)
    return moment.timestamp() if moment else None


_LAST_SECONDS = 1e11
"""The year 5138; a larger number counts milliseconds."""


def _renewed(
    realm: Realm, token: Secret, refresh_token: Secret | None = None, data: Mapping[str, object] | None = None
) -> NewApiKey | NewInquiryKey:
    """Return a refreshed key as its caller gets it; what could not be read stands in ``extra`` as it came."""
    token_name, refresh_name, expiry_name = _FIELDS[realm]
    came = dict(data or {})
    expiry = came.get(expiry_name)
    known = {
        token_name: token,
        refresh_name: refresh_token,
        expiry_name: expiry if isinstance(expiry, str) and expiry else None,
    }
    absent = {name for name in known if came.get(name) in (None, "")}
    extra = {name: value for name, value in came.items() if known.get(name) is None and name not in absent}
    made = NewInquiryKey if realm is Realm.INQUIRY else NewApiKey
    return made(**known, extra=extra)  # type: ignore[arg-type]


def _renewed_elsewhere(realm: Realm, token: Secret) -> Response[Any]:
    """The answer where another call or worker had the renewal under way: its key."""
    return Response(
        value=_renewed(realm, token), status=1, message="renewed elsewhere", http_status=200, headers={}, body=b""
    )


_NO_KEY = {
    Realm.APPLICATION: "give Application(refresh_token=…) or api_key=…, "
    "or set PAYSTAR_REFRESH_TOKEN or PAYSTAR_API_KEY",
    Realm.WALLET: "give Wallet(refresh_token=…) or api_key=…, "
    "or set PAYSTAR_WALLET_REFRESH_TOKEN or PAYSTAR_WALLET_API_KEY",
    Realm.INQUIRY: "give Wallet(refresh_inquiry_key=…) or inquiry_key=…, "
    "or set PAYSTAR_REFRESH_INQUIRY_KEY or PAYSTAR_INQUIRY_KEY",
}
