"""From what a client is given to a key store."""

from paystar_async.clock import Clock
from paystar_async.errors import ConfigurationError
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyStore


def key_store(given: str | KeyStore | None, clock: Clock) -> KeyStore:
    """The store to keep keys in: None for memory, or a store of the caller's.

    Raises:
        ConfigurationError: a text names a store this version does not have.
    """
    if given is None:
        return MemoryKeyStore(clock)
    if isinstance(given, str):
        raise ConfigurationError(
            "this version keeps keys in memory or in a KeyStore of yours", hint="pass keys=None or a KeyStore"
        )
    return given
