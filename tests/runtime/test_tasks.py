"""Background work that goes on when its waiter is cancelled; per-loop values."""

import asyncio
import gc
import logging
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
import sniffio

from paystar_async import Paystar
from paystar_async.errors import InsufficientBalance
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.runtime.clock import SystemClock
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks, LoopLocal, cooperative_yield, current_loop
from paystar_async.sandbox import Sandbox
from tests.support import MATCH, Engine, KeyServer, LoopTurns, client, in_turn, ok, transfer


async def ask(said: list[tuple[str, int]], name: str, turns: LoopTurns, pieces: int = 1) -> None:
    for _ in range(pieces):
        await cooperative_yield()
        said.append((name, turns.number))


async def test_each_has_a_turn_of_its_own_in_the_order_they_came() -> None:
    said: list[tuple[str, int]] = []
    async with LoopTurns() as turns:
        await asyncio.gather(*[ask(said, name, turns) for name in "abcd"])
        await ask(said, "e", turns)

    assert [name for name, _ in said] == list("abcde")
    assert len({number for _, number in said}) == 5


async def test_who_has_much_to_do_stands_in_line_again() -> None:
    said: list[tuple[str, int]] = []
    async with LoopTurns() as turns:
        await asyncio.gather(*[ask(said, name, turns, pieces=3) for name in "ab"])

    assert [name for name, _ in said] == list("ababab")
    assert len({number for _, number in said}) == 6


async def test_cooperative_yield_cancelled_waiter_blocks_no_one() -> None:
    said: list[tuple[str, int]] = []
    async with LoopTurns() as turns:
        tasks = [asyncio.create_task(ask(said, name, turns)) for name in "abcd"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    assert [name for name, _ in said] == ["b", "d"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_each_loop_has_a_line_of_its_own(backend: str) -> None:
    async def play() -> list[str]:
        came: list[str] = []

        async def come(name: str) -> None:
            await cooperative_yield()
            came.append(name)

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(come, name)
        return sorted(came)

    for _ in range(2):
        assert anyio.run(play, backend=backend) == ["a", "b", "c"]


YES = ok({"is_matched": True})


class _Yes(BaseHTTPRequestHandler):
    opened = 0
    ended = 0

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: in two, the second waits for the first one to be acknowledged

    def setup(self) -> None:
        super().setup()
        _Yes.opened += 1

    def finish(self) -> None:
        super().finish()
        _Yes.ended += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(YES[2])))
        self.end_headers()
        self.wfile.write(YES[2])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def _server() -> Generator[str, None, None]:
    """Start a server in a thread of its own, so that it outlives every loop."""
    _Yes.opened = _Yes.ended = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), _Yes) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


def open_connections(most: int = 0) -> int:
    """Return how many connections the server has; those that are about to end are given a moment."""
    until = time.monotonic() + 5
    while (count := _Yes.opened - _Yes.ended) > most and time.monotonic() < until:
        time.sleep(0.005)
    return count


async def call(paystar: Paystar) -> None:
    assert (await paystar.send(MATCH)).value.is_matched


async def some_calls(paystar: Paystar, *, close: bool = True) -> None:
    answers: list[bool] = []

    async def call() -> None:
        answers.append((await paystar.send(MATCH)).value.is_matched)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(call)
    if close:
        await paystar.aclose()
    assert answers == [True] * 8


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_client_serves_one_loop_after_the_other(backend: str) -> None:
    with _server() as url:
        paystar = client("auto", base_url=url, concurrency=3)
        for _ in range(3):
            anyio.run(some_calls, paystar, backend=backend)
    gc.collect()


def test_one_client_serves_asyncio_and_then_trio() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        for backend in ("asyncio", "trio", "asyncio"):
            anyio.run(some_calls, paystar, backend=backend)
    gc.collect()


