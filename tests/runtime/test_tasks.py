"""Background tasks that continue without their waiters, values of one event loop, and cooperative yields."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio
import pytest
import sniffio

from paystar_async.errors import InsufficientBalance
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks, LoopLocal, cooperative_yield, current_loop
from tests.support import LoopTurns


async def work_in_turns(log: list[tuple[str, int]], name: str, turns: LoopTurns, steps: int = 1) -> None:
    """Log the name and the turn of the loop in each step."""
    for _ in range(steps):
        await cooperative_yield()
        log.append((name, turns.number))


async def test_cooperative_yield_gives_each_caller_its_own_turn() -> None:
    log: list[tuple[str, int]] = []
    async with LoopTurns() as turns:
        await asyncio.gather(*[work_in_turns(log, name, turns) for name in "abcd"])
        await work_in_turns(log, "e", turns)

    assert [name for name, _ in log] == list("abcde")
    assert len({number for _, number in log}) == 5


async def test_cooperative_yield_alternates_between_callers() -> None:
    log: list[tuple[str, int]] = []
    async with LoopTurns() as turns:
        await asyncio.gather(*[work_in_turns(log, name, turns, steps=3) for name in "ab"])

    assert [name for name, _ in log] == list("ababab")
    assert len({number for _, number in log}) == 6


async def test_cooperative_yield_cancelled_waiter_blocks_no_other() -> None:
    log: list[tuple[str, int]] = []
    async with LoopTurns() as turns:
        tasks = [asyncio.create_task(work_in_turns(log, name, turns)) for name in "abcd"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    assert [name for name, _ in log] == ["b", "d"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cooperative_yield_works_in_successive_loops(backend: str) -> None:
    async def run_callers() -> list[str]:
        resumed: list[str] = []

        async def resume(name: str) -> None:
            await cooperative_yield()
            resumed.append(name)

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(resume, name)
        return sorted(resumed)

    for _ in range(2):
        assert anyio.run(run_callers, backend=backend) == ["a", "b", "c"]


class TestLoopLocal:
    @staticmethod
    def make_local() -> tuple[LoopLocal[str], list[str]]:
        closings: list[str] = []

        async def close(value: str) -> None:
            await anyio.lowlevel.checkpoint()
            closings.append(f"closed {value} in {sniffio.current_async_library()}")

        return LoopLocal(close, lambda value: closings.append(f"abandoned {value}")), closings

    @staticmethod
    def put_value(local: LoopLocal[str], value: str) -> Callable[[], Awaitable[None]]:
        async def main() -> None:
            assert local.get() is None
            local.put(value)
            assert local.get() == value
            assert local.values() == [value]

        return main

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_value_is_closed_at_loop_end(self, backend: str) -> None:
        local, closings = self.make_local()
        for value in ("a", "b"):
            anyio.run(self.put_value(local, value), backend=backend)
        assert closings == [f"closed a in {backend}", f"closed b in {backend}"]
        assert local.values() == []

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_aclose_twice_closes_value_once(self, backend: str) -> None:
        local, closings = self.make_local()

        async def main() -> None:
            await self.put_value(local, "a")()
            async with anyio.create_task_group() as group:
                group.start_soon(local.aclose)
                group.start_soon(local.aclose)
            assert local.get() is None
            assert closings == [f"closed a in {backend}"]
            await self.put_value(local, "b")()

        anyio.run(main, backend=backend)
        assert closings[1:] == [f"closed b in {backend}"]

    def test_put_abandons_values_of_closed_loops(self) -> None:
        local, closings = self.make_local()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.put_value(local, "a")())
        loop.close()
        assert closings == []

        async def main() -> None:
            local.put("b")
            assert closings == ["abandoned a"]

        asyncio.run(main())
        assert closings == ["abandoned a", "closed b in asyncio"]

    def test_garbage_collection_abandons_values_of_closed_loops(self) -> None:
        local, closings = self.make_local()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.put_value(local, "a")())
        loop.close()
        del local
        gc.collect()
        assert closings == ["abandoned a"]

    async def test_garbage_collection_closes_value_in_its_loop(self) -> None:
        local, closings = self.make_local()
        local.put("a")
        owners = [local]
        del local
        await asyncio.to_thread(owners.clear)  # in another thread, like the garbage collector
        await anyio.wait_all_tasks_blocked()
        assert closings == ["closed a in asyncio"]

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_values_in_forked_process_are_empty(self) -> None:
        local, closings = self.make_local()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.put_value(local, "a")())
        child = os.fork()
        if child == 0:
            is_empty = local.values() == []
            loop.run_until_complete(loop.shutdown_asyncgens())
            del local
            loop.close()
            gc.collect()
            os._exit(0 if is_empty and closings == [] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert local.values() == ["a"]
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        assert closings == ["closed a in asyncio"]

    def test_current_loop_outside_event_loop_raises(self) -> None:
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            current_loop()


each_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])
CALLER: ContextVar[str] = ContextVar("CALLER", default="none")


def run(backend: str, work: Callable[[], Awaitable[object]]) -> None:
    anyio.run(work, backend=backend)


@each_backend
def test_background_task_result_reaches_all_waiters(backend: str) -> None:
    async def main() -> None:
        gate = anyio.Event()

        async def work() -> list[int]:
            await gate.wait()
            return [1]

        task = BackgroundTasks().start(work)
        results: list[list[int]] = []

        async def wait() -> None:
            results.append(await task.wait())

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not task.done
            gate.set()
        assert task.done
        assert results == [[1]] * 3
        assert await task.wait() is results[0]

    run(backend, main)


@each_backend
def test_background_task_with_cancelled_waiters_continues(backend: str) -> None:
    async def main() -> None:
        done: list[str] = []
        gate = anyio.Event()

        async def work() -> None:
            await gate.wait()
            await anyio.sleep(0.01)
            done.append("stored")

        background = BackgroundTasks()
        with anyio.move_on_after(0.01):
            await background.start(work).wait()
        gc.collect()
        assert done == []
        gate.set()
        await background.drain(5)
        assert done == ["stored"]

    run(backend, main)


@each_backend
def test_background_task_error_is_copied_for_each_waiter(backend: str) -> None:
    async def main() -> None:
        async def work() -> None:
            raise InsufficientBalance(9, "short", endpoint="transfers.settle")

        task = BackgroundTasks().start(work)
        await task.wait_ended()
        errors: list[InsufficientBalance] = []
        for _ in range(3):
            with pytest.raises(InsufficientBalance) as caught:
                await task.wait()
            errors.append(caught.value)

        assert len(set(map(id, errors))) == 3
        assert {str(error) for error in errors} == {str(errors[0])}
        assert errors[0].__context__ is None
        assert [len(list(tracebacks(error))) for error in errors] == [2, 2, 2]

    run(backend, main)


def tracebacks(error: BaseException) -> list[object]:
    frames: list[object] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    return frames


async def test_background_task_error_without_copy_is_raised() -> None:
    class Foreign(Exception):
        def __init__(self, *, needed: int) -> None:
            super().__init__("foreign")

    async def work() -> None:
        raise Foreign(needed=1)

    task = BackgroundTasks().start(work)
    with pytest.raises(Foreign, match="foreign"):
        await task.wait()


@each_backend
def test_background_task_runs_in_new_context(backend: str) -> None:
    async def main() -> None:
        callers: list[str] = []

        async def work() -> None:
            callers.append(CALLER.get())

        CALLER.set("request 1")
        await BackgroundTasks().start(work).wait()
        assert callers == ["none"]

    run(backend, main)


@each_backend
def test_drain_waits_at_most_given_seconds(backend: str) -> None:
    async def main() -> None:
        gate = anyio.Event()

        async def work() -> None:
            await gate.wait()

        background = BackgroundTasks()
        task = background.start(work)
        with anyio.fail_after(5):
            await background.drain(0.02)
        assert not task.done
        gate.set()
        await task.wait_ended()
        await background.drain(0)

    run(backend, main)


@each_backend
def test_drain_in_cancelled_scope_waits_for_tasks(backend: str) -> None:
    async def main() -> None:
        stored: list[int] = []

        async def work() -> None:
            await anyio.sleep(0.03)
            stored.append(1)

        background = BackgroundTasks()
        background.start(work)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await background.drain(5)
        assert stored == [1]

    run(backend, main)


async def test_background_tasks_forget_ended_tasks() -> None:
    async def work() -> None: ...

    background = BackgroundTasks()
    tasks = [background.start(work) for _ in range(3)]
    await background.drain(1)
    await asyncio.sleep(0)

    assert all(task.done for task in tasks)
    assert background.running_count == 0
    assert not any(vars(background).values())


def test_background_task_of_ended_loop_raises_in_waiters() -> None:
    tasks: list[BackgroundTask[None]] = []

    async def main() -> None:
        tasks.append(BackgroundTasks().start(lambda: asyncio.sleep(60)))
        await asyncio.sleep(0)

    async def wait() -> None:
        with pytest.raises(RuntimeError, match="loop ended"):
            await tasks[0].wait()

    asyncio.run(main())
    assert tasks[0].done
    asyncio.run(wait())


async def test_drain_skips_task_cancelled_before_its_work() -> None:
    background = BackgroundTasks()

    async def work() -> None:
        raise AssertionError("the work of a cancelled task began")

    background_task = background.start(work)
    [asyncio_task] = asyncio.all_tasks() - {asyncio.current_task()}
    asyncio_task.cancel()
    await asyncio.sleep(0)
    with anyio.fail_after(1):
        await background.drain(30)
        with pytest.raises(RuntimeError, match="loop ended"):
            await background_task.wait()
