"""From what a client is given to a key store."""

from os import PathLike, fspath

from paystar_async.errors import ConfigurationError
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyStore
from paystar_async.runtime.clock import Clock
from paystar_async.storage.encryption import Crypto

_REDIS = ("redis://", "rediss://", "unix://")


def key_store(given: str | PathLike[str] | KeyStore | None, clock: Clock, crypto: Crypto | None = None) -> KeyStore:
    """The store to keep keys in: None for memory, a path, ``redis://…``, ``postgresql://…``, or a store of yours.

    Args:
        given: which.
        clock: what time it is.
        crypto: seals what is stored; a store of yours sees to that itself.

    Raises:
        ConfigurationError: the text names no store, or its extra is not installed.
    """
    if given is None:
        return MemoryKeyStore(clock)
    if not isinstance(given, str | PathLike):
        steps = "load", "acquire_lease", "commit", "mark_rejected"
        if not all(callable(getattr(given, step, None)) for step in steps):
            raise ConfigurationError(
                f"a {type(given).__name__} keeps no keys", hint='a path such as "keys.db", an address, or a KeyStore'
            )
        return given
    text = fspath(given)
    if text.startswith(_REDIS):
        from paystar_async.keys.redis import RedisKeyStore

        return RedisKeyStore(text, crypto=crypto)
    from paystar_async.keys.database import DatabaseKeyStore

    return DatabaseKeyStore(text, crypto=crypto, clock=clock)
