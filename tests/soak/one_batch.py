"""A process that pays one batch: it may stop itself between intent and first byte, or be allowed little room."""

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
from tests.soak import payer
from tests.soak.play import say

PATIENCE = 3.0


def stop_at_the_fence() -> None:
    """From now on, the first request stops this process when the next thing would be to look at the fence."""
    send = channels.BankTransferChannel.send

    async def stopped(
        self: channels.BankTransferChannel, values: Sequence[Any], timeout: float, before_send: Callable[[], None]
    ) -> object:
        def stop() -> None:
            channels.BankTransferChannel.send = send  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGSTOP)
            before_send()

        return await send(self, values, timeout, stop)

    channels.BankTransferChannel.send = stopped  # type: ignore[method-assign]


def grow_no_further(ledger: Path, room: int) -> None:
    """Limit the size of this process's files to that of the ledger and ``room`` bytes."""
    sizes = [one.stat().st_size for one in ledger.parent.glob(f"{ledger.name}*")]
    limit = max(sizes, default=0) + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


async def main(settings: dict[str, Any]) -> None:
    payer.in_a_hurry()
    if settings.get("stops"):
        stop_at_the_fence()
    if "room" in settings:
        grow_no_further(Path(settings["ledger"]), settings["room"])
    paid = False
    async with payer.client(settings) as paystar:
        with suppress(PaystarError, TimeoutError):
            values = payer.transfers(settings["batch"], settings.get("count", payer.BATCH))
            batch = await paystar.payouts.submit(values, batch_id=settings["batch"], policy=payer.POLICY)
            paid = await payer.settled(batch, settings.get("patience", payer.ENOUGH))
    say("paid" if paid else "stuck")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