def test_loop_ended_without_close_leaves_next_loop_working() -> None:
    paystar = client(Engine(in_turn(YES)), concurrency=2)

    async def leave_in_the_middle() -> None:
        waiting = [asyncio.create_task(paystar.transfers.wait(track_id="t")) for _ in range(5)]
        await some_calls(paystar, close=False)
        assert waiting

    for _ in range(3):
        asyncio.run(leave_in_the_middle())
    asyncio.run(some_calls(paystar))


def test_one_client_serves_two_loops_in_two_threads() -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(2)

    def run(paystar: Paystar, backend: str) -> None:
        try:
            together.wait()
            for _ in range(3):
                anyio.run(some_calls, paystar, backend=backend)
        except BaseException as error:
            failures.append(error)

    with _server() as url:
        paystar = client("auto", base_url=url, concurrency=2)
        threads = [threading.Thread(target=run, args=(paystar, one)) for one in ("asyncio", "trio")]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    gc.collect()

    assert failures == []


def test_two_threads_share_keys_and_refresh_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.keys.refresher.STORE_POLL_SECONDS", 0.002)
    for _ in range(5):
        server = KeyServer(SystemClock())  # a clock of a test's own would run away while one thread waits for the other
        server.keys.clear()
        paystar = client(Engine(server), keys=MemoryKeyStore())
        together = threading.Barrier(2)

        def run(paystar: Any = paystar, together: Any = together) -> None:
            together.wait()
            asyncio.run(some_calls(paystar))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

        assert server.refreshes == 1


def test_closed_client_keeps_no_state_and_no_task() -> None:
    async def play() -> None:
        before = asyncio.all_tasks()
        async with client(Engine(in_turn(ok([])))) as paystar:
            await paystar.transfers.find()
        assert asyncio.all_tasks() == before

    asyncio.run(play())


# --- one state for each client and loop -------------------------------------------------------------------------------


async def test_two_clients_in_one_loop_share_no_session() -> None:
    first, second = Engine(in_turn(YES)), Engine(in_turn(YES))
    async with client(first) as one, client(second) as other:
        for paystar in (one, other, other):
            await call(paystar)
    assert (len(first.sent), len(second.sent)) == (1, 2)


@pytest.mark.parametrize("engine", ["auto", "aiohttp"])
def test_kept_client_leaves_nothing_behind_in_ended_loops(engine: str) -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def view(paystar: Paystar) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await call(paystar)

    with _server() as url:
        paystar = client(engine, base_url=url)
        for _ in range(10):
            asyncio.run(view(paystar))
        assert _Yes.opened == 10
        assert open_connections() == 0
    gc.collect()
    assert sum(loop() is not None for loop in loops) == 0


def test_kept_client_leaves_nothing_behind_in_ended_trio_runs() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        for _ in range(3):
            anyio.run(call, paystar, backend="trio")
        assert open_connections() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's own, of its transports
def test_closed_loop_loses_its_sockets_at_the_next_use() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        gc.disable()  # the sockets are closed, not only collected
        try:
            for _ in range(5):
                loop = asyncio.new_event_loop()
                loop.run_until_complete(call(paystar))
                loop.close()  # without shutdown_asyncgens
            assert open_connections(1) == 1
        finally:
            gc.enable()
        asyncio.run(paystar.aclose())
        asyncio.run(call(paystar))
        assert open_connections() == 0
    gc.collect()


async def test_dropped_client_frees_its_sockets_and_warns() -> None:
    with _server() as url:
        paystar = client("auto", base_url=url)
        await call(paystar)
        gone = weakref.ref(paystar)
        with pytest.warns(ResourceWarning, match="unclosed client"):  # noqa: PT031 - freed by one or the other
            del paystar
            gc.collect()
        assert gone() is None
        assert await asyncio.to_thread(open_connections) == 0


async def test_dropped_client_of_a_given_engine_does_not_warn() -> None:
    paystar = client(Engine(in_turn(YES)))
    await call(paystar)
    gone = weakref.ref(paystar)
    del paystar
    gc.collect()
    assert gone() is None


