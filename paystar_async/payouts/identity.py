"""Detect that the ledger was replaced or restored while a process uses it, and stop the process from paying.

A file that was replaced, deleted or restored, and a standby that was promoted without the last commits, lack transfers
that were sent since. To continue would pay twice, so the process stops. A restarted process looks up at the bank every
transfer that it did not submit itself.
"""

import secrets
from collections.abc import Mapping

from attrs import define, field

from paystar_async.errors import SchemaMismatch, StorageError
from paystar_async.runtime.events import logger
from paystar_async.storage.database import Database
from paystar_async.storage.record_types import parse_float, require_text, require_time

Account = tuple[str, str, str]
"""Product, account and deposit account of a row of the ledger's holds."""

RESTORED_SECONDS = 7 * 86_400.0
"""Seconds after a restore or failover in which new transfers are looked up too: a lost one may be submitted again."""

MAX_NOTED_CHUNKS = 100_000
"""Chunks whose last attempt a process remembers, about 20 MB; a failover loses the latest ones."""

_SELECT_IDENTITY = "SELECT value FROM paystar_payout_settings WHERE name = 'identity'"
_INSERT_IDENTITY = """
INSERT INTO paystar_payout_settings (name, value) VALUES ('identity', :identity) ON CONFLICT (name) DO NOTHING
"""
_SELECT_ORIGIN = "SELECT CAST(:origin AS TEXT) AS origin, CAST(:now AS DOUBLE PRECISION) AS at"
_SELECT_KNOWN_ORIGIN = "SELECT value FROM paystar_payout_settings WHERE name = 'origin'"
_UPSERT_ORIGIN = """
INSERT INTO paystar_payout_settings (name, value) VALUES ('origin', :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
OLDER = "the payout ledger is older than it was before: it was restored, or lost its last changes"
_HINT = (
    "stop every process that pays from this ledger, make sure that the ledger is the right one, then restart: "
    "transfers of earlier processes are looked up at the bank before they are sent"
)


@define
class LedgerIdentity:
    """The identity of the ledger that a process has opened, and what the process has seen and done in it.

    Attributes:
        runner: the name of this session; transfers that another runner submitted are looked up before they are sent.
        failure: why the ledger must not be used any more, or None.
        origin: the value of ``:origin`` when the ledger was opened; None if the server does not report it.
        restored_at: when the ledger was first opened at its present origin, in the ledger's time: transfers submitted
            right before may be lost, and be submitted again by users who do not know that they were paid.
    """

    runner: str = field(factory=lambda: secrets.token_hex(8))
    failure: str | None = None
    origin: str | None = None
    restored_at: float = float("-inf")
    _identity: str | None = None
    _versions: dict[Account, int] = field(factory=dict[Account, int])
    _attempts: dict[str, int] = field(factory=dict[str, int])

    async def open(self, database: Database, now: float) -> None:
        """Read the ledger's identity, and create it at first use.

        Args:
            database: the ledger's database.
            now: the ledger's time, for a database without its own clock.

        Raises:
            StorageError: the ledger is not the one that was opened before.
        """
        self.check()
        rows = await database.fetch(_SELECT_IDENTITY)
        if self._identity is not None:
            if not rows or rows[0]["value"] != self._identity:
                self.refuse("the payout ledger was replaced by another one while it was in use")
            return
        if not rows:
            await database.execute(_INSERT_IDENTITY, {"identity": secrets.token_hex(16)})
            rows = await database.fetch(_SELECT_IDENTITY)
        self.origin = await self._read_origin(database, now)
        self._identity = rows[0]["value"]

    async def _read_origin(self, database: Database, now: float) -> str | None:
        """Return the ledger's origin, and record when the ledger was first opened there."""
        try:
            [here] = await database.fetch(_SELECT_ORIGIN, {"now": now})
        except SchemaMismatch:  # the function does not exist; any other error may not recur at the next open
            logger.warning(
                "payouts: this server does not report its timeline; a failover is detected by older rows alone"
            )
            return None
        origin: str = here["origin"]
        rows = await database.fetch(_SELECT_KNOWN_ORIGIN)
        known = require_text(rows[0]["value"], "origin of the payout ledger") if rows else ""
        before, _, restored_at = known.partition(" ")
        stable_origin = origin.rpartition(":")[2]  # the device number may change at each boot
        if before != stable_origin:
            restored_at = str(here["at"]) if rows else ""
            await database.execute(_UPSERT_ORIGIN, {"value": f"{stable_origin} {restored_at}"})
        if restored_at:
            self.restored_at = require_time(parse_float(restored_at), "restore of the payout ledger")
        return origin

    def is_newly_restored(self, now: float) -> bool:
        """Return True if transfers submitted now may have been paid before the ledger was restored."""
        return now < self.restored_at + RESTORED_SECONDS

    @property
    def origin_sql(self) -> str:
        """Return the SQL expression that ``check_origin`` compares; a text on servers that do not report an origin."""
        return ":origin" if self.origin else "''"

    @property
    def is_known(self) -> bool:
        """Return True once the ledger was opened; its tables are never created again."""
        return self._identity is not None

    def check(self) -> None:
        """Raise StorageError if the ledger was replaced or restored."""
        if self.failure is not None:
            raise StorageError(self.failure, hint=_HINT)

    def check_origin(self, origin: str) -> None:
        """Raise StorageError if the file was replaced, or the server has failed over, since the ledger was opened."""
        if origin != (self.origin or ""):
            is_file = ":" in origin
            self.refuse(f"the payout ledger's {'file was replaced' if is_file else 'server failed over'} while in use")

    def check_version(self, version: int, noted_version: int) -> None:
        """Raise StorageError if a version went back: the ledger is older than it was.

        Args:
            version: the version of an account's row that was read.
            noted_version: the version noted before the read; a late response may be older than versions noted since.
        """
        if version < noted_version:
            self.refuse(OLDER)

    def note_version(self, account: Account, version: int) -> None:
        """Note the committed version of an account's row."""
        self._versions[account] = max(version, self._versions.get(account, 0))

    def check_attempt(self, chunk_id: str, attempt: int) -> None:
        """Raise StorageError if this process has begun the attempt before: the ledger has lost what followed.

        Versions alone do not show it: after the loss an operator or another process may have raised them again.
        """
        if attempt <= self._attempts.get(chunk_id, 0):
            self.refuse(OLDER)

    def note_attempt(self, chunk_id: str, attempt: int) -> None:
        """Note a committed attempt to send a chunk."""
        self._attempts.pop(chunk_id, None)
        self._attempts[chunk_id] = attempt
        if len(self._attempts) > MAX_NOTED_CHUNKS:
            del self._attempts[next(iter(self._attempts))]

    def versions(self) -> Mapping[Account, int]:
        """Return the noted version by account."""
        return dict(self._versions)

    def refuse(self, reason: str) -> None:
        """Raise StorageError now and at every later check."""
        self.failure = f"{reason}; nothing was sent"
        self.check()
