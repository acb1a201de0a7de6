"""What a client holds in one event loop."""

import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import anyio
from attrs import define, field

from paystar_async.credentials import Credentials
from paystar_async.endpoint import Request, Response, Send
from paystar_async.errors import NotSent
from paystar_async.middleware.auth import RENEWAL_SECONDS, AuthMiddleware
from paystar_async.models.base import Call, verify_checksums
from paystar_async.runtime.tasks import BackgroundTasks, current_loop
from paystar_async.table import endpoint_of
from paystar_async.transport.engine import Engine
from paystar_async.waiters import Waiters

if TYPE_CHECKING:
    from paystar_async.payouts.runtime import PayoutRuntime

T = TypeVar("T")

GOODBYE_SECONDS = RENEWAL_SECONDS + 5.0
"""A renewal that is broken off may cost the refresh token, so closing waits for one."""


@define(eq=False)
class Requests:
    """Makes requests of request values, as a client is configured.

    Args:
        accounts: who calls.
        timeout: seconds a call may take by default.
        strict: whether checksums are proved.
    """

    accounts: Credentials
    timeout: float
    strict: bool

    def make(self, value: Call[T], timeout: float | None, before_send: Callable[[], None] | None) -> Request[T]:
        """Return the request; raises InvalidValue or ConfigurationError where it cannot be sent."""
        endpoint = endpoint_of(value, "call")
        account = self.accounts.account_id(endpoint.realm)
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
    """All of a client that is bound to one event loop.

    Tasks under way hold it, and it holds the client only weakly: a client that is dropped unclosed is collected.
    """

    client: "weakref.ref[object]"
    requests: Requests
    send: Send
    engine: Engine
    owns_engine: bool
    auth: AuthMiddleware
    background: BackgroundTasks
    watches: Waiters
    closed: bool = False
    payouts: "PayoutRuntime | None" = None
    _loop: object = field(factory=current_loop, init=False)

    def serves(self, client: object) -> bool:
        """Return True if this is the client's session in the running loop."""
        return self.client() is client and self._loop is current_loop()

    def prepare(
        self, value: Call[T], timeout: float | None, before_send: Callable[[], None] | None = None
    ) -> Request[T]:
        """Return the request of a value; raises what keeps it from being sent."""
        request = self.requests.make(value, timeout, before_send)
        if self.closed:
            raise NotSent("the client was closed before it was sent")
        return request

    async def deliver(
        self, value: Call[T], timeout: float | None, before_send: Callable[[], None] | None = None
    ) -> Response[T]:
        """Send a request value; ``before_send`` is called right before the first byte."""
        return await self.send(self.prepare(value, timeout, before_send))

    async def aclose(self) -> None:
        """Begin nothing more, let renewals end, then close the engine, unless it was handed in."""
        self.closed = True
        self.watches.close()
        if self.payouts is not None:
            self.payouts.close()
        try:
            await self.background.drain(GOODBYE_SECONDS)
        finally:
            if self.owns_engine:
                with anyio.move_on_after(GOODBYE_SECONDS, shield=True):
                    await self.engine.aclose()

    def abandon(self) -> None:
        """Close the sockets without the event loop, which is closed."""
        self.closed = True
        abandon = getattr(self.engine, "abandon", None) if self.owns_engine else None
        if abandon is not None:
            abandon()


current_loop_state: ContextVar[LoopState | None] = ContextVar("paystar_async session", default=None)
"""Whose job this is: a job goes on with its own session, and opens no other for a client that has closed."""
