"""Keys in a database: a file shared by the processes of one host, or a PostgreSQL server shared by many hosts."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from os import PathLike

from paystar_async.errors import SchemaMismatch, StorageError, StorageUnavailable
from paystar_async.keys.serialization import StoredKey, stored, to_record, to_text
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import Clock
from paystar_async.storage.database import Database, Parameters, Row, Transaction
from paystar_async.storage.encryption import Crypto
from paystar_async.storage.factory import database as chosen
from paystar_async.values.secret import Secret

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS paystar_keys (
        realm TEXT NOT NULL,
        account TEXT NOT NULL,
        version BIGINT NOT NULL,
        owner TEXT,
        until DOUBLE PRECISION,
        lost BIGINT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (realm, account)
    )
    """,
)
_PROBE = "SELECT version, owner, until, lost, body FROM paystar_keys WHERE version < 0"
_LOAD = "SELECT version, owner, until, lost, body FROM paystar_keys WHERE realm = :realm AND account = :account"
_INSERT = """
INSERT INTO paystar_keys (realm, account, version, lost, body) VALUES (:realm, :account, 1, :lost, :body)
ON CONFLICT (realm, account) DO NOTHING
RETURNING version, owner, until, lost, body
"""
# A claim that ends later than any could was made before the clock was set back: it holds nobody up.
_CLAIM = """
UPDATE paystar_keys
SET version = version + CASE WHEN owner = :owner THEN 0 ELSE 1 END, owner = :owner, until = :now + :ttl
WHERE realm = :realm AND account = :account AND version = :version
AND NOT (COALESCE(owner, :owner) <> :owner AND COALESCE(until, 0) > :now AND COALESCE(until, 0) <= :now + :ttl)
RETURNING version, owner, until, lost, body
"""
_REPLACE = """
UPDATE paystar_keys SET version = version + 1, owner = NULL, until = NULL, lost = :lost, body = :body
WHERE realm = :realm AND account = :account AND version = :version
RETURNING version, owner, until, lost, body
"""


class DatabaseKeyStore:
    """Holds key records in a database.

    Args:
        database: a path, ``postgresql://…`` or a Database; one that is handed in is never closed here.
        crypto: seals the tokens; None: they are stored as they are.
        clock: whose time a claim in a file ends by; a server uses its own.
    """

    def __init__(
        self,
        database: str | PathLike[str] | Database,
        *,
        crypto: Crypto | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._database = chosen(database, clock)
        self._given = isinstance(database, Database)
        self._crypto = crypto
        self._laid_out = False

    async def load(self, key: KeyId) -> KeyRecord | None:
        """The record as it stands; a table that is gone is made anew."""
        was_laid_out = self._laid_out
        try:
            held = await self._load(key)
        except (SchemaMismatch, StorageUnavailable):
            if not was_laid_out:
                raise
            held = await self._load(key)  # dropped or deleted since: the second try lays it out again
        return self._record(key, held)

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Claim the renewal for ``ttl`` seconds or extend one's own; None if another has it or the version is gone."""
        return await self._change(key, version, _CLAIM, {"owner": owner, "ttl": float(ttl)})

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:  # noqa: ARG002
        """Put ``new`` in place of ``version`` and end the claim; None if the version is gone."""
        values: Parameters = {"lost": int(new.refresh_rejected), "body": to_text(key, new, self._crypto)}
        return await self._change(key, version, _REPLACE if version else _INSERT, values)

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Note that the refresh token is dead, keep everything else; None if the version is gone."""
        return await self._change(key, version, _REPLACE, {"lost": 1})

    async def aclose(self) -> None:
        """Close the database, unless it was handed in; the store may be used again afterwards."""
        if not self._given:
            await self._database.aclose()

    async def _change(self, key: KeyId, version: int, sql: str, values: Parameters) -> KeyRecord | None:
        async with self._tables() as database, database.transaction() as transaction:
            held = await _held(transaction, key)
            self._record(key, held)  # what cannot be read raises, before anything is put in its place
            known: Parameters = {
                "realm": key.realm,
                "account": key.account,
                "version": version,
                "body": held.body if held else None,
            }
            return self._record(key, _stored(key, await transaction.fetch(sql, {**known, **values})))

    async def _load(self, key: KeyId) -> StoredKey | None:
        async with self._tables() as database:
            return await _held(database, key)

    def _record(self, key: KeyId, held: StoredKey | None) -> KeyRecord | None:
        return None if held is None else to_record(key, held, self._crypto)

    async def _lay_out(self) -> None:
        await self._database.migrate("keys", SCHEMA)
        try:
            await self._database.fetch(_PROBE)
        except SchemaMismatch:
            # The table was dropped by itself: the schema's version, which is still on record, hides that.
            with suppress(StorageError):  # another process may just be doing the same
                await self._database.execute(SCHEMA[0])
            await self._database.fetch(_PROBE)

    @asynccontextmanager
    async def _tables(self) -> AsyncGenerator[Database, None]:
        try:
            if not self._laid_out:
                await self._lay_out()
                self._laid_out = True
            yield self._database
        except StorageError:
            self._laid_out = False  # the file may be another by now, or the server restored
            raise


async def _held(reader: Database | Transaction, key: KeyId) -> StoredKey | None:
    return _stored(key, await reader.fetch(_LOAD, {"realm": key.realm, "account": key.account}))


def _stored(key: KeyId, rows: list[Row]) -> StoredKey | None:
    for row in rows:
        if isinstance(row["body"], str):
            row["body"] = Secret(row["body"])
        return stored(key, row)
    return None
