"""Keys in a database: who closes the database, and a file that was deleted."""

from pathlib import Path

from paystar_async.keys.database import DatabaseKeyStore
from paystar_async.storage.sqlite import SqliteDatabase
from tests.keys.backends import KEY, PAIR
from tests.support import needs_posix


async def test_aclose_with_external_database_leaves_it_open(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "all.db")
    store = DatabaseKeyStore(database)
    await store.commit(KEY, 0, "me", PAIR)
    await store.aclose()
    assert (tmp_path / "all.db-wal").exists()
    await database.aclose()
    assert not (tmp_path / "all.db-wal").exists()


@needs_posix
async def test_load_after_file_was_deleted_recreates_file(tmp_path: Path) -> None:
    store = DatabaseKeyStore(tmp_path / "keys.db")
    await store.commit(KEY, 0, "me", PAIR)
    for name in ("keys.db", "keys.db-wal", "keys.db-shm"):
        (tmp_path / name).unlink()
    assert await store.load(KEY) is None
    assert await store.commit(KEY, 0, "me", PAIR) is not None
    await store.aclose()
