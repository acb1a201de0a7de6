"""Create an engine, by name or around a handed-in client; installed libraries never decide."""

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

from paystar_async.errors import ConfigurationError, MissingExtra
from paystar_async.errors.text import describe_type
from paystar_async.transport.engine import Engine
from paystar_async.values.masking import mask_address
from paystar_async.values.secret import Secret

EngineName = Literal["auto", "native", "httpx", "httpx2", "aiohttp"]

_NAMES: tuple[str, ...] = get_args(EngineName)
_EXTRAS = ("httpx2", "aiohttp")
"""Engines that need a library which the package does not; extra and module have the engine's name."""

if TYPE_CHECKING:
    import aiohttp
    import httpx
    import httpx2

    EngineOption = (
        EngineName
        | Engine
        | httpx.AsyncClient
        | httpx.AsyncBaseTransport
        | httpx2.AsyncClient
        | httpx2.AsyncBaseTransport
        | aiohttp.ClientSession
    )


def check_engine(engine: "EngineOption") -> None:
    """Raise ConfigurationError for what is no engine, and MissingExtra for a name whose library is not installed."""
    if not isinstance(engine, str):
        if not _can_send(engine):
            raise ConfigurationError(
                f"engine must be a name, a client or an engine, not {describe_type(engine)}",
                hint="hand in an AsyncClient or AsyncBaseTransport of httpx or httpx2, a ClientSession of aiohttp, "
                "or an Engine",
            )
        return
    if engine not in _NAMES:
        raise ConfigurationError(
            f"no engine is named {mask_address(engine)!r:.60}",
            hint=f"engine={', '.join(map(repr, _NAMES))}, or hand in an engine",
        )
    if engine in _EXTRAS and find_spec(engine) is None:
        raise MissingExtra(f"the {engine} engine", engine)


def make_engine(engine: "EngineOption", connections: int, proxy: Secret | None = None) -> Engine:
    """Return the named engine, or an engine around the handed-in client, transport or session.

    Args:
        engine: a name, or a client, session, transport or engine.
        connections: idle connections that a named engine keeps.
        proxy: URL of the proxy of a named engine, as ``check_proxy`` returned it.
    """
    check_engine(engine)
    if engine == "auto" and proxy is None:
        from paystar_async.transport.auto import AutoEngine

        return AutoEngine(connections=connections)
    if engine == "native":
        from paystar_async.transport.native.engine import NativeEngine

        return NativeEngine(connections=connections)
    if engine == "aiohttp" or _is_session(engine):
        from paystar_async.transport.aiohttp import AiohttpEngine

        session: Any = None if engine == "aiohttp" else engine
        return AiohttpEngine(connections=connections, session=session, proxy=proxy)
    if not isinstance(engine, str) and isinstance(engine, Engine):
        return engine
    from paystar_async.transport.httpx import HttpxEngine

    if engine == "auto":
        return HttpxEngine(connections=connections, proxy=proxy, through_client=True)
    if isinstance(engine, str):
        return HttpxEngine(connections=connections, library=engine, proxy=proxy)
    return HttpxEngine(connections=connections, transport=engine)


def _can_send(engine: object) -> bool:
    from paystar_async.transport.httpx import library_of

    is_engine = isinstance(engine, Engine) and not isinstance(engine, type)
    return is_engine or _is_session(engine) or library_of(engine) is not None


def _is_session(engine: object) -> bool:
    # A user who has a session has imported aiohttp; nothing is imported here for other users.
    library = sys.modules.get("aiohttp")
    return library is not None and isinstance(engine, library.ClientSession)
