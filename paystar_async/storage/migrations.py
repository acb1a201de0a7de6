"""Migrations: run the steps that a part of the tables still needs."""

from collections.abc import Sequence

from paystar_async.errors import SchemaMismatch, StorageCorrupt
from paystar_async.storage.database import NONE, Database, Parameters, Transaction


async def migrate(
    database: Database, name: str, steps: Sequence[str], *, lock: str = "", key: Parameters = NONE
) -> None:
    """Run the steps that were not run yet.

    Args:
        database: the database.
        name: the part the steps belong to.
        steps: all steps of all versions.
        lock: a statement that locks out others, if beginning a transaction does not.
        key: the parameters of ``lock``.
    """
    try:
        done = await _version(database, name)
    except SchemaMismatch:
        done = None  # the table is missing, or is not of this package: the transaction below shows which
    if done is not None and _remaining(name, done, steps) == 0:
        return  # the usual start needs no lock and no right to create tables
    async with database.transaction() as transaction:
        if lock:
            await transaction.fetch(lock, key)
        await transaction.execute(
            "CREATE TABLE IF NOT EXISTS paystar_schema (name TEXT PRIMARY KEY, version BIGINT NOT NULL)"
        )
        done = await _version(transaction, name) or 0
        for step in steps[len(steps) - _remaining(name, done, steps) :]:
            await transaction.execute(step)
        await transaction.execute(
            "INSERT INTO paystar_schema (name, version) VALUES (:name, :version)"
            " ON CONFLICT (name) DO UPDATE SET version = excluded.version",
            {"name": name, "version": len(steps)},
        )


async def _version(reader: Database | Transaction, name: str) -> int | None:
    rows = await reader.fetch("SELECT version FROM paystar_schema WHERE name = :name", {"name": name})
    version = rows[0]["version"] if rows else None
    if not isinstance(version, int | None):
        raise StorageCorrupt(f"the version of the tables of {name!r} is not a number")
    return version


def _remaining(name: str, done: int, steps: Sequence[str]) -> int:
    if not 0 <= done <= len(steps):
        raise SchemaMismatch(f"the tables of {name!r} have version {done}; this package knows up to {len(steps)}")
    return len(steps) - done
