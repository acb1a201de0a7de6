"""Measure: interleaved paired rounds of calls, and fresh processes."""

import asyncio
import gc
import json
import random
import resource
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median, quantiles
from typing import Any

from attrs import field, frozen
from rich.progress import Progress

from benchmarks.server import Server
from benchmarks.subjects import SUBJECTS, Call

LOADS = (1, 16, 100)
"""Calls in flight."""


def cpu_seconds() -> float:
    """Return the CPU that this process has used, all threads included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@frozen
class Run:
    """One run of the benchmarks.

    Attributes:
        server: the server that is called.
        rounds: paired rounds of each figure.
        quick: whether fewer calls and smaller batches will do.
        progress: shows the rounds; it draws when a round ends, since a drawing thread would be measured too.
        missing: why a subject is left out, by its name.
    """

    server: Server
    rounds: int
    quick: bool
    progress: Progress
    missing: dict[str, str] = field(factory=dict[str, str])

    def each_round(self, label: str, rounds: int | None = None) -> Iterable[int]:
        """Iterate over the rounds, with a progress bar."""
        return self.progress.track(range(rounds or self.rounds), description=label)


@frozen
class Spread:
    """The distribution of a figure over its rounds: the median and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of at least one value."""
    low, _, high = quantiles(values, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Spread(median(values), low, high)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round, so that what made both slow in a round cancels out."""
    return [over / under for over, under in zip(numerators, denominators, strict=True)]


async def run_round(call: Call, calls: int, in_flight: int) -> float:
    """Return the CPU of a call in µs, over ``calls`` calls of which ``in_flight`` run at once."""
    remaining = iter(range(calls))

    async def work() -> None:
        for _ in remaining:
            await call()

    gc.collect()
    started = cpu_seconds()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return (cpu_seconds() - started) / calls * 1e6


@asynccontextmanager
async def _opened(run: Run, names: Iterable[str], in_flight: int) -> AsyncGenerator[dict[str, tuple[Call, int]]]:
    """Open the subjects and warm them up; yield each one's call, and how many calls a round has."""
    round_us = 50_000 if run.quick else 200_000
    async with AsyncExitStack() as stack:
        subjects: dict[str, tuple[Call, int]] = {}
        for name in names:
            try:
                call = await stack.enter_async_context(SUBJECTS[name](run.server.url(), in_flight))
                await run_round(call, max(2 * in_flight, 30), in_flight)
            except Exception as error:
                run.missing[name] = f"{type(error).__name__}: {error}"
                continue
            call_us = await run_round(call, max(2 * in_flight, 30), in_flight)
            subjects[name] = call, max(3 * in_flight, int(round_us / call_us))
        gc.collect()
        gc.freeze()  # or each subject's collections walk the objects of all the others
        try:
            yield subjects
        finally:
            gc.unfreeze()


async def measure_calls(run: Run, names: Sequence[str], in_flight: int) -> dict[str, list[float]]:
    """Return µs of CPU a call of each subject, round by round; each round runs all of them in a shuffled order."""
    shuffled = random.Random(1)
    async with _opened(run, names, in_flight) as subjects:
        samples: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in run.each_round(f"{in_flight} in flight"):
            for name in shuffled.sample(list(subjects), len(subjects)):
                call, calls = subjects[name]
                samples[name].append(await run_round(call, calls, in_flight))
    return samples


def run_process(*arguments: object) -> Any:
    """Run this Python with arguments and return the JSON that it prints."""
    command = [sys.executable, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measure_imports(run: Run) -> dict[str, list[float]]:
    """Return the CPU of ``import paystar_async`` ÷ that of ``import httpx``, each in a fresh process."""
    script = "import time; used = time.process_time(); import {}; print(time.process_time() - used)"
    ours, httpx = script.format("paystar_async"), script.format("httpx")
    run_process("-c", ours), run_process("-c", httpx)  # writes the bytecode
    samples = [(run_process("-c", ours), run_process("-c", httpx)) for _ in run.each_round("imports", 3 * run.rounds)]
    return {"CPU": ratios(*zip(*samples, strict=True))}
