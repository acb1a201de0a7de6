"""Fixtures: a test of ``db`` runs on a SQLite file and on a PostgreSQL server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from paystar_async.storage.database import Database
from paystar_async.storage.factory import database
from tests.storage.example_table import SCHEMA


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the path of a SQLite file, or the URL of a PostgreSQL schema."""
    if request.param == "sqlite":
        return str(tmp_path / "paystar.db")
    url: str = request.getfixturevalue("postgres_schema")
    return url


@pytest.fixture
def db(location: str) -> Database:
    """Return a database, which the test closes on its own event loop."""
    return database(location)


@pytest_asyncio.fixture
async def migrated_db(db: Database) -> AsyncIterator[Database]:
    """Yield a database with the table ``things``, and close it."""
    await db.migrate("things", SCHEMA)
    yield db
    await db.aclose()
