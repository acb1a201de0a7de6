"""A client process: in each round, several tasks make several calls each."""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from paystar_async import Application, Event, Paystar
from paystar_async.errors import PaystarError
from tests.soak.processes import print_message, read_line


async def main(settings: dict[str, Any]) -> None:
    calls: Counter[str] = Counter()
    events: Counter[str] = Counter()

    def count(event: Event) -> None:
        events[event.name] += 1

    async def call(paystar: Paystar) -> None:
        for _ in range(settings["calls"]):
            try:
                await paystar.transfers.find(limit=1)
            except PaystarError as error:
                calls[type(error).__name__] += 1
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
        print_message("ready")
        while await read_line(sys.stdin) == "round":
            await asyncio.gather(*(call(paystar) for _ in range(settings["tasks"])))
            print_message("done")
    print_message({"calls": calls, "events": events})


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
