"""The state of a client that belongs to one event loop: its engine, middleware and background tasks."""

import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import anyio
from attrs import define, field

from paystar_async.credentials import Credentials
from paystar_async.endpoint import Request, Send
from paystar_async.errors import NotSent
from paystar_async.middleware.auth import REFRESH_TIMEOUT_SECONDS, AuthMiddleware
from paystar_async.models.base import Call, verify_checksums
from paystar_async.response import Response
from paystar_async.runtime.tasks import BackgroundTasks, current_loop
from paystar_async.table import endpoint_of
from paystar_async.transport.engine import Engine
from paystar_async.waiters import Waiters

if TYPE_CHECKING:
    from paystar_async.payouts.runtime import PayoutRuntime

T = TypeVar("T")

CLOSE_TIMEOUT_SECONDS = REFRESH_TIMEOUT_SECONDS + 5.0
"""Closing waits for a refresh: a cancelled one may cost the refresh token."""


@define(eq=False)
class RequestFactory:
    """A factory of requests with a client's configuration.

    Args:
        credentials: the client's credentials.
        timeout: seconds a call may take by default.
        strict: whether checksums are verified.
    """

    credentials: Credentials
    timeout: float
    strict: bool

    def create(self, value: Call[T], timeout: float | None, before_send: Callable[[], None] | None) -> Request[T]:
        """Return the request of a value; raise InvalidValue or ConfigurationError if it cannot be sent."""
        endpoint = endpoint_of(value, "call")
        account = self.credentials.account_id(endpoint.realm)
        if self.strict:
            verify_checksums(value)
        return Request(
            value=value,
            endpoint=endpoint,
            account=account,
            timeout=self.timeout if timeout is None else timeout,
            before_send=before_send,
        )


@define(eq=False)
class LoopState:
    """The objects of a client that are bound to one event loop.

    Running tasks hold this state. The state refers to the client only weakly, so that an unclosed client can be
    garbage-collected.
    """

    client: "weakref.ref[object]"
    requests: RequestFactory
    send: Send
    engine: Engine
    owns_engine: bool
    auth: AuthMiddleware
    background: BackgroundTasks
    waiters: Waiters
    closed: bool = False
    payouts: "PayoutRuntime | None" = None
    _loop: object = field(factory=current_loop, init=False)

    def serves(self, client: object) -> bool:
        """Return True if this is the client's state in the running event loop."""
        return self.client() is client and self._loop is current_loop()

    def prepare(
        self, value: Call[T], timeout: float | None, before_send: Callable[[], None] | None = None
    ) -> Request[T]:
        """Return the request of a value; raise an error if it cannot be sent."""
        request = self.requests.create(value, timeout, before_send)
        if self.closed:
            raise NotSent("the client was closed before the request was sent")
        return request

    async def deliver(
        self, value: Call[T], timeout: float | None, before_send: Callable[[], None] | None = None
    ) -> Response[T]:
        """Send a request value; ``before_send`` is called right before the first byte."""
        return await self.send(self.prepare(value, timeout, before_send))

    async def aclose(self) -> None:
        """Start nothing more, wait for refreshes, then close the engine unless the caller owns it."""
        self.closed = True
        self.waiters.close()
        if self.payouts is not None:
            self.payouts.close()
        try:
            await self.background.drain(CLOSE_TIMEOUT_SECONDS)
        finally:
            if self.owns_engine:
                with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True):
                    await self.engine.aclose()

    def abandon(self) -> None:
        """Close the sockets without the event loop, which is closed."""
        self.closed = True
        abandon = getattr(self.engine, "abandon", None) if self.owns_engine else None
        if abandon is not None:
            abandon()


current_loop_state: ContextVar[LoopState | None] = ContextVar("paystar_async loop state", default=None)
"""The state that started the running background task: the task uses this state even after its client was closed."""
