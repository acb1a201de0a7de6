"""Test ledgers in files: a full disk, a foreign file, an older schema version, and file permissions."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from paystar_async.errors import SchemaMismatch, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.schema import PART, SCHEMA
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.bank import FakeBank, PayoutFixture, each, transfers
from tests.support import needs_posix

FULL_DISK_SCRIPT = """
import asyncio, os, resource, sys
from paystar_async.runtime.clock import ManualClock
from paystar_async.errors import StorageUnavailable
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.bank import PayoutFixture, each, transfers
from tests.support import needs_posix

async def main():
    clock = ManualClock()
    database = SqliteDatabase(sys.argv[1], clock=clock)
    payout = PayoutFixture(LedgerDatabase(database, clock=clock), clock)
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    [chunk] = await payout.chunks()
    wal_bytes = os.path.getsize(sys.argv[1] + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal_bytes, resource.RLIM_INFINITY))
    for call in (payout.worker.advance(chunk), insert_batch(payout.ledger, payout.channel, "c", each(transfers(2000)))):
        try:
            await call
        except StorageUnavailable as error:
            print("full" in error.hint)
    print(payout.bank.calls, await payout.states(), await queries.find_batch(payout.ledger, "c"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(await payout.worker.advance(chunk), payout.bank.calls, await payout.states())
    await database.aclose()

asyncio.run(main())
"""


@needs_posix
def test_ledger_full_disk_sends_nothing_unrecorded(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", FULL_DISK_SCRIPT, str(tmp_path / "l.db")]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    ids = [value.track_id for value in transfers(3)]
    assert output == [
        "True",
        "True",
        f"[] {['planned'] * 3} None",
        f"None {[ids]} {['success'] * 3}",
    ]


def modes_in(directory: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


async def assert_refused(path: Path, kind: type[StorageError]) -> None:
    database = SqliteDatabase(path)
    bank = FakeBank()
    payout = PayoutFixture(LedgerDatabase(database), ManualClock(), bank)
    with pytest.raises(kind):
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    await database.aclose()
    assert bank.calls == []


async def test_ledger_foreign_file_is_unchanged(tmp_path: Path) -> None:
    foreign_file = tmp_path / "letters"
    foreign_file.write_text("dear all " * 1000)
    await assert_refused(foreign_file, StorageCorrupt)
    assert foreign_file.read_text() == "dear all " * 1000


async def test_ledger_foreign_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE paystar_payout_settings (theirs TEXT)")
    connection.commit()
    connection.close()
    await assert_refused(path, SchemaMismatch)


async def test_ledger_missing_directory_is_unavailable(tmp_path: Path) -> None:
    await assert_refused(tmp_path / "nowhere" / "l.db", StorageUnavailable)


@pytest.mark.parametrize("version", range(len(SCHEMA)))
async def test_ledger_of_older_version_is_migrated(tmp_path: Path, version: int) -> None:
    database = SqliteDatabase(tmp_path / "l.db")
    await database.migrate(PART, SCHEMA[:version])
    payout = PayoutFixture(LedgerDatabase(database), ManualClock())
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    assert await payout.states() == ["planned"] * 3
    await database.aclose()


@needs_posix
async def test_ledger_files_are_private(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "l.db")
    payout = PayoutFixture(LedgerDatabase(database), ManualClock())
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    modes = modes_in(tmp_path)
    await database.aclose()
    assert modes == {0o600}


def test_ledger_is_used_by_successive_loops(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "l.db")
    ledger = LedgerDatabase(database)

    async def plan(name: str) -> list[str]:
        payout = PayoutFixture(ledger, ManualClock())
        await insert_batch(ledger, payout.channel, name, each(transfers(3)))
        return [batch.batch_id for batch in await queries.batches(ledger)]

    assert asyncio.run(plan("a")) == ["a"]
    assert sorted(asyncio.run(plan("b"))) == ["a", "b"]
    asyncio.run(database.aclose())
