"""Worker processes that pay: forked quickly, killed with SIGKILL at any moment, and replaced."""

import asyncio
import importlib
import logging
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from paystar_async import Application, Paystar, Transfer
from paystar_async.errors import PaystarError
from paystar_async.payouts import decisions, worker
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import Policy, TransferState
from paystar_async.runtime.clock import SystemClock
from paystar_async.storage.database import Database
from paystar_async.storage.factory import database
from tests.support import transfer

FORKSERVER = multiprocessing.get_context("forkserver")
"""The fork server has imported everything, so a worker starts in 0.01 s instead of 0.5 s."""
QUIET_SECONDS = 0.6
POLICY = Policy(chunk=5, concurrency=8, quiet_window=QUIET_SECONDS, resend=True)
CALL_SECONDS, SEND_DEADLINE_SECONDS, LEASE_MARGIN_SECONDS = 1.0, 0.4, 0.3
BATCH_SIZE = 40
MAX_BATCHES = 100_000
WAIT_SECONDS = 60.0
MIN_PLANNED = 20
"""Number of unsent transfers below which another batch is submitted."""
DEPOSITS = ("0100000000001", "0100000000002", "0100000000003")


def shorten_leases() -> None:
    """Shorten the leases of dead workers: the delays of a service would take too long here.

    With many failing requests, some transfers are sent more often than a service should send one.
    """
    logging.getLogger("paystar_async").setLevel(logging.CRITICAL)
    decisions.MAX_ATTEMPTS = 100
    defaults = worker.ChunkWorker.__init__.__kwdefaults__
    assert defaults is not None
    defaults |= {"timeout": CALL_SECONDS, "send_deadline": SEND_DEADLINE_SECONDS, "lease_margin": LEASE_MARGIN_SECONDS}


def transfers(batch_id: str, count: int = BATCH_SIZE) -> list[Transfer]:
    """Return the transfers of a batch, the same for each call."""
    return [
        transfer(f"{batch_id}-{number}", 10_000 + number, deposit=DEPOSITS[number % len(DEPOSITS)])
        for number in range(count)
    ]


def client(settings: dict[str, Any], **options: Any) -> Paystar:
    """Return the client of a worker."""
    return Paystar(
        Application(**settings["application"]),
        base_url=settings["base_url"],
        database=settings["ledger"],
        timeout=CALL_SECONDS,
        max_retries=1,
        **options,
    )


def _started_file(settings: dict[str, Any], pid: int | None) -> Path:
    """Return the path of the file that a worker creates when it has started."""
    return Path(settings["file"]).with_name(f"started-{pid}")


def work(settings: dict[str, Any]) -> None:
    """Run a worker with its own dispatcher: submit batches until the stop file appears, then finish the rest."""
    shorten_leases()
    _started_file(settings, os.getpid()).touch()
    asyncio.run(_work(settings))


async def _work(settings: dict[str, Any]) -> None:
    async with client(settings) as paystar:
        ledger, store = open_ledger(settings["ledger"])
        await _retry_until_success(paystar.payouts.recover)
        while not _should_stop(settings) or await unfinished(ledger):
            with suppress(PaystarError):
                await _submit_if_low(settings, paystar, ledger)
            await asyncio.sleep(0.05)
        await store.aclose()


def _should_stop(settings: dict[str, Any]) -> bool:
    return Path(settings["stop"]).exists()


async def first_batch(settings: dict[str, Any]) -> None:
    """Submit the first batch without a dispatcher, so that the workers pay it."""
    async with client(settings) as paystar:
        paystar.payouts.use(ManualDispatcher())
        await paystar.payouts.submit(transfers("b-0"), batch_id="b-0", policy=POLICY)


