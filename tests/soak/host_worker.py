"""A worker process on a host: pays due chunks, and can be held at the moments that are critical in a partition.

The worker reads commands, one JSON object a line, and prints their results in the same form.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Literal

from attrs import define, field

from paystar_async import Application, Event, Paystar, Transfer
from paystar_async.errors import PaystarError, StorageError, StorageUnavailable
from paystar_async.keys.cache import RecordCache
from paystar_async.payouts import decisions
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.classify import Classification
from paystar_async.payouts.ledger.leases import ChunkLease, ChunkSnapshot, NotDue
from paystar_async.payouts.models import Policy
from paystar_async.payouts.worker import ChunkWorker
from paystar_async.storage.postgres import PostgresTransaction
from tests.soak.processes import print_message
from tests.support import transfer

Moment = Literal["lease-uncommitted", "before-send", "before-record", "before-key-save"]
"""Where a worker can be held: the transaction of a lease is open; the intent is recorded and nothing is sent; the
bank has responded and nothing is recorded; a key is refreshed and not stored."""
CALL_SECONDS, SHORT_CALL_SECONDS = 30.0, 3.0
SHORT_LEASES = {"send_deadline": 2.0, "lease_margin": 1.0}
"""The leases of a dead worker end after 6 s, not 40: the delays of a service take too long in a short test."""
CHECK_SECONDS = 0.25
DEPOSIT = "0100000000001"
LEDGER_STOPPED = 3
"""Exit status of a worker whose ledger was replaced by another or an older ledger."""

_acquiring_lease: ContextVar[bool] = ContextVar("acquiring_lease", default=False)


@define(eq=False)
class HoldPoint:
    """A point that holds the next task at a moment until the supervisor releases the task."""

    moment: Moment | None = None
    _released: asyncio.Event = field(factory=asyncio.Event)

    def arm(self, moment: Moment | None) -> None:
        """Hold the next task at this moment; None: hold no task."""
        self.moment = moment

    def release(self) -> None:
        """Let a held task go on."""
        self._released.set()

    async def reach(self, moment: Moment) -> None:
        """Hold the calling task if this moment is armed."""
        if self.moment == moment:
            self.moment, self._released = None, asyncio.Event()
            print_message({"holding": moment})
            await self._released.wait()


hold = HoldPoint()


def install_hold_points() -> None:
    """Patch the hold points into the package: no public event marks these moments."""
    acquire, record = ChunkWorker._acquire_lease, ChunkWorker._record  # pyright: ignore[reportPrivateUsage]
    save, commit = RecordCache.save, PostgresTransaction.commit

    async def acquire_and_hold(self: ChunkWorker, snapshot: ChunkSnapshot) -> ChunkLease | NotDue:
        token = _acquiring_lease.set(True)
        try:
            lease = await acquire(self, snapshot)
        finally:
            _acquiring_lease.reset(token)
        if isinstance(lease, ChunkLease):
            await hold.reach("before-send")
        return lease

    async def hold_and_commit(self: PostgresTransaction) -> None:
        if _acquiring_lease.get():
            await hold.reach("lease-uncommitted")
        await commit(self)

    async def hold_and_record(
        self: ChunkWorker, lease: ChunkLease, channel: PayoutChannel, classifications: Mapping[str, Classification]
    ) -> float | None:
        await hold.reach("before-record")
        return await record(self, lease, channel, classifications)

    async def hold_and_save(self: RecordCache) -> None:
        await hold.reach("before-key-save")
        await save(self)

    ChunkWorker._acquire_lease = acquire_and_hold  # type: ignore[method-assign]
    ChunkWorker._record = hold_and_record  # type: ignore[method-assign]
    PostgresTransaction.commit = hold_and_commit  # type: ignore[method-assign]
    RecordCache.save = hold_and_save  # type: ignore[method-assign]


def shorten_leases() -> None:
    """Shorten leases, so that the leases of dead workers end soon."""
    decisions.MAX_ATTEMPTS = 100
    defaults = ChunkWorker.__init__.__kwdefaults__
    assert defaults is not None
    defaults |= SHORT_LEASES


def transfers(batch_id: str, count: int) -> list[Transfer]:
    """Return the transfers of a batch: the same at each call, and all from one deposit account."""
    return [transfer(f"{batch_id}-{number}", 10_000 + number, deposit=DEPOSIT) for number in range(count)]


@define(eq=False)
class Worker:
    """A client that pays, and the commands of its supervisor."""

    paystar: Paystar
    ending: asyncio.Event = field(factory=asyncio.Event)

    async def run_commands(self) -> None:
        """Run commands from standard input until the command to end, or the end of the input."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        tasks: set[asyncio.Task[None]] = set()
        while line := await reader.readline():
            command = json.loads(line)
            match command["do"]:
                case "arm":
                    hold.arm(command["moment"])
                case "release":
                    hold.release()
                case "submit":
                    task = asyncio.create_task(self._submit(command))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                case _:
                    break
        self.ending.set()

    async def _submit(self, command: dict[str, Any]) -> None:
        batch_id = command["batch"]
        try:
            await self.paystar.payouts.submit(
                transfers(batch_id, command["count"]), batch_id=batch_id, policy=Policy(**command["policy"])
            )
        except PaystarError as error:
            print_message({"submitted": batch_id, "error": f"{type(error).__name__}: {error}"})
        else:
            print_message({"submitted": batch_id, "error": None})

    async def watch(self) -> str | None:
        """Return why the ledger stopped this client, or None after the command to end."""
        while not self.ending.is_set():
            try:
                await self.paystar.payouts.batches(1)
            except StorageUnavailable:
                pass  # the server comes back
            except StorageError as error:
                return str(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), CHECK_SECONDS)
        return None


async def main(settings: dict[str, Any]) -> int:
    """Pay due chunks until the command to end; return the exit status."""

    def on_event(event: Event) -> None:
        print_message({"event": event.name})

    paystar = Paystar(
        Application(**settings["application"]),
        base_url=settings["base_url"],
        database=settings["ledger"],
        keys=settings["ledger"],
        timeout=SHORT_CALL_SECONDS if settings["hurry"] else CALL_SECONDS,
        on_event=on_event,
    )
    async with paystar:
        worker = Worker(paystar)
        commands_task = asyncio.create_task(worker.run_commands())
        recovery_task = asyncio.create_task(_recover(paystar))
        print_message({"ready": os.getpid()})
        reason = await worker.watch()
        recovery_task.cancel()
        commands_task.cancel()
        if reason is not None:
            print_message({"stopped": reason})
    return 0 if reason is None else LEDGER_STOPPED


async def _recover(paystar: Paystar) -> None:
    while True:
        with suppress(PaystarError):
            return await paystar.payouts.recover()
        await asyncio.sleep(CHECK_SECONDS)


if __name__ == "__main__":
    logging.getLogger("paystar_async").setLevel(logging.CRITICAL)
    arguments = json.loads(sys.argv[1])
    install_hold_points()
    if arguments["hurry"]:
        shorten_leases()
    sys.exit(asyncio.run(main(arguments)))
