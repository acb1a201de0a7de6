"""Fixtures: a test of ``db`` runs on a SQLite file and on a PostgreSQL server."""

from pathlib import Path

import pytest

from paystar_async.storage.database import Database
from paystar_async.storage.factory import database


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
