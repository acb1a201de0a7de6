"""A worker as a process on a host: pays what is due, and can be held at the moments when a partition hurts.

It reads commands, one JSON object a line, and says what becomes of them in the same way.
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
from tests.soak.play import say

Moment = Literal["claim-open", "claimed", "before-record", "key-refreshed"]
"""Where a worker can be held: the transaction of a claim is open; the intent is on record and nothing is sent; the
bank has responded and nothing is recorded; a key is refreshed and not stored."""
CALL_SECONDS, HURRIED_CALL_SECONDS = 30.0, 3.0
HURRIED = {"send_deadline": 2.0, "lease_margin": 1.0}
"""With it a dead worker's leases end after 6 s, not 40: what is right for a service takes too long in a short test."""
CHECK_SECONDS = 0.25
DEPOSIT = "0100000000001"
LEDGER_STOPPED = 3
"""Exit status of a worker whose ledger says that it is another or an older one."""

_claiming: ContextVar[bool] = ContextVar("claiming", default=False)


@define(eq=False)
class HoldPoint:
    """Holds the next task at a hold point until the supervisor releases it."""

    moment: Moment | None = None
    _released: asyncio.Event = field(factory=asyncio.Event)

    def arm(self, moment: Moment | None) -> None:
        """Hold the next task at this hold point; None: hold no task."""
        self.moment = moment

    def release(self) -> None:
        """Let a held task go on."""
        self._released.set()

    async def reach(self, moment: Moment) -> None:
        """Hold the calling task if this moment is armed."""
        if self.moment == moment:
            self.moment, self._released = None, asyncio.Event()
            say({"held": moment})
            await self._released.wait()


hold = HoldPoint()


def install_hold_points() -> None:
    """Put the hold points into the package: no public event marks these moments."""
    claim, record = ChunkWorker._claim, ChunkWorker._record  # pyright: ignore[reportPrivateUsage]
    save, commit = RecordCache.save, PostgresTransaction.commit

    async def claim_and_hold(self: ChunkWorker, snapshot: ChunkSnapshot) -> ChunkLease | NotDue:
        token = _claiming.set(True)
        try:
            lease = await claim(self, snapshot)
        finally:
            _claiming.reset(token)
        if isinstance(lease, ChunkLease):
            await hold.reach("claimed")
        return lease

    async def hold_and_commit(self: PostgresTransaction) -> None:
        if _claiming.get():
            await hold.reach("claim-open")
        await commit(self)

    async def hold_and_record(
        self: ChunkWorker, lease: ChunkLease, channel: PayoutChannel, classifications: Mapping[str, Classification]
    ) -> float | None:
        await hold.reach("before-record")
        return await record(self, lease, channel, classifications)

    async def hold_and_save(self: RecordCache) -> None:
        await hold.reach("key-refreshed")
        await save(self)

    ChunkWorker._claim = claim_and_hold  # type: ignore[method-assign]
    ChunkWorker._record = hold_and_record  # type: ignore[method-assign]
    PostgresTransaction.commit = hold_and_commit  # type: ignore[method-assign]
    RecordCache.save = hold_and_save  # type: ignore[method-assign]


def shorten_leases() -> None:
    """Let a lease end after seconds."""
    decisions.MAX_ATTEMPTS = 100
    defaults = ChunkWorker.__init__.__kwdefaults__
    assert defaults is not None
    defaults |= HURRIED


def transfers(batch_id: str, count: int) -> list[Transfer]:
    """Return the transfers of a batch: the same at each call, and all from one deposit account."""
    return [
        Transfer(
            amount=10_000 + number,
            deposit=DEPOSIT,
            destination_account="0200000000002",
            destination_firstname="Ali",
            destination_lastname="Ahmadi",
            track_id=f"{batch_id}-{number}",
        )
        for number in range(count)
    ]


@define(eq=False)
class Worker:
    """A client that pays, and what the supervisor may ask of it."""

    paystar: Paystar
    ending: asyncio.Event = field(factory=asyncio.Event)

    async def obey(self) -> None:
        """Carry out commands until there are no more."""
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
            say({"submitted": batch_id, "error": f"{type(error).__name__}: {error}"})
        else:
            say({"submitted": batch_id, "error": None})

    async def watch(self) -> str | None:
        """Return why the ledger stopped this client, or None after the command to end."""
        while not self.ending.is_set():
            try:
                await self.paystar.payouts.batches(1)
            except StorageUnavailable:
                pass  # it comes back
            except StorageError as error:
                return str(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), CHECK_SECONDS)
        return None


async def main(settings: dict[str, Any]) -> int:
    """Pay what is due until the command to end; return the exit status."""

    def on_event(event: Event) -> None:
        say({"event": event.name})

    paystar = Paystar(
        Application(**settings["application"]),
        base_url=settings["base_url"],
        database=settings["ledger"],
        keys=settings["ledger"],
        timeout=HURRIED_CALL_SECONDS if settings["hurry"] else CALL_SECONDS,
        on_event=on_event,
    )
    async with paystar:
        worker = Worker(paystar)
        obeying = asyncio.create_task(worker.obey())
        recovering = asyncio.create_task(_recover(paystar))
        say({"ready": os.getpid()})
        reason = await worker.watch()
        recovering.cancel()
        obeying.cancel()
        if reason is not None:
            say({"stopped": reason})
    return 0 if reason is None else LEDGER_STOPPED


async def _recover(paystar: Paystar) -> None:
    while True:
        with suppress(PaystarError):
            return await paystar.payouts.recover()
        await asyncio.sleep(CHECK_SECONDS)


if __name__ == "__main__":
    logging.getLogger("paystar_async").setLevel(logging.CRITICAL)
    given = json.loads(sys.argv[1])
    install_hold_points()
    if given["hurry"]:
        shorten_leases()
    sys.exit(asyncio.run(main(given)))
