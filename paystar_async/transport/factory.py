"""The engine to use: chosen by name or handed in, never by what happens to be installed."""

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from paystar_async.errors import ConfigurationError
from paystar_async.transport.engine import Engine
from paystar_async.values.masking import mask_address
from paystar_async.values.secret import Secret

EngineName = Literal["auto", "native", "httpx", "httpx2", "aiohttp"]

_LIBRARIES = {"auto": "httpx", "native": "httptools", "httpx": "httpx", "httpx2": "httpx2", "aiohttp": "aiohttp"}
"""The module that each engine needs; the extras have the engines' names."""

if TYPE_CHECKING:
    import aiohttp
    import httpx
    import httpx2

    GivenEngine = (
        EngineName
        | Engine
        | httpx.AsyncClient
        | httpx.AsyncBaseTransport
        | httpx2.AsyncClient
        | httpx2.AsyncBaseTransport
        | aiohttp.ClientSession
    )


def check_engine(given: "GivenEngine") -> None:
    """Refuse an unknown name, or one whose extra is missing; raises ConfigurationError."""
    if not isinstance(given, str):
        return
    if given not in _LIBRARIES:
        raise ConfigurationError(
            f"no engine is named {mask_address(given)!r:.60}",
            hint=f"engine={', '.join(map(repr, _LIBRARIES))}, or hand one in",
        )
    if find_spec(_LIBRARIES[given]) is None:
        raise ConfigurationError(f"the {given} engine is not installed", hint=f"pip install 'paystar-async[{given}]'")


def make_engine(given: "GivenEngine", connections: int, proxy: Secret | None = None) -> Engine:
    """Return the named engine, or one around what was handed in.

    Args:
        given: a name, or a client, session, transport or engine.
        connections: idle connections that a named engine keeps.
        proxy: URL of the proxy of a named engine, as ``check_proxy`` returned it.
    """
    check_engine(given)
    if given == "auto" and proxy is None:
        from paystar_async.transport.auto import AutoEngine

        return AutoEngine(connections=connections)
    if given == "native":
        from paystar_async.transport.native.engine import NativeEngine

        return NativeEngine(connections=connections)
    if given == "aiohttp" or _is_session(given):
        from paystar_async.transport.aiohttp import AiohttpEngine

        session: Any = None if given == "aiohttp" else given
        return AiohttpEngine(connections=connections, given=session, proxy=proxy)
    if not isinstance(given, str) and isinstance(given, Engine):
        return given
    from paystar_async.transport.httpx import HttpxEngine

    if given == "auto":
        return HttpxEngine(connections=connections, proxy=proxy, through_client=True)
    if isinstance(given, str):
        return HttpxEngine(connections=connections, library=given, proxy=proxy)
    return HttpxEngine(connections=connections, given=given)


def _is_session(given: object) -> bool:
    # Whoever has a session has imported aiohttp; nothing is imported here for everybody else.
    library = sys.modules.get("aiohttp")
    return library is not None and isinstance(given, library.ClientSession)
