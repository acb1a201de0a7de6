"""Every test of ``db`` runs on a real file and on a real server."""

from pathlib import Path

import pytest

from paystar_async.storage.database import Database
from paystar_async.storage.factory import database


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the data lies."""
    if request.param == "sqlite":
        return str(tmp_path / "paystar.db")
    url: str = request.getfixturevalue("postgres_schema")
    return url


@pytest.fixture
def db(place: str) -> Database:
    """Return a database, closed by each test that opens it on its own loop."""
    return database(place)
