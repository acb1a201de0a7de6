"""Send a request: encode, hand to the engine, decode the response."""

import sys
from typing import Any

from attrs import frozen

from paystar_async.endpoint import Endpoint, Request, Safety
from paystar_async.errors import InvalidResponse, NoResponse, NotSent, PaystarError
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.tasks import cooperative_yield
from paystar_async.transport.decoder import ResponseDecoder
from paystar_async.transport.encoder import RequestEncoder
from paystar_async.transport.engine import Engine, refuse_before_send
from paystar_async.transport.observation import report_observation
from paystar_async.values.secret import clear_locals

MIN_LARGE_BYTES = 16 << 10
"""Size of a body that takes a millisecond or more to decode."""


@frozen
class Sender:
    """The innermost step of a call; its errors hold no headers or bodies.

    Args:
        encoder: encodes requests, and adds secrets and signatures.
        decoder: decodes responses.
        engine: sends the encoded requests.
        clock: the client's clock.
    """

    encoder: RequestEncoder
    decoder: ResponseDecoder
    engine: Engine
    clock: Clock

    async def __call__(self, request: Request[Any], /) -> Response[Any]:
        """Return the response to the request.

        Raises:
            ConfigurationError: the call is not READ, and an earlier request of the call may have been sent.
            PaystarError: no response came, or the response reports no success; ``executed`` is set.
        """
        outer_error = sys.exception()
        is_read = request.endpoint.safety is Safety.READ
        if not is_read:
            request.dispatch.begin()
        cause: BaseException | None = None
        # Frames below hold headers and bodies in their variables: a traceback with locals would print them.
        try:
            return await self._send(request)
        except PaystarError as error:
            failure = error
        except BaseException as error:
            # Cancellation, or a bug in a user's engine: the traceback keeps its lines, but not their variables.
            clear_locals(error, outer_error)
            # AssertionError: a mock without a matching route raises this, and its test must see the error.
            if is_read or not isinstance(error, Exception) or isinstance(error, AssertionError):
                raise
            cause = error
            failure = NoResponse(f"the engine raised {type(error).__name__}")
        failure.__context__ = failure.__cause__ = None
        _set_executed(failure, request.endpoint)
        if not is_read:
            request.dispatch.fail(failure)
        raise failure.with_traceback(None) from cause

    async def _send(self, request: Request[Any]) -> Response[Any]:
        if request.before_send is not None and not self.engine.supports_before_send:
            refuse_before_send()
        if self.encoder.is_large(request):
            await cooperative_yield()
            if not request.time_left(self.clock.monotonic()):
                raise NotSent("the timeout passed before the request was encoded")
        encoded = self.encoder.encode(request)
        timeout = request.time_left(self.clock.monotonic())
        http_status, headers, body = await self.engine.send(
            encoded.method, encoded.url, encoded.headers, encoded.body, timeout, request.before_send
        )
        envelope: dict[str, object] | None = None
        if len(body) >= MIN_LARGE_BYTES:
            await cooperative_yield()
            envelope = self.decoder.envelope(body)
            await cooperative_yield()
        if request.observe is not None:
            envelope = self.decoder.envelope(body) if envelope is None else envelope
            report_observation(request, http_status, envelope, body, self.clock.time())
        return self.decoder.decode(request, http_status, headers, body, envelope)


def _set_executed(error: PaystarError, endpoint: Endpoint) -> None:
    """Set ``executed`` and the hint of an error from its endpoint: a request that only reads executes nothing."""
    if error.executed == "no":
        return
    is_always_maybe = type(error).executed == "maybe"
    if endpoint.safety is Safety.READ:
        error.executed = "no"
        if is_always_maybe:
            error.hint = "the call only reads: repeat it"
    elif not is_always_maybe or isinstance(error, NoResponse | InvalidResponse):
        # The hint of a refusal that came with an HTTP 5xx is "call again": that hint must not be followed.
        lookup = f": check its status with {endpoint.lookup} before you repeat it" if endpoint.lookup else ""
        error.hint = f"the call may have been executed{lookup}"
