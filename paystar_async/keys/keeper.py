"""Keeps one key fresh: one renewal at a time, in a task of its own, and never in a caller's way while it is valid.

A lock around the renewal is not enough. With a refresh token that rotates, a caller that is cancelled between
the answer and the store leaves everyone with a dead token. So the renewal belongs to nobody's call: intent,
request, store, use, in that order, in a job no caller can cancel.
"""

import random
import uuid
from collections.abc import Awaitable, Callable

from attrs import evolve, frozen

from paystar_async.background import Background, Job
from paystar_async.clock import Clock
from paystar_async.errors import InvalidRefreshToken, PaystarError
from paystar_async.events import Event, EventName, OnEvent
from paystar_async.keys.record import KeyId, KeyRecord
from paystar_async.keys.store import KeyStore
from paystar_async.values.secret import Secret

LIFE = 24 * 3600.0
"""Seconds a key lives when the answer does not say."""
LEASE = 60.0
POLL = 0.2
SETTLE = 2.0
PAUSE = 15.0
"""Seconds before another try in the background after one that failed."""


@frozen(kw_only=True)
class Fresh:
    """What a renewal answered.

    Attributes:
        token: the new key.
        refresh_token: the new refresh token, if the answer carried one.
        expires_at: seconds since 1970, or None where the answer does not say.
    """

    token: Secret
    refresh_token: Secret | None
    expires_at: float | None


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
        self._job: Job[None] | None = None
        # All three on the monotonic clock, so that a jump of the wall clock changes nothing.
        self._calm_until = self._must_by = self._expires = float("-inf")
        self._next_try = float("-inf")

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
        if record.token is not None and now < self._must_by:
            if now >= self._next_try:
                self._renewal(renew, record.token)
            return record.token
        return await self._renewed(renew, record)

    async def replace_refused(self, refused: Secret, renew: Renew) -> Secret | None:
        """The key to use instead of one the server refused; None if there is no way to another."""
        record = self._record or self._adopt(await self._load())
        if record.token != refused:
            return record.token
        if record.refresh_token is None:
            record = self._adopt(await self._load())
            return record.token if record.token != refused else None
        await self._renewal(renew, refused).wait()
        return self._adopted.token

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
        record = await self._store.load(self._id)
        if record is None:
            record = await self._store.commit(self._id, 0, self._owner, self._first)
        return record or await self._store.load(self._id) or self._first

    def _adopt(self, record: KeyRecord, *, issued_now: bool = False) -> KeyRecord:
        self._record = record
        now, wall = self._clock.monotonic(), self._clock.time()
        if record.expires_at is None:
            self._calm_until = self._must_by = self._expires = float("inf") if record.token else float("-inf")
            return record
        issued = wall if issued_now or record.issued_at is None else record.issued_at
        life = record.expires_at - issued
        left = record.expires_at - wall
        self._expires = now + left
        self._must_by = self._expires - min(1800.0, life / 10)
        self._calm_until = min(self._must_by, now - (life - left) + life * random.uniform(0.5, 0.6))
        return record

    def _renewal(self, renew: Renew, old: Secret | None) -> Job[None]:
        """The renewal under way, or a new one; ``old`` is the key it is to replace."""
        if self._job is None or self._job.done:
            self._job = self._background.start(lambda: self._renew(renew, old))
        return self._job

    async def _renewed(self, renew: Renew, record: KeyRecord) -> Secret | None:
        try:
            await self._renewal(renew, record.token).wait()
        except PaystarError:
            # The old key serves as long as it lives; that the renewal failed is on record already.
            if record.token is not None and self._clock.monotonic() < self._expires:
                return record.token
            raise
        return self._adopted.token

    async def _renew(self, renew: Renew, old: Secret | None) -> None:
        try:
            claimed = await self._claim(old)
            if claimed is None or claimed.refresh_token is None:
                return
            await self._exchange(renew, claimed, claimed.refresh_token)
        except PaystarError as error:
            self._next_try = self._clock.monotonic() + PAUSE
            self._tell("key_refresh_failed", type(error).__name__)
            raise

    async def _claim(self, old: Secret | None) -> KeyRecord | None:
        """The record, claimed for us; None once another has put a newer key in place."""
        while True:
            record = await self._load()
            if record.token is not None and record.token != old:
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

    async def _exchange(self, renew: Renew, claimed: KeyRecord, refresh_token: Secret) -> None:
        try:
            fresh = await renew(refresh_token)
        except InvalidRefreshToken:
            if (newer := await self._newer(claimed)) is None:
                await self._store.mark_lost(self._id, claimed.version)
                self._tell("key_lost", "the refresh token is refused")
                raise
            self._adopt(newer)
            return
        except BaseException:
            await self._store.commit(self._id, claimed.version, self._owner, claimed)
            raise
        await self._keep(claimed, fresh)

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
        stored = await self._store.commit(self._id, claimed.version, self._owner, new)
        # None: somebody put another pair in place meanwhile, and theirs holds.
        self._adopt(stored or await self._load(), issued_now=stored is not None)
        self._tell("key_refreshed", "")

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
