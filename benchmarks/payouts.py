"""What being safe costs: the ledger's CPU a transfer, and a payout's CPU against bare ``settle`` calls.

Run it alone on a quiet machine: ``python -m benchmarks.payouts``. Rounds are interleaved and medians are told, so that
a busy neighbour spoils both sides alike. The bank is a sandbox in a process of its own, on loopback.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from paystar_async import Application, Paystar, Transfer
from paystar_async.background import Background
from paystar_async.clock import SystemClock
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.advance import Advancer
from paystar_async.payouts.ledger import Ledger
from paystar_async.payouts.product import Bank
from paystar_async.payouts.records import Policy
from paystar_async.storage.choose import database

CHUNK = 20
SERVER = """
import asyncio, sys
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import serve
sandbox = Sandbox()
sandbox.settings.settle_seconds = 0
asyncio.run(serve(sandbox, ready=lambda port: print(port, flush=True)))
"""
_numbers = itertools.count()


def transfers(count: int) -> list[Transfer]:
    return [
        Transfer(
            amount=10_000,
            deposit="0100000000001",
            destination_account="0200000000002",
            destination_firstname="Ali",
            destination_lastname="Ahmadi",
            track_id=f"t-{next(_numbers)}",
        )
        for _ in range(count)
    ]


async def each(values: Iterable[Transfer]) -> AsyncGenerator[Transfer, None]:
    for value in values:
        yield value


@contextmanager
def bank() -> Iterator[tuple[str, dict[str, Any]]]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            base = f"http://127.0.0.1:{process.stdout.readline().strip()}"
            yield f"{base}/api", json.loads(httpx.get(f"{base}/_sandbox/accounts").content)["application"]
        finally:
            process.kill()


class Instant(Bank):
    """A bank that answers at once, and costs nothing."""

    async def send(self, values: Sequence[Any], timeout: float, before_send: Callable[[], None]) -> object:
        before_send()
        return [Settlement(track_id=one.track_id, status=TransferStatus("success")) for one in values]


class Meter:
    """CPU of this process, all its threads included."""

    def __init__(self) -> None:
        self._from = time.process_time()

    def lap(self) -> float:
        before, self._from = self._from, time.process_time()
        return self._from - before


async def advance(advancer: Advancer) -> None:
    """Bring everything forward, four chunks at a time."""
    while True:
        now = await advancer.now()
        due = [chunk_id for chunk_id, when in await advancer.due(200) if when <= now]
        if not due:
            return
        left = iter(due)

        async def work(chunks: Iterator[str] = left) -> None:
            for chunk_id in chunks:
                await advancer.advance(chunk_id)

        await asyncio.gather(*(work() for _ in range(4)))


async def ledger_round(path: Path, product: Bank, count: int) -> tuple[float, float]:
    """CPU of planning, and of paying, per transfer, in seconds."""
    store = database(path)
    ledger = Ledger(store, clock=SystemClock())
    background = Background()
    advancer = Advancer(ledger, [product], SystemClock(), lambda: background, lambda: True, lambda _: None)
    values = transfers(count)
    meter = Meter()
    await ledger.plan(product, path.stem, each(values), policy=Policy(chunk=CHUNK, concurrency=4))
    planned = meter.lap()
    await advance(advancer)
    paid = meter.lap()
    totals = await ledger.totals(path.stem)
    assert {str(state): number for state, (number, _) in totals.items()} == {"success": count}, totals
    await store.aclose()
    return planned / count, paid / count


async def bare_round(paystar: Paystar, count: int) -> float:
    """CPU of bare calls in the same chunks, per transfer."""
    values = transfers(count)
    chunks = iter([values[start : start + CHUNK] for start in range(0, count, CHUNK)])
    meter = Meter()

    async def work() -> None:
        for chunk in chunks:
            await paystar.transfers.settle(transfers=chunk)

    await asyncio.gather(*(work() for _ in range(4)))
    return meter.lap() / count


async def measure(count: int, rounds: int) -> dict[str, float]:
    told: dict[str, list[float]] = {"plan": [], "ledger": [], "bare": [], "payout": []}
    with tempfile.TemporaryDirectory() as home, bank() as (base_url, account):
        async with Paystar(Application(**account), base_url=base_url) as paystar:
            paying = Bank(paystar._session().deliver, account["id"])  # noqa: SLF001
            instant = Instant(paystar._session().deliver, account["id"])  # noqa: SLF001
            await bare_round(paystar, count)
            for number in range(rounds):
                planned, paid = await ledger_round(Path(home) / f"instant-{number}.db", instant, count)
                told["plan"].append(planned)
                told["ledger"].append(paid)
                told["bare"].append(await bare_round(paystar, count))
                told["payout"].append((await ledger_round(Path(home) / f"paid-{number}.db", paying, count))[1])
    micro = {name: median(some) * 1e6 for name, some in told.items()}
    return micro | {"ratio": median(paid / bare for paid, bare in zip(told["payout"], told["bare"], strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.payouts", description=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="transfers in a round")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    told = asyncio.run(measure(asked.count, asked.rounds))
    print(f"CPU a transfer, chunks of {CHUNK}, SQLite, medians of {asked.rounds} rounds of {asked.count}:")
    print(f"  planning                    {told['plan']:7.1f} µs")
    print(f"  ledger and advance          {told['ledger']:7.1f} µs   (at most 500, planning included)")
    print(f"  bare settle over loopback   {told['bare']:7.1f} µs")
    print(f"  payout over loopback        {told['payout']:7.1f} µs   = {told['ratio']:.2f} x (at most 1.5)")


if __name__ == "__main__":
    main()
