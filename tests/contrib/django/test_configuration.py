"""One of Django's databases as the client's."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import ConnectionHandler

from paystar_async.contrib.django import configuration
from paystar_async.errors import ConfigurationError, StorageError
from paystar_async.storage.postgres import PostgresDatabase
from paystar_async.storage.sqlite import SqliteDatabase


class TestDatabase:
    def use(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Any:
        monkeypatch.setattr(configuration, "connections", ConnectionHandler({"default": settings}))
        return configuration.django_database("default")

    def test_sqlite_file_is_shared(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        database = self.use(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=tmp_path / "shop.db")
        assert isinstance(database, SqliteDatabase)
        assert "shop.db" in repr(database)

    def test_sqlite_in_memory_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (":memory:", "file:memorydb_default?mode=memory&cache=shared"):
            with pytest.raises(ConfigurationError, match="in memory"):
                self.use(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=name)

    def test_sqlite_without_path_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Django opens a file whose name is a URI as the URI says, and so not the file of that name."""
        for name in ("", "file:shop.db?mode=rwc"):
            with pytest.raises(ConfigurationError, match="must name its file by a path"):
                self.use(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=name)

    async def test_transaction_of_view_is_named_as_reason(self, tmp_path: Path) -> None:
        database = SqliteDatabase(tmp_path / "shop.db", busy_timeout=0)
        await database.execute("CREATE TABLE delivery (payment TEXT)")
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as view:
            view.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError, match="maybe an open transaction of yours"):
                await database.execute("INSERT INTO delivery VALUES ('o-1')")
        await database.aclose()

    def test_other_database_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError, match="does not support"):
            self.use(monkeypatch, ENGINE="django.db.backends.dummy")

    async def test_postgres_is_shared(self, monkeypatch: pytest.MonkeyPatch, postgres_schema: str) -> None:
        from psycopg.conninfo import conninfo_to_dict

        parts = conninfo_to_dict(postgres_schema)
        database = self.use(
            monkeypatch,
            ENGINE="django.db.backends.postgresql",
            NAME=parts["dbname"],
            USER=parts.get("user", ""),
            HOST=parts["host"],
            OPTIONS={"options": parts["options"], "pool": True},
        )
        assert isinstance(database, PostgresDatabase)
        assert await database.fetch("SELECT 1 AS answer") == [{"answer": 1}]
        await database.aclose()

    def test_variable_names_django_database(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PAYSTAR_DATABASE", "django:default")
        self.use(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=tmp_path / "shop.db")
        assert isinstance(configuration.client_options().get("database"), SqliteDatabase)
