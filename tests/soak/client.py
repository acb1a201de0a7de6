"""A client as a process: so many tasks call one after the other until it is told to stop."""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from paystar_async import Application, Event, Paystar
from paystar_async.errors import PaystarError
from paystar_async.keys import keeper
from tests.soak.play import heard, say


async def main(settings: dict[str, Any]) -> None:
    # A minute is what a real owner may take; nobody here lives that long.
    keeper.LEASE, keeper.SETTLE = settings["lease"], settings["settle"]
    calls: Counter[str] = Counter()
    events: Counter[str] = Counter()
    stop = asyncio.Event()

    def count(event: Event) -> None:
        events[event.name] += 1

    async def call(paystar: Paystar) -> None:
        while not stop.is_set():
            try:
                await paystar.transfers.find(limit=1)
            except PaystarError as error:
                calls[type(error).__name__] += 1
                if settings["once"]:
                    return
            else:
                calls["answered"] += 1

    paystar = Paystar(
        Application(**settings["application"]),
        base_url=settings["base_url"],
        keys=settings["keys"],
        concurrency=settings["tasks"],
        on_event=count,
    )
    async with paystar:
        tasks = [asyncio.create_task(call(paystar)) for _ in range(settings["tasks"])]
        say("calling")
        if settings["once"]:
            await asyncio.gather(*tasks)
        else:
            await heard(sys.stdin)
            stop.set()
            await asyncio.gather(*tasks)
    say({"calls": calls, "events": events})


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
