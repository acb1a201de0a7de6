"""A client process that acquires the refresh lease and is killed while it waits for the response."""

import asyncio
import json
import sys
from typing import Any

from paystar_async import Application, Paystar
from paystar_async.keys import lease


async def main(settings: dict[str, Any]) -> None:
    lease.LEASE_SECONDS = settings["lease"]
    application = Application(**settings["application"])
    async with Paystar(application, base_url=settings["base_url"], keys=settings["keys"], timeout=120) as paystar:
        await paystar.transfers.find(limit=1)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
