"""The SQLite adapter: files, processes, threads and event loops."""

import asyncio
import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest

from paystar_async.errors import StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage import sqlite_worker
from paystar_async.storage.sqlite import SqliteDatabase
from tests.support import needs_posix

SCHEMA = ("CREATE TABLE things (name TEXT PRIMARY KEY)",)
FOREIGN_BYTES = b"not a database " * 100
NAMES = "SELECT name FROM things ORDER BY name"


def put(name: str) -> str:
    return f"INSERT INTO things (name) VALUES ('{name}')"


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "error", "-c", PREAMBLE + script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


PREAMBLE = """
import asyncio, os, sys
from paystar_async.errors import StorageUnavailable
from paystar_async.storage.sqlite import SqliteDatabase
db = SqliteDatabase(sys.argv[1])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paystar.db"


@needs_posix
async def test_sqlite_files_are_private(path: Path) -> None:
    before = os.umask(0)
    try:
        db = SqliteDatabase(path)
        await db.migrate("things", SCHEMA)
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await db.aclose()
    assert modes == {"paystar.db": 0o600, "paystar.db-wal": 0o600, "paystar.db-shm": 0o600}


async def test_sqlite_commit_is_synchronous(path: Path) -> None:
    db = SqliteDatabase(path)
    assert await db.fetch("PRAGMA synchronous") == [{"synchronous": 2}]
    assert await db.fetch("PRAGMA journal_mode") == [{"journal_mode": "wal"}]
    await db.aclose()


async def test_now_is_time_of_given_clock(path: Path) -> None:
    clock = ManualClock(start=100.0)
    db = SqliteDatabase(path, clock=clock)
    clock.advance(5)
    assert await db.fetch("SELECT :now AS now") == [{"now": 105.0}]
    await db.aclose()


def test_migrate_foreign_file_is_unchanged(path: Path) -> None:
    async def main() -> None:
        db = SqliteDatabase(path)
        for _ in range(2):
            with pytest.raises(StorageCorrupt, match="no SQLite database"):
                await db.migrate("things", SCHEMA)
        await db.aclose()

    path.write_bytes(FOREIGN_BYTES)
    asyncio.run(main())
    assert path.read_bytes() == FOREIGN_BYTES


async def test_migrate_missing_directory_is_unavailable(path: Path) -> None:
    db = SqliteDatabase(path.parent / "later" / "paystar.db")
    with pytest.raises(StorageUnavailable) as refusal:
        await db.migrate("things", SCHEMA)
    assert "directory" in refusal.value.hint
    (path.parent / "later").mkdir()
    await db.migrate("things", SCHEMA)
    await db.aclose()


async def test_execute_locked_file_is_unavailable(path: Path) -> None:
    db = SqliteDatabase(path, busy_timeout=0.02)
    await db.migrate("things", SCHEMA)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="locked"):
        await db.execute(put("a"))
    with pytest.raises(StorageUnavailable, match="locked"):
        async with db.transaction():
            pass
    other.close()
    await db.execute(put("a"))
    await db.aclose()


async def test_migrate_waits_for_other_writer(path: Path) -> None:
    """The other writer uses another journal mode; SQLite does not wait for it when the mode is changed."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE theirs (name TEXT)")
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.05, other.execute, ["COMMIT"])
    done.start()
    db = SqliteDatabase(path)
    await db.migrate("things", SCHEMA)
    done.join()
    other.close()
    await db.aclose()


async def test_transaction_cancelled_in_queue_is_not_run(path: Path) -> None:
    db = SqliteDatabase(path)
    await db.migrate("things", SCHEMA)

    async def insert(name: str) -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put(name))

    async with db.transaction() as transaction:
        tasks = [asyncio.create_task(insert(f"late {number}")) for number in range(6)]
        await anyio.wait_all_tasks_blocked()
        for task in tasks[:5]:
            task.cancel()
        await transaction.execute(put("a"))
    await asyncio.wait(tasks)
    await insert("b")
    assert [row["name"] for row in await db.fetch(NAMES)] == ["a", "b", "late 5"]
    await db.aclose()


async def test_transaction_idle_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_worker, "TRANSACTION_SECONDS", 0.02)
    db = SqliteDatabase(path)
    await db.migrate("things", SCHEMA)

    async def idle_in_transaction() -> None:
        async with db.transaction() as transaction:
            await transaction.execute(put("a"))
            await db.execute(put("b"))  # waits until the thread has ended this task's transaction
            await transaction.execute(put("c"))

    with pytest.raises(StorageError, match="idled"):
        await idle_in_transaction()
    assert await db.fetch(NAMES) == [{"name": "b"}]
    await db.aclose()


