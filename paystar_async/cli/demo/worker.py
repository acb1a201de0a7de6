"""The demo's worker: a process that pays a file with ``payouts``, and may be killed at any moment.

It reads its settings from stdin, and writes its progress to stdout, one line of JSON at a time. It exits when stdin
closes: the demo that started it has ended, and so has the sandbox.
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

BATCH_ID = "demo"
CALL_TIMEOUT_SECONDS = 1.5
"""Timeout of one call. The lease of a killed worker expires after three times this time."""
POLICY = Policy(chunk=5, concurrency=8, quiet_window=1.5, resend=True)
"""A policy worth copying, except for the quiet window: use a quarter of an hour with a real bank."""

MAX_ROUNDS_WITHOUT_CHANGE = 5
"""Rounds without a change after which the worker ends and leaves the rest unresolved."""


async def work(settings: dict[str, Any]) -> None:
    """Pay the file, or continue to, until every transfer is decided."""
    events: Counter[str] = Counter()

    def count_event(event: Event) -> None:
        events[event.name] += 1

    def write_message(**fields: object) -> None:
        sys.stdout.write(json.dumps({**fields, "retries": events["request_retried"]}) + "\n")
        sys.stdout.flush()

    paystar = Paystar(
        Application(**settings["application"]),
        base_url=settings["base_url"],
        database=settings["ledger"],
        keys=settings["keys"],
        concurrency=settings["concurrency"],
        timeout=CALL_TIMEOUT_SECONDS,
        checks="strict",
        on_event=count_event,
    )
    async with paystar:
        batch = await paystar.payouts.submit(settings["file"], batch_id=BATCH_ID, policy=POLICY)
        previous_report, rounds_without_change = None, 0
        while rounds_without_change < MAX_ROUNDS_WITHOUT_CHANGE:
            settled = 0
            async for _ in batch.outcomes():
                settled += 1
                write_message(settled=settled)
            report = await batch.report()
            if report.done:
                break
            rounds_without_change = rounds_without_change + 1 if report == previous_report else 0
            previous_report = report
            await _resolve_waiting(paystar)
    write_message(settled=batch.count, done=True)


async def _resolve_waiting(paystar: Paystar) -> None:
    """Do what a user would: resume accounts that had no funds, and resend transfers that the bank never found."""
    await paystar.payouts.resume()
    for record in await paystar.payouts.review():
        with suppress(PaystarError):  # a failed lookup: the next round tries again
            if not await paystar.transfers.find(track_id=record.track_id):
                note = "it is not in the bank's list"
                await paystar.payouts.resolve(track_id=record.track_id, verdict="resend", note=note)


def _exit_when_stdin_closes() -> None:
    # Not sys.stdin: a thread that waits in it holds its lock, which aborts the interpreter's shutdown.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    logging.getLogger("paystar_async").addHandler(logging.NullHandler())  # insufficient funds are part of the demo
    settings = json.loads(sys.stdin.readline())
    Thread(target=_exit_when_stdin_closes, daemon=True).start()
    asyncio.run(work(settings))
