"""Keys on a Redis server, for many hosts. asyncio only.

The server must keep what it is told: with ``appendonly yes`` and without an eviction policy that drops keys
without an expiry. A record that is lost there is put back by the first process that still holds it in memory; if none
does, the key that the account was configured with is used again.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import sniffio

from paystar_async.errors import ConfigurationError, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.keys.serialization import StoredKey, stored, to_record, to_text
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret, sealed

if TYPE_CHECKING:
    from redis.asyncio import Redis

TIMEOUT = 5.0
"""Seconds to wait for the server."""

_FIELDS = ("version", "owner", "until", "lost", "body")
# Compare and set in one step. The body is compared along with the version, so that a record that was lost and
# made anew is never taken for the one that was read. A claim is judged by the server's clock; one that ends later
# than any could was made before that clock was set back, and holds nobody up.
_CHANGE = """
local version, body, owner, ttl, new, lost = unpack(ARGV)
local held = redis.call('HMGET', KEYS[1], 'version', 'body', 'owner', 'until', 'lost')
if version == '0' then
  if redis.call('EXISTS', KEYS[1]) == 1 then return false end
elseif held[1] ~= version or held[2] ~= body then
  return false
end
local ends, step = '', 1
if owner ~= '' then
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  local claimed = tonumber(held[4]) or 0
  if held[3] == owner then
    step = 0
  elseif held[3] ~= '' and now < claimed and claimed <= now + ttl then
    return false
  end
  ends = string.format('%.6f', now + ttl)
end
redis.call('HSET', KEYS[1], 'version', string.format('%d', version + step), 'owner', owner, 'until', ends,
  'lost', lost ~= '' and lost or held[5], 'body', new ~= '' and new or held[2])
