"""A process that contends for one key with others like it: ``python -m tests.keys.racer STORE TASK [ROUNDS]``."""

import asyncio
import os
import sys

from attrs import evolve

from paystar_async.errors import NotSent, StorageUnavailable
from paystar_async.keys import lease
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.runtime.clock import SystemClock
from paystar_async.values.secret import Secret

KEY = KeyId("application", "race")
LEASE = 2.0
"""Seconds of a lease that is held with heartbeats."""


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def race(store: KeyStore, rounds: int) -> None:
    """Lease and refresh until the chain is long enough; each refresh names the version it was made from."""
    me = str(os.getpid())
    while True:
        record = await store.load(KEY) or await store.commit(KEY, 0, me, KeyRecord(token=Secret("1")))
        if record is None:
            continue
        if record.version > rounds:
            return
        claimed = await store.acquire_lease(KEY, record.version, me, 60)
        if claimed is None:
            await asyncio.sleep(0.001)
            continue
        new = evolve(claimed, token=Secret(f"{claimed.version + 1}"))
        assert claimed.token == Secret(f"{record.version}"), "a renewal went lost"
        assert await store.commit(KEY, claimed.version, me, new) is not None, "a claim that was in force did not hold"
        say(record.version)


async def hang(store: KeyStore, _: int) -> None:
    """Claim the key and never come back."""
    await store.commit(KEY, 0, "victim", KeyRecord(token=Secret("1")))
    assert await store.acquire_lease(KEY, 1, "victim", 0.5) is not None
    say("claimed")
    await asyncio.sleep(60)


async def hold(store: KeyStore, _: int) -> None:
    """Lease the key and keep it with heartbeats; send on command, if the lease still holds then."""
    lease.LEASE_SECONDS = LEASE
    await store.commit(KEY, 0, "victim", KeyRecord(token=Secret("1")))
    held = await lease.Lease.acquire(store, SystemClock(), KEY, 1, "victim")
    assert held is not None

    async def work() -> None:
        say("leased")
        await asyncio.to_thread(sys.stdin.readline)
        held.check()

    try:
        await held.hold(work)
        say("sent")
    except NotSent:
        say("not sent")
    late = await store.commit(KEY, held.record.version, "victim", KeyRecord(token=Secret("late")))
    say("stored" if late else "not stored")


async def full(store: KeyStore, _: int) -> None:
    """Run out of room, and say what is left."""
    import resource

    await store.commit(KEY, 0, "me", KeyRecord(token=Secret("kept")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
    try:
        await store.commit(KEY, 1, "me", KeyRecord(token=Secret("x" * 100_000)))
    except StorageUnavailable as error:
        say(error.hint)
    held = await store.load(KEY)
    assert held is not None
    assert (held.version, held.token) == (1, Secret("kept"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert await store.commit(KEY, 1, "me", KeyRecord(token=Secret("after"))) is not None


async def main(name: str, task: str, rounds: str = "0") -> None:
    store = make_key_store(name, SystemClock())
    await {"race": race, "hang": hang, "hold": hold, "full": full}[task](store, int(rounds))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
