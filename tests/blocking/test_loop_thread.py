"""The loop thread: one for each process, also after a fork."""

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import pytest

from paystar_async import Application, Paystar
from paystar_async.blocking import BlockingPaystar, loop_thread
from paystar_async.blocking.loop_thread import LOOP_THREADS, LoopCall
from paystar_async.errors import ConfigurationError
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import SystemClock
from paystar_async.values.secret import Secret
from tests.blocking.support import MATCH, WAIT_SECONDS, Server, loop_threads
from tests.soak.processes import running_sandbox
from tests.support import transfer

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

    def test_fork_while_another_forks_lets_loop_go_on(self, server: Server) -> None:
        with server.client() as paystar:
            paystar.send(MATCH)
            thread = LOOP_THREADS.enter(paystar._runner.client)  # pyright: ignore[reportPrivateUsage]
            queued, loop = threading.Event(), thread._loop  # pyright: ignore[reportPrivateUsage]

            def fork_too() -> None:
                thread.pause()
                thread.resume()

            def call_soon(*arguments: Any) -> Any:
                queued.set()
                return type(loop).call_soon_threadsafe(loop, *arguments)

            with patch.object(loop_thread, "FORK_WAIT_SECONDS", 10 * WAIT_SECONDS):
                thread.pause()
                with patch.object(loop, "call_soon_threadsafe", call_soon):
                    other = threading.Thread(target=fork_too)
                    other.start()
                    assert queued.wait(WAIT_SECONDS)
                thread.resume()
                other.join(WAIT_SECONDS)
                assert not other.is_alive()
            LOOP_THREADS.leave(thread)
            assert paystar.send(MATCH).value.is_matched

    def test_iteration_of_batch_in_child_names_lookup(self, server: Server) -> None:
        with server.client() as paystar:
            outcomes = paystar.transfers.batch([transfer("t-1"), transfer("t-2")], chunk=1)
            next(outcomes)

            def continue_iteration() -> None:
                with pytest.raises(ConfigurationError) as raised:
                    next(outcomes)
                assert "transfers.find" in str(raised.value)
                assert "begin" not in str(raised.value)

            assert in_child(continue_iteration)() == 0
            assert len(list(outcomes)) == 1


def open_batch(paystar: BlockingPaystar) -> list[object]:
    """Return an unfinished iteration that only the garbage collector ends."""
    outcomes = paystar.transfers.batch([transfer("t-1"), transfer("t-2")], chunk=1)
    next(outcomes)
    cycle: list[object] = [outcomes]
    cycle.append(cycle)
    return cycle


def interrupt_enter(paystar: BlockingPaystar, interruption: Callable[[], object]) -> None:
    """Call a function while the next call of a client holds the lock, as a signal or the garbage collector may."""
    thread = LOOP_THREADS.enter(paystar._runner.client)  # pyright: ignore[reportPrivateUsage]
    LOOP_THREADS.leave(thread)
    interruptions = [interruption]

    class InterruptedSet(weakref.WeakSet[Paystar]):
        def add(self, item: Paystar) -> None:
            if interruptions:
                interruptions.pop()()
            super().add(item)

    thread.clients.__class__ = InterruptedSet


