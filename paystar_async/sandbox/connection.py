"""What brings a request to the sandbox and can lose its answer on the way: an engine, or a server's connection."""

from typing import Protocol, cast

from starlette.types import Scope

_NAME = "paystar_sandbox.connection"


class Connection(Protocol):
    """Where a request came from, and where its answer goes.

    Attributes:
        connected: whether the fault ``refused`` was asked about before the request was sent.
        patience: seconds until the other side stops waiting; None when only it knows.
    """

    @property
    def connected(self) -> bool: ...  # noqa: D102

    @property
    def patience(self) -> float | None: ...  # noqa: D102

    async def drop(self) -> None:
        """Break the connection instead of answering."""
        ...


class AnyServer:
    """A server the sandbox knows nothing of: the best it can do is to fail."""

    connected = False
    patience: float | None = None

    async def drop(self) -> None:
        """Break the connection instead of answering."""
        raise ConnectionResetError("dropped by the sandbox")


def put_connection(scope: Scope, connection: Connection) -> None:
    """Name the connection of this request."""
    scope.setdefault("extensions", {})[_NAME] = connection


def connection_of(scope: Scope) -> Connection:
    """The connection of this request."""
    return cast("Connection", scope.get("extensions", {}).get(_NAME) or AnyServer())
