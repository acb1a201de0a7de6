"""Keys on a Redis server, for many hosts. asyncio only.

The server must be durable: ``appendonly yes``, and no eviction policy that drops keys without an expiry. A record that
disappears there is restored by the first process that has it in memory; otherwise the configured key is used again.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import sniffio

from paystar_async.errors import ConfigurationError, MissingExtra, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.keys.serialization import StoredKey, parse_stored_key, to_payload, to_record
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.storage.encryption import Crypto
from paystar_async.values.arguments import require_instance, require_methods, require_setting
from paystar_async.values.numbers import require_seconds
from paystar_async.values.secret import Secret, clear_locals_on_error, to_secret

if TYPE_CHECKING:
    from redis.asyncio import Redis

DEFAULT_TIMEOUT_SECONDS = 5.0
"""Seconds to wait for the server."""

_FIELDS = ("version", "owner", "lease_expires_at", "refresh_rejected", "payload")
# Compare and set in one step. The payloads are compared as well as the versions, so that a recreated record is never
# taken for the record that was read. Leases are measured by the server's clock; a lease longer than ``ttl`` was
# acquired before that clock was set back, and counts as expired. An expiry that was set from outside is removed.
_CHANGE = """
local version, payload, owner, ttl, new, rejected = unpack(ARGV)
local stored = redis.call('HMGET', KEYS[1], 'version', 'payload', 'owner', 'lease_expires_at', 'refresh_rejected')
if version == '0' then
  if redis.call('EXISTS', KEYS[1]) == 1 then return false end
elseif stored[1] ~= version or stored[2] ~= payload then
  return false
end
local ends, step = '', 1
if owner ~= '' then
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  local lease_end = tonumber(stored[4]) or 0
  if stored[3] == owner then
    step = 0
  elseif stored[3] ~= '' and now < lease_end and lease_end <= now + ttl then
    return false
  end
  ends = string.format('%.6f', now + ttl)
end
redis.call('HSET', KEYS[1], 'version', string.format('%d', version + step), 'owner', owner, 'lease_expires_at', ends,
  'refresh_rejected', rejected ~= '' and rejected or stored[5], 'payload', new ~= '' and new or stored[2])