class TestGarbageCollector:
    """The garbage collector ends an iteration at any place of any thread: it must neither lock nor wait there."""

    @pytest.fixture(autouse=True)
    def collect_by_hand(self) -> Iterator[None]:
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    def test_iteration_collected_in_enter_does_not_block(self, server: Server) -> None:
        with server.client() as paystar:
            open_batch(paystar)
            interrupt_enter(paystar, gc.collect)
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(paystar.send, MATCH).result(WAIT_SECONDS).value.is_matched

    def test_iteration_collected_at_start_of_loop_does_not_block(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_loop = vars(loop_thread)["_run_loop"]

        def collect_and_run(started: Future[Any]) -> None:
            gc.collect()
            run_loop(started)

        with server.client() as paystar:
            open_batch(paystar)
            paystar.close()
            monkeypatch.setattr(loop_thread, "_run_loop", collect_and_run)
            assert paystar.send(MATCH).value.is_matched

    def test_iteration_collected_in_loop_thread_is_closed(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unraisable: list[object] = []
        monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
        with server.client() as paystar:
            open_batch(paystar)
            thread = LOOP_THREADS.enter(paystar._runner.client)  # pyright: ignore[reportPrivateUsage]

            async def collect() -> None:
                gc.collect()
                await anyio.wait_all_tasks_blocked()

            thread.start(collect).result(WAIT_SECONDS)
            LOOP_THREADS.leave(thread)
        assert unraisable == []

    def test_iteration_ends_with_its_client(self, server: Server) -> None:
        with server.client() as other:
            other.send(MATCH)
            with server.client() as paystar:
                outcomes = paystar.transfers.batch([transfer("t-1"), transfer("t-2"), transfer("t-3")], chunk=1)
                next(outcomes)
            sent = len(server.requests)
            with pytest.raises(ConfigurationError, match=r"closed during this iteration.*transfers\.find"):
                next(outcomes)
            assert len(server.requests) == sent


def run_program(server: Server, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may use ``MATCH`` and ``paystar``."""
    prelude = f"""
from paystar_async import Application, MatchMobile
from paystar_async.blocking import BlockingPaystar
MATCH = MatchMobile(national_id="0012345679", mobile_number="09121234567")
paystar = BlockingPaystar(Application(id="1", access_password="x", api_key="k"), base_url={server.url!r})
"""
    command = [sys.executable, "-c", prelude + program]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)


class TestEndOfInterpreter:
    def test_call_while_interpreter_ends_is_refused(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        with server.client() as paystar:
            with monkeypatch.context() as patched:
                patched.setattr("sys.is_finalizing", lambda: True)
                with pytest.raises(ConfigurationError, match=r"while the interpreter ends; nothing was sent"):
                    paystar.send(MATCH)
            assert not server.requests

    def test_call_by_finalizer_at_exit_does_not_hang(self, server: Server) -> None:
        program = """
class Late:
    def __del__(self):
        paystar.send(MATCH)
late = Late()
paystar.send(MATCH)
"""
        assert run_program(server, program).returncode == 0

    def test_thread_that_cannot_start_is_configuration_error(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("thread is not supported for isolated subinterpreters")

        with server.client() as paystar:
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", refuse)
                with pytest.raises(ConfigurationError, match=r"isolated subinterpreters; nothing was sent"):
                    paystar.send(MATCH)
            assert paystar.send(MATCH).value.is_matched

    def test_handler_of_signal_closes_client_in_enter(self, server: Server) -> None:
        with server.client() as paystar:
            paystar.send(MATCH)
            interrupt_enter(paystar, paystar.close)
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(paystar.send, MATCH).result(WAIT_SECONDS).value.is_matched


@allow_forks
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing_child_finishes_refresh_at_exit(method: str, tmp_path: Path) -> None:
    """A child process runs no ``atexit``: a refresh that ended with it would cost the refresh token."""
    with running_sandbox(rotate=True) as sandbox:
        account = sandbox.get("accounts")["application"]
        arguments = account, sandbox.base_url, str(tmp_path / "keys.db")
        context: Any = multiprocessing.get_context(method)
        child = context.Process(target=call_while_refreshing, args=arguments)
        sandbox.post("faults", endpoint="keys.refresh_application_key", kind="latency", seconds=0.2, executed=True)
        child.start()
        child.join(WAIT_SECONDS)
        assert (child.exitcode, sandbox.refreshes) == (0, 1)
        stored = asyncio.run(load_key(account["id"], str(tmp_path / "keys.db")))
        assert stored is not None
        assert stored.token is not None
        assert stored.token.reveal() == sandbox.get("accounts")["application"]["api_key"]


def call_while_refreshing(account: dict[str, str], base_url: str, keys: str) -> None:
    """Make a call with a key that is valid and due: the call does not wait for the refresh."""
    asyncio.run(store_old_key(account, keys))
    paystar = BlockingPaystar(Application(**account), base_url=base_url, keys=keys)
    assert paystar.transfers.find(limit=1) is not None
    assert LOOP_THREADS.is_open(paystar._runner.client)  # pyright: ignore[reportPrivateUsage]


async def store_old_key(account: dict[str, str], keys: str) -> None:
    store, now = make_key_store(keys, SystemClock()), SystemClock().time()
    token, refresh_token = Secret(account["api_key"]), Secret(account["refresh_token"])
    record = KeyRecord(token=token, refresh_token=refresh_token, issued_at=now - 16 * 3600, expires_at=now + 8 * 3600)
    await store.commit(KeyId("application", account["id"]), 0, "test", record)
    await store.aclose()


async def load_key(account: str, keys: str) -> KeyRecord | None:
    store = make_key_store(keys, SystemClock())
    try:
        return await store.load(KeyId("application", account))
    finally:
        await store.aclose()


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


@pytest.mark.parametrize(
    ("options", "count"), [({"module": b"shop:app"}, 1), ({"enable-threads": True}, 0), ({"threads": b"2"}, 0)]
)
def test_uwsgi_without_threads_is_warned_of(
    server: Server,
    options: dict[str, object],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uwsgi = types.ModuleType("uwsgi")
    vars(uwsgi)["opt"] = options
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)

    with server.client() as paystar:
        assert paystar.send(MATCH).value.is_matched

    assert [record.message.endswith("set enable-threads = true") for record in caplog.records] == [True] * count


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
