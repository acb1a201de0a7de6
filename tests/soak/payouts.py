"""Paid once, whatever happens to those who pay: with kills, stops, restarts, a full disk and cancellations.

Counted at the sandbox, a process of its own that pays a repeated ``track_id`` again.
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
from tests.soak import payer
from tests.soak.play import Play, program, read, sandbox

ENOUGH = 120.0
TENDED_EVERY = 4
"""Kills between two looks at whether there is enough to do."""
Style = Literal["task.cancel", "asyncio.timeout", "anyio scope"]
STYLES: tuple[Style, ...] = ("task.cancel", "asyncio.timeout", "anyio scope")
FAULTS: tuple[dict[str, Any], ...] = (
    # On 20 % of the requests to pay, and on 10 % of the questions.
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
        caught: number of transfers whose sender was killed.
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
def bank(*, faults: bool = True) -> Generator[Play]:
    """Start a bank that fails, and that pays a transfer each time it is requested."""
    with sandbox() as play:
        play.post("settings", repeats_execute=True, settle_seconds=0.05)
        for fault in FAULTS if faults else ():
            play.post("faults", **fault)
        yield play


def settings(play: Play, ledger: str, home: Path) -> dict[str, Any]:
    """Return the settings of a worker, and write them to its file."""
    file = home / "settings.json"
    worker_settings = {
        "application": play.get("accounts")["application"],
        "base_url": play.base_url,
        "ledger": ledger,
        "stop": str(home / "stop"),
        "file": str(file),
    }
    file.write_text(json.dumps(worker_settings), "utf-8")
    return worker_settings


async def compare(play: Play, ledger_url: str, report: KillReport) -> KillReport:
    """Hold what is on record against what the bank did."""
    ledger, store = payer.open_ledger(ledger_url)
    executed: dict[str, dict[str, Any]] = play.get("ledger")["transfers"]
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


async def states(ledger_url: str) -> dict[TransferState, int]:
    """How many transfers are not decided yet."""
    ledger, store = payer.open_ledger(ledger_url)
    try:
        return await payer.unfinished(ledger)
    finally:
        await store.aclose()


def until_done(ledger_url: str, tend: Callable[[], object]) -> None:
    """Wait until every transfer is decided; call ``tend`` at each step to restart dead workers."""
    end = time.monotonic() + ENOUGH
    while (left := asyncio.run(states(ledger_url))) or not left:
        if not left:
            return
        assert time.monotonic() < end, f"waited in vain: {left}"
        tend()
        time.sleep(0.1)


def kills_on_sqlite(
    home: Path, count: int, seed: int = 0, note: Callable[[KillReport], object] = lambda _: None
) -> KillReport:
    """Kill -9 one of two processes that share a ledger in a file, again and again."""
    ledger = str(home / "payouts.db")
    with bank() as play:
        worker_settings = settings(play, ledger, home)
        asyncio.run(payer.first_batch(worker_settings))
        with payer.crew(payer.work, worker_settings, 2, seed) as crew:
            return _kills(play, ledger, crew, count, note, lambda: (home / "stop").touch())


def _kills(
    play: Play,
    ledger: str,
    crew: payer.Crew,
    count: int,
    note: Callable[[KillReport], object],
    stop: Callable[[], object],
    tend: Callable[[], object] = lambda: None,
) -> KillReport:
    report = KillReport()
    for number in range(count):
        if number % TENDED_EVERY == 0:
            tend()
        crew.kill_one()
        report.kills += 1
        if report.kills % 100 == 0:
            note(report)
    stop()
    until_done(ledger, crew.fill)
    return asyncio.run(compare(play, ledger, report))


def kills_on_postgres(
    server: PostgresServer,
    home: Path,
    count: int,
    seed: int = 0,
    note: Callable[[KillReport], object] = lambda _: None,
    *,
    rate: float | None = None,
) -> KillReport:
    """Kill -9 one of three procrastinate workers, again and again; with a rate most chunks wait for their turns."""
    with queue(server, home, faults=True) as (play, ledger, worker_settings):
        much = worker_settings | {"low": 60, "rate": rate}
        asyncio.run(payer.top_up(much))  # before workers that are killed while they lay the tables out
        with payer.crew(payer.queue_worker, worker_settings, 3, seed) as crew:
            return _kills(play, ledger, crew, count, note, lambda: None, lambda: _top_up(much))


@contextmanager
def queue(server: PostgresServer, home: Path, *, faults: bool) -> Generator[tuple[Play, str, dict[str, Any]]]:
    """Start a bank and create a schema with procrastinate's tables, which the ledger shares."""
    with bank(faults=faults) as play, server.schema() as ledger:
        worker_settings = settings(play, ledger, home)
        environment = os.environ | {"PAYSTAR_SOAK": worker_settings["file"]}
        command = [sys.executable, "-m", "procrastinate", "--app=tests.soak.queue_app.app", "schema", "--apply"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        yield play, ledger, worker_settings


def _top_up(worker_settings: dict[str, Any]) -> None:
    """Submit another batch when little is left to be sent."""
    with suppress(PaystarError):
        asyncio.run(payer.top_up(worker_settings))


def restarts(server: PostgresServer, home: Path, times: int, seed: int = 0) -> KillReport:
    """Restart PostgreSQL under three procrastinate workers; a worker that ends is started again, as by systemd."""
    dice = random.Random(seed)
    with (
        queue(server, home, faults=True) as (play, ledger, worker_settings),
        payer.crew(payer.queue_worker, worker_settings, 3, seed) as crew,
    ):
        for _ in range(times):
            _top_up(worker_settings)
            time.sleep(dice.uniform(1.0, 3.0))  # they have to come up again, and be in the middle of it
            server.stop()
            time.sleep(dice.uniform(0.0, 0.5))
            server.start()
            crew.fill()
        until_done(ledger, crew.fill)
        return asyncio.run(compare(play, ledger, KillReport(kills=times)))


def stops(home: Path, times: int) -> KillReport:
    """SIGSTOP between intent and fence for longer than the lease; another process takes over, then it goes on."""
    ledger = str(home / "payouts.db")
    with bank(faults=False) as play:
        worker_settings = settings(play, ledger, home)
        result = KillReport()
        for number in range(times):
            # One transfer: nothing else of this process is under way, so it holds no lock of the file when it stops.
            batch = {"batch": f"b-{number}", "count": 1}
            with program("tests.soak.one_batch", worker_settings | batch | {"stops": True}) as first:
                _until(lambda: _is_stopped(first.pid), "it stops itself before its first byte")
                before = play.get("ledger")["transfers"]
                result.wrong += any(track_id.startswith(f"b-{number}-") for track_id in before)
                with program("tests.soak.one_batch", worker_settings | batch | {"stops": False}) as second:
                    assert read(second) == "paid"
                first.send_signal(signal.SIGCONT)
                result.notes[read(first)] += 1
        return asyncio.run(compare(play, ledger, result))


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "T"


def _until(happened: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + ENOUGH
    while not happened():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.005)


def full_disks(home: Path, times: int, seed: int = 0, *, mounted: bool = False) -> KillReport:
    """Run out of room at some moment of a batch, then make room: nothing was sent without an intent, nothing twice.

    Args:
        home: a directory of this run's own.
        times: how often.
        seed: how much room there is each time.
        mounted: whether it is a disk of its own that is full, which takes root; otherwise a file may not grow.
    """
    dice = random.Random(seed)
    result = KillReport()
    with bank(faults=False) as play, _disk(home / "disk", mounted=mounted) as disk:
        ledger = str(disk / "payouts.db")
        worker_settings = settings(play, ledger, home)
        for number in range(times):
            batch = {"batch": f"b-{number}"}
            room = dice.randrange(4_096, 500_000 if mounted else 150_000)
            limit = {} if mounted else {"room": room}
            filler = disk / "filler"
            if mounted:
                filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - room)))
            with program("tests.soak.one_batch", worker_settings | batch | limit | {"patience": 1.5}) as short:
                result.notes[read(short)] += 1
            filler.unlink(missing_ok=True)
            result.wrong += asyncio.run(_without_intent(play, ledger))
            with program("tests.soak.one_batch", worker_settings | batch) as again:
                assert read(again) == "paid"
        return asyncio.run(compare(play, ledger, result))


