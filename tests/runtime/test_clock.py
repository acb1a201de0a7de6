"""The system clock, and the manual clock that tests advance."""

import asyncio
import time

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async.runtime.clock import Clock, ManualClock, SystemClock


async def test_system_clock_measures_real_time() -> None:
    clock: Clock = SystemClock()
    started, wall_time = clock.monotonic(), clock.time()
    await clock.sleep(0.02)

    assert 0.015 < clock.monotonic() - started < 2
    assert abs(wall_time - time.time()) < 2


def test_manual_clock_without_advance_stands_still() -> None:
    clock = ManualClock(start=1_000)

    assert (clock.time(), clock.monotonic(), clock.sleepers) == (1_000, 0, 0)
    assert ManualClock().time() == 1_767_225_600  # the start of 2026, UTC


def test_manual_clock_advance_and_jump_change_times() -> None:
    clock = ManualClock(start=1_000)
    clock.advance(5)
    assert (clock.time(), clock.monotonic()) == (1_005, 5)
    clock.jump(-500)
    assert (clock.time(), clock.monotonic()) == (505, 5)


async def start_sleepers(clock: ManualClock, *durations: float) -> tuple[list[asyncio.Task[None]], list[float]]:
    """Start sleepers; return their tasks, and the list of durations that have passed."""
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.get_running_loop().create_task(sleep(seconds)) for seconds in durations]
    await run_tasks()
    return tasks, woken


async def run_tasks() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_manual_clock_advance_wakes_due_sleepers() -> None:
    clock = ManualClock()
    _, woken = await start_sleepers(clock, 3, 1, 2)
    assert clock.sleepers == 3

    for now, expected in ((0.5, []), (1.0, [1]), (2.5, [1, 2]), (10, [1, 2, 3])):
        clock.advance(now - clock.monotonic())
        await run_tasks()
        assert woken == expected
    assert clock.sleepers == 0


async def test_manual_clock_jump_wakes_no_sleeper() -> None:
    clock = ManualClock()
    tasks, woken = await start_sleepers(clock, 1)
    clock.jump(1_000)
    await run_tasks()

    assert woken == []
    clock.advance(1)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("seconds", [0, -1])
async def test_manual_clock_sleep_of_zero_returns(seconds: float) -> None:
    clock = ManualClock()
    await clock.sleep(seconds)
    assert clock.sleepers == 0


@settings(max_examples=60)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.data())
def test_manual_clock_cancelled_sleeper_affects_no_other(durations: list[int], data: st.DataObject) -> None:
    async def run() -> None:
        clock = ManualClock()
        tasks, woken = await start_sleepers(clock, *durations)
        cancelled = data.draw(st.sets(st.integers(0, len(durations) - 1)))
        for index in cancelled:
            tasks[index].cancel()
        await run_tasks()
        remaining = sorted(seconds for index, seconds in enumerate(durations) if index not in cancelled)
        assert clock.sleepers == len(remaining)
        for _ in range(20):
            clock.advance(1)
            await run_tasks()
            assert woken == [seconds for seconds in remaining if seconds <= clock.monotonic()]
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_clocks_sleep_on_asyncio_and_trio(backend: str) -> None:
    async def run() -> float:
        clock = ManualClock()
        async with anyio.create_task_group() as group:
            group.start_soon(clock.sleep, 5)
            group.start_soon(SystemClock().sleep, 0)
            await anyio.wait_all_tasks_blocked()
            clock.advance(5)
        return clock.monotonic()

    assert anyio.run(run, backend=backend) == 5
