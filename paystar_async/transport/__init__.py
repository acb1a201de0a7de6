"""Transport: encode requests, send them through an engine, decode responses."""

from typing import TYPE_CHECKING

from paystar_async.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from paystar_async.transport.engine import Engine

__all__ = ["Engine"]

__getattr__, __dir__ = lazy_names(__name__, {"Engine": "engine"})
