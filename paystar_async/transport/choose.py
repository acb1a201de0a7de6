"""From what a client is given to an engine. Chosen by name or handed in, never by what happens to be installed."""

from typing import TYPE_CHECKING, Literal

from paystar_async.errors import ConfigurationError
from paystar_async.transport.engine import Engine

EngineName = Literal["httpx"]

if TYPE_CHECKING:
    import httpx

    GivenEngine = EngineName | Engine | httpx.AsyncClient | httpx.AsyncBaseTransport


def check_engine(given: "GivenEngine") -> None:
    """Refuse a name that no engine has; raises ConfigurationError."""
    if isinstance(given, str) and given != "httpx":
        raise ConfigurationError(f"no engine is named {given!r}", hint='engine="httpx", or hand one in')


def make_engine(given: "GivenEngine", connections: int) -> Engine:
    """The engine to use: its own pool of ``connections``, or around what was handed in."""
    from paystar_async.transport.httpx import HttpxEngine

    if isinstance(given, str):
        return HttpxEngine(connections=connections)
    return given if isinstance(given, Engine) else HttpxEngine(given=given)
