"""Map errors of psycopg to this package's errors."""

from typing import TYPE_CHECKING

import sniffio

from paystar_async.errors import ConfigurationError, SchemaMismatch, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.storage.database import CONTRADICTION_HINT

if TYPE_CHECKING:
    import psycopg

_UNAVAILABLE = {"08", "0A", "25", "28", "3D", "40", "53", "55", "57", "58"}
_SCHEMA = {"3F", "42"}
_TEXT = {"22P05", "22021"}
_TEXT_HINT = "use a database created with ENCODING 'UTF8'"


def check_connection(connection: object) -> None:
    """Refuse a connection that cannot run a transaction.

    Raises:
        ConfigurationError: the connection is of another type, closed, or in autocommit mode without a transaction.
        StorageError: its transaction has failed.
    """
    from psycopg import AsyncConnection
    from psycopg.pq import TransactionStatus

    if not isinstance(connection, AsyncConnection):
        kind = f"{type(connection).__module__}.{type(connection).__name__}"
        raise ConfigurationError(
            f"a {kind} cannot carry the transaction",
            hint="hand in a psycopg.AsyncConnection, opened in this event loop",
        )
    if sniffio.current_async_library() != "asyncio":
        raise ConfigurationError("PostgreSQL works with asyncio only", hint="on trio, use a file")
    if connection.closed:
        raise ConfigurationError("the connection that was handed in is closed", hint="keep it open until the commit")
    status = connection.info.transaction_status
    if status == TransactionStatus.IDLE and connection.autocommit:
        raise ConfigurationError(
            "the connection that was handed in is in autocommit mode, and has no open transaction",
            hint="async with connection.transaction(): …",
        )
    if status == TransactionStatus.INERROR:
        raise StorageError(
            "the transaction has ended: a statement in it failed", hint="roll it back and begin another transaction"
        )


def map_error(problem: Exception) -> StorageError | ConfigurationError:
    """Return the error for an error of the driver, without its details, which quote rows."""
    from psycopg import Error

    if isinstance(problem, Error):
        return _map_psycopg_error(problem)
    if isinstance(problem, UnicodeError):
        return StorageError("PostgreSQL: a text is not Unicode", hint=_TEXT_HINT)
    if isinstance(problem, RuntimeError) and "loop" in str(problem):  # asyncio's error for a lock of another event loop
        return ConfigurationError(
            "the connection is in use in another event loop, or was closed with it",
            hint="open a connection in this event loop",
        )
    if isinstance(problem, OSError):
        return StorageUnavailable(f"PostgreSQL: {problem.strerror or type(problem).__name__}")
    return StorageError(f"PostgreSQL: the driver raised {type(problem).__name__}")


def _map_psycopg_error(error: "psycopg.Error") -> StorageError:
    from psycopg import InterfaceError, OperationalError

    state = error.sqlstate or ""
    text = error.diag.message_primary or type(error).__name__
    if state.startswith("XX00") and state != "XX000":
        return StorageCorrupt(f"PostgreSQL reports damage: {text}")
    if state.startswith("23"):
        return StorageError(f"PostgreSQL: {type(error).__name__} {state}", hint=CONTRADICTION_HINT)
    if state == "42501":
        return StorageUnavailable(f"PostgreSQL: {text}", hint="grant this user the rights on the paystar_ tables")
    if state in _TEXT:
        return StorageError(f"PostgreSQL: {type(error).__name__} {state}", hint=_TEXT_HINT)
    if state[:2] in _SCHEMA:
        return SchemaMismatch(f"PostgreSQL: {text}")
    if state[:2] in _UNAVAILABLE:
        return StorageUnavailable(f"PostgreSQL: {text}")
    if not state and isinstance(error, OperationalError | InterfaceError):
        return StorageUnavailable(f"PostgreSQL: {error}")
    return StorageError(f"PostgreSQL: {type(error).__name__} {state}")
