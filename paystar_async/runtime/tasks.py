"""Background tasks, which go on when their waiters are cancelled, and values of one event loop."""

import asyncio
import copy
import os
import weakref
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar, cast

import anyio
import sniffio
from anyio.lowlevel import RunVar
from attrs import frozen

_turn_lock: RunVar[anyio.Lock] = RunVar("paystar_async.runtime.tasks")


async def cooperative_yield() -> None:
    """Wait for a turn of the loop in which no other caller of this function runs.

    The caller's code up to its next ``await`` is the work of that turn; other tasks of the loop run in between.
    Otherwise responses that arrive together would block the loop until all of them are handled.
    """
    try:
        lock = _turn_lock.get()
    except LookupError:
        lock = anyio.Lock()
        _turn_lock.set(lock)
    # A released lock passes to the next waiter, which wakes in the next turn of the loop.
    async with lock:
        pass


T = TypeVar("T")

_current_library = sniffio.thread_local
_inherited: list[object] = []
"""Values of the parent process. They are kept and never touched: their sockets, TLS sessions and epoll are shared."""


def asyncio_loop() -> AbstractEventLoop | None:
    """Return the running asyncio loop; None on trio (also as a guest of asyncio) and outside a loop."""
    if _current_library.name is not None:  # set by trio while a task of trio runs
        return None
    try:
        return get_running_loop()
    except RuntimeError:
        return None


def current_loop() -> object:
    """Return the event loop of asyncio, or the token of the trio run, in which the caller runs.

    Raises:
        sniffio.AsyncLibraryNotFoundError: no event loop runs here.
    """
    loop = asyncio_loop()
    if loop is not None:
        return loop
    if sniffio.current_async_library() != "trio":
        raise sniffio.AsyncLibraryNotFoundError
    import trio

    return trio.lowlevel.current_trio_token()


@frozen(eq=False)
class _Entry(Generic[T]):
    """A value, and the generator that closes the value when the generator ends."""

    value: T
    closer: AsyncGenerator[None, None]


class LoopLocal(Generic[T]):
    """One value for each event loop, in this process. Thread-safe: several loops may run at once.

    A value is keyed by its loop and by this object, never by a name. The value is closed in its own loop and thread:
    by ``aclose``, when the loop ends, or when this object is garbage-collected. The last two work by a suspended async
    generator in the loop, which asyncio, uvloop and trio close at their end (``sys.set_asyncgen_hooks``). A loop that
    was closed without ``shutdown_asyncgens`` does not close its value, which is abandoned at the next ``put``.

    Args:
        close: closes a value, awaited in its loop. It must not refer to this object's owner.
        abandon: releases a value whose loop is closed: closes its sockets without the loop.
    """

    def __init__(self, close: Callable[[T], Awaitable[None]], abandon: Callable[[T], None]) -> None:
        self._close, self._abandon = close, abandon
        self._entries: dict[object, _Entry[T]] = {}
        self._process = os.getpid()

    def get(self) -> T | None:
        """Return the value of the running loop, or None."""
        if self._process != os.getpid():
            self._disown_inherited()
        entry = self._entries.get(asyncio_loop() or current_loop())
        return None if entry is None else entry.value

    def put(self, value: T) -> None:
        """Store the value of the running loop, and abandon the values of closed loops."""
        loop = current_loop()
        self._disown_inherited()
        self._drop_closed()
        closer = _close_at_end(weakref.ref(self), loop, value, self._close)
        with suppress(StopIteration):  # run to its first yield, where the loop takes note of the generator
            closer.asend(None).send(None)
        self._entries[loop] = _Entry(value, closer)

    async def aclose(self) -> None:
        """Close the value of the running loop, if the loop has one."""
        if self.get() is not None:
            await self._entries[current_loop()].closer.aclose()

    def values(self) -> list[T]:
        """Return the values that are not closed, of all loops."""
        self._disown_inherited()
        return [entry.value for entry in list(self._entries.values())]

    def discard(self, loop: object, value: T) -> None:
        """Remove the value of a loop unless another value has replaced it."""
        entry = self._entries.get(loop)
        if entry is not None and entry.value is value:
            self._entries.pop(loop, None)

    def _drop_closed(self) -> None:
        for loop in list(self._entries):
            if isinstance(loop, AbstractEventLoop) and loop.is_closed():
                entry = self._entries.pop(loop, None)  # another thread may be doing the same
                if entry is not None:
                    self._abandon(entry.value)

    def _disown_inherited(self) -> None:
        """Start without values in a forked process."""
        if self._process != os.getpid():
            _inherited.append(self._entries)
            self._entries, self._process = {}, os.getpid()

    def __del__(self) -> None:
        self._disown_inherited()
        self._drop_closed()


