"""Keeps one key fresh: one renewal at a time, in a task of its own, and never in a caller's way while it is valid.

A lock around the renewal is not enough. With a refresh token that rotates, a caller that is cancelled between
the answer and the store leaves everyone with a dead token. So the renewal belongs to nobody's call: intent,
request, store, use, in that order, in a job no caller can cancel.
"""

import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from attrs import evolve

from paystar_async.errors import InvalidRefreshToken, InvalidResponse, NoResponse, PaystarError, StatusError
from paystar_async.keys.cache import NEVER, RecordCache
from paystar_async.keys.lease import Lease
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore, RefreshedKey
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import Event, EventName, OnEvent
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.values.secret import Secret

DEFAULT_KEY_LIFETIME_SECONDS = 24 * 3600.0
"""Seconds a key lives when the answer does not say."""
STORE_POLL_SECONDS = 0.2
STORE_SETTLE_SECONDS = 2.0
FAILURE_COOLDOWN_SECONDS = 15.0
"""Before another refresh: after one that failed while the old key lives, and after one whose key was rejected."""
REFRESH_WAIT_SECONDS = 5.0
"""Seconds a call waits for a renewal while the old key still lives."""
STORE_CHECK_SECONDS = 60.0
"""Between two reads of the store while the key in memory is used: a record that was lost there is put back in time."""


Renew = Callable[[Secret, Callable[[], None]], Awaitable[RefreshedKey]]
"""Sends the refresh token. Calls its second argument right before; what that raises keeps the token from being sent."""