async def _retry_until_success(operation: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await operation()
        except PaystarError:
            await asyncio.sleep(0.05)
        else:
            return


async def _submit_if_low(settings: dict[str, Any], paystar: Paystar, ledger: LedgerDatabase) -> None:
    if not _should_stop(settings) and (await unfinished(ledger)).get(TransferState.PLANNED, 0) < settings.get(
        "min_planned", MIN_PLANNED
    ):
        batch_id = f"b-{len(await queries.batches(ledger, MAX_BATCHES))}"
        policy = evolve(POLICY, rate=settings.get("rate"))
        await paystar.payouts.submit(transfers(batch_id), batch_id=batch_id, policy=policy)


async def top_up(settings: dict[str, Any]) -> None:
    """Submit another batch through procrastinate when few transfers are unsent, as a web service would."""
    os.environ["PAYSTAR_SOAK"] = settings["file"]
    # A queue app that was imported for an earlier schema in this process would queue into that schema.
    queue_app = importlib.reload(importlib.import_module("tests.soak.queue_app"))
    ledger, store = open_ledger(settings["ledger"])
    async with queue_app.app.open_async(), queue_app.paystar:
        await _submit_if_low(settings, queue_app.paystar, ledger)
    await store.aclose()


def queue_worker(settings: dict[str, Any]) -> None:
    """Run a procrastinate worker by procrastinate's own command."""
    shorten_leases()
    from procrastinate.cli import main

    os.environ["PAYSTAR_SOAK"] = settings["file"]
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - a killed worker leaves incomplete messages
    sys.argv = ["procrastinate", "--app=tests.soak.queue_app.app", "--log-level=critical", "worker"]
    sys.argv += ["--concurrency=4", "--fetch-job-polling-interval=0.2", "--delete-jobs=successful"]
    _started_file(settings, os.getpid()).touch()
    main()  # type: ignore[no-untyped-call]


async def unfinished(ledger: LedgerDatabase) -> dict[TransferState, int]:
    """Return the number of transfers that are not final, by state."""
    counts: dict[TransferState, int] = {}
    for batch in await queries.batches(ledger, MAX_BATCHES):
        for state, (count, _) in (await queries.totals(ledger, batch.batch_id)).items():
            if state not in {TransferState.SUCCESS, TransferState.FAILED, TransferState.REVERSED}:
                counts[state] = counts.get(state, 0) + count
    return counts


@define
class WorkerPool:
    """Worker processes that are killed one by one and replaced.

    Attributes:
        work: the function that each worker runs.
        settings: the settings of each worker.
        size: number of workers.
        rng: chooses the worker to kill, and the moment.
    """

    work: Callable[[dict[str, Any]], None]
    settings: dict[str, Any]
    size: int
    rng: random.Random
    workers: list[ForkServerProcess] = field(factory=list[ForkServerProcess])

    def fill(self) -> None:
        """Start workers up to ``size``, also in place of workers that ended by themselves."""
        self.workers = [worker for worker in self.workers if worker.is_alive()]
        while len(self.workers) < self.size:
            worker = FORKSERVER.Process(target=self.work, args=(self.settings,), daemon=True)
            worker.start()
            self.workers.append(worker)

    def kill_one(self) -> None:
        """Kill a worker with SIGKILL at a random moment after its start, and start another in its place."""
        victim = self.rng.choice(self.workers)
        end = time.monotonic() + WAIT_SECONDS
        while victim.is_alive() and not _started_file(self.settings, victim.pid).exists():
            assert time.monotonic() < end, "a worker does not start"
            time.sleep(0.005)
        time.sleep(self.rng.uniform(0.0, 0.5))
        victim.kill()
        victim.join()
        self.fill()

    def end(self) -> None:
        for process in self.workers:
            process.kill()
            process.join()
        self.workers.clear()


@contextmanager
def running_worker_pool(
    work: Callable[[dict[str, Any]], None], settings: dict[str, Any], size: int, seed: int
) -> Generator[WorkerPool]:
    """Run a pool of workers until the block ends."""
    FORKSERVER.set_forkserver_preload(
        ["tests.soak.payout_workers", "paystar_async.contrib.procrastinate", "procrastinate.cli"]
    )
    pool = WorkerPool(work, settings, size, random.Random(seed))
    pool.fill()
    try:
        yield pool
    finally:
        pool.end()


def open_ledger(ledger_url: str) -> tuple[LedgerDatabase, Database]:
    """Return the ledger and its database, which the caller closes."""
    store = database(ledger_url)
    return LedgerDatabase(store, clock=SystemClock()), store


async def chunks(ledger_url: str, batch_id: str) -> Sequence[str]:
    """Return the chunks of a batch."""
    ledger, store = open_ledger(ledger_url)
    try:
        return await queries.chunk_ids(ledger, batch_id)
    finally:
        await store.aclose()


async def wait_paid(batch: Batch, timeout: float) -> bool:
    """Wait until a batch is paid; return False after the timeout."""
    report = await batch.wait(timeout)
    return set(report.states) == {TransferState.SUCCESS}


class ManualDispatcher:
    """A dispatcher that leaves all work to the caller of ``advance``."""

    async def wake(self, chunk_ids: Sequence[str], connection: object = None) -> None:
        pass

    def start(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
