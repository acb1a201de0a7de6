"""Refreshing of one key: one refresh at a time, in a background task, blocking no caller while the key is valid.

A lock around the refresh is not enough. Refresh tokens rotate: a caller cancelled between the response and the store
would leave all processes with a spent token. So a refresh belongs to no call: lease, request, store, use, in that
order, in a background task that no caller can cancel.
"""

import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from attrs import evolve

from paystar_async.errors import (
    InvalidRefreshToken,
    InvalidResponse,
    NoResponse,
    PaystarError,
    StatusError,
    StorageUnavailable,
)
from paystar_async.keys.cache import LONG_AGO, RecordCache
from paystar_async.keys.history import order_after
from paystar_async.keys.lease import Lease
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore, RefreshedKey
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import Event, EventName, OnEvent
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.values.secret import Secret

DEFAULT_KEY_LIFETIME_SECONDS = 24 * 3600.0
"""Lifetime of a key if the response does not say."""
STORE_POLL_SECONDS = 0.2
"""Time between two reads of the store while another process refreshes the key."""
STORE_SETTLE_SECONDS = 2.0
"""Time that a store may take to show a change of another process; also between two attempts to store a key."""
FAILURE_COOLDOWN_SECONDS = 15.0
"""Pause after a refresh that failed while the old key is valid, and after a refresh whose key was rejected."""
REFRESH_WAIT_SECONDS = 5.0
"""Maximum wait of a call for a refresh while the old key is valid."""
MAX_UNCHANGED_SECONDS = 15.0
"""Longest wait for a lease while the record does not change: no process holds a lease, and the store grants none."""
STORE_CHECK_SECONDS = 60.0
"""Time between two reads of the store while the key in memory is used, to restore a lost record."""


RefreshCall = Callable[[Secret, Callable[[], None]], Awaitable[RefreshedKey]]
"""Calls its second argument, whose error prevents the request, and right after that sends the refresh token."""


