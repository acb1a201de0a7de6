"""Test the ledger's time: setting a clock shortens no quiet window, in one process or several."""

from pathlib import Path

import anyio
import pytest

from paystar_async.errors import StorageCorrupt
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.runtime.clock import ManualClock, SystemClock
from paystar_async.storage.database import Database
from paystar_async.storage.factory import database
from paystar_async.storage.sqlite import SqliteDatabase


class BootClock(ManualClock):
    """A manual clock with a boot id."""

    boot = "boot-1"


@pytest.fixture
def file(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path / "payouts.db")


async def test_time_ignores_clock_jump_in_process(file: Database) -> None:
    clock = BootClock()
    ledger = LedgerDatabase(file, clock=clock)
    before = await ledger.time()
    clock.jump(86_400)
    clock.advance(7)
    assert await ledger.time() == before + 7
    await file.aclose()


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_time_ignores_clock_jump_between_processes(file: Database, jump: float) -> None:
    clock = BootClock()
    before = await LedgerDatabase(file, clock=clock).time()
    clock.jump(jump)
    clock.advance(7)
    assert await LedgerDatabase(file, clock=clock).time() == before + 7
    await file.aclose()


async def test_time_after_reboot_follows_wall_clock(file: Database) -> None:
    before = await LedgerDatabase(file, clock=BootClock(start=1000.0)).time()
    later = BootClock(start=1600.0)
    later.boot = "boot-2"
    assert (before, await LedgerDatabase(file, clock=later).time()) == (1000.0, 1600.0)
    await file.aclose()


async def test_time_never_precedes_latest_event(file: Database) -> None:
    ledger = LedgerDatabase(file, clock=BootClock(start=1000.0))
    await ledger.time()
    await file.execute(
        "INSERT INTO paystar_payout_events (product, account, track_id, version, at, after, cause, detail)"
        " VALUES ('bank', 'a', 't', 1, 5000, 'planned', 'plan', '')"
    )
    set_back = BootClock(start=10.0)
    set_back.boot = "boot-2"
    assert await LedgerDatabase(file, clock=set_back).time() == 5000.0
    await file.aclose()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE paystar_payout_settings SET value = 'boot-1 soon' WHERE name = 'clock'",
        "UPDATE paystar_payout_settings SET value = 'boot-1 1e999' WHERE name = 'clock'",
        "UPDATE paystar_payout_settings SET value = x'ff' WHERE name = 'clock'",
        "UPDATE paystar_payout_settings SET value = value || ' soon' WHERE name = 'origin'",
        "UPDATE paystar_payout_settings SET value = x'ff' WHERE name = 'origin'",
        "UPDATE paystar_payout_settings SET value = x'ff' WHERE name = 'digest_key'",
    ],
)
async def test_open_damaged_setting_is_corrupt(file: Database, damage: str) -> None:
    await LedgerDatabase(file, clock=BootClock(start=1000.0)).time()
    await file.execute(damage)
    with pytest.raises(StorageCorrupt, match="payout ledger"):
        await LedgerDatabase(file, clock=BootClock(start=1000.0)).time()
    await file.aclose()


async def test_time_text_as_event_time_is_corrupt(file: Database) -> None:
    await LedgerDatabase(file, clock=BootClock(start=1000.0)).time()
    await file.execute(
        "INSERT INTO paystar_payout_events (product, account, track_id, version, at, after, cause, detail)"
        " VALUES ('bank', 'a', 't', 1, 'soon', 'planned', 'plan', '')"
    )
    rebooted = BootClock(start=1000.0)
    rebooted.boot = "boot-2"
    with pytest.raises(StorageCorrupt, match="time of an event"):
        await LedgerDatabase(file, clock=rebooted).time()
    await file.aclose()


async def test_time_concurrent_processes_agree(tmp_path: Path) -> None:
    times: list[float] = []

    async def begin(number: int) -> None:
        clock = BootClock(start=1000.0 + number)
        store = SqliteDatabase(tmp_path / "payouts.db")
        times.append(await LedgerDatabase(store, clock=clock).time())
        await store.aclose()

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(begin, number)
    assert len(set(times)) == 1


async def test_time_of_server_is_used(postgres_schema: str) -> None:
    store = database(postgres_schema)
    clock = BootClock(start=1000.0)
    assert await LedgerDatabase(store, clock=clock).time() > 1_000_000_000
    assert await store.fetch("SELECT 1 AS one FROM paystar_payout_settings WHERE name = 'clock'") == []
    await store.aclose()


def test_system_clock_boot_is_stable() -> None:
    assert SystemClock().boot == SystemClock().boot


def test_system_clock_without_boot_id_has_no_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert SystemClock().boot is None
