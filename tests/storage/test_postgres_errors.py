"""Errors of PostgreSQL and its driver, mapped to errors of this package."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from paystar_async.errors import (
    ConfigurationError,
    PaystarError,
    SchemaMismatch,
    StorageCorrupt,
    StorageError,
    StorageUnavailable,
)
from paystar_async.storage.postgres import PostgresDatabase
from tests.servers import PostgresServer


@pytest_asyncio.fixture
async def db(postgres_schema: str) -> AsyncIterator[PostgresDatabase]:
    db = PostgresDatabase(postgres_schema)
    yield db
    await db.aclose()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("53100", StorageUnavailable),  # disk full
        ("57014", StorageUnavailable),  # statement timeout
        ("40P01", StorageUnavailable),  # deadlock
        ("25006", StorageUnavailable),  # read-only standby
        ("42501", StorageUnavailable),  # insufficient privilege
        ("42P01", SchemaMismatch),
        ("42703", SchemaMismatch),
        ("XX001", StorageCorrupt),
        ("XX002", StorageCorrupt),
        ("XX000", StorageError),
        ("23505", StorageError),
    ],
)
async def test_execute_maps_server_errors(db: PostgresDatabase, code: str, kind: type[StorageError]) -> None:
    with pytest.raises(StorageError) as refusal:
        await db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'server text' USING ERRCODE = '{code}'; END $$")
    assert type(refusal.value) is kind
    assert ("server text" in str(refusal.value)) is (kind is not StorageError)


async def test_fetch_invalid_utf8_is_storage_error(postgres_server: PostgresServer) -> None:
    with postgres_server.connect() as owner:
        owner.execute(b"CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    db = PostgresDatabase(postgres_server.url.replace("/postgres?", "/bytes?"))
    try:
        with pytest.raises(StorageError, match="22021") as refusal:
            await db.fetch("SELECT chr(200) AS word")
        assert "UTF8" in refusal.value.hint
    finally:
        await db.aclose()
        with postgres_server.connect() as owner:
            owner.execute("DROP DATABASE bytes WITH (FORCE)")


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "canary"), StorageError),
        (ConnectionResetError(104, "reset by peer"), StorageUnavailable),
        (TimeoutError(), StorageUnavailable),
        (asyncio.InvalidStateError("canary"), StorageError),
        (psycopg.DataError("canary"), StorageError),
        (psycopg.ProgrammingError("canary"), StorageError),
        (ValueError("canary"), StorageError),
        (RuntimeError("<Lock> is bound to a different event loop"), ConfigurationError),
    ],
)
async def test_map_error_driver_exception_is_paystar_error(
    db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, problem: Exception, kind: type[PaystarError]
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise problem

    for name in ("execute", "fetchall"):
        async with db.transaction() as transaction:
            with monkeypatch.context() as patch:
                patch.setattr(psycopg.AsyncCursor, name, fail)
                with pytest.raises(kind) as refusal:
                    await transaction.fetch("SELECT 1")
        assert type(refusal.value) is kind
        assert "canary" not in str(refusal.value)
        assert refusal.value.__context__ is None
