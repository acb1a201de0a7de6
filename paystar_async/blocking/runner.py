"""Run the coroutines of a client in the loop thread, and wait for them in the calling thread."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
)
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import wraps
from itertools import islice
from os import PathLike
from queue import SimpleQueue
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from attrs import frozen
from sniffio import AsyncLibraryNotFoundError

from paystar_async.blocking.loop_thread import LOOP_THREADS, LoopCall, LoopEnded, LoopThread
from paystar_async.client import Paystar
from paystar_async.errors import ConfigurationError, NoResponse
from paystar_async.errors.base import Executed
from paystar_async.runtime.events import logger
from paystar_async.runtime.tasks import current_loop
from paystar_async.values.secret import hide_arguments

T = TypeVar("T")
P = ParamSpec("P")
F_co = TypeVar("F_co", covariant=True)

SLICE_ITEMS = 50
"""Items that the calling thread reads for the event loop at once."""


class CallerSource(Generic[T]):
    """The items of an iterable, read in the calling thread while the event loop waits.

    The rows of an ORM belong to the thread that asked for them, and reading them in the event loop would block it.

    Args:
        items: the iterable; read no further than needed.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._iterator = iter(items)
        self._requests: SimpleQueue[Future[tuple[list[T], Exception | None]] | None] = SimpleQueue()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            request: Future[tuple[list[T], Exception | None]] = Future()
            self._requests.put(request)
            items, error = await asyncio.wrap_future(request)
            for item in items:
                yield item
            if error is not None:
                raise error
            if len(items) < SLICE_ITEMS:
                return

    def serve(self, call: Future[Any]) -> None:
        """Read items for the event loop until a call has ended; called in the calling thread."""
        call.add_done_callback(lambda _: self._requests.put(None))
        while (request := self._requests.get()) is not None:
            if request.set_running_or_notify_cancel():
                items: list[T] = []
                error: Exception | None = None
                try:
                    items.extend(islice(self._iterator, SLICE_ITEMS))  # keeps the items before an error
                except Exception as raised:
                    error = raised
                request.set_result((items, error))


def caller_source(source: Any) -> CallerSource[Any] | None:
    """Return a source of transfers as items that the calling thread reads; None if the event loop may read it."""
    if isinstance(source, _LOOP_SOURCES) or not isinstance(source, Iterable):
        return None
    return CallerSource(source)  # pyright: ignore[reportUnknownArgumentType]


_LOOP_SOURCES = (str, bytes, PathLike, list, tuple, Mapping, AsyncIterable)
"""Types of sources that the event loop reads itself: files, items in memory, async iterables."""


class _End:
    """The end of an async iterator."""


_END = _End()


class _Stream(Generic[T]):
    """An async generator whose steps run one after the other, also while an interrupted step is being cancelled."""

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items, self._lock = items, asyncio.Lock()

    async def next(self) -> T | _End:
        async with self._lock:
            return await anext(self._items, _END)

    async def aclose(self) -> None:
        async with self._lock:
            await self._items.aclose()


@frozen
class Runner:
    """Runs the coroutines of a client in the loop thread.

    Attributes:
        client: the client.
    """

    client: Paystar

    def run(
        self,
        function: Callable[[], Awaitable[T]],
        *,
        interrupted: str | None = None,
        executed: Executed = "maybe",
        source: CallerSource[Any] | None = None,
    ) -> T:
        """Run a coroutine function in the loop thread and return its result.

        Args:
            function: the coroutine function.
            interrupted: what the caller has to know if an exception of its own thread (KeyboardInterrupt, a time limit)
                ends the wait; added to this exception and logged.
            executed: whether a call without a result may have had an effect.
            source: a source that the function reads.

        Raises:
            ConfigurationError: the caller runs in an event loop, or threads are not available; nothing was sent.
            NoResponse: the event loop ended during the call, whose effect is not known.
        """
        refuse_event_loop()
        while True:
            thread = LOOP_THREADS.enter(self.client)
            try:
                return run_in(thread, function, interrupted=interrupted, executed=executed, source=source)
            except LoopEnded:
                continue  # a loop that ended is replaced
            finally:
                LOOP_THREADS.leave(thread)

    def iterate(
        self,
        items: AsyncGenerator[T, None],
        *,
        interrupted: str | None = None,
        source: CallerSource[Any] | None = None,
    ) -> Generator[T, None, None]:
        """Yield the items of an async generator, which runs in the loop thread; arguments as ``run``.

        Raises:
            ConfigurationError: the caller runs in an event loop, the client was closed since the first item, or the
                process was forked since.
        """
        refuse_event_loop()
        stream, thread = _Stream(items), None
        try:
            while True:
                refuse_event_loop()
                thread = LOOP_THREADS.enter(self.client, thread)
                _open_streams.add(stream)
                try:
                    item = run_in(thread, stream.next, interrupted=interrupted, source=source)
                finally:
                    LOOP_THREADS.leave(thread)
                if isinstance(item, _End):
                    return
                yield item
        except LoopEnded:
            raise ConfigurationError(
                "the client was closed during this iteration, or the iteration belongs to the parent process",
                hint=interrupted or "begin the iteration again",
            ) from None
        finally:
            if thread is not None:
                _close_stream(thread, stream)

    def close(self) -> None:
        """Close the client, and the loop thread with the last open client.

        Raises:
            ConfigurationError: the caller runs in an event loop.
        """
        refuse_event_loop()
        if not LOOP_THREADS.is_open(self.client):
            return
        thread = LOOP_THREADS.enter(self.client)
        try:
            run_in(thread, self.client.aclose)
        except LoopEnded:
            pass  # its end has closed the connections
        finally:
            LOOP_THREADS.leave(thread, self.client)


