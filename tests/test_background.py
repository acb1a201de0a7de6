"""Work that goes on when whoever waits for it is cancelled."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio
import pytest

from paystar_async.background import Background, Job
from paystar_async.errors import InsufficientBalance

both_loops = pytest.mark.parametrize("backend", ["asyncio", "trio"])
WHOSE: ContextVar[str] = ContextVar("WHOSE", default="nobody's")


def run(backend: str, work: Callable[[], Awaitable[object]]) -> None:
    anyio.run(work, backend=backend)


@both_loops
def test_its_result_comes_to_all_who_wait(backend: str) -> None:
    async def main() -> None:
        gate = anyio.Event()

        async def work() -> list[int]:
            await gate.wait()
            return [1]

        job = Background().start(work)
        seen: list[list[int]] = []

        async def wait() -> None:
            seen.append(await job.wait())

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not job.done
            gate.set()
        assert job.done
        assert seen == [[1]] * 3
        assert await job.wait() is seen[0]

    run(backend, main)


@both_loops
def test_it_goes_on_when_all_who_wait_are_cancelled(backend: str) -> None:
    async def main() -> None:
        done: list[str] = []
        gate = anyio.Event()

        async def work() -> None:
            await gate.wait()
            await anyio.sleep(0.01)
            done.append("stored")

        background = Background()
        with anyio.move_on_after(0.01):
            await background.start(work).wait()
        gc.collect()
        assert done == []
        gate.set()
        await background.drain(5)
        assert done == ["stored"]

    run(backend, main)


@both_loops
def test_each_who_waits_has_an_error_of_its_own(backend: str) -> None:
    async def main() -> None:
        async def work() -> None:
            raise InsufficientBalance(9, "short", endpoint="transfers.settle")

        job = Background().start(work)
        await job.ended()
        errors: list[InsufficientBalance] = []
        for _ in range(3):
            with pytest.raises(InsufficientBalance) as caught:
                await job.wait()
            errors.append(caught.value)

        assert len(set(map(id, errors))) == 3
        assert {str(error) for error in errors} == {str(errors[0])}
        assert errors[0].__context__ is None
        assert [len(list(tracebacks(error))) for error in errors] == [2, 2, 2]

    run(backend, main)


def tracebacks(error: BaseException) -> list[object]:
    found: list[object] = []
    trace = error.__traceback__
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


async def test_a_foreign_error_that_cannot_be_copied_comes_as_it_is() -> None:
    class Foreign(Exception):
        def __init__(self, *, needed: int) -> None:
            super().__init__("told")

    async def work() -> None:
        raise Foreign(needed=1)

    job = Background().start(work)
    with pytest.raises(Foreign, match="told"):
        await job.wait()


@both_loops
def test_it_knows_nothing_of_who_started_it(backend: str) -> None:
    async def main() -> None:
        seen: list[str] = []

        async def work() -> None:
            seen.append(WHOSE.get())

        WHOSE.set("the caller's")
        await Background().start(work).wait()
        assert seen == ["nobody's"]

    run(backend, main)


@both_loops
def test_draining_waits_no_longer_than_it_says(backend: str) -> None:
    async def main() -> None:
        gate = anyio.Event()

        async def work() -> None:
            await gate.wait()

        background = Background()
        job = background.start(work)
        with anyio.fail_after(5):
            await background.drain(0.02)
        assert not job.done
        gate.set()
        await job.ended()
        await background.drain(0)

    run(backend, main)


@both_loops
def test_draining_is_not_cut_short(backend: str) -> None:
    async def main() -> None:
        stored: list[int] = []

        async def work() -> None:
            await anyio.sleep(0.03)
            stored.append(1)

        background = Background()
        background.start(work)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await background.drain(5)
        assert stored == [1]

    run(backend, main)


async def test_what_ended_is_forgotten() -> None:
    async def work() -> None: ...

    background = Background()
    jobs = [background.start(work) for _ in range(3)]
    await background.drain(1)
    await asyncio.sleep(0)

    assert all(job.done for job in jobs)
    assert not any(vars(background).values())


def test_a_loop_that_ends_first_leaves_no_one_waiting() -> None:
    jobs: list[Job[None]] = []

    async def main() -> None:
        jobs.append(Background().start(lambda: asyncio.sleep(60)))
        await asyncio.sleep(0)

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="loop ended"):
            await jobs[0].wait()

    asyncio.run(main())
    assert jobs[0].done
    asyncio.run(ask())


async def test_drain_does_not_wait_for_a_job_that_never_began() -> None:
    background = Background()

    async def work() -> None:
        raise AssertionError("its task was cancelled before")

    job = background.start(work)
    [task] = asyncio.all_tasks() - {asyncio.current_task()}
    task.cancel()
    await asyncio.sleep(0)
    with anyio.fail_after(1):
        await background.drain(30)
        with pytest.raises(RuntimeError, match="loop ended"):
            await job.wait()