class KeyRefresher:
    """The refresher of one key, for all calls of one event loop.

    Args:
        key: identity of the key.
        seed: the configured record, used if the store has none.
        store: the key store.
        clock: the client's clock.
        background: runs the refreshes.
        notify: called with an event on every change.
        newest: the newest records that the process knows, for all its event loops.
    """

    def __init__(
        self,
        *,
        key: KeyId,
        seed: KeyRecord,
        store: KeyStore,
        clock: Clock,
        background: BackgroundTasks,
        notify: OnEvent,
        newest: dict[KeyId, KeyRecord] | None = None,
    ) -> None:
        self._key, self._clock, self._background, self._notify = key, clock, background, notify
        newest = {} if newest is None else newest
        self._cache = RecordCache(key, seed, store, clock, on_restore=self._notify_restored, newest=newest)
        self._task: BackgroundTask[bool] | None = None
        self._next_attempt_at, self._next_store_check_at = LONG_AGO, clock.monotonic() + STORE_CHECK_SECONDS
        self._refusal: StatusError | None = None
        self._refreshed_token: Secret | None = None
        self._accepted_token: Secret | None = None

    def cached_token(self) -> Secret | None:
        """Return the key in memory, or None if it is due for a refresh; reads no store."""
        now, record = self._clock.monotonic(), self._cache.record
        if record is None or now >= self._cache.times.refresh_after:
            return None
        if now >= self._next_store_check_at:
            self._next_store_check_at = now + STORE_CHECK_SECONDS
            self._background.start(self._check_store)
        return record.token

    def mark_accepted(self, token: Secret) -> None:
        """Note that the server accepted ``token``."""
        if self._cache.record is not None and token is self._cache.record.token:
            self._accepted_token = token

    async def get_token(self, refresh_call: RefreshCall) -> Secret | None:
        """Return a valid key; wait for a refresh only if the key is about to expire."""
        record = await self._current_record()
        now, times = self._clock.monotonic(), self._cache.times
        if record.refresh_token is None or now < times.refresh_after:
            return record.token
        if record.token is not None and now < times.expires_at and now < self._next_attempt_at:
            return record.token  # a refresh has just failed: use the key, retry after the cooldown
        if record.token is not None and now < times.refresh_by:
            self._start_refresh(refresh_call, record.token)
            return record.token
        return await self._await_refresh(refresh_call, record)

    async def refresh_rejected_token(self, rejected: Secret, refresh_call: RefreshCall) -> tuple[Secret | None, bool]:
        """Return the key that replaces a rejected key (or None), and whether that key is new."""
        record = await self._current_record()
        if record.token != rejected:
            return record.token, False
        is_new, is_suspect = False, record.issued_at is not None and self._accepted_token != rejected
        if refusal := self._recent_refusal():
            return await self._load_replacement(rejected, refusal), False
        if record.refresh_token is None or (is_suspect and self._is_cooling_down(record)):
            self._cache.use(await self._cache.load())
        else:
            is_new = await self._start_refresh(refresh_call, rejected, is_suspect=is_suspect).wait()
        newest = self._cache.newest.token
        return (newest if newest != rejected else None), is_new

    async def refresh_now(self, refresh_call: RefreshCall) -> KeyRecord:
        """Refresh the key at any age, or join the running refresh."""
        record = await self._current_record()
        await self._start_refresh(refresh_call, record.token).wait()
        return self._cache.newest

    async def replace(self, token: Secret, refresh_token: Secret | None, expires_at: float | None) -> None:
        """Store a key pair from outside; also repairs a rejected refresh token."""
        while True:
            stored = await self._cache.load()
            new = KeyRecord(
                token=token,
                refresh_token=refresh_token or stored.refresh_token,
                issued_at=self._clock.time(),
                expires_at=expires_at,
                order=order_after(stored, self._clock.time()),
            )
            if await self._cache.replace(stored, new):
                self._refusal = None
                return self._emit(
                    "key_replaced" if stored.refresh_rejected else "key_reloaded", "replaced from outside"
                )

    async def _current_record(self) -> KeyRecord:
        return self._cache.record or self._cache.use(await self._cache.load())

    async def _check_store(self) -> None:
        """Restore a record that the store has lost, and use a key that another process has refreshed."""
        own_record = self._cache.record
        if own_record is None or (self._task is not None and not self._task.done):
            return
        stored = await self._cache.load()  # an error ends only this task: the key in memory stays in use
        is_other = stored.version > own_record.version or stored.token != own_record.token
        if self._cache.record is own_record and is_other:
            self._cache.use(stored)

    def _is_cooling_down(self, record: KeyRecord) -> bool:
        """Return True if a key that was never accepted is so new that another key would be rejected as well."""
        is_new = 0 <= self._clock.time() - (record.issued_at or 0) < FAILURE_COOLDOWN_SECONDS
        # The first key that another process refreshed may have been accepted there, and have expired since.
        return is_new and (record.suspect or record.token == self._refreshed_token)

    def _recent_refusal(self) -> StatusError | None:
        """Return the refusal of the last refresh until its cooldown is over."""
        return self._refusal if self._clock.monotonic() < self._next_attempt_at else None

    async def _load_replacement(self, old: Secret | None, refusal: StatusError) -> Secret:
        """Return a key that another process has stored; without such a key, raise the refusal again."""
        record = self._cache.use(await self._cache.load())
        if record.token is None or record.token == old or not self._is_valid(record):
            raise copy.copy(refusal)
        return record.token

    def _start_refresh(
        self, refresh_call: RefreshCall, old: Secret | None, *, is_suspect: bool = False
    ) -> BackgroundTask[bool]:
        """Return the running refresh or start one; ``old`` is the key to replace."""
        if self._task is None or self._task.done:
            self._task = self._background.start(lambda: self._refresh(refresh_call, old, is_suspect=is_suspect))
        return self._task

    async def _await_refresh(self, refresh_call: RefreshCall, record: KeyRecord) -> Secret | None:
        is_valid = record.token is not None and self._clock.monotonic() < self._cache.times.expires_at
        if not is_valid and (refusal := self._recent_refusal()):
            return await self._load_replacement(record.token, refusal)
        refresh = self._start_refresh(refresh_call, record.token)
        try:
            with anyio.move_on_after(REFRESH_WAIT_SECONDS if is_valid else None):
                await refresh.wait()
        except PaystarError:
            # The old key is used until it expires; an event has reported the failure already.
            if record.token is not None and self._clock.monotonic() < self._cache.times.expires_at:
                return record.token
            raise
        return self._cache.newest.token

    async def _refresh(self, refresh_call: RefreshCall, old: Secret | None, *, is_suspect: bool) -> bool:
        """Replace the key by a newer key; return True if this process refreshed it."""
        self._refusal = None
        try:
            lease = await self._acquire_lease(old)
            if lease is None or lease.record.refresh_token is None:
                return False
            return await self._send_refresh(refresh_call, lease, lease.record.refresh_token, is_suspect=is_suspect)
        except PaystarError as error:
            failure = error
        except Exception as error:
            # A foreign error of a user's store or engine; the refresh may have been sent.
            failure = NoResponse(f"the refresh ended with {type(error).__name__}")
        self._next_attempt_at = self._clock.monotonic() + FAILURE_COOLDOWN_SECONDS
        if not isinstance(failure, InvalidRefreshToken):  # reported once by refresh_token_rejected
            if isinstance(failure, StatusError) and failure.executed == "no":
                self._refusal = failure
            self._emit("key_refresh_failed", type(failure).__name__)
        raise failure

    async def _acquire_lease(self, old: Secret | None) -> Lease | None:
        """Return a lease on the record, or None once another process has stored a newer key.

        Raises:
            StorageError: the store cannot be used, or grants no lease although no process holds one.
        """
        until = LONG_AGO
        seen: tuple[int, float | None] = 0, None
        while True:
            record = await self._cache.load()
            if seen != (record.version, record.lease_expires_at):  # a lease is extended every few seconds
                until = self._clock.monotonic() + MAX_UNCHANGED_SECONDS
                seen = record.version, record.lease_expires_at
            if record.token is not None and record.token != old and self._is_valid(record):
                self._cache.use(record)
                self._emit("key_reloaded", "refreshed elsewhere")
                return None
            if record.refresh_rejected:
                raise _rejected_before()
            if record.refresh_token is None:
                self._cache.use(record)
                return None
            lease = await self._cache.lease(record)
            if lease is not None:
                self._cache.use(lease.record)  # restored if the store loses the record now
                return lease
            if self._clock.monotonic() >= until:
                raise StorageUnavailable(
                    f"the key store does not change the {self._key.realm} key of {self._key.account}",
                    hint="let this process change the record: see the rights, rules and triggers of its table",
                )
            await self._clock.sleep(STORE_POLL_SECONDS)

    def _is_valid(self, record: KeyRecord) -> bool:
        return record.expires_at is None or self._clock.time() < record.expires_at

    async def _send_refresh(
        self, refresh_call: RefreshCall, lease: Lease, refresh_token: Secret, *, is_suspect: bool
    ) -> bool:
        try:
            refreshed = await lease.hold(lambda: refresh_call(refresh_token, lease.check))
        except InvalidRefreshToken:
            if (newer := await self._find_newer(lease.record)) is None:
                if await self._cache.mark_rejected(lease):
                    self._emit("refresh_token_rejected", "the refresh token was rejected")
                raise
            self._cache.use(newer)
            self._emit("key_reloaded", "refreshed elsewhere")
            return False
        except BaseException:
            with suppress(Exception):  # in a failing store the lease expires by itself
                await self._cache.release(lease)
            raise
        new = self._to_record(lease.record, refreshed, is_suspect=is_suspect)
        is_saved = await self._cache.store_refreshed(lease, new)
        if not is_saved:
            self._emit("key_refresh_failed", "refreshed, but not stored yet")
            self._background.start(self._retry_save)
        if refreshed.token is None:
            raise InvalidResponse("$.data", "expected a new key; the refresh token on record may be spent")
        self._refreshed_token, self._accepted_token = (
            refreshed.token,
            None,
        )  # a key accepted before must be accepted again
        if is_saved:
            self._emit("key_refreshed", "")
        return True

    def _to_record(self, leased: KeyRecord, refreshed: RefreshedKey, *, is_suspect: bool) -> KeyRecord:
        refresh_token = refreshed.refresh_token or leased.refresh_token
        now, expires_at = self._clock.time(), refreshed.expires_at
        order = order_after(leased, now)
        if refreshed.token is None:
            return evolve(leased, refresh_token=refresh_token, order=order)
        if expires_at is None or not now < expires_at <= now + 2 * DEFAULT_KEY_LIFETIME_SECONDS:
            expires_at = now + DEFAULT_KEY_LIFETIME_SECONDS
        return KeyRecord(
            version=leased.version,
            token=refreshed.token,
            refresh_token=refresh_token,
            issued_at=now,
            expires_at=expires_at,
            suspect=is_suspect,
            order=order,
        )

    async def _retry_save(self) -> None:
        while not self._cache.is_saved:
            await self._clock.sleep(STORE_SETTLE_SECONDS)
            with suppress(Exception):
                await self._cache.save()
        self._emit("key_refreshed", "stored after a failure")

    async def _find_newer(self, leased: KeyRecord) -> KeyRecord | None:
        """Return a record stored by another process while this refresh token was rejected, or None."""
        until = self._clock.monotonic() + STORE_SETTLE_SECONDS
        while True:
            record = await self._cache.load()
            if record.version != leased.version and record.token != leased.token:
                return record
            if self._clock.monotonic() >= until:
                return None
            await self._clock.sleep(STORE_POLL_SECONDS)

    def _emit(self, name: EventName, detail: str) -> None:
        self._notify(Event(name=name, realm=self._key.realm, account=self._key.account, detail=detail))

    def _notify_restored(self) -> None:
        self._emit("key_replaced", "restored in a store that had lost it")


def _rejected_before() -> InvalidRefreshToken:
    return InvalidRefreshToken(13, "the refresh token was rejected before", endpoint="keys")
