"""What a client holds in one event loop."""

from asyncio import AbstractEventLoop
from contextvars import ContextVar
from typing import TYPE_CHECKING

from anyio.lowlevel import RunVar
from attrs import define

from paystar_async.background import Background
from paystar_async.endpoint import Send
from paystar_async.loops import asyncio_loop
from paystar_async.middleware.auth import Auth
from paystar_async.polling import Watches
from paystar_async.transport.engine import Engine

if TYPE_CHECKING:
    from paystar_async.payouts.desk import Desk


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
    payouts: "Desk | None" = None


WORKING: ContextVar[Session | None] = ContextVar("paystar_async session", default=None)
"""Whose job this is: a job goes on with its own session, and opens no other for a client that has closed."""


class Sessions:
    """A client's sessions, one for each event loop."""

    def __init__(self) -> None:
        self._var: RunVar[Session | None] = RunVar("paystar_async session", None)
        # The one that was asked for last, since every call asks, and the variable takes longer than a ring.
        self._latest: tuple[AbstractEventLoop, Session] | None = None

    def get(self) -> Session | None:
        """The one of the loop that runs."""
        latest, loop = self._latest, asyncio_loop()
        if latest is not None and latest[0] is loop:
            return latest[1]
        session = self._var.get()
        if session is not None and loop is not None:
            self._latest = loop, session
        return session

    def put(self, session: Session) -> None:
        """Keep it for the loop that runs."""
        self._var.set(session)

    def take(self) -> Session | None:
        """The one of the loop that runs, which is kept no longer."""
        session = self._var.get()
        self._var.set(None)
        self._latest = None
        return session
