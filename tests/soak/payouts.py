"""Soak of payouts with kills, stops, restarts, a full disk and cancellations: every transfer is paid once.

The payments are counted at a sandbox in another process, which pays a repeated ``track_id`` again.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import anyio
from attrs import define, field

from paystar_async.errors import PaystarError
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.models import TransferState
from paystar_async.storage.database import Database
from tests.servers import PostgresServer
from tests.soak import payout_workers
from tests.soak.processes import SandboxProcess, read_message, running_program, running_sandbox

WAIT_SECONDS = 120.0
KILLS_PER_CHECK = 4
"""Kills between two checks of whether another batch is needed."""
Style = Literal["task.cancel", "asyncio.timeout", "anyio scope"]
STYLES: tuple[Style, ...] = ("task.cancel", "asyncio.timeout", "anyio scope")
FAULTS: tuple[dict[str, Any], ...] = (
    # On 20 % of the payment requests, and on 10 % of the look-ups.
    {"endpoint": "transfers.settle", "kind": "reset_after", "rate": 0.05},
    {"endpoint": "transfers.settle", "kind": "reset_before", "rate": 0.05},
    {"endpoint": "transfers.settle", "kind": "truncated", "rate": 0.04},
    {"endpoint": "transfers.settle", "kind": "server_error", "rate": 0.04, "executed": True},
    {"endpoint": "transfers.settle", "kind": "html", "rate": 0.04},
    {"endpoint": "transfers.find", "kind": "reset_before", "rate": 0.04},
    {"endpoint": "transfers.find", "kind": "html", "rate": 0.03},
    {"endpoint": "transfers.find", "kind": "server_error", "rate": 0.03},
    # A slow bank, so that calls are in progress when a process is killed.
    {"endpoint": "transfers.settle", "kind": "latency", "rate": 0.5, "seconds": 0.05},
    {"endpoint": "transfers.settle", "kind": "latency", "rate": 0.04, "seconds": 0.3, "executed": True},
)


@define
class KillReport:
    """The comparison of the bank and the ledger after a soak run.

    Attributes:
        kills: number of kills or other disturbances.
        caught: number of transfers whose sending worker was killed.
        transfers: number of submitted transfers.
        paid: number of transfers that the bank paid.
        requests: number of payment requests at the bank.
        duplicates: number of transfers paid more than once.
        lost: number of submitted transfers that were not paid.
        wrong: number of transfers paid with another amount, or never submitted.
        unrecorded: number of paid transfers that the ledger does not record as paid.
    """

    kills: int = 0
    caught: int = 0
    transfers: int = 0
    paid: int = 0
    requests: int = 0
    duplicates: int = 0
    lost: int = 0
    wrong: int = 0
    unrecorded: int = 0
    notes: Counter[str] = field(factory=Counter[str])

    @property
    def good(self) -> bool:
        """Return True if every transfer was paid once and recorded."""
        return self.paid > 0 and not (self.duplicates or self.lost or self.wrong or self.unrecorded)


@contextmanager
def bank(*, faults: bool = True) -> Generator[SandboxProcess]:
    """Run a faulty bank that pays a transfer again on each request."""
    with running_sandbox() as sandbox:
        sandbox.post("settings", repeats_execute=True, settle_seconds=0.05)
        for fault in FAULTS if faults else ():
            sandbox.post("faults", **fault)
        yield sandbox


def settings(sandbox: SandboxProcess, ledger: str, home: Path) -> dict[str, Any]:
    """Return the settings of a worker, and write them to its file."""
    file = home / "settings.json"
    worker_settings = {
        "application": sandbox.get("accounts")["application"],
        "base_url": sandbox.base_url,
        "ledger": ledger,
        "stop": str(home / "stop"),
        "file": str(file),
    }
    file.write_text(json.dumps(worker_settings), "utf-8")
    return worker_settings


async def compare(sandbox: SandboxProcess, ledger_url: str, report: KillReport) -> KillReport:
    """Compare the records of the ledger with the payments of the bank; return the completed report."""
    ledger, store = payout_workers.open_ledger(ledger_url)
    executed: dict[str, dict[str, Any]] = sandbox.get("ledger")["transfers"]
    recorded: dict[str, TransferState] = {}
    amounts: dict[str, int] = {}
    for batch in await queries.batches(ledger, 100_000):
        for _, record in await queries.page(ledger, batch.batch_id, limit=10_000):
            recorded[record.track_id], amounts[record.track_id] = record.state, record.amount
    report.transfers, report.paid = len(recorded), len(executed)
    report.requests = sum(line["requests"] for line in executed.values())
    report.duplicates = sum(line["count"] > 1 for line in executed.values())
    report.lost = sum(track_id not in executed for track_id in recorded)
    report.wrong += sum(amounts.get(track_id) != line["amount"] for track_id, line in executed.items())
    report.caught = await _caught(store)
    await store.aclose()
    report.unrecorded = sum(recorded.get(track_id) is not TransferState.SUCCESS for track_id in executed)
    return report


async def _caught(store: Database) -> int:
    """Count the transfers that killed workers were sending."""
    rows = await store.fetch("SELECT DISTINCT track_id FROM paystar_payout_events WHERE cause = 'lease'")
    return len(rows)


async def unfinished(ledger_url: str) -> dict[TransferState, int]:
    """Return the number of transfers that are not final, by state."""
    ledger, store = payout_workers.open_ledger(ledger_url)
    try:
        return await payout_workers.unfinished(ledger)
    finally:
        await store.aclose()


def wait_final(ledger_url: str, tend: Callable[[], object]) -> None:
    """Wait until every transfer is final; call ``tend`` at each step to restart dead workers."""
    end = time.monotonic() + WAIT_SECONDS
    while counts := asyncio.run(unfinished(ledger_url)):
        assert time.monotonic() < end, f"timeout while transfers are not final: {counts}"
        tend()
        time.sleep(0.1)


def kills_on_sqlite(
    home: Path, count: int, seed: int = 0, note: Callable[[KillReport], object] = lambda _: None
) -> KillReport:
    """Repeatedly kill with SIGKILL one of two processes that share a ledger in a file."""
    ledger = str(home / "payouts.db")
    with bank() as sandbox:
        worker_settings = settings(sandbox, ledger, home)
        asyncio.run(payout_workers.first_batch(worker_settings))
        with payout_workers.running_worker_pool(payout_workers.work, worker_settings, 2, seed) as workers:
            return _kill_repeatedly(sandbox, ledger, workers, count, note, lambda: (home / "stop").touch())


def _kill_repeatedly(
    sandbox: SandboxProcess,
    ledger: str,
    workers: payout_workers.WorkerPool,
    count: int,
    note: Callable[[KillReport], object],
    stop: Callable[[], object],
    tend: Callable[[], object] = lambda: None,
) -> KillReport:
    report = KillReport()
    for number in range(count):
        if number % KILLS_PER_CHECK == 0:
            tend()
        workers.kill_one()
        report.kills += 1
        if report.kills % 100 == 0:
            note(report)
    stop()
    wait_final(ledger, workers.fill)
    return asyncio.run(compare(sandbox, ledger, report))


def kills_on_postgres(
    server: PostgresServer,
    home: Path,
    count: int,
    seed: int = 0,
    note: Callable[[KillReport], object] = lambda _: None,
    *,
    rate: float | None = None,
) -> KillReport:
    """Repeatedly kill with SIGKILL one of three procrastinate workers; with a rate, most chunks wait."""
    with queue(server, home, faults=True) as (sandbox, ledger, worker_settings):
        batch_settings = worker_settings | {"min_planned": 60, "rate": rate}
        # Before the workers start: a worker may be killed while it creates the tables.
        asyncio.run(payout_workers.top_up(batch_settings))
        with payout_workers.running_worker_pool(payout_workers.queue_worker, worker_settings, 3, seed) as workers:
            return _kill_repeatedly(
                sandbox, ledger, workers, count, note, lambda: None, lambda: _top_up(batch_settings)
            )


@contextmanager
def queue(server: PostgresServer, home: Path, *, faults: bool) -> Generator[tuple[SandboxProcess, str, dict[str, Any]]]:
    """Run a bank, and create a schema with procrastinate's tables that the ledger shares."""
    with bank(faults=faults) as sandbox, server.schema() as ledger:
        worker_settings = settings(sandbox, ledger, home)
        environment = os.environ | {"PAYSTAR_SOAK": worker_settings["file"]}
        command = [sys.executable, "-m", "procrastinate", "--app=tests.soak.queue_app.app", "schema", "--apply"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        yield sandbox, ledger, worker_settings


def _top_up(worker_settings: dict[str, Any]) -> None:
    """Submit another batch when few transfers are unsent."""
    with suppress(PaystarError):
        asyncio.run(payout_workers.top_up(worker_settings))


def restarts(server: PostgresServer, home: Path, times: int, seed: int = 0) -> KillReport:
    """Restart PostgreSQL under three procrastinate workers; restart workers that end, as systemd does."""
    rng = random.Random(seed)
    with (
        queue(server, home, faults=True) as (sandbox, ledger, worker_settings),
        payout_workers.running_worker_pool(payout_workers.queue_worker, worker_settings, 3, seed) as workers,
    ):
        for _ in range(times):
            _top_up(worker_settings)
            time.sleep(rng.uniform(1.0, 3.0))  # time to start and to have calls in flight
            server.stop()
            time.sleep(rng.uniform(0.0, 0.5))
            server.start()
            workers.fill()
        wait_final(ledger, workers.fill)
        return asyncio.run(compare(sandbox, ledger, KillReport(kills=times)))


def stops(home: Path, times: int) -> KillReport:
    """Stop a process before its send for longer than its lease, pay by another process, then continue the first."""
    ledger = str(home / "payouts.db")
    with bank(faults=False) as sandbox:
        worker_settings = settings(sandbox, ledger, home)
        result = KillReport()
        for number in range(times):
            # With one transfer the process runs nothing else, so it holds no lock of the file when it stops.
            batch = {"batch": f"b-{number}", "count": 1}
            with running_program("tests.soak.one_batch", worker_settings | batch | {"stops": True}) as first:
                _wait_until(lambda: _is_stopped(first.pid), "the process stops itself before its first byte")
                before = sandbox.get("ledger")["transfers"]
                result.wrong += any(track_id.startswith(f"b-{number}-") for track_id in before)
                with running_program("tests.soak.one_batch", worker_settings | batch | {"stops": False}) as second:
                    assert read_message(second) == "paid"
                first.send_signal(signal.SIGCONT)
                result.notes[read_message(first)] += 1
        return asyncio.run(compare(sandbox, ledger, result))


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "T"


def _wait_until(condition: Callable[[], bool], description: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"timeout while waiting: {description}"
        time.sleep(0.005)


def full_disks(home: Path, times: int, seed: int = 0, *, mounted: bool = False) -> KillReport:
    """Fill the disk during a batch, then free it: nothing was sent without an intent, nothing was paid twice.

    Args:
        home: an empty directory.
        times: number of batches.
        seed: the seed of the random free space.
        mounted: fill a mounted disk, which needs root; otherwise limit the size of files.
    """
    rng = random.Random(seed)
    result = KillReport()
    with bank(faults=False) as sandbox, _disk(home / "disk", mounted=mounted) as disk:
        ledger = str(disk / "payouts.db")
        worker_settings = settings(sandbox, ledger, home)
        for number in range(times):
            batch = {"batch": f"b-{number}"}
            room = rng.randrange(4_096, 500_000 if mounted else 150_000)
            limit = {} if mounted else {"room": room}
            filler = disk / "filler"
            if mounted:
                filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - room)))
            with running_program("tests.soak.one_batch", worker_settings | batch | limit | {"timeout": 1.5}) as first:
                result.notes[read_message(first)] += 1
            filler.unlink(missing_ok=True)
            result.wrong += asyncio.run(_without_intent(sandbox, ledger))
            with running_program("tests.soak.one_batch", worker_settings | batch) as second:
                assert read_message(second) == "paid"
        return asyncio.run(compare(sandbox, ledger, result))


