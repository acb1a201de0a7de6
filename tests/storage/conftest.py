"""Fixtures: a test of ``db`` runs on a SQLite file and on a PostgreSQL server."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from paystar_async.storage.database import Database
from paystar_async.storage.factory import database
from tests.storage.example_table import SCHEMA


@pytest.fixture
def db(database_location: str) -> Database:
    """Return a database, which the test closes on its own event loop."""
    return database(database_location)


@pytest_asyncio.fixture
async def migrated_db(db: Database) -> AsyncIterator[Database]:
    """Yield a database with the table ``things``, and close it."""
    await db.migrate("things", SCHEMA)
    yield db
    await db.aclose()
