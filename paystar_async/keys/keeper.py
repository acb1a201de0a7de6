"""Keeps one key fresh: one renewal at a time, in a task of its own, and never in a caller's way while it is valid.

A lock around the renewal is not enough. With a refresh token that rotates, a caller that is cancelled between
the answer and the store leaves everyone with a dead token. So the renewal belongs to nobody's call: intent,
request, store, use, in that order, in a job no caller can cancel.
"""

import random
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from attrs import evolve

from paystar_async.background import Background, Job
from paystar_async.clock import Clock
from paystar_async.errors import InvalidRefreshToken, PaystarError, Unanswered
from paystar_async.events import Event, EventName, OnEvent
from paystar_async.keys.record import Fresh, KeyId, KeyRecord
from paystar_async.keys.store import KeyStore
from paystar_async.values.secret import Secret

LIFE = 24 * 3600.0
"""Seconds a key lives when the answer does not say."""
LEASE = 60.0
POLL = 0.2
SETTLE = 2.0
PAUSE = 15.0
"""Seconds before another try after one that failed, while the old key lives."""
PATIENCE = 5.0
"""Seconds a call waits for a renewal while the old key still lives."""


Renew = Callable[[Secret], Awaitable[Fresh]]


class Keeper:
    """Keeps one key of one account fresh, for all calls of one event loop.

    Args:
        key: whose key it is.
        first: what the account was configured with, used where the store holds nothing.
        store: where the record lives.
        clock: what time it is.
        background: whose jobs the renewals are.
        notify: told of every change.
    """

    def __init__(
        self, *, key: KeyId, first: KeyRecord, store: KeyStore, clock: Clock, background: Background, notify: OnEvent
    ) -> None:
        self._id, self._first, self._store, self._clock = key, first, store, clock
        self._background, self._notify = background, notify
        self._owner = uuid.uuid4().hex
        self._record: KeyRecord | None = None
        self._job: Job[bool] | None = None
        # All three on the monotonic clock, so that a jump of the wall clock changes nothing.
        self._calm_until = self._must_by = self._expires = float("-inf")
        self._next_try = float("-inf")
        self._unsaved: tuple[KeyRecord, KeyRecord] | None = None

    def at_hand(self) -> Secret | None:
        """The key, if it is far from its end: no store is asked and nothing is awaited."""
        if self._record is not None and self._clock.monotonic() < self._calm_until:
            return self._record.token
        return None

    async def token(self, renew: Renew) -> Secret | None:
        """A key that is good now; waits for a renewal only if this one is about to end."""
        record = self._record or self._adopt(await self._load())
        now = self._clock.monotonic()
        if record.refresh_token is None or now < self._calm_until:
            return record.token
        if record.token is not None and now < self._expires and now < self._next_try:
            return record.token  # a renewal has just failed: the key serves, and nobody knocks again so soon
        if record.token is not None and now < self._must_by:
            self._renewal(renew, record.token)
            return record.token
        return await self._renewed(renew, record)

    async def replace_refused(self, refused: Secret, renew: Renew) -> tuple[Secret | None, bool]:
        """The key to use instead of one the server refused – None if there is no way to another – and if it is new."""
        record = self._record or self._adopt(await self._load())
        if record.token != refused:
            return record.token, False
        is_new = False
        if record.refresh_token is None:
            self._adopt(await self._load())
        else:
            is_new = await self._renewal(renew, refused).wait()
        return (self._adopted.token if self._adopted.token != refused else None), is_new

    async def renew_now(self, renew: Renew) -> KeyRecord:
        """Renew whatever the key's age, or join the renewal under way."""
        record = self._record or self._adopt(await self._load())
        await self._renewal(renew, record.token).wait()
        return self._adopted

    async def put(self, token: Secret, refresh_token: Secret | None, expires_at: float | None) -> None:
        """Put a key pair in place from outside; heals a lost one."""
        while True:
            held = await self._load()
            new = KeyRecord(
                token=token,
                refresh_token=refresh_token or held.refresh_token,
                issued_at=self._clock.time(),
                expires_at=expires_at,
            )
            stored = await self._store.commit(self._id, held.version, self._owner, new)
            if stored is not None:
                self._adopt(stored)
                return self._tell("key_healed" if held.lost else "key_adopted", "put in place from outside")

    @property
    def _adopted(self) -> KeyRecord:
        return self._record or self._first

    async def _load(self) -> KeyRecord:
        """The stored record; the configured one is stored first where there is none."""
        if self._unsaved is not None:
            await self._save()
        record = await self._store.load(self._id)
        if record is None:
            record = await self._store.commit(self._id, 0, self._owner, self._first)
        return record or await self._store.load(self._id) or self._first

    def _adopt(self, record: KeyRecord) -> KeyRecord:
        self._record = record
        now, wall = self._clock.monotonic(), self._clock.time()
        if record.expires_at is None:
            self._calm_until = self._must_by = self._expires = float("inf") if record.token else float("-inf")
            return record
        life = record.expires_at - (wall if record.issued_at is None else record.issued_at)
        left = min(record.expires_at - wall, life)  # a clock that was set back makes no key live longer
        self._expires = now + left
        self._must_by = self._expires - min(1800.0, life / 10)
        self._calm_until = min(self._must_by, now - (life - left) + life * random.uniform(0.5, 0.6))
        return record

    def _renewal(self, renew: Renew, old: Secret | None) -> Job[bool]:
        """The renewal under way, or a new one; ``old`` is the key it is to replace."""
        if self._job is None or self._job.done:
            self._job = self._background.start(lambda: self._renew(renew, old))
        return self._job

    async def _renewed(self, renew: Renew, record: KeyRecord) -> Secret | None:
        job = self._renewal(renew, record.token)
        lives = record.token is not None and self._clock.monotonic() < self._expires
        try:
            with anyio.move_on_after(PATIENCE if lives else None):
                await job.wait()
        except PaystarError:
            # The old key serves as long as it lives; that the renewal failed is on record already.
            if record.token is not None and self._clock.monotonic() < self._expires:
                return record.token
            raise
        return self._adopted.token

    async def _renew(self, renew: Renew, old: Secret | None) -> bool:
        """Put a newer key in place; whether it was renewed here rather than elsewhere."""
        try:
            claimed = await self._claim(old)
            if claimed is None or claimed.refresh_token is None:
                return False
            return await self._exchange(renew, claimed, claimed.refresh_token)
        except PaystarError as error:
            failure = error
        except Exception as error:
            # A store or an engine of yours that raises an error of its own; nobody knows how far it came.
            failure = Unanswered(f"the renewal ended with {type(error).__name__}")
        self._next_try = self._clock.monotonic() + PAUSE
        if not isinstance(failure, InvalidRefreshToken):  # key_lost has said that, once
            self._tell("key_refresh_failed", type(failure).__name__)
        raise failure

    async def _claim(self, old: Secret | None) -> KeyRecord | None:
        """The record, claimed for us; None once another has put a newer key in place."""
        while True:
            record = await self._load()
            if record.token is not None and record.token != old and self._lives(record):
                self._adopt(record)
                self._tell("key_adopted", "renewed elsewhere")
                return None
            if record.lost:
                raise _lost()
            if record.refresh_token is None:
                self._adopt(record)
                return None
            claimed = await self._store.begin(self._id, record.version, self._owner, LEASE)
            if claimed is not None:
                return claimed
            await self._clock.sleep(POLL)

    def _lives(self, record: KeyRecord) -> bool:
        return record.expires_at is None or self._clock.time() < record.expires_at

    async def _exchange(self, renew: Renew, claimed: KeyRecord, refresh_token: Secret) -> bool:
        try:
            fresh = await renew(refresh_token)
        except InvalidRefreshToken:
            if (newer := await self._newer(claimed)) is None:
                if await self._store.mark_lost(self._id, claimed.version) is not None:
                    self._tell("key_lost", "the refresh token is refused")
                raise
            self._adopt(newer)
            self._tell("key_adopted", "renewed elsewhere")
            return False
        except BaseException:
            with suppress(Exception):  # a store that is down lets go by itself when the lease is over
                await self._store.commit(self._id, claimed.version, self._owner, claimed)
            raise
        await self._keep(claimed, fresh)
        return True

    async def _keep(self, claimed: KeyRecord, fresh: Fresh) -> None:
        now = self._clock.time()
        expires_at = fresh.expires_at
        if expires_at is None or not now < expires_at <= now + 2 * LIFE:
            expires_at = now + LIFE
        new = evolve(
            claimed,
            token=fresh.token,
            refresh_token=fresh.refresh_token or claimed.refresh_token,
            issued_at=now,
            expires_at=expires_at,
            lost=False,
        )
        self._unsaved = claimed, new
        try:
            await self._save()
        except Exception:
            # The only copy of the new pair is here. It serves from memory, and a job of its own goes on storing it.
            self._adopt(new)
            self._tell("key_refresh_failed", "renewed, but not stored yet")
            self._background.start(self._save_at_last)
        else:
            self._tell("key_refreshed", "")

    async def _save(self) -> None:
        """Store the pair that was renewed, whatever has been stored meanwhile."""
        while self._unsaved is not None:
            claimed, new = self._unsaved
            stored = await self._store.commit(self._id, claimed.version, self._owner, new)
            if stored is None:
                held = await self._store.load(self._id) or self._first
                merged = _merged(held, claimed, new)
                if merged is None:
                    self._unsaved = None
                    self._adopt(held)
                    return
                stored = await self._store.commit(self._id, held.version, self._owner, merged)
            if stored is not None:
                self._unsaved = None
                self._adopt(stored)

    async def _save_at_last(self) -> None:
        while self._unsaved is not None:
            await self._clock.sleep(SETTLE)
            with suppress(Exception):
                await self._save()
        self._tell("key_refreshed", "stored at last")

    async def _newer(self, claimed: KeyRecord) -> KeyRecord | None:
        """A record that came into the store while ours was refused."""
        until = self._clock.monotonic() + SETTLE
        while True:
            record = await self._load()
            if record.version != claimed.version and record.token != claimed.token:
                return record
            if self._clock.monotonic() >= until:
                return None
            await self._clock.sleep(POLL)

    def _tell(self, name: EventName, detail: str) -> None:
        self._notify(Event(name=name, realm=self._id.realm, account=self._id.account, detail=detail))


def _lost() -> InvalidRefreshToken:
    return InvalidRefreshToken(13, "the refresh token was refused before and is kept as lost", endpoint="keys")


def _merged(held: KeyRecord, claimed: KeyRecord, new: KeyRecord) -> KeyRecord | None:
    """What is to be stored where somebody changed the record during a renewal; None: theirs holds as it is."""
    if held.token == claimed.token:
        return new  # only a claim or a mark
    if held.refresh_token == claimed.refresh_token != new.refresh_token:
        # A key was put in place beside the refresh token that this renewal has spent.
        return evolve(held, refresh_token=new.refresh_token, lost=False)
    return None
