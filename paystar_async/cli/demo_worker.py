"""The demo's worker: a process that pays a file through ``payouts``, and may be killed at any moment.

It is started with its settings on stdin, and says on stdout how far it is, a line of JSON at a time. When stdin ends,
whoever started it is gone, and so is the sandbox: it goes, too.
"""

import asyncio
import json
import logging
import os
import sys
from collections import Counter
from threading import Thread
from typing import Any

from paystar_async import Application, Event, Paystar, Policy

BATCH = "demo"
SECONDS = 1.5
"""What one call may take. What a killed worker was sending is asked about once its lease is over: thrice as long."""
POLICY = Policy(chunk=5, concurrency=8, quiet_window=1.5, resend=True)
"""Worth copying, with one change: a quiet window is a quarter of an hour where a real bank is behind it."""


async def work(settings: dict[str, Any]) -> None:
    """Pay the file, or go on with it, until every transfer is decided."""
    events: Counter[str] = Counter()

    def count(event: Event) -> None:
        events[event.name] += 1

    def say(**told: object) -> None:
        sys.stdout.write(json.dumps({**told, "retries": events["retry"]}) + "\n")
        sys.stdout.flush()

    paystar = Paystar(
        Application(**settings["application"]),
        base_url=settings["base_url"],
        database=settings["ledger"],
        keys=settings["keys"],
        concurrency=settings["concurrency"],
        timeout=SECONDS,
        checks="strict",
        on_event=count,
    )
    async with paystar:
        batch = await paystar.payouts.submit(settings["file"], batch_id=BATCH, policy=POLICY)
        before = None
        while True:
            settled = 0
            async for _ in batch.outcomes():
                settled += 1
                say(settled=settled)
            report = await batch.report()
            if report.done or report == before:
                break
            # The sandbox says now and then that there is no money: somebody has topped it up.
            before = report
            await paystar.payouts.resume()
    say(settled=batch.count, done=True)


def _end_with_the_demo() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock, held by a thread that waits, aborts a process that ends
        pass
    os._exit(1)


if __name__ == "__main__":
    logging.getLogger("paystar_async").addHandler(logging.NullHandler())  # lack of money is part of the play
    settings = json.loads(sys.stdin.readline())
    Thread(target=_end_with_the_demo, daemon=True).start()
    asyncio.run(work(settings))
