"""A process that pays one batch; it may stop itself between intent and first byte, or have little disk space."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from paystar_async.errors import PaystarError
from paystar_async.payouts import channels
from tests.soak import payout_workers
from tests.soak.processes import print_message


def stop_before_send() -> None:
    """Let the first request stop this process with SIGSTOP, just before the check of its send deadline."""
    send = channels.BankTransferChannel.send

    async def send_stopped(
        self: channels.BankTransferChannel, values: Sequence[Any], timeout: float, before_send: Callable[[], None]
    ) -> object:
        def stop() -> None:
            channels.BankTransferChannel.send = send  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGSTOP)
            before_send()

        return await send(self, values, timeout, stop)

    channels.BankTransferChannel.send = send_stopped  # type: ignore[method-assign]


def limit_file_size(ledger: Path, room: int) -> None:
    """Limit the size of files that this process writes to that of the ledger plus ``room`` bytes."""
    sizes = [file.stat().st_size for file in ledger.parent.glob(f"{ledger.name}*")]
    limit = max(sizes, default=0) + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


async def main(settings: dict[str, Any]) -> None:
    payout_workers.shorten_leases()
    if settings.get("stops"):
        stop_before_send()
    if "room" in settings:
        limit_file_size(Path(settings["ledger"]), settings["room"])
    paid = False
    async with payout_workers.client(settings) as paystar:
        with suppress(PaystarError, TimeoutError):
            values = payout_workers.transfers(settings["batch"], settings.get("count", payout_workers.BATCH_SIZE))
            batch = await paystar.payouts.submit(values, batch_id=settings["batch"], policy=payout_workers.POLICY)
            paid = await payout_workers.wait_paid(batch, settings.get("timeout", payout_workers.WAIT_SECONDS))
    print_message("paid" if paid else "stuck")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
