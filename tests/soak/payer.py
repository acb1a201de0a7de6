"""Workers that pay, as processes: started in no time, killed -9 at any moment, replaced."""

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

CREW = multiprocessing.get_context("forkserver")
"""A server that has imported everything forks each worker: a hundredth of a second, not half of one."""
QUIET_SECONDS = 0.6
POLICY = Policy(chunk=5, concurrency=8, quiet_window=QUIET_SECONDS, resend=True)
CALL_SECONDS, SEND_DEADLINE_SECONDS, LEASE_MARGIN_SECONDS = 1.0, 0.4, 0.3
BATCH = 40
MANY = 100_000
ENOUGH = 60.0
LOW = 20
"""Transfers still to be sent at which another batch is submitted."""
DEPOSITS = ("0100000000001", "0100000000002", "0100000000003")


def in_a_hurry() -> None:
    """Shorten the leases of dead workers: the delays of a service would take too long here.

    With many failing requests, some transfers are sent more often than a service should send one.
    """
    logging.getLogger("paystar_async").setLevel(logging.CRITICAL)
    decisions.MAX_ATTEMPTS = 100
    defaults = worker.ChunkWorker.__init__.__kwdefaults__
    assert defaults is not None
    defaults |= {"timeout": CALL_SECONDS, "send_deadline": SEND_DEADLINE_SECONDS, "lease_margin": LEASE_MARGIN_SECONDS}


def transfers(batch_id: str, count: int = BATCH) -> list[Transfer]:
    """Return the transfers of a batch, the same at each call."""
    return [
        Transfer(
            amount=10_000 + number,
            deposit=DEPOSITS[number % len(DEPOSITS)],
            destination_account="0200000000002",
            destination_firstname="Ali",
            destination_lastname="Ahmadi",
            track_id=f"{batch_id}-{number}",
        )
        for number in range(count)
    ]


def client(settings: dict[str, Any], **options: Any) -> Paystar:
    """Return a client as each worker has it."""
    return Paystar(
        Application(**settings["application"]),
        base_url=settings["base_url"],
        database=settings["ledger"],
        timeout=CALL_SECONDS,
        max_retries=1,
        **options,
    )


def _sign_of_life(settings: dict[str, Any], pid: int | None) -> Path:
    return Path(settings["file"]).with_name(f"working-{pid}")


def work(settings: dict[str, Any]) -> None:
    """Run a worker with its own dispatcher: submit batches until the stop file appears, then finish the rest."""
    in_a_hurry()
    _sign_of_life(settings, os.getpid()).touch()
    asyncio.run(_work(settings))


async def _work(settings: dict[str, Any]) -> None:
    async with client(settings) as paystar:
        ledger, store = open_ledger(settings["ledger"])
        await _patiently(paystar.payouts.recover)
        while not _told_to_end(settings) or await unfinished(ledger):
            with suppress(PaystarError):
                await _submit_if_low(settings, paystar, ledger)
            await asyncio.sleep(0.05)
        await store.aclose()


def _told_to_end(settings: dict[str, Any]) -> bool:
    return Path(settings["stop"]).exists()


async def first_batch(settings: dict[str, Any]) -> None:
    """Put a batch on record and leave the rest to the workers."""
    async with client(settings) as paystar:
        paystar.payouts.use(Nobody())
        await paystar.payouts.submit(transfers("b-0"), batch_id="b-0", policy=POLICY)


