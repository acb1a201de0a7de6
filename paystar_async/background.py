"""Work the SDK owns: it goes on when whoever waits for it is cancelled."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar, cast

import anyio
import sniffio

T = TypeVar("T")


class Job(Generic[T]):
    """A piece of work under way; any number may wait for it, and none of them can stop it."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    async def ended(self) -> None:
        """Come back when it is done, however it went."""
        await self._done.wait()

    async def wait(self) -> T:
        """Its result, or the error it ended with; cancelling this leaves the work alone."""
        await self.ended()
        if self._error is not None:
            raise _own(self._error) from None
        return cast("T", self._value)

    async def run(self, work: Callable[[], Awaitable[T]]) -> None:
        """Do the work and keep what came of it."""
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
    """A copy for one waiter: a shared error would gather everybody's traceback."""
    try:
        return copy.copy(error)
    except Exception:  # a foreign class that cannot be made from its args
        return error


class Background:
    """The jobs of one event loop; strong references, since a loop itself keeps weak ones.

    Args:
        prepare: run first in the context of each job.
    """

    def __init__(self, prepare: Callable[[], object] | None = None) -> None:
        self._prepare = prepare
        self._jobs: set[Job[object]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[[], Awaitable[T]]) -> Job[T]:
        """Start the work and come back at once."""
        job: Job[T] = Job()
        held = cast("Job[object]", job)
        self._jobs.add(held)
        # A context of its own: what the starter's request or span is about is not what this work is about.
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

    async def _run(self, job: Job[object], work: Callable[[], Awaitable[object]]) -> None:
        try:
            await job.run(work)
        finally:
            self._jobs.discard(job)

    def _ended(self, job: Job[object], task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._jobs.discard(job)
        job.discard()

    async def drain(self, seconds: float) -> None:
        """Wait until all have ended, so long at the most, even if the caller is cancelled meanwhile."""
        with anyio.move_on_after(seconds, shield=True):
            # A job may start another one: a call that finds its key old renews it in the background.
            while self._jobs:
                await next(iter(self._jobs)).ended()
