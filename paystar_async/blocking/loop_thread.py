"""The event loop of the blocking clients: one loop in one thread for each process.

A forked process has no copy of the thread, and starts its own. What the parent left behind (sockets, pipes, the loop)
is shared with the parent, so the child keeps these objects and never touches them.
"""

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

import anyio
from anyio.from_thread import BlockingPortal

from paystar_async.client import Paystar
from paystar_async.errors import ConfigurationError
from paystar_async.runtime.events import logger

T = TypeVar("T")

FORK_WAIT_SECONDS = 1.0
"""Seconds that a fork waits for the loop to finish its current callback."""


class LoopEnded(Exception):
    """The event loop ended before it accepted a call, or the client was closed in it; nothing was started."""


class LoopCall(Generic[T]):
    """A call that can be cancelled at any time, also before the event loop has begun it.

    Args:
        function: the coroutine function to call.
    """

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False

    async def run(self) -> T:
        """Call the function, unless the call was cancelled."""
        with anyio.CancelScope() as self._scope:
            if not self._cancelled:
                return await self._function()
        raise asyncio.CancelledError

    def cancel(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the call in its event loop; called in another thread."""
        self._cancelled = True
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()


class LoopThread:
    """A thread with an event loop.

    Attributes:
        clients: the clients that are open in the loop.
        calls: the number of calls in progress.
    """

    def __init__(self) -> None:
        _check_threads()
        self.clients: WeakSet[Paystar] = WeakSet()
        self.calls = 0
        self._process = os.getpid()
        self._ended = False
        self._forking = threading.local()  # two threads may fork at once
        self._tasks: set[asyncio.Task[None]] = set()
        # Not by start_blocking_portal: interrupted while the thread starts, that would wait for its end for ever.
        started: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]] = Future()
        name = "paystar_async event loop"
        try:
            self._thread = threading.Thread(target=_run_loop, args=(started,), name=name, daemon=True)
            self._thread.start()
        except RuntimeError as error:  # a subinterpreter, the end of the interpreter, or too many threads
            raise ConfigurationError(
                f"BlockingPaystar needs a thread, and this interpreter starts none: {error}; nothing was sent",
                hint="call it in the main interpreter, before the program ends",
            ) from None
        try:
            self._portal, self._loop = started.result()
        except BaseException:
            started.add_done_callback(_stop_abandoned)
            raise
        atexit.register(self.close)
        self._finalizer = _at_child_exit(self.close)

    @property
    def is_usable(self) -> bool:
        """Return True if the thread accepts calls of this process."""
        return not self._ended and self._process == os.getpid()

    def cancel(self, call: LoopCall[Any]) -> None:
        """Cancel a call."""
        call.cancel(self._loop)

    def start(self, function: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start a coroutine function.

        Raises:
            LoopEnded: the loop has ended, or belongs to the parent process.
        """
        if not self.is_usable:
            raise LoopEnded
        try:
            return self._portal.start_task_soon(function)
        except RuntimeError as error:
            self._end()
            raise LoopEnded from error

    def start_unattended(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start a coroutine function without waiting for its result.

        Takes no lock and never waits: the garbage collector may call this at any place of any thread, this one's
        included.

        Raises:
            LoopEnded: the loop has ended, or belongs to the parent process.
        """

        async def run() -> None:
            with suppress(Exception):
                await function()

        def start() -> None:
            task = self._loop.create_task(run())
            self._tasks.add(task)  # a loop keeps only weak references
            task.add_done_callback(self._tasks.discard)

        if not self.is_usable:
            raise LoopEnded
        with suppress(RuntimeError):  # the loop has ended, and has closed its generators
            self._loop.call_soon_threadsafe(start)

    def stop(self, *, cancel: bool = False) -> None:
        """End the loop and its thread.

        Args:
            cancel: True to cancel calls in progress, False to wait for them.
        """
        if self.is_usable:
            self._end()
            with suppress(RuntimeError):  # the loop has ended
                self._portal.call(self._portal.stop, cancel)
            self._thread.join()

    def _end(self) -> None:
        self._ended = True
        atexit.unregister(self.close)
        if self._finalizer is not None:
            self._finalizer.cancel()

    def close(self) -> None:
        """Close the clients, then end the loop; called when the process exits."""
        for client in list(self.clients):
            if self.is_usable:
                self.start(client.aclose).exception()
        self.stop(cancel=True)

    def pause(self) -> None:
        """Hold the loop between two callbacks, where its thread holds no lock that a forked process would inherit."""
        if not self.is_usable or asyncio._get_running_loop() is self._loop:  # noqa: SLF001 - None outside a loop
            return
        paused, resume = threading.Event(), threading.Event()
        self._forking.resume = resume

        def wait() -> None:
            paused.set()
            resume.wait(FORK_WAIT_SECONDS)

        try:
            self._loop.call_soon_threadsafe(wait)
        except RuntimeError:
            return  # the loop has ended
        paused.wait(FORK_WAIT_SECONDS)

    def resume(self) -> None:
        """Continue after ``pause`` in the same thread."""
        resume: threading.Event | None = getattr(self._forking, "resume", None)
        if resume is not None:
            resume.set()


class _Finalizer(Protocol):
    """``multiprocessing.util.Finalize``."""

    def cancel(self) -> None: ...


def _at_child_exit(close: Callable[[], None]) -> _Finalizer | None:
    """Call a function when a child process of multiprocessing ends, which runs no ``atexit``; None in other processes.

    A refresh of a key that ends with its process may cost the refresh token.
    """
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None:
        return None

    def close_after_threads() -> None:
        main, threads = threading.main_thread(), threading.enumerate()
        joined = [thread for thread in threads if thread is not main and not thread.daemon]

        def join_and_close() -> None:
            for thread in joined:
                thread.join()
            close()

        # In a thread that the process waits for: it ends the threads of executors only after this function.
        threading.Thread(target=join_and_close, name="paystar_async close").start()

    finalizer: _Finalizer = util.Finalize(None, close_after_threads, exitpriority=0)
    return finalizer


def _stop_abandoned(started: "Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]") -> None:
    """End a loop whose start was interrupted."""
    if started.exception() is None:
        portal, loop = started.result()
        loop.call_soon_threadsafe(lambda: loop.create_task(portal.stop()))


def _run_loop(started: "Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]") -> None:
    """Run an event loop until its portal is stopped."""

    async def main() -> None:
        async with BlockingPortal() as portal:
            started.set_result((portal, asyncio.get_running_loop()))
            await portal.sleep_until_stopped()

    try:
        anyio.run(main)
    except BaseException as error:  # raised by a task, such as SystemExit; the task's caller gets it too
        if not started.done():
            started.set_exception(error)


class LoopThreads:
    """The loop thread of this process, started at the first call and ended with the last open client."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler of a signal may close a client
        self._thread: LoopThread | None = None
        self._inherited: list[LoopThread] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
            )

    def enter(self, client: Paystar, thread: LoopThread | None = None) -> LoopThread:
        """Return the thread for a call of a client; ``leave`` must follow.

        Args:
            client: the client.
            thread: the only thread that can run the call; by default any; started if no thread runs.

        Raises:
            LoopEnded: ``thread`` has ended, or the client was closed in it.
            ConfigurationError: no thread can be started; nothing was sent.
        """
        if sys.is_finalizing():  # a thread would never run: its caller would wait for ever
            raise ConfigurationError("BlockingPaystar was called while the interpreter ends; nothing was sent")
        with self._lock:
            if thread is not None and not (thread is self._thread and self.is_open(client)):
                raise LoopEnded
            running = self._thread
            if running is None or not running.is_usable:
                running = self._thread = LoopThread()
            running.clients.add(client)
            running.calls += 1
            return running

    def leave(self, thread: LoopThread, client: Paystar | None = None) -> None:
        """End a call.

        Args:
            thread: the thread of the call.
            client: the client, if the call closed it; the thread ends with its last client.
        """
        with self._lock:
            thread.calls -= 1
            if client is not None:
                thread.clients.discard(client)
            if thread.calls or thread.clients:
                return
            if self._thread is thread:
                self._thread = None
        thread.stop()

    def is_open(self, client: Paystar) -> bool:
        """Return True if a client was used in this process and not closed since."""
        with self._lock:
            return self._thread is not None and self._thread.is_usable and client in self._thread.clients

    def _before_fork(self) -> None:
        if (thread := self._thread) is not None:
            thread.pause()

    def _after_fork(self) -> None:
        if (thread := self._thread) is not None:
            thread.resume()

    def _after_fork_in_child(self) -> None:
        """Forget the parent's thread, and replace the lock, which another thread of the parent may have held."""
        if self._thread is not None:
            self._inherited.append(self._thread)
        self._thread, self._lock = None, threading.RLock()


LOOP_THREADS = LoopThreads()


def _check_threads() -> None:
    """Raise ConfigurationError where gevent or eventlet has replaced threads; warn where uWSGI suspends them."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if (gevent is not None and gevent.is_module_patched("threading")) or (
        eventlet is not None and eventlet.is_monkey_patched("thread")
    ):
        raise ConfigurationError(
            "BlockingPaystar needs threads, which gevent or eventlet has replaced in this process",
            hint="run this process with threads: gunicorn --worker-class gthread, celery worker --pool threads",
        )
    uwsgi = sys.modules.get("uwsgi")  # exists only inside uWSGI
    if uwsgi is not None and not uwsgi.opt.keys() & {"enable-threads", "threads"}:
        logger.warning(
            "uWSGI runs no threads between two requests: keys are not refreshed, orders not swept and payouts not "
            "continued then; set enable-threads = true"
        )
