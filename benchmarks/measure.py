"""Measure: interleaved paired rounds of calls, and fresh processes."""

import asyncio
import gc
import json
import random
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
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
        quick: whether to make fewer calls and smaller batches.
        progress: shows the rounds; drawn only when a round ends, since a drawing thread would be measured too.
        missing: the reason for each subject that is skipped, by name.
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
    """Return the ratio of each round, so that a slow round cancels out."""
    return [over / under for over, under in zip(numerators, denominators, strict=True)]


def differences(minuends: Sequence[float], subtrahends: Sequence[float]) -> list[float]:
    """Return the difference of each round."""
    return [minuend - subtrahend for minuend, subtrahend in zip(minuends, subtrahends, strict=True)]


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


_SUBJECT = """
import asyncio, sys
from benchmarks.measure import run_subject
asyncio.run(run_subject(*sys.argv[1:3], *map(int, sys.argv[3:])))
"""


async def run_subject(name: str, url: str, in_flight: int, round_us: int) -> None:
    """Open a subject and run a round for each line that is read; print a line when warm, and after each round."""
    try:
        async with SUBJECTS[name](url, in_flight) as call:
            await run_round(call, max(2 * in_flight, 200), in_flight)
            call_us = await run_round(call, max(2 * in_flight, 200), in_flight)
            calls = max(3 * in_flight, int(round_us / call_us))
            gc.collect()
            gc.freeze()  # else each collection would walk the imported objects
            print(json.dumps(call_us), flush=True)
            for _ in sys.stdin:
                print(json.dumps(await run_round(call, calls, in_flight)), flush=True)
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)


class SubjectProcess:
    """A subject in its own process, so that imports, allocations and garbage of other subjects are not measured.

    Args:
        name: the subject.
        run: the run, for the address of the server.
        in_flight: concurrent calls.

    Raises:
        RuntimeError: the subject cannot be opened; the text is the reason.
    """

    def __init__(self, name: str, run: Run, in_flight: int) -> None:
        arguments = name, run.server.url(), in_flight, 50_000 if run.quick else 200_000
        command = [sys.executable, "-c", _SUBJECT, *map(str, arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def _read(self) -> float:
        assert self._process.stdout is not None
        result = json.loads(self._process.stdout.readline() or '"the process ended"')
        if isinstance(result, float):
            return result
        self.stop()
        raise RuntimeError(result)

    def run_round(self) -> float:
        """Return the CPU of a call in µs."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        """End the process."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def measure_calls(run: Run, names: Sequence[str], in_flight: int) -> dict[str, list[float]]:
    """Return µs of CPU a call of each subject, round by round; each round runs all of them in a shuffled order."""
    shuffled = random.Random(1)
    with ExitStack() as stack:
        subjects: dict[str, SubjectProcess] = {}
        for name in names:
            try:
                subjects[name] = SubjectProcess(name, run, in_flight)
            except RuntimeError as error:
                run.missing[name] = str(error)
            else:
                stack.callback(subjects[name].stop)
        samples: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in run.each_round(f"{in_flight} in flight"):
            for name in shuffled.sample(list(subjects), len(subjects)):
                samples[name].append(subjects[name].run_round())
    return samples


def run_process(*arguments: object) -> Any:
    """Run this Python with arguments and return the JSON that it prints."""
    command = [sys.executable, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measure_imports(run: Run) -> dict[str, list[float]]:
    """Return the CPU of ``import paystar_async`` ÷ that of ``import httpx``, each in a fresh process."""
    script = "import time; used = time.process_time(); import {}; print(time.process_time() - used)"
    paystar_script, httpx_script = script.format("paystar_async"), script.format("httpx")
    run_process("-c", paystar_script), run_process("-c", httpx_script)  # writes the bytecode
    samples = [
        (run_process("-c", paystar_script), run_process("-c", httpx_script))
        for _ in run.each_round("imports", 3 * run.rounds)
    ]
    return {"CPU": ratios(*zip(*samples, strict=True))}