async def test_dropped_client_pays_no_more_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sandbox = Sandbox()
    paystar = Paystar(application=sandbox.application, engine=sandbox.engine(), database=tmp_path / "paystar.db")
    await paystar.payouts.recover()
    background, _ = paystar._loop_services()  # pyright: ignore[reportPrivateUsage]
    gone = weakref.ref(paystar)
    del paystar
    with caplog.at_level(logging.WARNING, "paystar_async"):
        gc.collect()
    assert gone() is None
    assert "payouts.recover()" in caplog.text
    with anyio.fail_after(5):
        await background.drain(30)


async def test_client_lives_while_its_batch_does(tmp_path: Path) -> None:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    paystar = Paystar(application=sandbox.application, engine=sandbox.engine(), database=tmp_path / "paystar.db")
    gone = weakref.ref(paystar)
    batch = await paystar.payouts.submit([transfer("t-1")], batch_id="b")
    del paystar
    gc.collect()
    await batch.wait(timeout=10)
    client_of_batch = gone()
    assert client_of_batch is not None
    await client_of_batch.aclose()


def test_job_that_leads_to_another_loop_uses_that_loops_session() -> None:
    async def main(paystar: Paystar) -> None:
        sessions: list[object] = []

        async def elsewhere() -> None:
            sessions.append(paystar._loop_state())  # pyright: ignore[reportPrivateUsage]

        async def job() -> None:
            await elsewhere()
            await asyncio.to_thread(lambda: asyncio.run(elsewhere()))

        await paystar._loop_services()[0].start(job).wait()  # pyright: ignore[reportPrivateUsage]
        assert len(set(map(id, sessions))) == 2
        await paystar.aclose()

    asyncio.run(main(client(Engine(in_turn(YES)))))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_uses_no_socket_of_its_parent() -> None:
    with _server() as url:
        paystar, loop = client("auto", base_url=url), asyncio.new_event_loop()
        loop.run_until_complete(call(paystar))
        child = os.fork()
        if child == 0:
            try:
                loop.run_until_complete(call(paystar))
                del paystar
                gc.collect()
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert _Yes.opened == 2
        loop.run_until_complete(call(paystar))
        assert _Yes.opened == 2  # the parent's is as it was
        loop.run_until_complete(paystar.aclose())
        loop.close()