def can_mount() -> bool:
    """Return True if this process may mount a disk."""
    with tempfile.TemporaryDirectory() as home, suppress(OSError, subprocess.CalledProcessError), ExitStack() as stack:
        stack.enter_context(_disk(Path(home) / "disk", mounted=True))
        return True
    return False


@contextmanager
def _disk(folder: Path, *, mounted: bool) -> Generator[Path]:
    folder.mkdir()
    if not mounted:
        yield folder
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True, stderr=subprocess.DEVNULL)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def _without_intent(sandbox: SandboxProcess, ledger_url: str) -> int:
    """Return the number of transfers that the bank was requested to pay without a recorded intent."""
    ledger, store = payout_workers.open_ledger(ledger_url)
    await ledger.time()  # creates the tables, for which the disk may have had no room
    rows = await store.fetch("SELECT track_id FROM paystar_payout_events WHERE after = 'sending'")
    await store.aclose()
    return len(sandbox.get("ledger")["transfers"].keys() - {row["track_id"] for row in rows})


def cancellations(home: Path, style: Style, count: int, seed: int = 0) -> KillReport:
    """Cancel ``advance`` at random moments; executed transfers are recorded at once."""
    with bank(faults=False) as sandbox:
        ledger = str(home / f"{style}.db")
        return asyncio.run(_cancellations(sandbox, settings(sandbox, ledger, home), style, count, random.Random(seed)))