async def _patiently(act: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await act()
        except PaystarError:
            await asyncio.sleep(0.05)
        else:
            return


async def _submit_if_low(settings: dict[str, Any], paystar: Paystar, ledger: LedgerDatabase) -> None:
    if not _told_to_end(settings) and (await unfinished(ledger)).get(TransferState.PLANNED, 0) < settings.get(
        "low", LOW
    ):
        batch_id = f"b-{len(await queries.batches(ledger, MANY))}"
        policy = evolve(POLICY, rate=settings.get("rate"))
        await paystar.payouts.submit(transfers(batch_id), batch_id=batch_id, policy=policy)


async def top_up(settings: dict[str, Any]) -> None:
    """Submit another batch when little is left to be sent, through procrastinate, as a web service would."""
    os.environ["PAYSTAR_SOAK"] = settings["file"]
    # A module of an earlier schema in this process would queue into that one.
    queue_app = importlib.reload(importlib.import_module("tests.soak.queue_app"))
    ledger, store = open_ledger(settings["ledger"])
    async with queue_app.app.open_async(), queue_app.paystar:
        await _submit_if_low(settings, queue_app.paystar, ledger)
    await store.aclose()


def queue_worker(settings: dict[str, Any]) -> None:
    """One of procrastinate's workers, by its own command."""
    in_a_hurry()
    from procrastinate.cli import main

    os.environ["PAYSTAR_SOAK"] = settings["file"]
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - it is killed in the middle of sentences
    sys.argv = ["procrastinate", "--app=tests.soak.queue_app.app", "--log-level=critical", "worker"]
    sys.argv += ["--concurrency=4", "--fetch-job-polling-interval=0.2", "--delete-jobs=successful"]
    _sign_of_life(settings, os.getpid()).touch()
    main()  # type: ignore[no-untyped-call]


async def unfinished(ledger: LedgerDatabase) -> dict[TransferState, int]:
    """How many transfers of all batches are not decided yet, by state."""
    left: dict[TransferState, int] = {}
    for batch in await queries.batches(ledger, MANY):
        for state, (count, _) in (await queries.totals(ledger, batch.batch_id)).items():
            if state not in {TransferState.SUCCESS, TransferState.FAILED, TransferState.REVERSED}:
                left[state] = left.get(state, 0) + count
    return left


@define
class Crew:
    """Workers of which one dies again and again.

    Attributes:
        work: what each of them does.
        settings: the settings of each worker.
        size: how many there are.
        dice: when who dies.
    """

    work: Callable[[dict[str, Any]], None]
    settings: dict[str, Any]
    size: int
    dice: random.Random
    workers: list[ForkServerProcess] = field(factory=list[ForkServerProcess])

    def fill(self) -> None:
        """Start workers up to ``count``; replace those that ended by themselves, too."""
        self.workers = [one for one in self.workers if one.is_alive()]
        while len(self.workers) < self.size:
            worker = CREW.Process(target=self.work, args=(self.settings,), daemon=True)
            worker.start()
            self.workers.append(worker)

    def kill_one(self) -> None:
        """Kill -9 one of them, at some moment after it has begun to work, and put another in its place."""
        victim = self.dice.choice(self.workers)
        end = time.monotonic() + ENOUGH
        while victim.is_alive() and not _sign_of_life(self.settings, victim.pid).exists():
            assert time.monotonic() < end, "a worker does not begin"
            time.sleep(0.005)
        time.sleep(self.dice.uniform(0.0, 0.5))
        victim.kill()
        victim.join()
        self.fill()

    def end(self) -> None:
        for process in self.workers:
            process.kill()
            process.join()
        self.workers.clear()


@contextmanager
def crew(work: Callable[[dict[str, Any]], None], settings: dict[str, Any], size: int, seed: int) -> Generator[Crew]:
    """Workers, until the block ends."""
    CREW.set_forkserver_preload(["tests.soak.payer", "paystar_async.contrib.procrastinate", "procrastinate.cli"])
    some = Crew(work, settings, size, random.Random(seed))
    some.fill()
    try:
        yield some
    finally:
        some.end()


def open_ledger(ledger_url: str) -> tuple[LedgerDatabase, Database]:
    """Return the ledger and the database to close afterwards."""
    store = database(ledger_url)
    return LedgerDatabase(store, clock=SystemClock()), store


async def chunks(ledger_url: str, batch_id: str) -> Sequence[str]:
    """Return the chunks of a batch."""
    ledger, store = open_ledger(ledger_url)
    try:
        return await queries.chunk_ids(ledger, batch_id)
    finally:
        await store.aclose()


async def settled(batch: Batch, patience: float) -> bool:
    """Wait until a batch is paid; return False after the timeout."""
    report = await batch.wait(patience)
    return set(report.states) == {TransferState.SUCCESS}


class Nobody:
    """A dispatcher that leaves all work to the caller of ``advance``."""

    async def wake(self, chunk_ids: Sequence[str], connection: object = None) -> None:
        pass

    def start(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