async def _close_at_end(
    owner: "weakref.ref[LoopLocal[T]]", loop: object, value: T, close: Callable[[T], Awaitable[None]]
) -> AsyncGenerator[None, None]:
    """Wait to be closed, then close the value; later uses of the loop create a new value."""
    process = os.getpid()
    try:
        yield
    finally:
        local = owner()
        if local is not None:
            local.discard(loop, value)
            del local
        if process == os.getpid():  # otherwise a fork copied the value and its loop
            with anyio.CancelScope(shield=True):  # trio closes a generator in a cancelled scope
                await close(value)


class BackgroundTask(Generic[T]):
    """A running task with any number of waiters; cancelling a waiter does not cancel the task."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Return True if the task has ended."""
        return self._done.is_set()

    async def wait_ended(self) -> None:
        """Wait until the task has ended, with a result or an error."""
        await self._done.wait()

    async def wait(self) -> T:
        """Return the result or raise the error of the task; cancelling the wait does not cancel the task."""
        await self.wait_ended()
        if self._error is not None:
            raise _copy_error(self._error) from None
        return cast("T", self._value)

    async def run(self, work: Callable[[], Awaitable[T]]) -> None:
        """Run the work and keep its result or error."""
        try:
            self._value = await work()
        except Exception as error:
            self._error = error.with_traceback(None)
        except BaseException:
            self._error = RuntimeError("the event loop ended before this work did")
            raise
        finally:
            self._done.set()

    def discard(self) -> None:
        """End a task that was cancelled before its work began."""
        if not self.done:
            self._error = RuntimeError("the event loop ended before this work did")
            self._done.set()


def _copy_error(error: BaseException) -> BaseException:
    """Return a copy for one waiter: a shared error would collect the tracebacks of all waiters."""
    try:
        return copy.copy(error)
    except Exception:  # a foreign class whose args do not create an instance
        return error


class BackgroundTasks:
    """The background tasks of one event loop, with strong references because a loop keeps only weak ones.

    Args:
        prepare: run first in the context of each task.
    """

    def __init__(self, prepare: Callable[[], object] | None = None) -> None:
        self._prepare = prepare
        self._running: set[BackgroundTask[object]] = set()
        self._asyncio_tasks: set[asyncio.Task[None]] = set()

    @property
    def running_count(self) -> int:
        """Return the number of tasks that have not ended."""
        return len(self._running)

    def start(self, work: Callable[[], Awaitable[T]]) -> BackgroundTask[T]:
        """Start the work and return its task at once."""
        background_task: BackgroundTask[T] = BackgroundTask()
        running = cast("BackgroundTask[object]", background_task)
        self._running.add(running)
        # A new context: the request or span of the starter does not apply to this work.
        context = Context()
        if self._prepare is not None:
            context.run(self._prepare)

        if sniffio.current_async_library() == "trio":
            import trio

            trio.lowlevel.spawn_system_task(self._run, running, work, context=context)
        else:
            task = asyncio.get_running_loop().create_task(self._run(running, work), context=context)
            self._asyncio_tasks.add(task)
            task.add_done_callback(partial(self._on_done, running))
        return background_task

    async def _run(self, running: BackgroundTask[object], work: Callable[[], Awaitable[object]]) -> None:
        try:
            await running.run(work)
        finally:
            self._running.discard(running)

    def _on_done(self, running: BackgroundTask[object], task: "asyncio.Task[None]") -> None:
        self._asyncio_tasks.discard(task)
        self._running.discard(running)
        running.discard()

    async def drain(self, seconds: float) -> None:
        """Wait for all tasks, for at most ``seconds``, even if the caller is cancelled."""
        with anyio.move_on_after(seconds, shield=True):
            # A task may start another task: a call with an old key refreshes the key in the background.
            while self._running:
                await next(iter(self._running)).wait_ended()
