"""From what a client is given to an engine. Chosen by name or handed in, never by what happens to be installed."""

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from paystar_async.errors import ConfigurationError
from paystar_async.transport.engine import Engine
from paystar_async.values.mask import mask_address

EngineName = Literal["httpx", "fast", "aiohttp"]

_NEEDS = {"httpx": "httpx", "fast": "pyreqwest", "aiohttp": "aiohttp"}
"""What each name stands on; the extras have the engines' names."""

if TYPE_CHECKING:
    import aiohttp
    import httpx

    GivenEngine = EngineName | Engine | httpx.AsyncClient | httpx.AsyncBaseTransport | aiohttp.ClientSession


def check_engine(given: "GivenEngine") -> None:
    """Refuse a name that no engine has, or whose extra is missing; raises ConfigurationError."""
    if not isinstance(given, str):
        return
    if given not in _NEEDS:
        raise ConfigurationError(
            f"no engine is named {mask_address(given)!r:.60}",
            hint='engine="httpx", "fast" or "aiohttp", or hand one in',
        )
    if find_spec(_NEEDS[given]) is None:
        raise ConfigurationError(f"the {given} engine is not installed", hint=f"pip install 'paystar-async[{given}]'")


def make_engine(given: "GivenEngine", connections: int) -> Engine:
    """The engine to use: its own pool of ``connections``, or around what was handed in."""
    check_engine(given)
    if given == "fast":
        from paystar_async.transport.fast import FastEngine

        return FastEngine(connections=connections)
    if given == "aiohttp" or _is_session(given):
        from paystar_async.transport.aiohttp import AiohttpEngine

        session: Any = None if given == "aiohttp" else given
        return AiohttpEngine(connections=connections, given=session)
    if not isinstance(given, str) and isinstance(given, Engine):
        return given
    from paystar_async.transport.httpx import HttpxEngine

    carrier: Any = None if given == "httpx" else given
    return HttpxEngine(connections=connections, given=carrier)


def _is_session(given: object) -> bool:
    # Who has a session has imported aiohttp; here it is not, for everybody else's sake.
    library = sys.modules.get("aiohttp")
    return library is not None and isinstance(given, library.ClientSession)