async def test_aclose_waits_for_running_transaction(path: Path) -> None:
    db = SqliteDatabase(path)
    await db.migrate("things", SCHEMA)
    opened, may_continue = asyncio.Event(), asyncio.Event()

    async def insert_slowly() -> None:
        async with db.transaction() as transaction:
            opened.set()
            await may_continue.wait()
            await transaction.execute(put("a"))

    async with asyncio.TaskGroup() as group:
        group.create_task(insert_slowly())
        await opened.wait()
        group.create_task(db.execute(put("b")))
        await asyncio.sleep(0)
        group.create_task(db.aclose())
        await asyncio.sleep(0)
        may_continue.set()
    assert await db.fetch(NAMES) == [{"name": "a"}, {"name": "b"}]
    await db.aclose()


@needs_posix
async def test_sqlite_replaced_file_is_used(path: Path) -> None:
    db = SqliteDatabase(path)
    await db.migrate("things", SCHEMA)
    await db.execute(put("old"))
    other = SqliteDatabase(path.with_name("backup.db"))
    await other.migrate("things", SCHEMA)
    await other.execute(put("restored"))
    await other.aclose()
    path.with_name("backup.db").replace(path)
    for leftover in ("paystar.db-wal", "paystar.db-shm"):
        path.with_name(leftover).unlink(missing_ok=True)
    assert await db.fetch(NAMES) == [{"name": "restored"}]
    await db.aclose()


def test_sqlite_runs_on_trio(path: Path) -> None:
    async def main() -> None:
        db = SqliteDatabase(path)
        await db.migrate("things", SCHEMA)
        with anyio.move_on_after(0.01):
            async with db.transaction() as transaction:
                await transaction.execute(put("cut"))
                await anyio.sleep_forever()
        async with db.transaction() as transaction:
            await transaction.execute(put("a"))
        assert await db.fetch(NAMES) == [{"name": "a"}]
        await db.aclose()

    anyio.run(main, backend="trio")


async def test_sqlite_is_shared_by_loops_in_threads(path: Path) -> None:
    db = SqliteDatabase(path)
    await db.migrate("things", SCHEMA)

    async def write(name: str) -> None:
        for number in range(10):
            async with db.transaction() as transaction:
                await transaction.execute(put(f"{name}{number}"))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, write(name)) for name in "abc"))
    assert len(await db.fetch(NAMES)) == 30
    await db.aclose()


def test_sqlite_garbage_collected_database_ends_thread(path: Path) -> None:
    before = set(threading.enumerate())

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in before and path.name in thread.name]

    db = SqliteDatabase(path)
    asyncio.run(db.migrate("things", SCHEMA))
    [thread] = threads()
    del db
    gc.collect()
    thread.join(5)
    assert not threads()


@needs_posix
def test_sqlite_forked_process_starts_own_thread(path: Path) -> None:
    script = """
asyncio.run(db.migrate("things", ("CREATE TABLE things (name TEXT)",)))
child = os.fork()
asyncio.run(db.execute(f"INSERT INTO things VALUES ('{'parent' if child else 'child'}')"))
if child:
    os.waitpid(child, 0)
    print(sorted(row["name"] for row in asyncio.run(db.fetch("SELECT name FROM things"))))
"""
    assert run(script, path) == "['child', 'parent']\n"


@needs_posix
def test_execute_full_disk_is_unavailable(path: Path) -> None:
    script = """
import resource
async def main():
    await db.migrate("things", ("CREATE TABLE things (name TEXT)",))
    await db.execute("INSERT INTO things VALUES ('before')")
    room = os.path.getsize(sys.argv[1] + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for _ in range(2):
        try:
            await db.execute("INSERT INTO things VALUES (:name)", {"name": "x" * 100_000})
        except StorageUnavailable as error:
            print("full" in error.hint)
    print(await db.fetch("SELECT name FROM things"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await db.execute("INSERT INTO things VALUES ('after')")
    print(await db.fetch("SELECT name FROM things"))
    await db.aclose()
asyncio.run(main())
"""
    lines = run(script, path).splitlines()
    assert lines == ["True", "True", "[{'name': 'before'}]", "[{'name': 'before'}, {'name': 'after'}]"]


@needs_posix
def test_transaction_killed_process_leaves_no_lock(path: Path) -> None:
    script = """
async def main():
    await db.migrate("things", ("CREATE TABLE things (name TEXT)",))
    await db.execute("INSERT INTO things VALUES ('whole')")
    async with db.transaction() as transaction:
        await transaction.execute("INSERT INTO things VALUES ('half')")
        print("open", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", PREAMBLE + script, path], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"open\n"
    child.send_signal(signal.SIGKILL)
    child.wait()

    async def main() -> None:
        db = SqliteDatabase(path)
        await db.execute(put("next"))
        assert await db.fetch(NAMES) == [{"name": "next"}, {"name": "whole"}]
        await db.aclose()

    asyncio.run(main())