def may_mount() -> bool:
    """Whether a disk of its own can be had here."""
    with tempfile.TemporaryDirectory() as home, suppress(OSError, subprocess.CalledProcessError), ExitStack() as stack:
        stack.enter_context(_disk(Path(home) / "disk", mounted=True))
        return True
    return False


@contextmanager
def _disk(place: Path, *, mounted: bool) -> Generator[Path]:
    place.mkdir()
    if not mounted:
        yield place
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True, stderr=subprocess.DEVNULL)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def _without_intent(play: Play, ledger_url: str) -> int:
    """How many transfers the bank was asked for of which no intent is on record."""
    ledger, store = payer.open_ledger(ledger_url)
    await ledger.time()  # there may have been no room for the tables
    rows = await store.fetch("SELECT track_id FROM paystar_payout_events WHERE after = 'sending'")
    await store.aclose()
    return len(play.get("ledger")["transfers"].keys() - {row["track_id"] for row in rows})


def cancellations(home: Path, style: Style, count: int, seed: int = 0) -> KillReport:
    """Cancel payers at random moments; executed transfers are on record at once."""
    with bank(faults=False) as play:
        ledger = str(home / f"{style}.db")
        return asyncio.run(_cancellations(play, settings(play, ledger, home), style, count, random.Random(seed)))


async def _cancellations(
    play: Play, worker_settings: dict[str, Any], style: Style, count: int, dice: random.Random
) -> KillReport:
    result = KillReport()
    async with payer.client(worker_settings) as paystar:
        paystar.payouts.use(payer.Nobody())
        for number in range(count):
            batch_id = f"b-{number}"
            await paystar.payouts.submit(payer.transfers(batch_id, 3), batch_id=batch_id, policy=payer.POLICY)
            for chunk_id in await payer.chunks(worker_settings["ledger"], batch_id):
                await _cancelled(paystar.payouts.advance, chunk_id, style, dice.uniform(0, 0.03))
    # Closed: what was under way has ended, and it was waited for.
    executed = await asyncio.to_thread(play.get, "ledger")
    ledger, store = payer.open_ledger(worker_settings["ledger"])
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
