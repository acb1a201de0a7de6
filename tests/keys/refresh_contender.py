"""A process that competes for the lease of one key: ``python -m tests.keys.refresh_contender STORE TASK [ROUNDS]``."""

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
LEASE_SECONDS = 2.0
"""Length of a lease that heartbeats extend."""


def report(value: object) -> None:
    """Print a line for the test."""
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


async def race(store: KeyStore, rounds: int) -> None:
    """Lease and refresh the key until the record has ``rounds`` versions; each token is the number of its version."""
    owner = str(os.getpid())
    while True:
        record = await store.load(KEY) or await store.commit(KEY, 0, owner, KeyRecord(token=Secret("1")))
        if record is None:
            continue
        if record.version > rounds:
            return
        leased = await store.acquire_lease(KEY, record.version, owner, 60)
        if leased is None:
            await asyncio.sleep(0.001)
            continue
        new = evolve(leased, token=Secret(f"{leased.version + 1}"))
        assert leased.token == Secret(f"{record.version}"), "a refresh was lost"
        assert await store.commit(KEY, leased.version, owner, new) is not None, "another process broke a valid lease"
        report(record.version)


async def hang(store: KeyStore, _: int) -> None:
    """Lease the key and never release the lease."""
    await store.commit(KEY, 0, "victim", KeyRecord(token=Secret("1")))
    assert await store.acquire_lease(KEY, 1, "victim", 0.5) is not None
    report("leased")
    await asyncio.sleep(60)


async def hold(store: KeyStore, _: int) -> None:
    """Lease the key and extend the lease by heartbeats; send on command if the lease is still valid."""
    lease.LEASE_SECONDS = LEASE_SECONDS
    await store.commit(KEY, 0, "victim", KeyRecord(token=Secret("1")))
    own_lease = await lease.Lease.acquire(store, SystemClock(), KEY, 1, "victim")
    assert own_lease is not None

    async def send() -> None:
        report("leased")
        await asyncio.to_thread(sys.stdin.readline)
        own_lease.check()

    try:
        await own_lease.hold(send)
        report("sent")
    except NotSent:
        report("not sent")
    late = await store.commit(KEY, own_lease.record.version, "victim", KeyRecord(token=Secret("late")))
    report("stored" if late else "not stored")


async def full(store: KeyStore, _: int) -> None:
    """Fill the disk, report the hint of the error, and check that the stored record is unchanged."""
    import resource

    await store.commit(KEY, 0, "me", KeyRecord(token=Secret("kept")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
    try:
        await store.commit(KEY, 1, "me", KeyRecord(token=Secret("x" * 100_000)))
    except StorageUnavailable as error:
        report(error.hint)
    stored = await store.load(KEY)
    assert stored is not None
    assert (stored.version, stored.token) == (1, Secret("kept"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert await store.commit(KEY, 1, "me", KeyRecord(token=Secret("after"))) is not None


async def main(location: str, task: str, rounds: str = "0") -> None:
    store = make_key_store(location, SystemClock())
    await {"race": race, "hang": hang, "hold": hold, "full": full}[task](store, int(rounds))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
