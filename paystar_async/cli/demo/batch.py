"""The demo's batch: paid by a worker that is killed -9 on the way, twice, and started again."""

import asyncio
import contextlib
import csv
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define

from paystar_async.cli.demo.worker import BATCH
from paystar_async.client import Paystar
from paystar_async.errors import PaystarError
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.outcomes import Outcome

KILLS = (0.2, 0.7)
"""After which part of the batch the worker is killed."""
EXPIRY = 0.45
"""After which part of it every key expires."""
AFTER_RENEWAL = 1.0
"""Seconds between the renewal of the key and a kill: who is killed before the new one is stored has lost it."""


def write(path: Path, transfers: Sequence[Transfer]) -> None:
    """Write transfers as the file that is paid."""
    names = [one.name for one in fields_of(Transfer)]
    with path.open("w", encoding="utf-8-sig", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows([getattr(one, name) for name in names] for one in transfers)


@define
class Paying:
    """A batch on its way.

    Attributes:
        settings: what a worker is told.
        count: how many transfers it has.
        expire_keys: lets every key expire.
        is_renewed: whether the key has been renewed since.
        moved: told how many are decided.
        kills: how often the worker was killed.
        retries: calls the workers repeated by themselves.
    """

    settings: Mapping[str, Any]
    count: int
    expire_keys: Callable[[], Awaitable[None]]
    is_renewed: Callable[[], Awaitable[bool]]
    moved: Callable[[int], object]
    kills: int = 0
    retries: int = 0
    _expired: bool = False

    async def run(self) -> None:
        """Pay all of it.

        Raises:
            PaystarError: a worker ended without having been killed; it says itself why, on stderr.
        """
        while not await self._one_worker():
            pass

    async def _one_worker(self) -> bool:
        """Start a worker, and kill it when it is time; whether it came to the end."""
        retries = 0
        async with _worker(self.settings) as said:
            async for told in said:
                retries = told["retries"]
                self.moved(told["settled"])
                if await self._is_time(told["settled"], done=told.get("done", False)):
                    self.kills += 1
                    break
                if told.get("done"):
                    self.retries += retries
                    return True
            else:
                raise PaystarError("the worker ended before its time")
        self.retries += retries
        return False

    async def _is_time(self, settled: int, *, done: bool) -> bool:
        """Whether the worker is to be killed now."""
        if self._expired is False and settled >= EXPIRY * self.count and self.kills:
            self._expired = True
            await self.expire_keys()
        if self.kills == len(KILLS) or settled < KILLS[self.kills] * self.count:
            return False
        if self.kills == 0 or done:
            return True
        if not await self.is_renewed():
            return False
        await asyncio.sleep(AFTER_RENEWAL)  # lines come in bursts: their number says nothing of time
        return True


@contextlib.asynccontextmanager
async def _worker(settings: Mapping[str, Any]) -> AsyncGenerator[AsyncGenerator[dict[str, Any], None], None]:
    """A worker and what it says; killed -9 at the end of the block, if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "paystar_async.cli.demo.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the demo, which ends it
    )
    try:
        yield _lines(process, settings)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def _lines(
    process: asyncio.subprocess.Process, settings: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    if process.stdin is not None and process.stdout is not None:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # it says itself why it has ended
            await process.stdin.drain()
        async for line in process.stdout:
            yield json.loads(line)


async def ends(paystar: Paystar) -> tuple[dict[str, Outcome], int]:
    """What became of each transfer, by the ledger, and how many were sent more than once, surely absent before."""
    batch = await paystar.payouts.batch(BATCH)
    told = {outcome.track_id: outcome async for outcome in batch.outcomes()}
    resent = sum([record.attempt > 1 async for record in batch.transfers()])
    return told, resent
