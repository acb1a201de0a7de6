"""A million transfers, in a process of their own: ``python -m benchmarks.batch WHO COUNT CHUNK IN_FLIGHT URL``.

Prints one line of JSON. WHO is ``ours`` (``transfers.batch``) or ``script``: what one would write by hand with a dict,
json and httpx, keeping as many requests in flight.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.measure import at, cpu

DEPOSIT, IBAN = "0100000000001", "IR570790000000850774361353"
TICK = 0.001
"""Seconds between two looks at how late the loop is."""


def people(count: int) -> Iterator[tuple[str, int, str, str]]:
    """Where the rows come from: track id, amount, first and last name."""
    for number in range(count):
        yield f"salary-{number:08}", 1_000_000 + number, "Ali", "Ahmadi"


async def ours(count: int, chunk: int, in_flight: int, url: str) -> int:
    from paystar_async import Application, Paystar, Rial, Transfer
    from paystar_async.outcomes import Succeeded

    application = Application(id="77", access_password="password", api_key="key")
    transfers = (
        Transfer(
            amount=Rial(amount),
            deposit=DEPOSIT,
            destination_account=IBAN,
            destination_firstname=first,
            destination_lastname=last,
            track_id=track_id,
        )
        for track_id, amount, first, last in people(count)
    )
    done = 0
    async with Paystar(application, base_url=url, concurrency=in_flight) as paystar:
        async for outcome in paystar.transfers.batch(transfers, chunk=chunk):
            done += isinstance(outcome, Succeeded)
    return done


async def script(count: int, chunk: int, in_flight: int, url: str) -> int:
    import httpx

    rows = people(count)
    headers = {"Authorization": "Bearer key"}
    done = 0

    async def work(client: httpx.AsyncClient) -> None:
        nonlocal done
        while True:
            transfers = [
                {
                    "amount": amount,
                    "deposit": DEPOSIT,
                    "destination_account": IBAN,
                    "destination_firstname": first,
                    "destination_lastname": last,
                    "track_id": track_id,
                }
                for _, (track_id, amount, first, last) in zip(range(chunk), rows, strict=False)
            ]
            if not transfers:
                return
            body = {"application_id": "77", "access_password": "password", "transfers": transfers}
            response = await client.post(f"{url}/bank-transfer/v2/settlement", json=body, headers=headers)
            said = {one["track_id"]: one["status"] for one in response.json()["data"]}
            done += sum(said.get(one["track_id"]) == "success" for one in transfers)

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=in_flight), timeout=60) as client:
        await asyncio.gather(*[work(client) for _ in range(in_flight)])
    return done


@asynccontextmanager
async def lateness() -> AsyncGenerator[list[float]]:
    """How late the loop comes to what was due, in seconds."""
    late: list[float] = []

    async def look() -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append(time.perf_counter() - due)

    task = asyncio.get_running_loop().create_task(look())
    yield late
    task.cancel()


def peak_megabytes() -> float:
    """The most this process has held. Not ``ru_maxrss``: a fresh process begins with what its parent held."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


async def _main(who: str, count: int, chunk: int, in_flight: int, url: str) -> None:
    run = {"ours": ours, "script": script}[who]
    await run(chunk, chunk, in_flight, url)  # imports and caches, paid once
    began, used = time.perf_counter(), cpu()
    async with lateness() as late:
        done = await run(count, chunk, in_flight, url)
    assert done == count, f"{done} of {count}"
    said = {
        "cpu": (cpu() - used) / count * 1e6,
        "seconds": time.perf_counter() - began,
        "rss": peak_megabytes(),
        "lag": at(0.99, sorted(late)) * 1e3,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]))