redis.call('PERSIST', KEYS[1])
return redis.call('HMGET', KEYS[1], 'version', 'owner', 'lease_expires_at', 'refresh_rejected', 'payload')
"""
_HINTS = (
    ("OutOfMemoryError", "OOM", "Redis is full: give it memory, then call again"),
    ("", "MISCONF", "Redis cannot write to its disk, which may be full: see its log, then call again"),
    ("ReadOnlyError", "READONLY", "this server is a replica: give the address of the primary"),
    ("BusyLoadingError", "LOADING", "Redis is loading its data: call again in a while"),
    ("ClusterDownError", "CLUSTERDOWN", "the cluster has lost a part: see its log, then call again"),
    ("", "BUSY", "a script holds Redis up: call again in a while"),
)
"""Hints for errors of the server: redis-py's class where a version has one, Redis's own code, the hint."""
_UNREADABLE = "\ufffd"
"""Stands for bytes that are not UTF-8; a payload is written in ASCII."""
_UNCHANGED = Secret("")
"""Stands for the stored value, which stays unchanged."""


class RedisKeyStore:
    """A key store on a Redis server, each record a hash under ``prefix:realm:account``.

    Args:
        server: ``redis://…``, ``rediss://…``, ``unix://…``, or a client of ``redis.asyncio``, which is never closed.
        prefix: prefix of the names of the hashes.
        crypto: encrypts the tokens; None: they are stored unencrypted.
        timeout: seconds to wait for the server; a client that is passed in has its own timeout.

    Raises:
        ConfigurationError: the ``redis`` extra is not installed, the URL is not valid, or ``server`` or ``crypto`` is
            of another type.
        InvalidValue: ``prefix`` is not a text, or ``timeout`` is not above 0.
    """

    @clear_locals_on_error
    def __init__(
        self,
        server: "str | Secret | Redis",
        *,
        prefix: str = "paystar:keys",
        crypto: Crypto | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        require_setting("crypto", crypto, Crypto)
        require_instance("prefix", prefix, str)
        require_seconds("timeout", timeout)
        if not isinstance(server, str | Secret):
            require_methods("server", server, "execute_command", hint="redis://:password@host:6379/0")
        self._address = to_secret(server) if isinstance(server, str) else server
        self._prefix, self._crypto, self._timeout = prefix, crypto, timeout
        self._background = BackgroundTasks()
        if isinstance(self._address, Secret):
            self._connect(self._address)  # validates the address, opens no connection

    async def load(self, key: KeyId) -> KeyRecord | None:
        """Return the stored record, or None."""
        return await self._run(lambda client: self._load(client, key))

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Acquire or extend the lease for ``ttl`` seconds; None if another owner has it or ``version`` is outdated."""
        return await self._run(lambda client: self._change(client, key, version, owner, ttl))

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:  # noqa: ARG002
        """Replace ``version`` by ``new`` and end the lease; None if ``version`` is outdated."""
        payload, refresh_rejected = to_payload(key, new, self._crypto), str(int(new.refresh_rejected))
        return await self._run(
            lambda client: self._change(client, key, version, payload=payload, refresh_rejected=refresh_rejected)
        )

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Mark the refresh token as rejected and end the lease; None if ``version`` is outdated."""
        return await self._run(lambda client: self._change(client, key, version, refresh_rejected="1"))

    async def aclose(self) -> None:
        """Do nothing: each operation has its own connection, so that any event loop may run the next one."""

    async def _load(self, client: "Redis", key: KeyId) -> KeyRecord | None:
        stored_key = await self._fetch(client, key)
        return None if stored_key is None else to_record(key, stored_key, self._crypto)

    async def _change(
        self,
        client: "Redis",
        key: KeyId,
        version: int,
        owner: str = "",
        ttl: float = 0.0,
        *,
        payload: Secret = _UNCHANGED,
        refresh_rejected: str = "",
    ) -> KeyRecord | None:
        stored_key = await self._fetch(client, key)
        if stored_key is not None:
            to_record(key, stored_key, self._crypto)  # raise for an unreadable record before it is overwritten
        elif payload is _UNCHANGED:
            return None
        arguments = (
            str(version),
            stored_key.payload if stored_key else _UNCHANGED,
            owner,
            str(ttl),
            payload,
            refresh_rejected,
        )
        name = self._hash_name(key)
        response = await _execute(client, name, "EVAL", _CHANGE, "1", name, *arguments)
        changed = _parse_response(key, response)
        return None if changed is None else to_record(key, changed, self._crypto)

    async def _fetch(self, client: "Redis", key: KeyId) -> StoredKey | None:
        name = self._hash_name(key)
        return _parse_response(key, await _execute(client, name, "HMGET", name, *_FIELDS))

    def _hash_name(self, key: KeyId) -> str:
        return f"{self._prefix}:{key.realm}:{key.account}"

    async def _run(self, step: "Callable[[Redis], Awaitable[KeyRecord | None]]") -> KeyRecord | None:
        if sniffio.current_async_library() != "asyncio":
            raise ConfigurationError("Redis works with asyncio only", hint="on trio, store the keys in a file")

        async def run() -> KeyRecord | None:
            if not isinstance(self._address, Secret):
                return await step(self._address)
            client = self._connect(self._address)
            try:
                return await step(client)
            finally:
                with suppress(*_redis_errors()):
                    await client.aclose()

        # In a background task, so that a cancelled caller interrupts no operation and leaves no half-open connection.
        return await self._background.start(run).wait()

    def _connect(self, address: Secret) -> "Redis":
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise MissingExtra("Redis", "redis") from None
        with suppress(ValueError):
            return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                address.reveal(),
                protocol=2,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                # A retry after a change whose response did not arrive would conflict with that change.
                retry=Retry(NoBackoff(), 0),
            )
        raise ConfigurationError("not a valid Redis URL", hint="redis://:password@host:6379/0")


async def _execute(client: "Redis", name: str, *command: str | Secret) -> object:
    """Return the response to a command on the hash ``name``."""
    execute = cast("Callable[..., Awaitable[object]]", client.execute_command)  # pyright: ignore[reportUnknownMemberType]
    try:
        return await execute(*(part.reveal() if isinstance(part, Secret) else part for part in command))
    except _redis_errors() as driver_error:
        error = _map_error(driver_error, name)
    raise error  # raised here, without the driver's frames, which hold secrets


def _parse_response(key: KeyId, response: object) -> StoredKey | None:
    """Return the parsed response of HMGET; raise StorageCorrupt."""
    if response is None:
        return None
    texts = [
        value.decode(errors="replace") if isinstance(value, bytes) else value
        for value in cast("list[bytes | str | None]", response)
    ]
    if texts == [None] * len(_FIELDS):
        return None
    fields = dict(zip(_FIELDS, texts, strict=True))
    payload = fields["payload"]
    return parse_stored_key(
        key,
        {
            "version": _number(int, fields["version"]),
            "owner": fields["owner"] or None,
            "lease_expires_at": _number(float, fields["lease_expires_at"]) if fields["lease_expires_at"] else None,
            "refresh_rejected": _number(int, fields["refresh_rejected"]),
            "payload": None if payload is None or _UNREADABLE in payload else Secret(payload),
        },
    )


def _number(parse: Callable[[str], float], text: str | None) -> float | str | None:
    """Return the number in a text, or the text itself: no number, or one that the server would not compare as equal."""
    try:
        number = parse(text or "")
    except ValueError:
        return text
    return text if parse is int and str(number) != text else number


def _redis_errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return RedisError, OSError, UnicodeDecodeError


def _map_error(error: Exception, name: str) -> StorageError:
    """Return the storage error for an error of Redis on the hash ``name``."""
    text = str(error)[:200]
    if text.startswith("WRONGTYPE"):
        return StorageCorrupt(
            f"the value {name} in Redis is not a key record", hint="delete that value, or choose another prefix"
        )
    if isinstance(error, UnicodeError):  # of a client that decodes responses
        return StorageCorrupt(
            f"the record {name} in Redis is not UTF-8",
            hint="restore the record, or delete it and store a key with keys.replace(...)",
        )
    from redis import exceptions

    for class_name, code, hint in _HINTS:
        # redis-py removes the code from the text where it has a class for it; an error of a script has the code later.
        if isinstance(error, getattr(exceptions, class_name, ())) or f"{code} " in text:
            return StorageUnavailable(f"Redis: {text or code}", hint=hint)
    return StorageUnavailable(f"Redis: {text}")
