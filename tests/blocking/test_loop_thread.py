"""The loop thread: one for each process, also after a fork."""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from paystar_async.blocking import BlockingPaystar
from paystar_async.blocking.loop_thread import LOOP_THREADS, LoopCall
from paystar_async.errors import ConfigurationError
from tests.blocking.support import MATCH, WAIT_SECONDS, Server, loop_threads, transfer

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# Python 3.12 and newer warn of a fork in a process with threads: that is what these tests do.
allow_forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def in_child(function: Callable[[], object]) -> Callable[[], int]:
    """Fork, call a function in the child, and return a function that waits for the child's exit status."""
    child = os.fork()
    if child == 0:
        signal.alarm(int(WAIT_SECONDS))  # a deadlock ends the child
        try:
            function()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    return lambda: os.waitpid(child, 0)[1]


@forks
@allow_forks
class TestFork:
    def test_child_has_own_thread_and_connections(self, server: Server) -> None:
        with server.client() as paystar:
            paystar.send(MATCH)

            def call() -> None:
                assert not loop_threads()
                with paystar:
                    paystar.send(MATCH)
                    assert len(loop_threads()) == 1
                assert not loop_threads()

            assert in_child(call)() == 0
            assert server.opened == 2
            paystar.send(MATCH)
            assert server.opened == 2  # the parent still uses its connection

    def test_fork_during_call_leaves_both_usable(self, server: Server) -> None:
        server.may_respond.clear()
        with server.client() as paystar, ThreadPoolExecutor(1) as pool:
            call = pool.submit(paystar.transfers.settle, transfers=[transfer("t-1")])
            assert server.arrived.wait(WAIT_SECONDS)
            wait = in_child(lambda: paystar.send(MATCH))
            server.may_respond.set()
            assert wait() == 0
            assert [entry.track_id for entry in call.result(WAIT_SECONDS)] == ["t-1"]
        assert len([path for path in server.requests if "settlement" in path]) == 1

    def test_forks_beside_busy_threads_never_block(self, server: Server) -> None:
        done = threading.Event()
        with server.client(concurrency=4, timeout=60) as paystar, ThreadPoolExecutor(4) as pool:

            def calls() -> None:
                while not done.is_set():
                    paystar.send(MATCH)

            busy = [pool.submit(calls) for _ in range(4)]
            children = [in_child(lambda: paystar.send(MATCH)) for _ in range(20)]
            assert [wait() for wait in children] == [0] * 20
            done.set()
            for each in busy:
                each.result(WAIT_SECONDS)

    def test_fork_holds_loop_between_callbacks(self, server: Server) -> None:
        # A callback that holds a lock while another thread forks would leave the lock locked in the child for ever.
        lock, stop = threading.Lock(), threading.Event()

        async def use_lock() -> None:
            while not stop.is_set():
                with lock:
                    threading.Event().wait(0.0001)  # gives the processor away while the lock is held
                await asyncio.sleep(0)

        def take_lock() -> None:
            assert lock.acquire(timeout=2)

        with server.client() as paystar:
            paystar.send(MATCH)
            thread = LOOP_THREADS.enter(paystar._runner.client)  # pyright: ignore[reportPrivateUsage]
            using = thread.start(use_lock)
            waits = [in_child(take_lock) for _ in range(20)]
            stop.set()
            using.result(WAIT_SECONDS)
            LOOP_THREADS.leave(thread)
            assert [wait() for wait in waits] == [0] * 20

    def test_fork_in_loop_thread_does_not_wait_for_itself(self, server: Server) -> None:
        with server.client() as paystar:
            paystar.send(MATCH)
            thread = LOOP_THREADS.enter(paystar._runner.client)  # pyright: ignore[reportPrivateUsage]

            async def fork() -> int:
                return in_child(lambda: paystar.send(MATCH))()

            assert thread.start(fork).result(WAIT_SECONDS) == 0
            LOOP_THREADS.leave(thread)

    def test_child_of_child_works(self, server: Server) -> None:
        def fork_again() -> None:
            paystar.send(MATCH)
            assert in_child(lambda: paystar.send(MATCH))() == 0
            paystar.close()

        with server.client() as paystar:
            paystar.send(MATCH)
            assert in_child(fork_again)() == 0
        assert server.opened == 3

    def test_multiprocessing_pool_works(self, server: Server) -> None:
        global shared
        with server.client() as paystar:
            shared = paystar
            paystar.send(MATCH)
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(call_shared, range(8)) == [True] * 8

    def test_iteration_in_child_is_refused(self, server: Server) -> None:
        with server.client() as paystar:
            outcomes = paystar.transfers.batch([transfer("t-1"), transfer("t-2")], chunk=1)
            first = next(outcomes)

            def continue_iteration() -> None:
                with pytest.raises(ConfigurationError, match="parent process"):
                    next(outcomes)

            assert in_child(continue_iteration)() == 0
            assert {first.track_id, *(outcome.track_id for outcome in outcomes)} == {"t-1", "t-2"}


shared: BlockingPaystar | None = None


def call_shared(_: int) -> bool:
    assert shared is not None
    return shared.send(MATCH).value.is_matched


@pytest.mark.parametrize("module", ["gevent.monkey", "eventlet.patcher"])
def test_replaced_threads_are_refused(server: Server, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patcher = types.ModuleType(module)
    replaced = {"threading", "thread"}
    vars(patcher).update(is_module_patched=replaced.__contains__, is_monkey_patched=replaced.__contains__)
    monkeypatch.setitem(sys.modules, module, patcher)
    with server.client() as paystar, pytest.raises(ConfigurationError, match="--worker-class gthread"):
        paystar.send(MATCH)
    assert server.requests == []


def test_interrupted_start_is_begun_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    get_result, interruptions = Future[Any].result, [KeyboardInterrupt()]

    def interrupt_once(future: Future[Any], timeout: float | None = None) -> object:
        if interruptions:
            raise interruptions.pop()
        return get_result(future, timeout)

    with server.client() as paystar:
        with monkeypatch.context() as patch:
            patch.setattr(Future, "result", interrupt_once)
            with pytest.raises(KeyboardInterrupt):
                paystar.send(MATCH)
        for thread in loop_threads():
            thread.join(WAIT_SECONDS)
        assert paystar.send(MATCH).value.is_matched
        assert len(loop_threads()) == 1


async def test_call_cancelled_before_it_begins_never_runs() -> None:
    async def function() -> None:
        raise AssertionError

    call = LoopCall(function)
    call.cancel(asyncio.get_running_loop())
    with pytest.raises(asyncio.CancelledError):
        await call.run()
