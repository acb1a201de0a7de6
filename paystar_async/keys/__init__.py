"""Keys that are valid for 24 hours: records, stores, leases and the refresher."""

from typing import TYPE_CHECKING

from paystar_async.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from paystar_async.keys.database import DatabaseKeyStore
    from paystar_async.keys.memory import MemoryKeyStore
    from paystar_async.keys.redis import RedisKeyStore
    from paystar_async.keys.store import KeyId, KeyRecord, KeyStore

__all__ = ["DatabaseKeyStore", "KeyId", "KeyRecord", "KeyStore", "MemoryKeyStore", "RedisKeyStore"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DatabaseKeyStore": "database",
        "KeyId": "store",
        "KeyRecord": "store",
        "KeyStore": "store",
        "MemoryKeyStore": "memory",
        "RedisKeyStore": "redis",
    },
)
