"""Keys that several processes share: races, deaths, outages, and corrupt records."""

import asyncio
import json
import pickle
import signal
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import pytest_asyncio
from attrs import evolve
from redis._parsers.base import BaseParser
from redis.asyncio import Redis

from paystar_async.errors import (
    ConfigurationError,
    ForeignRecord,
    SchemaMismatch,
    StorageCorrupt,
    StorageError,
    StorageUnavailable,
    WrongStorageKey,
)
from paystar_async.keys.database import DatabaseKeyStore
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.redis import RedisKeyStore
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.runtime.clock import ManualClock, SystemClock
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret
from tests.keys import racer as racer_process
from tests.keys.places import NEW_KEY, OLD_KEY, SHARED_PLACES, File, SharedPlace, make_place
from tests.servers import PostgresServer, RedisServer

KEY = KeyId("application", "race")
PAIR = KeyRecord(token=Secret("token"), refresh_token=Secret("refresh"), issued_at=1.0, expires_at=2.0)
LEASE = 0.5
"""Seconds the racer claims a key for."""
HELD = racer_process.LEASE


@pytest_asyncio.fixture(params=SHARED_PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SharedPlace]:
    place = cast("SharedPlace", make_place(request, tmp_path))
    yield place
    await place.aclose()


def racer(place: SharedPlace, *task: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", "tests.keys.racer", place.name, *task]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return out.splitlines()


def test_of_several_processes_one_wins_each_version(place: SharedPlace) -> None:
    """They start at once on a place that has no tables yet."""
    racers = [racer(place, "race", "41") for _ in range(4)]
    won = [int(version) for process in racers for version in said(process)]
    assert sorted(won) == list(range(1, 43, 2))


def test_one_that_is_killed_is_taken_over_when_its_claim_ends(place: SharedPlace) -> None:
    with racer(place, "hang") as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "claimed\n"
        victim.kill()

    async def main() -> None:
        store = place.store()
        if isinstance(place, File):
            place.clock.jump(time.time() - place.clock.time())
            assert await store.acquire_lease(KEY, 2, "heir", LEASE) is None
            place.clock.advance(LEASE + 5)
        taken, until = None, time.monotonic() + LEASE + 2
        while taken is None and time.monotonic() < until:
            taken = await store.acquire_lease(KEY, 2, "heir", LEASE)
            await asyncio.sleep(0.02)
        assert taken is not None
        assert (taken.version, taken.lease_owner, taken.token) == (3, "heir", Secret("1"))
        await place.aclose()

    asyncio.run(main())


async def takeover(store: KeyStore, seconds: float) -> float | None:
    """After how many seconds another process acquires the lease, or None."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        if await store.acquire_lease(KEY, 2, "heir", HELD) is not None:
            return passed
        await asyncio.sleep(0.05)
    return None


def test_lease_of_a_killed_process_passes_on_in_seconds(place: SharedPlace) -> None:
    async def main(victim: subprocess.Popen[str]) -> None:
        store = make_key_store(place.name, SystemClock())
        assert await takeover(store, 1.5 * HELD) is None  # its heartbeats hold it beyond its length
        victim.kill()
        passed = await takeover(store, HELD + 5)
        assert passed is not None
        assert passed <= HELD + 1
        await store.aclose()

    with racer(place, "hold") as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "leased\n"
        asyncio.run(main(victim))
        assert victim.stdin is not None
        victim.stdin.close()


def test_stopped_process_sends_no_refresh_token_late(place: SharedPlace) -> None:
    """SIGSTOP right before it sends: another one takes over and refreshes, and it wakes up after that."""

    async def main() -> None:
        store = make_key_store(place.name, SystemClock())
        assert await takeover(store, HELD + 5) is not None
        assert await store.commit(KEY, 3, "heir", KeyRecord(token=Secret("2"))) is not None
        await store.aclose()

    with racer(place, "hold") as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "leased\n"
        victim.send_signal(signal.SIGSTOP)
        try:
            asyncio.run(main())
        finally:
            victim.send_signal(signal.SIGCONT)
        assert victim.communicate("send\n", timeout=30)[0].splitlines() == ["not sent", "not stored"]

    async def stored() -> KeyRecord | None:
        store = make_key_store(place.name, SystemClock())
        try:
            return await store.load(KEY)
        finally:
            await store.aclose()

    assert asyncio.run(stored()) == KeyRecord(version=4, token=Secret("2"))


def test_a_full_disk_costs_nothing_that_was_stored(tmp_path: Path) -> None:
    [hint] = said(racer(File(tmp_path / "keys.db"), "full"))
    assert "full" in hint


async def test_a_full_redis_costs_nothing_that_was_stored(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")
    store = RedisKeyStore(redis_server.url)
    first = await store.commit(KEY, 0, "me", PAIR)
    redis_server.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StorageUnavailable) as refusal:
            await store.commit(KEY, 1, "me", PAIR)
        assert await store.load(KEY) == first
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory", "0")
    assert "full" in refusal.value.hint
    assert await store.commit(KEY, 1, "me", PAIR) is not None


@pytest.mark.parametrize("place", ["redis", "postgres"], indirect=True)
async def test_store_server_down_is_reported_and_found_again(
    place: SharedPlace, request: pytest.FixtureRequest
) -> None:
    server: RedisServer | PostgresServer = request.getfixturevalue(
        "redis_server" if place.name.startswith("unix") else "postgres_server"
    )
    store = place.store()
    first = await store.commit(KEY, 0, "me", PAIR)
    server.stop()
    try:
        for call in every_change(store, 1):
            with pytest.raises(StorageUnavailable) as outage:
                await call
            assert outage.value.executed == "no"
    finally:
        server.start()
    assert await store.load(KEY) == first
    assert await store.acquire_lease(KEY, 1, "me", 60) is not None


def every_change(store: KeyStore, version: int) -> tuple[Any, ...]:
    return (
        store.load(KEY),
        store.acquire_lease(KEY, version, "me", 60),
        store.commit(KEY, version, "me", PAIR),
        store.mark_rejected(KEY, version),
    )


def body(**changes: object) -> str:
    inner = json.dumps({"token": "t", "refresh_token": "r", "issued_at": None, "expires_at": 1})
    return json.dumps({"format": 1, "realm": KEY.realm, "account": KEY.account, "open": inner} | changes)


SPOILT: list[tuple[str, str | float | None, type[StorageError]]] = [
    ("payload", "", StorageCorrupt),
    ("payload", "}{", StorageCorrupt),
    ("payload", "[]", StorageCorrupt),
    ("payload", "[" * 100_000, StorageCorrupt),
    ("payload", body(open="]["), StorageCorrupt),
    ("payload", body(open=None), StorageCorrupt),
    ("payload", body(open="{}"), StorageCorrupt),
    ("payload", body(open='{"token":1,"refresh_token":null,"issued_at":null,"expires_at":null}'), StorageCorrupt),
    ("payload", body(open='{"token":null,"refresh_token":null,"issued_at":true,"expires_at":null}'), StorageCorrupt),
    ("payload", body(open='{"token":null,"refresh_token":null,"issued_at":NaN,"expires_at":null}'), StorageCorrupt),
    ("payload", body(open='{"token":null,"refresh_token":null,"issued_at":1e999,"expires_at":null}'), StorageCorrupt),
    ("payload", body(format=None), StorageCorrupt),
    ("payload", body(format=True), StorageCorrupt),
    ("payload", body(format=2), SchemaMismatch),
    ("payload", body(account="another"), ForeignRecord),
    ("payload", body(realm="wallet"), ForeignRecord),
    ("payload", body(open=None, sealed="00000000.AAAA"), WrongStorageKey),
    ("refresh_rejected", 7, StorageCorrupt),
]


async def test_store_corrupt_record_is_reported_and_kept(place: SharedPlace) -> None:
    store = place.store()
    await store.commit(KEY, 0, "me", PAIR)
    for field, value, kind in SPOILT:
        place.spoil(KEY, field, value)
        before = place.raw(KEY)
        for call in (*every_change(store, 1), store.commit(KEY, 0, "me", PAIR)):
            with pytest.raises(StorageError) as refusal:
                await call
            assert type(refusal.value) is kind, value
            assert refusal.value.hint
        assert place.raw(KEY) == before


async def test_store_invalid_version_is_reported(place: SharedPlace) -> None:
    store = place.store()
    await store.commit(KEY, 0, "me", PAIR)
    place.spoil(KEY, "version", 0)
    for call in every_change(store, 0):
        with pytest.raises(StorageCorrupt):
            await call
    assert str(place.raw(KEY)["version"]) == "0"


async def test_an_error_shows_no_token(place: SharedPlace) -> None:
    """Not in its text, and not in a traceback that shows local variables."""
    store = place.store()
    canary = Secret(uuid.uuid4().hex)
    await store.commit(KEY, 0, "me", evolve(PAIR, token=canary))
    inner = json.dumps({"token": canary.reveal(), "refresh_token": 1})
    for spoilt in (body(open=inner), body(open=inner, format=0), canary.reveal(), body(open=inner, account="x")):
        place.spoil(KEY, "payload", spoilt)
        hidden = store, Secret(spoilt)
        del spoilt
        error = await raised(*hidden)
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert canary.reveal() not in "".join(frames.format())
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.hint) == (type(error), str(error), error.hint)
    del inner


async def raised(store: KeyStore, _: Secret) -> StorageError:
    try:
        await store.load(KEY)
    except StorageError as error:
        return error
    raise AssertionError


async def test_a_sealed_store_holds_no_token_in_the_open(place: SharedPlace) -> None:
    canary = uuid.uuid4().hex
    sealed = place.store(Crypto([OLD_KEY]))
    await sealed.commit(KEY, 0, "me", evolve(PAIR, token=Secret(canary), refresh_token=Secret(canary)))
    assert canary not in str(place.raw(KEY))
    assert await sealed.mark_rejected(KEY, 1) is not None
    assert canary not in str(place.raw(KEY))


async def test_a_record_is_opened_by_the_right_key_alone(place: SharedPlace) -> None:
    await place.store(Crypto([OLD_KEY])).commit(KEY, 0, "me", PAIR)
    before = place.raw(KEY)
    for wrong in (place.store(), place.store(Crypto([NEW_KEY]))):
        for call in every_change(wrong, 1):
            with pytest.raises(WrongStorageKey) as refusal:
                await call
            assert "Crypto" in refusal.value.hint
    assert place.raw(KEY) == before


async def test_keys_are_rotated_record_by_record(place: SharedPlace) -> None:
    await place.store().commit(KEY, 0, "me", PAIR)
    old = place.store(Crypto([OLD_KEY]))
    assert await old.load(KEY) == evolve(PAIR, version=1)  # what lay open is read, and sealed with the next change
    await old.commit(KEY, 1, "me", PAIR)
    both = place.store(Crypto([NEW_KEY, OLD_KEY]))
    assert await both.load(KEY) == evolve(PAIR, version=2)
    with pytest.raises(WrongStorageKey):
        await place.store(Crypto([NEW_KEY])).load(KEY)
    await both.commit(KEY, 2, "me", PAIR)
    assert await place.store(Crypto([NEW_KEY])).load(KEY) == evolve(PAIR, version=3)
    with pytest.raises(WrongStorageKey):
        await old.load(KEY)


async def test_a_sealed_record_cannot_be_moved_to_another_account(place: SharedPlace) -> None:
    store = place.store(Crypto([NEW_KEY]))
    other = KeyId("application", "other")
    await store.commit(KEY, 0, "me", PAIR)
    await store.commit(other, 0, "me", PAIR)
    moved = json.loads(str(place.raw(other)["payload"]))
    place.spoil(KEY, "payload", json.dumps(moved | {"account": KEY.account}))
    with pytest.raises(WrongStorageKey, match="does not open"):
        await store.load(KEY)


async def test_something_else_under_the_same_name_in_redis(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")
    redis_server.execute("SET", "paystar:keys:application:race", "a cache entry")
    for call in every_change(RedisKeyStore(redis_server.url), 1):
        with pytest.raises(StorageCorrupt, match="name"):
            await call
    assert redis_server.execute("GET", "paystar:keys:application:race") == b"a cache entry"


async def test_a_client_of_redis_is_used_and_left_open(redis_server: RedisServer) -> None:
    from redis.asyncio import Redis

    redis_server.execute("FLUSHALL")
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:  # pyright: ignore
        store = RedisKeyStore(client, prefix="mine")
        assert await store.commit(KEY, 0, "me", PAIR) is not None
        assert await store.load(KEY) == evolve(PAIR, version=1)
        await store.aclose()
        assert await client.exists("mine:application:race") == 1


async def test_a_database_that_is_handed_in_is_left_open(tmp_path: Path) -> None:
    from paystar_async.storage.sqlite import SqliteDatabase

    db = SqliteDatabase(tmp_path / "all.db")
    store = DatabaseKeyStore(db)
    await store.commit(KEY, 0, "me", PAIR)
    await store.aclose()
    assert (tmp_path / "all.db-wal").exists()
    await db.aclose()
    assert not (tmp_path / "all.db-wal").exists()


async def test_a_file_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    store = DatabaseKeyStore(tmp_path / "keys.db")
    await store.commit(KEY, 0, "me", PAIR)
    for name in ("keys.db", "keys.db-wal", "keys.db-shm"):
        (tmp_path / name).unlink()
    assert await store.load(KEY) is None
    assert await store.commit(KEY, 0, "me", PAIR) is not None
    await store.aclose()


def test_redis_store_on_trio_is_refused_with_hint(redis_server: RedisServer) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="asyncio only"):
            await RedisKeyStore(redis_server.url).load(KEY)

    anyio.run(main, backend="trio")


def test_a_store_is_chosen_by_its_name(tmp_path: Path) -> None:
    clock = ManualClock()
    own = MemoryKeyStore(clock)
    assert make_key_store(own, clock) is own
    assert isinstance(make_key_store(None, clock), MemoryKeyStore)
    for file in (tmp_path / "keys.db", str(tmp_path / "keys.db"), f"sqlite:///{tmp_path}/keys.db"):
        assert isinstance(make_key_store(file, clock), DatabaseKeyStore)
    for server in ("redis://localhost/0", "rediss://:secret@host:1/0", "unix:///run/redis.sock"):
        assert isinstance(make_key_store(server, clock), RedisKeyStore)
    for server in ("postgresql://host/name", "postgres://user:secret@host/name"):
        assert isinstance(make_key_store(server, clock), DatabaseKeyStore)
    assert not list(tmp_path.iterdir())  # nothing is opened before it is used


@pytest.mark.parametrize("text", ["", ":memory:", "mysql://h/n", "redis://canary:canary", "rediss://u:canary@h:no/0"])
def test_a_text_that_names_no_store_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        make_key_store(text, ManualClock())
    assert "canary" not in str(refusal.value)
    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        ("redis.asyncio", "unix://x", "redis"),
        ("psycopg", "postgresql://h", "postgres"),
    ],
)
def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, module: str, name: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError) as refusal:
        make_key_store(name, ManualClock())
    assert f"paystar-async[{extra}]" in refusal.value.hint


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
async def test_redis_error_of_server_names_its_remedy(reply: str, hint: str) -> None:
    """As redis-py reads the reply: by class, its code gone, or as text."""

    class Refusing:
        async def execute_command(self, *_: object) -> object:
            raise BaseParser.parse_error(reply)  # type: ignore[no-untyped-call]  # pyright: ignore

    store = RedisKeyStore(cast("Redis", Refusing()))
    with pytest.raises(StorageUnavailable) as refusal:
        await store.load(KEY)

    assert hint in refusal.value.hint