return redis.call('HMGET', KEYS[1], 'version', 'owner', 'until', 'lost', 'body')
"""
_HINTS = (
    ("OutOfMemoryError", "OOM", "Redis is full: give it memory, then call again"),
    ("", "MISCONF", "Redis cannot write to its disk, which may be full: see its log, then call again"),
    ("ReadOnlyError", "READONLY", "this server is a replica: give the address of the primary"),
    ("BusyLoadingError", "LOADING", "Redis is loading its data: call again in a while"),
    ("ClusterDownError", "CLUSTERDOWN", "the cluster has lost a part: see its log, then call again"),
    ("", "BUSY", "a script holds Redis up: call again in a while"),
)
"""What to do about errors of the server: redis-py's class where a version has one, Redis's own code, the hint."""
_KEEP = Secret("")
"""In place of a value: the one that is there stays."""


class RedisKeyStore:
    """Holds key records on a Redis server, each a hash under ``prefix:realm:account``.

    Args:
        server: ``redis://…``, ``rediss://…``, ``unix://…``, or a client of ``redis.asyncio``, which is never closed.
        prefix: what the names of the hashes begin with.
        crypto: seals the tokens; None: they are stored as they are.
        timeout: seconds to wait for the server; a client that is handed in has its own.

    Raises:
        ConfigurationError: the ``redis`` extra is not installed, or the URL is none.
    """

    @sealed
    def __init__(
        self,
        server: "str | Secret | Redis",
        *,
        prefix: str = "paystar:keys",
        crypto: Crypto | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._address = Secret(server) if isinstance(server, str) else server
        self._prefix, self._crypto, self._timeout = prefix, crypto, timeout
        self._jobs = BackgroundTasks()
        if isinstance(self._address, Secret):
            self._connect(self._address)  # opens nothing, but reads the address

    async def load(self, key: KeyId) -> KeyRecord | None:
        """The record as it stands."""
        return await self._done(lambda client: self._load(client, key))

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Claim the renewal for ``ttl`` seconds or extend one's own; None if another has it or the version is gone."""
        return await self._done(lambda client: self._change(client, key, version, owner, ttl))

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:  # noqa: ARG002
        """Put ``new`` in place of ``version`` and end the claim; None if the version is gone."""
        body, lost = to_text(key, new, self._crypto), str(int(new.refresh_rejected))
        return await self._done(lambda client: self._change(client, key, version, body=body, lost=lost))

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Note that the refresh token is dead, keep everything else; None if the version is gone."""
        return await self._done(lambda client: self._change(client, key, version, lost="1"))

    async def aclose(self) -> None:
        """Nothing to let go of: a connection lasts for one step, so that any event loop may take the next."""

    async def _load(self, client: "Redis", key: KeyId) -> KeyRecord | None:
        held = await self._held(client, key)
        return None if held is None else to_record(key, held, self._crypto)

    async def _change(
        self,
        client: "Redis",
        key: KeyId,
        version: int,
        owner: str = "",
        ttl: float = 0.0,
        *,
        body: Secret = _KEEP,
        lost: str = "",
    ) -> KeyRecord | None:
        held = await self._held(client, key)
        if held is not None:
            to_record(key, held, self._crypto)  # what cannot be read raises, before anything is put in its place
        elif body is _KEEP:
            return None
        arguments = (str(version), held.body if held else _KEEP, owner, str(ttl), body, lost)
        answer = await _asked(client, "EVAL", _CHANGE, "1", self._name(key), *arguments)
        changed = _stored(key, answer)
        return None if changed is None else to_record(key, changed, self._crypto)

    async def _held(self, client: "Redis", key: KeyId) -> StoredKey | None:
        return _stored(key, await _asked(client, "HMGET", self._name(key), *_FIELDS))

    def _name(self, key: KeyId) -> str:
        return f"{self._prefix}:{key.realm}:{key.account}"

    async def _done(self, step: "Callable[[Redis], Awaitable[KeyRecord | None]]") -> KeyRecord | None:
        if sniffio.current_async_library() != "asyncio":
            raise ConfigurationError("Redis is reached from asyncio only", hint="on trio, keep the keys in a file")

        async def work() -> KeyRecord | None:
            if not isinstance(self._address, Secret):
                return await step(self._address)
            client = self._connect(self._address)
            try:
                return await step(client)
            finally:
                with suppress(*_errors()):
                    await client.aclose()

        # A job of its own: a caller that is cancelled cuts no step in two, and leaves no half-open connection.
        return await self._jobs.start(work).wait()

    def _connect(self, address: Secret) -> "Redis":
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise ConfigurationError("Redis needs the redis extra", hint="pip install 'paystar-async[redis]'") from None
        with suppress(ValueError):
            return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                address.reveal(),
                protocol=2,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                # A change that was made, and whose answer was lost, would fail against itself.
                retry=Retry(NoBackoff(), 0),
            )
        raise ConfigurationError("this is no Redis URL", hint="redis://:password@host:6379/0")


async def _asked(client: "Redis", *command: str | Secret) -> object:
    ask = cast("Callable[..., Awaitable[object]]", client.execute_command)  # pyright: ignore[reportUnknownMemberType]
    try:
        return await ask(*(one.reveal() if isinstance(one, Secret) else one for one in command))
    except _errors() as problem:
        error = _meaning(problem)
    raise error  # out here, away from the driver's frames, which hold what was to be stored


def _stored(key: KeyId, answer: object) -> StoredKey | None:
    """What HMGET says, read; raises StorageCorrupt."""
    if answer is None:
        return None
    texts = [
        one.decode(errors="replace") if isinstance(one, bytes) else one
        for one in cast("list[bytes | str | None]", answer)
    ]
    if texts == [None] * len(_FIELDS):
        return None
    fields: dict[str, object] = dict(zip(_FIELDS, texts, strict=True))
    return stored(
        key,
        {
            "version": _number(int, fields["version"]),
            "owner": fields["owner"] or None,
            "until": _number(float, fields["until"]) if fields["until"] else None,
            "lost": _number(int, fields["lost"]),
            "body": Secret(str(fields["body"])),
        },
    )


def _number(read: Callable[[str], float], text: object) -> float | None:
    try:
        return read(str(text))
    except ValueError:
        return None


def _errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return RedisError, OSError


def _meaning(error: Exception) -> StorageError:
    """What an error of Redis says of the store."""
    text = str(error)[:200]
    if text.startswith("WRONGTYPE"):
        return StorageCorrupt(
            "something that is no key record has this one's name in Redis", hint="delete it, or choose another prefix"
        )
    from redis import exceptions

    for name, code, hint in _HINTS:
        # redis-py takes the code out of the text where it has a class for it; a script's error has it further behind.
        if isinstance(error, getattr(exceptions, name, ())) or f"{code} " in text:
            return StorageUnavailable(f"Redis: {text or code}", hint=hint)
    return StorageUnavailable(f"Redis: {text}")
