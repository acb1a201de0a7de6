"""What a client holds in one event loop."""

from contextvars import ContextVar

from attrs import define

from paystar_async.background import Background
from paystar_async.endpoint import Send
from paystar_async.middleware.auth import Auth
from paystar_async.payouts.desk import Desk
from paystar_async.polling import Watches
from paystar_async.transport.engine import Engine


@define(eq=False)
class Session:
    """All of a client that is bound to one event loop."""

    client: object

    send: Send
    engine: Engine
    auth: Auth
    background: Background
    watches: Watches
    closed: bool = False
    payouts: Desk | None = None


WORKING: ContextVar[Session | None] = ContextVar("paystar_async session", default=None)
"""Whose job this is: a job goes on with its own session, and opens no other for a client that has closed."""
