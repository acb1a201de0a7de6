"""A SQLite file: how it is opened, and what its errors mean."""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock

from paystar_async.errors import SchemaMismatch, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.storage.database import Row

_opening = Lock()
"""Closing any handle of a file ends all locks this process has on it, those of another connection included.
So a file is made, and its handle closed, before any connection of this process can have come in between."""

CACHE_KIB = 16_384
"""Pages kept in memory: SQLite's own 2 MB hold too few of the inner pages of a ledger of a million transfers."""

_CORRUPT = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, then call again",
    sqlite3.SQLITE_IOERR: "the disk is full or failing: make room or see to it, then call again",
    sqlite3.SQLITE_BUSY: "another process holds the file for long; call again",
    sqlite3.SQLITE_READONLY: "let this process write the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "the directory must exist and let this process write",
    sqlite3.SQLITE_PERM: "let this process write the file and its directory",
}


_HINT_GONE = "put the file back, or close the client and start anew with another one; nothing was made in its place"


def connect(path: Path, patience: float, *, creates: bool = True) -> sqlite3.Connection:
    """Open a connection to the file; make the file if ``creates``, readable by its owner alone.

    Raises:
        StorageUnavailable: the file is not there, or cannot be opened.
    """
    if not creates and not path.exists():
        raise StorageUnavailable(f"{path} was deleted or moved while it was in use", hint=_HINT_GONE)
    try:
        with _opening, suppress(FileExistsError):
            # SQLite gives its -wal and -shm files the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StorageUnavailable(f"{path}: {error.strerror}", hint=_HINTS[sqlite3.SQLITE_CANTOPEN]) from None
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        _prepare(connection, time.monotonic() + patience)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, until: float) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # The change of mode alone does not wait for others that are about to make it, too.
            if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def rows(cursor: sqlite3.Cursor) -> list[Row]:
    """What a statement gives, by column name; nothing, where it gives no rows at all."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def moved(connection_stat: os.stat_result, path: Path) -> bool:
    """Whether the path no longer leads to the file that was opened."""
    try:
        return not os.path.samestat(connection_stat, path.stat())
    except OSError:
        return True


def meaning(error: sqlite3.Error, path: Path) -> StorageError:
    """What an error of SQLite says of the store; its text names tables and columns, never what is in them."""
    code = _primary(error)
    if code in _CORRUPT:
        return StorageCorrupt(f"{path} is no SQLite database, or a damaged one: {error}")
    if code == sqlite3.SQLITE_ERROR:
        return SchemaMismatch(f"{path}: {error}")
    if code in _HINTS:
        return StorageUnavailable(f"{path}: {error}", hint=_HINTS[code])
    return StorageError(f"{path}: {error}")


def _primary(error: sqlite3.Error) -> int:
    # Errors of the module itself, such as a missing parameter, carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
