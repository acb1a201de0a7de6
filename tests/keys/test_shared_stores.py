"""Keys that several processes share: races, killed and stopped processes, full disks, outages."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paystar_async.errors import StorageUnavailable
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.store import KeyRecord, KeyStore
from paystar_async.runtime.clock import SystemClock
from paystar_async.values.secret import Secret
from tests.keys.backends import KEY, PAIR, SharedBackend, SqliteBackend, all_operations
from tests.keys.refresh_contender import LEASE_SECONDS as HOLD_LEASE_SECONDS
from tests.servers import PostgresServer, RedisServer

HANG_LEASE_SECONDS = 0.5
"""Length of the lease that the task ``hang`` acquires."""


def start_contender(shared_backend: SharedBackend, *task: str) -> subprocess.Popen[str]:
    """Start a process that runs a task of ``refresh_contender``."""
    command = [sys.executable, "-W", "error", "-m", "tests.keys.refresh_contender", shared_backend.name, *task]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def output_lines(process: subprocess.Popen[str]) -> list[str]:
    """Return the lines that a process printed, once the process has ended without an error."""
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return output.splitlines()


def test_commit_by_several_processes_has_one_winner(shared_backend: SharedBackend) -> None:
    """The processes start at the same time on a backend without tables."""
    contenders = [start_contender(shared_backend, "race", "41") for _ in range(4)]
    winning_versions = [int(version) for process in contenders for version in output_lines(process)]
    assert sorted(winning_versions) == list(range(1, 43, 2))


def test_acquire_lease_of_killed_process_waits_for_expiry(shared_backend: SharedBackend) -> None:
    with start_contender(shared_backend, "hang") as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "leased\n"
        victim.kill()

    async def main() -> None:
        store = shared_backend.store()
        if isinstance(shared_backend, SqliteBackend):
            shared_backend.clock.jump(time.time() - shared_backend.clock.time())
            assert await store.acquire_lease(KEY, 2, "successor", HANG_LEASE_SECONDS) is None
            shared_backend.clock.advance(HANG_LEASE_SECONDS + 5)
        taken_over, deadline = None, time.monotonic() + HANG_LEASE_SECONDS + 2
        while taken_over is None and time.monotonic() < deadline:
            taken_over = await store.acquire_lease(KEY, 2, "successor", HANG_LEASE_SECONDS)
            await asyncio.sleep(0.02)
        assert taken_over is not None
        assert (taken_over.version, taken_over.lease_owner, taken_over.token) == (3, "successor", Secret("1"))
        await shared_backend.aclose()

    asyncio.run(main())


async def take_over_within(store: KeyStore, seconds: float) -> float | None:
    """Return after how many seconds another process acquires the lease; None if not within ``seconds``."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        if await store.acquire_lease(KEY, 2, "successor", HOLD_LEASE_SECONDS) is not None:
            return passed
        await asyncio.sleep(0.05)
    return None


def test_lease_of_killed_process_is_taken_over_in_seconds(shared_backend: SharedBackend) -> None:
    async def main(victim: subprocess.Popen[str]) -> None:
        store = make_key_store(shared_backend.name, SystemClock())
        assert await take_over_within(store, 1.5 * HOLD_LEASE_SECONDS) is None  # heartbeats extend the lease
        victim.kill()
        passed = await take_over_within(store, HOLD_LEASE_SECONDS + 5)
        assert passed is not None
        assert passed <= HOLD_LEASE_SECONDS + 1
        await store.aclose()

    with start_contender(shared_backend, "hold") as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "leased\n"
        asyncio.run(main(victim))
        assert victim.stdin is not None
        victim.stdin.close()


def test_check_in_stopped_process_prevents_late_request(shared_backend: SharedBackend) -> None:
    """SIGSTOP right before the request: another process takes over and refreshes before SIGCONT."""

    async def main() -> None:
        store = make_key_store(shared_backend.name, SystemClock())
        assert await take_over_within(store, HOLD_LEASE_SECONDS + 5) is not None
        assert await store.commit(KEY, 3, "successor", KeyRecord(token=Secret("2"))) is not None
        await store.aclose()

    with start_contender(shared_backend, "hold") as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "leased\n"
        victim.send_signal(signal.SIGSTOP)
        try:
            asyncio.run(main())
        finally:
            victim.send_signal(signal.SIGCONT)
        assert victim.communicate("send\n", timeout=30)[0].splitlines() == ["not sent", "not stored"]

    async def load() -> KeyRecord | None:
        store = make_key_store(shared_backend.name, SystemClock())
        try:
            return await store.load(KEY)
        finally:
            await store.aclose()

    assert asyncio.run(load()) == KeyRecord(version=4, token=Secret("2"))


def test_commit_on_full_disk_keeps_stored_record(tmp_path: Path) -> None:
    [hint] = output_lines(start_contender(SqliteBackend(tmp_path / "keys.db"), "full"))
    assert "full" in hint


@pytest.mark.parametrize("shared_backend", ["redis", "postgres"], indirect=True)
async def test_operations_with_server_down_raise_until_restart(
    shared_backend: SharedBackend, request: pytest.FixtureRequest
) -> None:
    server: RedisServer | PostgresServer = request.getfixturevalue(
        "redis_server" if shared_backend.name.startswith("unix") else "postgres_server"
    )
    store = shared_backend.store()
    first = await store.commit(KEY, 0, "me", PAIR)
    server.stop()
    try:
        for operation in all_operations(store, 1):
            with pytest.raises(StorageUnavailable) as outage:
                await operation
            assert outage.value.executed == "no"
    finally:
        server.start()
    assert await store.load(KEY) == first
    assert await store.acquire_lease(KEY, 1, "me", 60) is not None
