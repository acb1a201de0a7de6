"""Migrations: missing steps, failed steps, newer versions and foreign tables."""

import asyncio
from pathlib import Path

import pytest

from paystar_async.errors import SchemaMismatch, StorageCorrupt
from paystar_async.storage.database import Database
from paystar_async.storage.factory import database
from paystar_async.storage.sqlite import SqliteDatabase
from tests.storage.example_table import INSERT, ROW, SCHEMA


async def test_migrate_runs_missing_steps(migrated_db: Database) -> None:
    await migrated_db.execute(INSERT, ROW)
    more_steps = (*SCHEMA, "ALTER TABLE things ADD COLUMN colour TEXT", "UPDATE things SET colour = 'red'")
    await migrated_db.migrate("things", more_steps)
    await migrated_db.migrate("things", more_steps)
    assert (await migrated_db.fetch("SELECT colour FROM things")) == [{"colour": "red"}]
    await migrated_db.migrate("others", ("CREATE TABLE others (name TEXT)",))
    assert await migrated_db.fetch("SELECT * FROM paystar_schema ORDER BY name") == [
        {"name": "others", "version": 1},
        {"name": "things", "version": 3},
    ]


async def test_migrate_failed_step_changes_nothing(migrated_db: Database) -> None:
    with pytest.raises(SchemaMismatch):
        await migrated_db.migrate(
            "things", (*SCHEMA, "ALTER TABLE things ADD COLUMN colour TEXT", "ALTER TABLE no ADD x TEXT")
        )
    assert await migrated_db.fetch("SELECT version FROM paystar_schema") == [{"version": 1}]
    await migrated_db.migrate("things", (*SCHEMA, "ALTER TABLE things ADD COLUMN colour BIGINT"))


async def test_migrate_version_that_is_no_number_is_corrupt(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "things.db")
    await database.migrate("things", ("CREATE TABLE things (id TEXT)",))
    await database.execute("UPDATE paystar_schema SET version = 'two'")

    with pytest.raises(StorageCorrupt, match="not a number"):
        await database.migrate("things", ("CREATE TABLE things (id TEXT)",))
    await database.aclose()


async def test_migrate_newer_version_is_refused(migrated_db: Database) -> None:
    await migrated_db.execute("UPDATE paystar_schema SET version = 2")
    with pytest.raises(SchemaMismatch, match="version 2") as refusal:
        await migrated_db.migrate("things", SCHEMA)
    assert "upgrade" in refusal.value.hint
    assert await migrated_db.fetch("SELECT version FROM paystar_schema") == [{"version": 2}]


@pytest.mark.parametrize("foreign", ["CREATE TABLE paystar_schema (other TEXT)", SCHEMA[0]])
async def test_migrate_foreign_tables_are_refused(db: Database, foreign: str) -> None:
    await db.execute(foreign)
    with pytest.raises(SchemaMismatch):
        await db.migrate("things", SCHEMA)
    await db.aclose()


async def test_migrate_concurrent_processes_agree(database_location: str) -> None:
    databases = [database(database_location) for _ in range(8)]
    await asyncio.gather(*(db.migrate("things", SCHEMA) for db in databases))
    assert await databases[0].fetch("SELECT version FROM paystar_schema") == [{"version": 1}]
    for db in databases:
        await db.aclose()
