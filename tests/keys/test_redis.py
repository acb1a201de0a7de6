"""Keys on a Redis server: full server, foreign values, external client, server errors."""

from typing import cast

import anyio
import pytest
from attrs import evolve
from redis._parsers.base import BaseParser
from redis.asyncio import Redis

from paystar_async.errors import ConfigurationError, StorageCorrupt, StorageUnavailable
from paystar_async.keys.redis import RedisKeyStore
from tests.keys.backends import KEY, PAIR, all_operations
from tests.servers import RedisServer


async def test_commit_to_full_redis_keeps_stored_record(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")
    store = RedisKeyStore(redis_server.url)
    first = await store.commit(KEY, 0, "me", PAIR)
    redis_server.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StorageUnavailable) as raised:
            await store.commit(KEY, 1, "me", PAIR)
        assert await store.load(KEY) == first
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory", "0")
    assert "full" in raised.value.hint
    assert await store.commit(KEY, 1, "me", PAIR) is not None


async def test_redis_value_of_other_type_raises_and_is_kept(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")
    redis_server.execute("SET", "paystar:keys:application:race", "a cache entry")
    for operation in all_operations(RedisKeyStore(redis_server.url), 1):
        with pytest.raises(StorageCorrupt, match="paystar:keys:application:race"):
            await operation
    assert redis_server.execute("GET", "paystar:keys:application:race") == b"a cache entry"


async def test_aclose_with_external_redis_client_leaves_it_open(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:  # pyright: ignore
        store = RedisKeyStore(client, prefix="mine")
        assert await store.commit(KEY, 0, "me", PAIR) is not None
        assert await store.load(KEY) == evolve(PAIR, version=1)
        await store.aclose()
        assert await client.exists("mine:application:race") == 1


async def test_change_removes_expiry_of_redis_record(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")
    store = RedisKeyStore(redis_server.url)
    await store.commit(KEY, 0, "me", PAIR)
    redis_server.execute("EXPIRE", "paystar:keys:application:race", "3600")

    assert await store.acquire_lease(KEY, 1, "me", 60) is not None
    assert redis_server.execute("TTL", "paystar:keys:application:race") == -1


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("version", " 1", "version"),  # equal for Python, not for Redis: the lease would be waited for without end
        ("version", "1_0", "version"),
        ("version", "+1", "version"),
        ("version", "", "version"),
        ("refresh_rejected", "01", "refresh_rejected"),
        ("lease_expires_at", "soon", "lease_expires_at"),
        ("payload", b'{"format": 1, "realm": "application", "account": "race", "open": "\xff"}', "payload"),
    ],
)
async def test_redis_field_of_other_form_is_corrupt(
    redis_server: RedisServer, field: str, value: str | bytes, named: str
) -> None:
    redis_server.execute("FLUSHALL")
    store = RedisKeyStore(redis_server.url)
    await store.commit(KEY, 0, "me", PAIR)
    redis_server.execute("HSET", "paystar:keys:application:race", field, value)
    for operation in all_operations(store, 1):
        with pytest.raises(StorageCorrupt, match=f"application key of race has no valid {named} "):
            await operation


async def test_redis_client_that_decodes_reports_bytes(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:  # pyright: ignore
        store = RedisKeyStore(client)
        await store.commit(KEY, 0, "me", PAIR)
        redis_server.execute("HSET", "paystar:keys:application:race", "payload", b"\xff")
        with pytest.raises(StorageCorrupt, match="paystar:keys:application:race in Redis is not UTF-8") as raised:
            await store.load(KEY)
        assert "keys.replace" in raised.value.hint


def test_load_from_redis_on_trio_raises(redis_server: RedisServer) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="asyncio only"):
            await RedisKeyStore(redis_server.url).load(KEY)

    anyio.run(main, backend="trio")


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "Redis is full"),
        ("ERR Error running script: @user_script:27: -OOM command not allowed", "Redis is full"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.", "disk"),
        ("READONLY You can't write against a read only replica.", "replica"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
        ("CLUSTERDOWN The cluster is down", "cluster"),
        ("BUSY Redis is busy running a script.", "script"),
    ],
)
async def test_redis_server_error_has_hint(reply: str, hint: str) -> None:
    """Also if redis-py maps the reply to a class and removes the code from its text."""

    class FailingClient:
        async def execute_command(self, *_: object) -> object:
            raise BaseParser.parse_error(reply)  # type: ignore[no-untyped-call]  # pyright: ignore

    store = RedisKeyStore(cast("Redis", FailingClient()))
    with pytest.raises(StorageUnavailable) as raised:
        await store.load(KEY)

    assert hint in raised.value.hint
