"""The demo's batch: paid by a worker process that is killed with -9 twice and started again."""

import asyncio
import contextlib
import csv
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define

from paystar_async.cli.demo.worker import BATCH_ID
from paystar_async.client import Paystar
from paystar_async.errors import PaystarError
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.outcomes import Outcome

KILL_POINTS = (0.2, 0.7)
"""The parts of the batch after which the worker is killed."""
KEY_EXPIRY_POINT = 0.45
"""The part of the batch after which every key expires."""
KILL_DELAY_AFTER_REFRESH_SECONDS = 1.0
"""Seconds between a key refresh and a kill: a worker that is killed before it stores the new key has lost it."""


def write_csv(path: Path, transfers: Sequence[Transfer]) -> None:
    """Write transfers to a payout file."""
    names = [field.name for field in fields_of(Transfer)]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(transfer, name) for name in names] for transfer in transfers)


@define
class BatchRun:
    """A batch in progress.

    Attributes:
        settings: the settings of the workers.
        transfer_count: the number of transfers in the batch.
        expire_keys: expires every key.
        is_key_refreshed: returns whether the key has been refreshed since.
        on_progress: called with the number of settled transfers.
        kills: how often the worker was killed.
        retries: calls the workers retried.
    """

    settings: Mapping[str, Any]
    transfer_count: int
    expire_keys: Callable[[], Awaitable[None]]
    is_key_refreshed: Callable[[], Awaitable[bool]]
    on_progress: Callable[[int], object]
    kills: int = 0
    retries: int = 0
    _has_expired_keys: bool = False

    async def run(self) -> None:
        """Run workers until the batch is paid.

        Raises:
            PaystarError: a worker ended by itself too early; its stderr says why.
        """
        while not await self._run_worker():
            pass

    async def _run_worker(self) -> bool:
        """Run one worker until it ends or is killed; return True if it finished the batch."""
        retries = 0
        async with _start_worker(self.settings) as messages:
            async for message in messages:
                retries = message["retries"]
                self.on_progress(message["settled"])
                is_done = message.get("done", False)
                if await self._should_kill(message["settled"], is_done=is_done):
                    self.kills += 1
                    break
                if is_done:
                    self.retries += retries
                    return True
            else:
                raise PaystarError("the worker ended too early")
        self.retries += retries
        return False

    async def _should_kill(self, settled: int, *, is_done: bool) -> bool:
        """Return True if the worker is to be killed now; expire the keys when it is time."""
        if not self._has_expired_keys and settled >= KEY_EXPIRY_POINT * self.transfer_count and self.kills:
            self._has_expired_keys = True
            await self.expire_keys()
        if self.kills == len(KILL_POINTS) or settled < KILL_POINTS[self.kills] * self.transfer_count:
            return False
        if self.kills == 0 or is_done:
            return True
        if not await self.is_key_refreshed():
            return False
        await asyncio.sleep(KILL_DELAY_AFTER_REFRESH_SECONDS)  # messages come in bursts, so they do not measure time
        return True


@contextlib.asynccontextmanager
async def _start_worker(settings: Mapping[str, Any]) -> AsyncGenerator[AsyncGenerator[dict[str, Any], None], None]:
    """Start a worker and yield its messages; kill it with -9 at the end of the block if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "paystar_async.cli.demo.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C goes to the demo, which ends the worker
    )
    try:
        yield _read_messages(process, settings)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def _read_messages(
    process: asyncio.subprocess.Process, settings: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    if process.stdin is not None and process.stdout is not None:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # the worker has ended; its stderr says why
            await process.stdin.drain()
        async for line in process.stdout:
            yield json.loads(line)


async def read_outcomes(paystar: Paystar) -> tuple[dict[str, Outcome], int]:
    """Return the outcome of each transfer from the ledger, and the number of transfers that were sent again."""
    batch = await paystar.payouts.batch(BATCH_ID)
    outcomes = {outcome.track_id: outcome async for outcome in batch.outcomes()}
    resent = sum([record.attempt > 1 async for record in batch.transfers()])
    return outcomes, resent
