"""Authentication: sets the key of each request, refreshes it before it expires and after it was rejected."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import anyio
from attrs import define, evolve, field

from paystar_async.credentials import Credentials, Realm, account_argument, fits_header
from paystar_async.endpoint import KEY_REFUSALS, Endpoint, Observation, Request, Safety, Send
from paystar_async.errors import (
    ConfigurationError,
    NoResponse,
    NotSent,
    PaystarError,
)
from paystar_async.keys.refresher import KeyRefresher
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore, RefreshedKey
from paystar_async.models.keys import NewApiKey, NewInquiryKey, RefreshKey
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import OnEvent
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.values.dates import parse_tehran, parse_unix_time
from paystar_async.values.secret import Secret

T = TypeVar("T")

REFRESH_TIMEOUT_SECONDS = 30.0
"""Timeout of a refresh, which goes on when its callers stop waiting."""


@define
class AuthMiddleware:
    """The middleware that authenticates each request.

    Args:
        credentials: the client's credentials.
        store: the key store.
        clock: the client's clock.
        background: runs refreshes, so that no cancelled call interrupts one.
        notify: called with key events.
        refresh_endpoints: the endpoint that refreshes the key of each realm.
        supports_before_send: returns True if the engine calls ``before_send`` right before the first byte.
        newest_records: the newest records known to the process, shared by all event loops of one client.
    """

    credentials: Credentials
    store: KeyStore
    clock: Clock
    background: BackgroundTasks
    notify: OnEvent
    refresh_endpoints: Mapping[Realm, Endpoint] = field(kw_only=True)
    supports_before_send: Callable[[], bool] = field(default=lambda: False, kw_only=True)
    newest_records: dict[KeyId, KeyRecord] = field(factory=dict[KeyId, KeyRecord], kw_only=True)
    _refreshers: dict[Realm, KeyRefresher] = field(factory=dict[Realm, KeyRefresher], init=False)

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Send the request with its key; send it again with a refreshed key if the first one is rejected."""
        endpoint = request.endpoint
        if endpoint.realm is Realm.GATEWAY:
            return await next(request.replace(key=self.credentials.initial_token(Realm.GATEWAY)[0]))
        refresher = self._refreshers.get(endpoint.realm) or self.refresher(endpoint.realm)
        if endpoint.refresh_token_field:
            return await self._refresh_now(refresher, request, next)
        key = refresher.cached_token()
        if key is None:
            key = await self._before_deadline(request, refresher.get_token(self._refresh_call(request, next)))
        if key is None:
            raise ConfigurationError(
                f"the {account_argument(endpoint.realm)} account has no key", hint=_NO_KEY[endpoint.realm]
            )
        is_new = False
        while True:
            try:
                response = await next(request.replace(key=key))
            except KEY_REFUSALS as error:
                if is_new or (error.executed == "maybe" and endpoint.safety is Safety.ONCE):
                    raise
                rejection = error
            else:
                refresher.mark_accepted(key)
                return response
            # A key refreshed elsewhere may have expired as well; a key refreshed for this call is its last attempt.
            replacement, is_new = await self._before_deadline(
                request, refresher.refresh_rejected_token(key, self._refresh_call(request, next))
            )
            if replacement is None:
                raise rejection
            key = replacement

    def refresher(self, realm: Realm) -> KeyRefresher:
        """Return the refresher of a realm's key."""
        if realm not in self._refreshers:
            token, refresh_token = self.credentials.initial_token(realm)
            self._refreshers[realm] = KeyRefresher(
                key=KeyId(realm.value, self.credentials.account_id(realm)),
                seed=KeyRecord(token=token, refresh_token=refresh_token),
                store=self.store,
                clock=self.clock,
                background=self.background,
                notify=self.notify,
                newest=self.newest_records,
            )
        return self._refreshers[realm]

    async def _before_deadline(self, request: Request[Any], key: Awaitable[T]) -> T:
        """Await a key until the deadline; raise NotSent if that fails, since the call itself was not sent."""
        try:
            with anyio.fail_after(request.time_left(self.clock.monotonic())):
                return await key
        except TimeoutError:
            reason = "the timeout expired"
        except PaystarError as error:
            if error.executed == "no":
                raise
            reason = str(error.args[0])
        raise NotSent(f"the key could not be refreshed: {reason}")

    async def _refresh_now(self, refresher: KeyRefresher, request: Request[Any], next: Send) -> Response[Any]:  # noqa: A002
        refresh_call = self._refresh_call(request, next)
        with anyio.move_on_after(request.time_left(self.clock.monotonic())):
            record = await refresher.refresh_now(refresh_call)
            if record.refresh_token is None:
                raise ConfigurationError(
                    f"the {account_argument(request.endpoint.realm)} account has no refresh token",
                    hint=_NO_KEY[request.endpoint.realm],
                )
            return refresh_call.response or _refreshed_elsewhere(request.endpoint.realm, cast("Secret", record.token))
        raise NoResponse(
            "the timeout expired during the refresh, which goes on", hint="the new key is stored once it is received"
        )

    def _refresh_call(self, request: Request[Any], next: Send) -> "_RefreshCall":  # noqa: A002
        return _RefreshCall(
            request.account,
            self.refresh_endpoints[request.endpoint.realm],
            next,
            self.supports_before_send(),
            request.observe,
        )


