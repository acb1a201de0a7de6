"""Storage: one small asynchronous database interface, on SQLite or PostgreSQL."""

from typing import TYPE_CHECKING

from paystar_async.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from paystar_async.storage.database import Database
    from paystar_async.storage.encryption import Crypto
    from paystar_async.storage.postgres import PostgresDatabase
    from paystar_async.storage.sqlite import SqliteDatabase

__all__ = ["Crypto", "Database", "PostgresDatabase", "SqliteDatabase"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"Crypto": "encryption", "Database": "database", "PostgresDatabase": "postgres", "SqliteDatabase": "sqlite"},
)
