"""From what a client is given to a key store."""

from os import PathLike, fspath

from paystar_async.clock import Clock
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyStore

_REDIS = ("redis://", "rediss://", "unix://")


def key_store(given: str | PathLike[str] | KeyStore | None, clock: Clock) -> KeyStore:
    """The store to keep keys in: None for memory, a path, ``redis://…``, ``postgresql://…``, or a store of yours.

    Raises:
        ConfigurationError: the text names no store, or its extra is not installed.
    """
    if given is None:
        return MemoryKeyStore(clock)
    if not isinstance(given, str | PathLike):
        return given
    text = fspath(given)
    if text.startswith(_REDIS):
        from paystar_async.keys.redis import RedisKeyStore

        return RedisKeyStore(text)
    from paystar_async.keys.database import DatabaseKeyStore

    return DatabaseKeyStore(text, clock=clock)
