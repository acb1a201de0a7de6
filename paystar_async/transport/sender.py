"""The innermost step: value to bytes, bytes over the engine, bytes to value."""

import sys
from traceback import clear_frames
from typing import Any

from attrs import frozen

from paystar_async.endpoint import Endpoint, Request, Response, Safety
from paystar_async.errors import ConfigurationError, InvalidResponse, NoResponse, NotSent, PaystarError
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.tasks import cooperative_yield
from paystar_async.transport.decoder import Wire
from paystar_async.transport.engine import Engine

LARGE = 16 << 10
"""Bytes of an answer that takes a millisecond or more to read."""


@frozen
class Sender:
    """Carries a request out and its answer back, and keeps what it wrote from leaking through an error."""

    wire: Wire
    engine: Engine
    clock: Clock

    async def __call__(self, request: Request[Any], /) -> Response[Any]:
        """Send the request; raises what is known where no answer came or none that says success.

        Raises:
            ConfigurationError: the call is not READ, and one of its requests may have been sent before.
        """
        outer = sys.exception()
        is_read = request.endpoint.safety is Safety.READ
        if not is_read:
            request.dispatch.begin()
        stray: BaseException | None = None
        # The frames below hold headers and bodies in their variables: a traceback with locals would print them.
        try:
            return await self._exchange(request)
        except PaystarError as error:
            failure = error
        except BaseException as error:
            # Cancelled, or a fault in a user's engine: it keeps its lines and loses the variables.
            _forget(error, outer)
            # AssertionError: a mock that finds no route raises it, and that is for the test to see.
            if is_read or not isinstance(error, Exception) or isinstance(error, AssertionError):
                raise
            stray = error
            failure = NoResponse(f"the engine raised {type(error).__name__}")
        failure.__context__ = failure.__cause__ = None
        failure = _informed(failure, request.endpoint)
        if not is_read:
            request.dispatch.fail(failure)
        raise failure.with_traceback(None) from stray

    async def _exchange(self, request: Request[Any]) -> Response[Any]:
        if request.before_send is not None and not self.engine.supports_before_send:
            raise ConfigurationError(
                "this engine cannot say when a request leaves", hint='use the default engine: engine="auto"'
            )
        if self.wire.is_long(request):
            await cooperative_yield()
            if not request.time_left(self.clock.monotonic()):
                raise NotSent("its time was up before it could be written")
        out = self.wire.encode(request)
        left = request.time_left(self.clock.monotonic())
        answer = await self.engine.send(out.method, out.url, out.headers, out.body, left, request.before_send)
        if len(answer[2]) < LARGE:
            return self.wire.decode(request, *answer)
        await cooperative_yield()
        envelope = self.wire.envelope(answer[2])
        await cooperative_yield()
        return self.wire.decode(request, *answer, envelope)


def _forget(error: BaseException | None, outer: BaseException | None) -> None:
    while error is not None and error is not outer:
        clear_frames(error.__traceback__)
        error = error.__context__


def _informed(error: PaystarError, endpoint: Endpoint) -> PaystarError:
    """The error, knowing what its row does: nothing happens to a call that only reads."""
    if error.executed == "no":
        return error
    always = type(error).executed == "maybe"
    if endpoint.safety is Safety.READ:
        error.executed = "no"
        if always:
            error.hint = "it only reads: call again"
    elif not always or isinstance(error, NoResponse | InvalidResponse):
        # A refusal that came with an HTTP 5xx has a hint that says "call again": it must not be followed.
        ask = f": ask {endpoint.lookup} before you repeat it" if endpoint.lookup else ""
        error.hint = f"it may have been carried out{ask}"
    return error