class KeyRefresher:
    """Keeps one key of one account fresh, for all calls of one event loop.

    Args:
        key: whose key it is.
        first: what the account was configured with, used where the store holds nothing.
        store: where the record lives.
        clock: what time it is.
        background: whose jobs the renewals are.
        notify: told of every change.
        newest: the newest records that the process knows, for all its event loops.
    """

    def __init__(
        self,
        *,
        key: KeyId,
        first: KeyRecord,
        store: KeyStore,
        clock: Clock,
        background: BackgroundTasks,
        notify: OnEvent,
        newest: dict[KeyId, KeyRecord] | None = None,
    ) -> None:
        self._id, self._clock, self._background, self._notify = key, clock, background, notify
        newest = {} if newest is None else newest
        self._cache = RecordCache(key, first, store, clock, on_restore=self._tell_of_restore, newest=newest)
        self._job: BackgroundTask[bool] | None = None
        self._next_attempt_at, self._next_check = NEVER, clock.monotonic() + STORE_CHECK_SECONDS
        self._refusal: StatusError | None = None
        self._refreshed: Secret | None = None
        self._accepted: Secret | None = None

    def cached_token(self) -> Secret | None:
        """The key, if it is far from its end: no store is asked and nothing is awaited."""
        now, record = self._clock.monotonic(), self._cache.record
        if record is None or now >= self._cache.times.refresh_after:
            return None
        if now >= self._next_check:
            self._next_check = now + STORE_CHECK_SECONDS
            self._background.start(self._check_store)
        return record.token

    def accept(self, token: Secret) -> None:
        """Note that the server accepted ``token``."""
        if self._cache.record is not None and token is self._cache.record.token:
            self._accepted = token

    async def get_token(self, renew: Renew) -> Secret | None:
        """A key that is good now; waits for a renewal only if this one is about to end."""
        record = await self._known()
        now, times = self._clock.monotonic(), self._cache.times
        if record.refresh_token is None or now < times.refresh_after:
            return record.token
        if record.token is not None and now < times.expires_at and now < self._next_attempt_at:
            return record.token  # a renewal has just failed: the key serves, and nobody knocks again so soon
        if record.token is not None and now < times.refresh_by:
            self._renewal(renew, record.token)
            return record.token
        return await self._renewed(renew, record)

    async def refresh_rejected_token(self, refused: Secret, renew: Renew) -> tuple[Secret | None, bool]:
        """The key to use instead of one the server refused – None if there is no way to another – and if it is new."""
        record = await self._known()
        if record.token != refused:
            return record.token, False
        is_new, is_suspect = False, record.issued_at is not None and self._accepted != refused
        if refusal := self._recent_refusal():
            return await self._another(refused, refusal), False
        if record.refresh_token is None or (is_suspect and self._is_cooling_down(record)):
            self._cache.use(await self._cache.load())
        else:
            is_new = await self._renewal(renew, refused, is_suspect=is_suspect).wait()
        newest = self._cache.newest.token
        return (newest if newest != refused else None), is_new

    async def refresh_now(self, renew: Renew) -> KeyRecord:
        """Renew whatever the key's age, or join the renewal under way."""
        record = await self._known()
        await self._renewal(renew, record.token).wait()
        return self._cache.newest

    async def replace(self, token: Secret, refresh_token: Secret | None, expires_at: float | None) -> None:
        """Put a key pair in place from outside; heals a lost one."""
        while True:
            stored = await self._cache.load()
            new = KeyRecord(
                token=token,
                refresh_token=refresh_token or stored.refresh_token,
                issued_at=self._clock.time(),
                expires_at=expires_at,
            )
            if await self._cache.replace(stored, new):
                self._refusal = None
                return self._tell(
                    "key_replaced" if stored.refresh_rejected else "key_reloaded", "put in place from outside"
                )

    async def _known(self) -> KeyRecord:
        return self._cache.record or self._cache.use(await self._cache.load())

    async def _check_store(self) -> None:
        """Put back a record that the store has lost, and use a key that another process has refreshed."""
        own = self._cache.record
        if own is None or (self._job is not None and not self._job.done):
            return
        stored = await self._cache.load()  # an error ends the job alone: the key in memory serves
        if self._cache.record is own and stored.version > own.version:
            self._cache.use(stored)

    def _is_cooling_down(self, record: KeyRecord) -> bool:
        """Return True if a key that was never accepted is so new that another one would be rejected as well."""
        is_new = 0 <= self._clock.time() - (record.issued_at or 0) < FAILURE_COOLDOWN_SECONDS
        # The first key that another process refreshed may have been accepted there, and have expired since.
        return is_new and (record.suspect or record.token == self._refreshed)

    def _recent_refusal(self) -> StatusError | None:
        """The refusal of the last refresh, until its cooldown is over."""
        return self._refusal if self._clock.monotonic() < self._next_attempt_at else None

    async def _another(self, old: Secret | None, refusal: StatusError) -> Secret:
        """Return a key that another process has put into the store; without one, raise the refusal once more."""
        record = self._cache.use(await self._cache.load())
        if record.token is None or record.token == old or not self._lives(record):
            raise copy.copy(refusal)
        return record.token

    def _renewal(self, renew: Renew, old: Secret | None, *, is_suspect: bool = False) -> BackgroundTask[bool]:
        """The renewal under way, or a new one; ``old`` is the key it is to replace."""
        if self._job is None or self._job.done:
            self._job = self._background.start(lambda: self._renew(renew, old, is_suspect=is_suspect))
        return self._job

    async def _renewed(self, renew: Renew, record: KeyRecord) -> Secret | None:
        lives = record.token is not None and self._clock.monotonic() < self._cache.times.expires_at
        if not lives and (refusal := self._recent_refusal()):
            return await self._another(record.token, refusal)
        job = self._renewal(renew, record.token)
        try:
            with anyio.move_on_after(REFRESH_WAIT_SECONDS if lives else None):
                await job.wait()
        except PaystarError:
            # The old key serves as long as it lives; that the renewal failed is on record already.
            if record.token is not None and self._clock.monotonic() < self._cache.times.expires_at:
                return record.token
            raise
        return self._cache.newest.token

    async def _renew(self, renew: Renew, old: Secret | None, *, is_suspect: bool) -> bool:
        """Put a newer key in place; whether it was renewed here rather than elsewhere."""
        self._refusal = None
        try:
            lease = await self._claim(old)
            if lease is None or lease.record.refresh_token is None:
                return False
            return await self._exchange(renew, lease, lease.record.refresh_token, is_suspect=is_suspect)
        except PaystarError as error:
            failure = error
        except Exception as error:
            # A store or an engine of yours that raises an error of its own; nobody knows how far it came.
            failure = NoResponse(f"the renewal ended with {type(error).__name__}")
        self._next_attempt_at = self._clock.monotonic() + FAILURE_COOLDOWN_SECONDS
        if not isinstance(
            failure, InvalidRefreshToken
        ):  # refresh_token_rejected has said that, once, and the record says it to all
            if isinstance(failure, StatusError) and failure.executed == "no":
                self._refusal = failure
            self._tell("key_refresh_failed", type(failure).__name__)
        raise failure

    async def _claim(self, old: Secret | None) -> Lease | None:
        """A lease on the record; None once another has put a newer key in place."""
        while True:
            record = await self._cache.load()
            if record.token is not None and record.token != old and self._lives(record):
                self._cache.use(record)
                self._tell("key_reloaded", "renewed elsewhere")
                return None
            if record.refresh_rejected:
                raise _lost()
            if record.refresh_token is None:
                self._cache.use(record)
                return None
            lease = await self._cache.lease(record)
            if lease is not None:
                self._cache.use(lease.record)  # the newest, should the store lose it now
                return lease
            await self._clock.sleep(STORE_POLL_SECONDS)

    def _lives(self, record: KeyRecord) -> bool:
        return record.expires_at is None or self._clock.time() < record.expires_at

    async def _exchange(self, renew: Renew, lease: Lease, refresh_token: Secret, *, is_suspect: bool) -> bool:
        try:
            fresh = await lease.hold(lambda: renew(refresh_token, lease.check))
        except InvalidRefreshToken:
            if (newer := await self._newer(lease.record)) is None:
                if await self._cache.mark_rejected(lease):
                    self._tell("refresh_token_rejected", "the refresh token is refused")
                raise
            self._cache.use(newer)
            self._tell("key_reloaded", "renewed elsewhere")
            return False
        except BaseException:
            with suppress(Exception):  # a store that is down lets go by itself when the lease is over
                await self._cache.release(lease)
            raise
        new = self._to_record(lease.record, fresh, is_suspect=is_suspect)
        is_saved = await self._cache.keep(lease, new)
        if not is_saved:
            self._tell("key_refresh_failed", "renewed, but not stored yet")
            self._background.start(self._save_at_last)
        if fresh.token is None:
            raise InvalidResponse("$.data", "expected a new key; the refresh token on record may be spent")
        self._refreshed, self._accepted = fresh.token, None  # also a key that was accepted before has to be again
        if is_saved:
            self._tell("key_refreshed", "")
        return True

    def _to_record(self, leased: KeyRecord, fresh: RefreshedKey, *, is_suspect: bool) -> KeyRecord:
        refresh_token = fresh.refresh_token or leased.refresh_token
        if fresh.token is None:
            return evolve(leased, refresh_token=refresh_token)
        now, expires_at = self._clock.time(), fresh.expires_at
        if expires_at is None or not now < expires_at <= now + 2 * DEFAULT_KEY_LIFETIME_SECONDS:
            expires_at = now + DEFAULT_KEY_LIFETIME_SECONDS
        return KeyRecord(
            version=leased.version,
            token=fresh.token,
            refresh_token=refresh_token,
            issued_at=now,
            expires_at=expires_at,
            suspect=is_suspect,
        )

    async def _save_at_last(self) -> None:
        while not self._cache.is_saved:
            await self._clock.sleep(STORE_SETTLE_SECONDS)
            with suppress(Exception):
                await self._cache.save()
        self._tell("key_refreshed", "stored at last")

    async def _newer(self, claimed: KeyRecord) -> KeyRecord | None:
        """A record that came into the store while ours was refused."""
        until = self._clock.monotonic() + STORE_SETTLE_SECONDS
        while True:
            record = await self._cache.load()
            if record.version != claimed.version and record.token != claimed.token:
                return record
            if self._clock.monotonic() >= until:
                return None
            await self._clock.sleep(STORE_POLL_SECONDS)

    def _tell(self, name: EventName, detail: str) -> None:
        self._notify(Event(name=name, realm=self._id.realm, account=self._id.account, detail=detail))

    def _tell_of_restore(self) -> None:
        self._tell("key_replaced", "put back into a store that had lost it")


def _lost() -> InvalidRefreshToken:
    return InvalidRefreshToken(13, "the refresh token was refused before and is kept as lost", endpoint="keys")
