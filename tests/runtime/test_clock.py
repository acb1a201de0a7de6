"""Time that a test owns."""

import asyncio
import time

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async.runtime.clock import Clock, ManualClock, SystemClock


async def test_the_machines_clock_is_the_machines() -> None:
    clock: Clock = SystemClock()
    began, wall = clock.monotonic(), clock.time()
    await clock.sleep(0.02)

    assert 0.015 < clock.monotonic() - began < 2
    assert abs(wall - time.time()) < 2


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock(start=1_000)

    assert (clock.time(), clock.monotonic(), clock.sleepers) == (1_000, 0, 0)
    assert ManualClock().time() == 1_767_225_600  # 2026 begins in Greenwich


def test_manual_clock_advances() -> None:
    clock = ManualClock(start=1_000)
    clock.advance(5)
    assert (clock.time(), clock.monotonic()) == (1_005, 5)
    clock.jump(-500)
    assert (clock.time(), clock.monotonic()) == (505, 5)


async def napping(clock: ManualClock, *naps: float) -> tuple[list[asyncio.Task[None]], list[float]]:
    """Start sleepers; return their tasks, and a list that fills as they wake."""
    woken: list[float] = []

    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.get_running_loop().create_task(nap(seconds)) for seconds in naps]
    await turn()
    return tasks, woken


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_sleeper_wakes_when_its_time_has_come() -> None:
    clock = ManualClock()
    _, woken = await napping(clock, 3, 1, 2)
    assert clock.sleepers == 3

    for now, expected in ((0.5, []), (1.0, [1]), (2.5, [1, 2]), (10, [1, 2, 3])):
        clock.advance(now - clock.monotonic())
        await turn()
        assert woken == expected
    assert clock.sleepers == 0


async def test_clock_jump_wakes_no_sleeper() -> None:
    clock = ManualClock()
    tasks, woken = await napping(clock, 1)
    clock.jump(1_000)
    await turn()

    assert woken == []
    clock.advance(1)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("seconds", [0, -1])
async def test_no_sleep_is_a_breath(seconds: float) -> None:
    clock = ManualClock()
    await clock.sleep(seconds)
    assert clock.sleepers == 0


@settings(max_examples=60)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.data())
def test_cancelled_sleeper_leaves_others_alone(naps: list[int], data: st.DataObject) -> None:
    async def run() -> None:
        clock = ManualClock()
        tasks, woken = await napping(clock, *naps)
        gone = data.draw(st.sets(st.integers(0, len(naps) - 1)))
        for place in gone:
            tasks[place].cancel()
        await turn()
        left = sorted(nap for place, nap in enumerate(naps) if place not in gone)
        assert clock.sleepers == len(left)
        for _ in range(20):
            clock.advance(1)
            await turn()
            assert woken == [nap for nap in left if nap <= clock.monotonic()]
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_works_under_both_loops(backend: str) -> None:
    async def run() -> float:
        clock = ManualClock()
        async with anyio.create_task_group() as group:
            group.start_soon(clock.sleep, 5)
            group.start_soon(SystemClock().sleep, 0)
            await anyio.wait_all_tasks_blocked()
            clock.advance(5)
        return clock.monotonic()

    assert anyio.run(run, backend=backend) == 5