class TestLoopLocal:
    @staticmethod
    def make() -> tuple[LoopLocal[str], list[str]]:
        ends: list[str] = []

        async def close(value: str) -> None:
            await anyio.lowlevel.checkpoint()
            ends.append(f"closed {value} in {sniffio.current_async_library()}")

        return LoopLocal(close, lambda value: ends.append(f"abandoned {value}")), ends

    @staticmethod
    def keep(local: LoopLocal[str], value: str) -> Callable[[], Awaitable[None]]:
        async def main() -> None:
            assert local.get() is None
            local.put(value)
            assert local.get() == value
            assert local.values() == [value]

        return main

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_value_is_closed_when_its_loop_ends(self, backend: str) -> None:
        local, ends = self.make()
        for value in ("a", "b"):
            anyio.run(self.keep(local, value), backend=backend)
        assert ends == [f"closed a in {backend}", f"closed b in {backend}"]
        assert local.values() == []

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_aclose_closes_the_value_once(self, backend: str) -> None:
        local, ends = self.make()

        async def main() -> None:
            await self.keep(local, "a")()
            async with anyio.create_task_group() as group:
                group.start_soon(local.aclose)
                group.start_soon(local.aclose)
            assert local.get() is None
            assert ends == [f"closed a in {backend}"]
            await self.keep(local, "b")()

        anyio.run(main, backend=backend)
        assert ends[1:] == [f"closed b in {backend}"]

    def test_value_of_a_closed_loop_is_abandoned_at_the_next_put(self) -> None:
        local, ends = self.make()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.keep(local, "a")())
        loop.close()
        assert ends == []

        async def main() -> None:
            local.put("b")
            assert ends == ["abandoned a"]

        asyncio.run(main())
        assert ends == ["abandoned a", "closed b in asyncio"]

    def test_value_of_a_closed_loop_is_abandoned_with_its_owner(self) -> None:
        local, ends = self.make()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.keep(local, "a")())
        loop.close()
        del local
        gc.collect()
        assert ends == ["abandoned a"]

    async def test_value_of_a_dropped_owner_is_closed_in_its_loop(self) -> None:
        local, ends = self.make()
        local.put("a")
        holder = [local]
        del local
        await asyncio.to_thread(holder.clear)  # in another thread, as a collector may
        await anyio.wait_all_tasks_blocked()
        assert ends == ["closed a in asyncio"]

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_forked_process_has_no_value_and_closes_none(self) -> None:
        local, ends = self.make()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.keep(local, "a")())
        child = os.fork()
        if child == 0:
            is_empty = local.values() == []
            loop.run_until_complete(loop.shutdown_asyncgens())
            del local
            loop.close()
            gc.collect()
            os._exit(0 if is_empty and ends == [] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert local.values() == ["a"]
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        assert ends == ["closed a in asyncio"]

    def test_current_loop_outside_of_any_is_an_error(self) -> None:
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            current_loop()


both_loops = pytest.mark.parametrize("backend", ["asyncio", "trio"])
WHOSE: ContextVar[str] = ContextVar("WHOSE", default="nobody's")


def run(backend: str, work: Callable[[], Awaitable[object]]) -> None:
    anyio.run(work, backend=backend)


@both_loops
def test_background_task_result_reaches_all_waiters(backend: str) -> None:
    async def main() -> None:
        gate = anyio.Event()

        async def work() -> list[int]:
            await gate.wait()
            return [1]

        job = BackgroundTasks().start(work)
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

        background = BackgroundTasks()
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

        job = BackgroundTasks().start(work)
        await job.wait_ended()
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

    job = BackgroundTasks().start(work)
    with pytest.raises(Foreign, match="told"):
        await job.wait()


@both_loops
def test_it_knows_nothing_of_who_started_it(backend: str) -> None:
    async def main() -> None:
        seen: list[str] = []

        async def work() -> None:
            seen.append(WHOSE.get())

        WHOSE.set("the caller's")
        await BackgroundTasks().start(work).wait()
        assert seen == ["nobody's"]

    run(backend, main)


@both_loops
def test_draining_waits_no_longer_than_it_says(backend: str) -> None:
    async def main() -> None:
        gate = anyio.Event()

        async def work() -> None:
            await gate.wait()

        background = BackgroundTasks()
        job = background.start(work)
        with anyio.fail_after(5):
            await background.drain(0.02)
        assert not job.done
        gate.set()
        await job.wait_ended()
        await background.drain(0)

    run(backend, main)


@both_loops
def test_draining_is_not_cut_short(backend: str) -> None:
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


async def test_what_ended_is_forgotten() -> None:
    async def work() -> None: ...

    background = BackgroundTasks()
    jobs = [background.start(work) for _ in range(3)]
    await background.drain(1)
    await asyncio.sleep(0)

    assert all(job.done for job in jobs)
    assert not any(vars(background).values())


def test_a_loop_that_ends_first_leaves_no_one_waiting() -> None:
    jobs: list[BackgroundTask[None]] = []

    async def main() -> None:
        jobs.append(BackgroundTasks().start(lambda: asyncio.sleep(60)))
        await asyncio.sleep(0)

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="loop ended"):
            await jobs[0].wait()

    asyncio.run(main())
    assert jobs[0].done
    asyncio.run(ask())


async def test_drain_does_not_wait_for_a_job_that_never_began() -> None:
    background = BackgroundTasks()

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
