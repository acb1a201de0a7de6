"""Keys in a database: a file shared by the processes of one host, or a PostgreSQL server shared by many hosts."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from os import PathLike

from paystar_async.errors import SchemaMismatch, StorageCorrupt, StorageError, StorageUnavailable
from paystar_async.keys.serialization import StoredKey, parse_stored_key, to_payload, to_record
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import Clock
from paystar_async.storage.database import Database, Parameters, Row, Transaction
from paystar_async.storage.encryption import Crypto
from paystar_async.storage.factory import database as open_database
from paystar_async.values.arguments import require_setting
from paystar_async.values.secret import Secret

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS paystar_keys (
        realm TEXT NOT NULL,
        account TEXT NOT NULL,
        version BIGINT NOT NULL,
        owner TEXT,
        lease_expires_at DOUBLE PRECISION,
        refresh_rejected BIGINT NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (realm, account)
    )
    """,
)
_PROBE = "SELECT version, owner, lease_expires_at, refresh_rejected, payload FROM paystar_keys WHERE version < 0"
_LOAD = """
SELECT version, owner, lease_expires_at, refresh_rejected, payload FROM paystar_keys
WHERE realm = :realm AND account = :account
"""
_INSERT = """
INSERT INTO paystar_keys (realm, account, version, refresh_rejected, payload)
VALUES (:realm, :account, 1, :refresh_rejected, :payload)
ON CONFLICT (realm, account) DO NOTHING
RETURNING version, owner, lease_expires_at, refresh_rejected, payload
"""
# A lease longer than ``ttl`` was acquired before the clock was set back, and counts as expired.
_ACQUIRE_LEASE = """
UPDATE paystar_keys
SET version = version + CASE WHEN owner = :owner THEN 0 ELSE 1 END, owner = :owner, lease_expires_at = :now + :ttl
WHERE realm = :realm AND account = :account AND version = :version
AND NOT (
    COALESCE(owner, :owner) <> :owner
    AND COALESCE(lease_expires_at, 0) > :now AND COALESCE(lease_expires_at, 0) <= :now + :ttl
)
RETURNING version, owner, lease_expires_at, refresh_rejected, payload
"""
_REPLACE = """
UPDATE paystar_keys
SET version = version + 1, owner = NULL, lease_expires_at = NULL,
    refresh_rejected = :refresh_rejected, payload = :payload
WHERE realm = :realm AND account = :account AND version = :version
RETURNING version, owner, lease_expires_at, refresh_rejected, payload
"""


class DatabaseKeyStore:
    """A key store in a database.

    Args:
        database: a path, ``postgresql://…`` or a Database, which is never closed here.
        crypto: encrypts the tokens; None: they are stored unencrypted.
        clock: measures leases in a file; a server uses its own clock.

    Raises:
        ConfigurationError: an argument is of another type.
    """

    def __init__(
        self,
        database: str | PathLike[str] | Database,
        *,
        crypto: Crypto | None = None,
        clock: Clock | None = None,
    ) -> None:
        require_setting("crypto", crypto, Crypto)
        self._database = open_database(database, clock)
        self._is_external = isinstance(database, Database)
        self._crypto = crypto
        self._is_migrated = False

    async def load(self, key: KeyId) -> KeyRecord | None:
        """Return the stored record, or None; recreate a table that was dropped."""
        was_migrated = self._is_migrated
        try:
            stored_key = await self._load(key)
        except (SchemaMismatch, StorageUnavailable):
            if not was_migrated:
                raise
            stored_key = await self._load(key)  # dropped or deleted since: the second attempt creates the table
        return self._decode(key, stored_key)

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        """Acquire or extend the lease for ``ttl`` seconds; None if another owner has it or ``version`` is outdated."""
        return await self._change(key, version, _ACQUIRE_LEASE, {"owner": owner, "ttl": float(ttl)})

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:  # noqa: ARG002
        """Replace ``version`` by ``new`` and end the lease; None if ``version`` is outdated."""
        values: Parameters = {
            "refresh_rejected": int(new.refresh_rejected),
            "payload": to_payload(key, new, self._crypto),
        }
        return await self._change(key, version, _REPLACE if version else _INSERT, values)

    async def mark_rejected(self, key: KeyId, version: int) -> KeyRecord | None:
        """Mark the refresh token as rejected and end the lease; None if ``version`` is outdated."""
        return await self._change(key, version, _REPLACE, {"refresh_rejected": 1})

    async def aclose(self) -> None:
        """Close the database unless the caller owns it; the store may be used again afterwards."""
        if not self._is_external:
            await self._database.aclose()

    async def _change(self, key: KeyId, version: int, sql: str, values: Parameters) -> KeyRecord | None:
        async with self._migrated_database() as database, database.transaction() as transaction:
            stored_key = await _fetch_stored(transaction, key)
            self._decode(key, stored_key)  # raise for an unreadable record before it is overwritten
            params: Parameters = {
                "realm": key.realm,
                "account": key.account,
                "version": version,
                "payload": stored_key.payload if stored_key else None,
            }
            return self._decode(key, _parse_rows(key, await transaction.fetch(sql, {**params, **values})))

    async def _load(self, key: KeyId) -> StoredKey | None:
        async with self._migrated_database() as database:
            return await _fetch_stored(database, key)

    def _decode(self, key: KeyId, stored_key: StoredKey | None) -> KeyRecord | None:
        return None if stored_key is None else to_record(key, stored_key, self._crypto)

    async def _migrate(self) -> None:
        await self._database.migrate("keys", SCHEMA)
        try:
            await self._database.fetch(_PROBE)
        except SchemaMismatch:
            # The table alone was dropped, and the recorded schema version still says that it exists.
            with suppress(StorageError):  # another process may be creating it
                await self._database.execute(SCHEMA[0])
            await self._database.fetch(_PROBE)

    @asynccontextmanager
    async def _migrated_database(self) -> AsyncGenerator[Database, None]:
        """Yield the database after its migration; migrate again after an error of the store."""
        try:
            if not self._is_migrated:
                await self._migrate()
                self._is_migrated = True
            yield self._database
        except StorageError:
            self._is_migrated = False  # the file may have been replaced, or the server restored
            raise


async def _fetch_stored(reader: Database | Transaction, key: KeyId) -> StoredKey | None:
    return _parse_rows(key, await reader.fetch(_LOAD, {"realm": key.realm, "account": key.account}))


def _parse_rows(key: KeyId, rows: list[Row]) -> StoredKey | None:
    for row in rows:
        # SQLite returns bytes from a BLOB, which are no text here, but must not be shown either.
        row["payload"] = Secret(row["payload"]) if isinstance(row["payload"], str) else None
    if len(rows) > 1:
        raise StorageCorrupt(
            f"the {key.realm} key of {key.account} is stored {len(rows)} times, in a table without its primary key",
            hint="delete the older records, and restore the primary key of paystar_keys",
        )
    return parse_stored_key(key, rows[0]) if rows else None
