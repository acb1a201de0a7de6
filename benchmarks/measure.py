"""One round of calls, and many of them in turn."""

import asyncio
import gc
import random
import resource
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from statistics import median

from attrs import asdict, frozen

Call = Callable[[], Awaitable[object]]
Subject = Callable[[str, int], AbstractAsyncContextManager[Call]]
"""Opens a client of the server at this URL that may have so many calls in flight."""


def cpu() -> float:
    """Seconds of CPU this process has used, threads of other languages included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_megabytes() -> float:
    """What this process holds in memory now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - nothing is to be imported here
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


@frozen
class Round:
    """What one round of calls took.

    Attributes:
        cpu: µs of CPU a call.
        wall: µs of time a call, the round's length by its calls.
        p50: µs, the middle of all latencies.
        p99: µs.
    """

    cpu: float
    wall: float
    p50: float
    p99: float


def at(part: float, sorted_values: Sequence[float]) -> float:
    """The value below which this part of them lies."""
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))]


async def round_of(call: Call, calls: int, in_flight: int) -> Round:
    """So many calls, so many of them at once, each starting when one before it ends."""
    latencies: list[float] = []
    left = calls

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            await call()
            latencies.append(time.perf_counter() - began)

    gc.collect()
    began, used = time.perf_counter(), cpu()
    await asyncio.gather(*[work() for _ in range(min(in_flight, calls))])
    used, took = cpu() - used, time.perf_counter() - began
    latencies.sort()
    return Round(used / calls * 1e6, took / calls * 1e6, at(0.5, latencies) * 1e6, at(0.99, latencies) * 1e6)


@frozen
class Panel:
    """What is measured together, round by round, so that a busy machine is busy for all of them.

    Attributes:
        name: how figures find it.
        port: which of the server's ports.
        in_flight: calls at once.
        calls: how many a round.
    """

    name: str
    port: str
    in_flight: int
    calls: int


Rounds = dict[str, list[Round]]


@asynccontextmanager
async def opened(subjects: Mapping[str, Subject], url: str, panel: Panel) -> AsyncGenerator[dict[str, Call]]:
    """All of them, warmed up: connections open, imports done, caches filled."""
    async with AsyncExitStack() as stack:
        calls: dict[str, Call] = {}
        for name, subject in subjects.items():
            calls[name] = await stack.enter_async_context(subject(url, panel.in_flight))
            await round_of(calls[name], max(2 * panel.in_flight, 30), panel.in_flight)
        gc.collect()
        gc.freeze()  # what lies around of thirteen libraries is not walked again for each of them
        try:
            yield calls
        finally:
            gc.unfreeze()


async def measured(
    panel: Panel, subjects: Mapping[str, Subject], url: str, rounds: int, told: Callable[[str], None]
) -> Rounds:
    """Every subject once a round, in an order that is shuffled anew each time."""
    seen: Rounds = {name: [] for name in subjects}
    order = random.Random(1)
    async with opened(subjects, url, panel) as calls:
        for number in range(rounds):
            names = list(calls)
            order.shuffle(names)
            for name in names:
                seen[name].append(await round_of(calls[name], panel.calls, panel.in_flight))
            told(f"{panel.name}: round {number + 1} of {rounds}")
    return seen


@frozen
class Spread:
    """A figure over paired rounds.

    Attributes:
        middle: the median.
        low: the first quartile.
        high: the third.
        rounds: of how many.
    """

    middle: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """The median, and the quartiles around it."""
    ordered = sorted(values)
    return Spread(median(ordered), at(0.25, ordered), at(0.75, ordered), len(ordered))


def paired(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Ratios of what was measured in the same round."""
    return spread([one / other for one, other in zip(over, under, strict=True)])


def as_json(seen: Rounds) -> dict[str, list[dict[str, float]]]:
    """The rounds as they are written down."""
    return {
        name: [{what: round(value, 1) for what, value in asdict(one).items()} for one in rounds]
        for name, rounds in seen.items()
    }
