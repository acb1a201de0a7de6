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
from contextlib import suppress
from threading import Thread
from typing import Any

from paystar_async import Application, Event, Paystar, Policy
from paystar_async.errors import PaystarError

BATCH = "demo"
SECONDS = 1.5
"""What one call may take. What a killed worker was sending is asked about once its lease is over: thrice as long."""
POLICY = Policy(chunk=5, concurrency=8, quiet_window=1.5, resend=True)
"""Worth copying, with one change: a quiet window is a quarter of an hour where a real bank is behind it."""

PATIENCE = 5
"""Rounds in which nothing changes, after which the worker ends with what is left undecided."""


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
        before, rounds_without_news = None, 0
        while rounds_without_news < PATIENCE:
            settled = 0
            async for _ in batch.outcomes():
                settled += 1
                say(settled=settled)
            report = await batch.report()
            if report.done:
                break
            rounds_without_news = rounds_without_news + 1 if report == before else 0
            before = report
            await _look_after(paystar)
    say(settled=batch.count, done=True)


async def _look_after(paystar: Paystar) -> None:
    """What a person would do: top up an account that lacks money, and look for what was sent thrice and never found."""
    await paystar.payouts.resume()
    for record in await paystar.payouts.review():
        with suppress(PaystarError):  # an answer that went wrong: there is another round
            if not await paystar.transfers.find(track_id=record.track_id):
                note = "it is not in the bank's list"
                await paystar.payouts.resolve(track_id=record.track_id, verdict="resend", note=note)


def _end_with_the_demo() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock, held by a thread that waits, aborts a process that ends
        pass
    os._exit(1)


if __name__ == "__main__":
    logging.getLogger("paystar_async").addHandler(logging.NullHandler())  # lack of money is part of the play
    settings = json.loads(sys.stdin.readline())
    Thread(target=_end_with_the_demo, daemon=True).start()
    asyncio.run(work(settings))