_open_streams: set[_Stream[Any]] = set()
"""The streams of iterations, so that the garbage collector ends an iteration before its stream.

Those of a parent process stay here: their finalizer would write to a pipe that belongs to the parent."""


def _close_stream(thread: LoopThread, stream: _Stream[Any]) -> None:
    """Close a stream, without waiting for it: the garbage collector may end an iteration at any place."""
    with suppress(LoopEnded):
        thread.start_unattended(stream.aclose)
        _open_streams.discard(stream)


def run_in(
    thread: LoopThread,
    function: Callable[[], Awaitable[T]],
    *,
    interrupted: str | None = None,
    executed: Executed = "maybe",
    source: CallerSource[Any] | None = None,
) -> T:
    """Run a coroutine function in a loop thread and return its result; as ``Runner.run``.

    Raises:
        LoopEnded: the loop has ended; nothing was started.
    """
    call = LoopCall(function)
    try:
        future = thread.start(call.run)
        if source is not None:
            source.serve(future)
        future.exception()  # waits
    except LoopEnded:
        raise
    except CancelledError:
        raise NoResponse("the event loop ended during the call", executed=executed, hint=interrupted) from None
    except BaseException as error:  # raised in this thread: by a signal's handler, or by the source of transfers
        thread.cancel(call)
        if interrupted is not None:
            error.add_note(interrupted)
            logger.warning("%s (%s)", interrupted, type(error).__name__)
        raise
    return future.result()


def is_in_event_loop() -> bool:
    """Return True if the caller runs in an event loop of asyncio or trio."""
    try:
        current_loop()
    except AsyncLibraryNotFoundError:
        return False
    return True


def refuse_event_loop() -> None:
    """Raise ConfigurationError if the caller runs in an event loop, which a blocking call would stop."""
    if is_in_event_loop():
        raise ConfigurationError(
            "BlockingPaystar was called in an event loop, which it would block; nothing was sent",
            hint="use Paystar there, and await its methods",
        )


class BlockingFlow(Protocol[F_co]):
    """A class whose methods ``blocking`` wraps: it has the object with the async methods, and the runner."""

    @property
    def _flow(self) -> F_co: ...

    @property
    def _runner(self) -> Runner: ...


def blocking(
    method: Callable[Concatenate[F_co, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingFlow[F_co], P], T]:
    """Return the blocking form of an async method: the same parameters, docstring and errors."""

    @wraps(method)
    def call(self: BlockingFlow[F_co], /, *args: P.args, **kwargs: P.kwargs) -> T:
        flow, runner = self._flow, self._runner  # pyright: ignore[reportPrivateUsage]
        return runner.run(lambda: method(flow, *args, **kwargs))

    return hide_arguments(call)


def blocking_iterator(
    method: Callable[Concatenate[F_co, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[BlockingFlow[F_co], P], Generator[T, None, None]]:
    """Return the blocking form of an async generator method: the same parameters, docstring and errors."""

    @wraps(method)
    def call(self: BlockingFlow[F_co], /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        flow, runner = self._flow, self._runner  # pyright: ignore[reportPrivateUsage]
        return runner.iterate(method(flow, *args, **kwargs))

    return call