async def _cancellations(
    sandbox: SandboxProcess, worker_settings: dict[str, Any], style: Style, count: int, rng: random.Random
) -> KillReport:
    result = KillReport()
    async with payout_workers.client(worker_settings) as paystar:
        paystar.payouts.use(payout_workers.ManualDispatcher())
        for number in range(count):
            batch_id = f"b-{number}"
            await paystar.payouts.submit(
                payout_workers.transfers(batch_id, 3), batch_id=batch_id, policy=payout_workers.POLICY
            )
            for chunk_id in await payout_workers.chunks(worker_settings["ledger"], batch_id):
                await _cancelled(paystar.payouts.advance, chunk_id, style, rng.uniform(0, 0.03))
    # The closed client has waited for its calls in flight.
    executed = await asyncio.to_thread(sandbox.get, "ledger")
    ledger, store = payout_workers.open_ledger(worker_settings["ledger"])
    for track_id in executed["transfers"]:
        record = await queries.find_transfer(ledger, "bank", worker_settings["application"]["id"], track_id)
        result.unrecorded += record is None or record.state not in {TransferState.PENDING, TransferState.SUCCESS}
    result.transfers, result.paid = 3 * count, len(executed["transfers"])
    result.duplicates = sum(line["count"] > 1 for line in executed["transfers"].values())
    await store.aclose()
    return result


async def _cancelled(advance: Callable[[str], Any], chunk_id: str, style: Style, after: float) -> None:
    match style:
        case "task.cancel":
            task = asyncio.create_task(advance(chunk_id))
            await asyncio.sleep(after)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        case "asyncio.timeout":
            with suppress(TimeoutError):
                async with asyncio.timeout(after):
                    await advance(chunk_id)
        case "anyio scope":
            with anyio.move_on_after(after):
                await advance(chunk_id)
