"""Creation of the key store that a client is configured with."""

from os import PathLike, fspath

from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyStore
from paystar_async.runtime.clock import Clock
from paystar_async.storage.encryption import Crypto
from paystar_async.values.arguments import require_methods

_REDIS = ("redis://", "rediss://", "unix://")


def make_key_store(
    location: str | PathLike[str] | KeyStore | None, clock: Clock, crypto: Crypto | None = None
) -> KeyStore:
    """Return the key store for a location: None for memory, a path, ``redis://…``, ``postgresql://…``, or a KeyStore.

    Args:
        location: where the keys are stored; a KeyStore is returned unchanged.
        clock: the client's clock.
        crypto: encrypts the stored keys, except in a KeyStore that is passed in.

    Raises:
        ConfigurationError: the location is not a key store, or its extra is not installed.
    """
    if location is None:
        return MemoryKeyStore(clock)
    if not isinstance(location, str | PathLike):
        methods = "load", "acquire_lease", "commit", "mark_rejected"
        require_methods("keys", location, *methods, hint='a path such as "keys.db", an address, or a KeyStore')
        return location
    text = fspath(location)
    if text.startswith(_REDIS):
        from paystar_async.keys.redis import RedisKeyStore

        return RedisKeyStore(text, crypto=crypto)
    from paystar_async.keys.database import DatabaseKeyStore

    return DatabaseKeyStore(text, crypto=crypto, clock=clock)
