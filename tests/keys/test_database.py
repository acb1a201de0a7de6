"""Keys in a database: who closes the database, and a file that was deleted."""

from pathlib import Path

import pytest

from paystar_async.errors import StorageCorrupt
from paystar_async.keys.database import DatabaseKeyStore
from paystar_async.storage.sqlite import SqliteDatabase
from tests.keys.backends import KEY, PAIR, all_operations
from tests.servers import execute_sql
from tests.support import needs_posix


async def test_aclose_with_external_database_leaves_it_open(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "all.db")
    store = DatabaseKeyStore(database)
    await store.commit(KEY, 0, "me", PAIR)
    await store.aclose()
    assert (tmp_path / "all.db-wal").exists()
    await database.aclose()
    assert not (tmp_path / "all.db-wal").exists()


async def test_record_stored_twice_is_corrupt(database_location: str) -> None:
    """As after a restore into a table without its primary key: which of the two is newer is not known."""
    store = DatabaseKeyStore(database_location)
    await store.commit(KEY, 0, "me", PAIR)
    execute_sql(database_location, "CREATE TABLE copy AS SELECT * FROM paystar_keys")
    execute_sql(database_location, "DROP TABLE paystar_keys")
    execute_sql(database_location, "ALTER TABLE copy RENAME TO paystar_keys")
    execute_sql(database_location, "INSERT INTO paystar_keys SELECT * FROM paystar_keys")
    for operation in all_operations(store, 1):
        with pytest.raises(StorageCorrupt, match="application key of race is stored 2 times"):
            await operation
    await store.aclose()


@needs_posix
async def test_load_after_file_was_deleted_recreates_file(tmp_path: Path) -> None:
    store = DatabaseKeyStore(tmp_path / "keys.db")
    await store.commit(KEY, 0, "me", PAIR)
    for name in ("keys.db", "keys.db-wal", "keys.db-shm"):
        (tmp_path / name).unlink()
    assert await store.load(KEY) is None
    assert await store.commit(KEY, 0, "me", PAIR) is not None
    await store.aclose()
