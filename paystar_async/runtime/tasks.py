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

_line: RunVar[anyio.Lock] = RunVar("paystar_async.runtime.tasks")


async def cooperative_yield() -> None:
    """Wait for a turn of the loop in which no other caller of this function runs.

    The code after it, up to the next ``await``, is the work of that turn; other tasks of the loop run in between.
    Without it, as many answers as come at once would hold the loop for all of them.
    """
    try:
        line = _line.get()
    except LookupError:
        line = anyio.Lock()
        _line.set(line)
    # A released lock passes to the next waiter, which wakes in the next turn of the loop.
    async with line:
        pass


T = TypeVar("T")

_here = sniffio.thread_local
_inherited: list[object] = []
"""Values of the parent process. They are kept and never touched: their sockets, TLS sessions and epoll are shared."""


def asyncio_loop() -> AbstractEventLoop | None:
    """Return the running asyncio loop; None on trio (also as a guest of asyncio) and outside a loop."""
    if _here.name is not None:  # trio says so while one of its tasks runs
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
    """A value, and the generator whose end closes it."""

    value: T
    closing: AsyncGenerator[None, None]


class LoopLocal(Generic[T]):
    """One value for each event loop, in this process. Thread-safe: several loops may run at once.

    A value is keyed by its loop and by this object, never by a name. It is closed in its own loop and thread: by
    ``aclose``, when the loop ends, or when this object is garbage-collected. For the last two a suspended async
    generator stands in the loop, which asyncio, uvloop and trio close then (``sys.set_asyncgen_hooks``). A loop that
    was closed without ``shutdown_asyncgens`` gets no such chance: its value is abandoned at the next ``put``.

    Args:
        close: closes a value, awaited in its loop. It must not refer to this object's owner.
        abandon: lets go of a value without its loop, which is closed: sockets at the level of the system.
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
        """Keep the value for the running loop, and let go of those whose loops are closed."""
        loop = current_loop()
        self._disown_inherited()
        self._drop_closed()
        closing = _closed_at_end(weakref.ref(self), loop, value, self._close)
        with suppress(StopIteration):  # run to its first yield, where the loop takes note of the generator
            closing.asend(None).send(None)
        self._entries[loop] = _Entry(value, closing)

    async def aclose(self) -> None:
        """Close the value of the running loop, if the loop has one."""
        if self.get() is not None:
            await self._entries[current_loop()].closing.aclose()

    def values(self) -> list[T]:
        """Return the values that are not closed, of all loops."""
        self._disown_inherited()
        return [entry.value for entry in list(self._entries.values())]

    def discard(self, loop: object, value: T) -> None:
        """Forget the value of a loop, unless another one has taken its place."""
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
        """Begin anew in a forked process."""
        if self._process != os.getpid():
            _inherited.append(self._entries)
            self._entries, self._process = {}, os.getpid()

    def __del__(self) -> None:
        self._disown_inherited()
        self._drop_closed()


async def _closed_at_end(
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
        if process == os.getpid():  # else a fork has copied it, loop and all
            with anyio.CancelScope(shield=True):  # trio closes a generator in a scope that is cancelled
                await close(value)


class BackgroundTask(Generic[T]):
    """A running task with any number of waiters, none of which can cancel it."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Return True if the task has ended."""
        return self._done.is_set()

    async def ended(self) -> None:
        """Wait until the task has ended, with a result or an error."""
        await self._done.wait()

    async def wait(self) -> T:
        """Return the result or raise the error of the task; cancelling the wait does not cancel the task."""
        await self.ended()
        if self._error is not None:
            raise _own(self._error) from None
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
        """End a job whose work never began, because its task was cancelled before."""
        if not self.done:
            self._error = RuntimeError("the event loop ended before this work did")
            self._done.set()


def _own(error: BaseException) -> BaseException:
    """Return a copy for one waiter: a shared error would collect the tracebacks of all waiters."""
    try:
        return copy.copy(error)
    except Exception:  # a foreign class that cannot be made from its args
        return error


class BackgroundTasks:
    """The background tasks of one event loop, with strong references because a loop keeps only weak ones.

    Args:
        prepare: run first in the context of each job.
    """

    def __init__(self, prepare: Callable[[], object] | None = None) -> None:
        self._prepare = prepare
        self._jobs: set[BackgroundTask[object]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[[], Awaitable[T]]) -> BackgroundTask[T]:
        """Start the work and return its task at once."""
        job: BackgroundTask[T] = BackgroundTask()
        held = cast("BackgroundTask[object]", job)
        self._jobs.add(held)
        # A new context: the request or span of the starter does not apply to this work.
        context = Context()
        if self._prepare is not None:
            context.run(self._prepare)

        if sniffio.current_async_library() == "trio":
            import trio

            trio.lowlevel.spawn_system_task(self._run, held, work, context=context)
        else:
            task = asyncio.get_running_loop().create_task(self._run(held, work), context=context)
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, held))
        return job

    async def _run(self, job: BackgroundTask[object], work: Callable[[], Awaitable[object]]) -> None:
        try:
            await job.run(work)
        finally:
            self._jobs.discard(job)

    def _ended(self, job: BackgroundTask[object], task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._jobs.discard(job)
        job.discard()

    async def drain(self, seconds: float) -> None:
        """Wait for all tasks, for at most ``seconds``, even if the caller is cancelled."""
        with anyio.move_on_after(seconds, shield=True):
            # A job may start another one: a call with an old key refreshes the key in the background.
            while self._jobs:
                await next(iter(self._jobs)).ended()