@define
class _RefreshCall:
    """The call that refreshes a realm's key, sent through the inner middlewares only."""

    account: str
    endpoint: Endpoint
    next: Send
    supports_before_send: bool
    observe: Callable[[Observation], None] | None = None
    response: Response[Any] | None = None

    async def __call__(self, refresh_token: Secret, before_send: Callable[[], None]) -> RefreshedKey:
        if not self.supports_before_send:
            before_send()
        response: Response[Any] = await self.next(
            Request(
                value=RefreshKey(),
                endpoint=self.endpoint,
                account=self.account,
                timeout=REFRESH_TIMEOUT_SECONDS,
                key=refresh_token,
                before_send=before_send if self.supports_before_send else None,
                observe=self.observe,
            )
        )
        token_name, refresh_name, expiry_name = _KEY_FIELDS[self.endpoint.realm]
        data: Mapping[str, object] = response.value.extra
        refreshed = RefreshedKey(
            token=_read_key(data.get(token_name)),
            refresh_token=_read_refresh_token(data.get(refresh_name)),
            expires_at=_read_expiry(data.get(expiry_name)),
        )
        if refreshed.token is not None:
            value = _refreshed_key(self.endpoint.realm, refreshed.token, refreshed.refresh_token, data)
            self.response = evolve(response, value=value)
        return refreshed


# assumed (inquiry-refresh-fields): by analogy to the fields of the other two keys.
_KEY_FIELDS = {
    Realm.APPLICATION: ("api_key", "refresh_token", "api_key_expire_date"),
    Realm.WALLET: ("api_key", "refresh_token", "api_key_expire_date"),
    Realm.INQUIRY: ("inquiry_key", "refresh_inquiry_key", "inquiry_key_expire_date"),
}
"""The field names of the new key, the new refresh token and the expiry in a realm's response."""


def _read_key(value: object) -> Secret | None:
    """Return a new key without surrounding blanks; None for a value that is not valid in a header."""
    text = _key_text(value)
    return Secret(text) if fits_header(text) else None


def _read_refresh_token(value: object) -> Secret | None:
    """Return a new refresh token without surrounding blanks; None, which keeps the old one, for other values."""
    text = _key_text(value)
    # U+FFFD stands for bytes that could not be read; half a surrogate pair, which is not printable, cannot be sent.
    return Secret(text) if text and text.isprintable() and "\ufffd" not in text else None


def _key_text(value: object) -> str:
    """Return a key or token without surrounding blanks, also if it came as a number; otherwise an empty text."""
    text = str(value) if type(value) is int and 0 < value < 10**64 else value
    return text.strip() if isinstance(text, str) else ""


def _read_expiry(value: object) -> float | None:
    """Return an expiry in seconds since 1970, or None if the value is missing or unreadable."""
    expires_at = parse_tehran(value)
    # assumed (key-expiry): seconds, or JavaScript's milliseconds; the refresher accepts only the next two days
    return expires_at.timestamp() if expires_at else parse_unix_time(value)


def _refreshed_key(
    realm: Realm, token: Secret, refresh_token: Secret | None = None, data: Mapping[str, object] | None = None
) -> NewApiKey | NewInquiryKey:
    """Return the value of a refresh; fields that could not be parsed are in ``extra`` unchanged."""
    token_name, refresh_name, expiry_name = _KEY_FIELDS[realm]
    received = dict(data or {})
    expiry = received.get(expiry_name)
    fields = {
        token_name: token,
        refresh_name: refresh_token,
        expiry_name: expiry if isinstance(expiry, str) and expiry else None,
    }
    absent = {name for name in fields if received.get(name) in (None, "")}
    extra = {name: value for name, value in received.items() if fields.get(name) is None and name not in absent}
    model = NewInquiryKey if realm is Realm.INQUIRY else NewApiKey
    return model(**fields, extra=extra)  # type: ignore[arg-type]


def _refreshed_elsewhere(realm: Realm, token: Secret) -> Response[Any]:
    """Return the response for a call that joined a refresh of another call or process."""
    return Response(
        value=_refreshed_key(realm, token),
        status=1,
        message="refreshed elsewhere",
        http_status=200,
        headers={},
        body=b"",
    )


_NO_KEY = {
    Realm.APPLICATION: "pass Application(refresh_token=…) or api_key=…, "
    "or set PAYSTAR_REFRESH_TOKEN or PAYSTAR_API_KEY",
    Realm.WALLET: "pass Wallet(refresh_token=…) or api_key=…, "
    "or set PAYSTAR_WALLET_REFRESH_TOKEN or PAYSTAR_WALLET_API_KEY",
    Realm.INQUIRY: "pass Wallet(refresh_inquiry_key=…) or inquiry_key=…, "
    "or set PAYSTAR_REFRESH_INQUIRY_KEY or PAYSTAR_INQUIRY_KEY",
}
