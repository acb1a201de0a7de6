"""What the engines over foreign clients keep to, beside the timeout that each call brings."""

import asyncio
from typing import Any, NoReturn

from paystar_async.errors import ConfigurationError

IDLE_SECONDS = 30.0
"""Seconds a connection that nobody uses is kept."""
CONNECT_SECONDS = 10.0
"""Seconds a connection may take, where only the library below can tell that there was none: it must give up first."""


def refuse_fence() -> NoReturn:
    """Refuse a call that must not leave too late; raises ConfigurationError."""
    raise ConfigurationError(
        "this engine cannot say when a request leaves", hint='use the default engine: engine="httpx"'
    )


def only_on_asyncio(engine: str) -> asyncio.Task[Any] | None:
    """The task that asks; raises ConfigurationError on any other loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        pass
    raise ConfigurationError(f"the {engine} engine works on asyncio alone", hint='on trio use engine="httpx"')
