"""Which ledger this is: a running process goes on with the very one it has opened, or stops.

A file that was replaced, deleted or set back, and a standby that was promoted without the last commits, do not know
what was sent in the meantime. Going on with one of these pays twice, so the process stops: it is started anew, and then
looks up at the bank what it has not sent itself.
"""

import secrets
from collections.abc import Mapping

from attrs import define, field

from paystar_async.errors import SchemaMismatch, StorageError
from paystar_async.runtime.events import logger
from paystar_async.storage.database import Database

Account = tuple[str, str, str]
"""Product, account and deposit account of a row of the ledger's holds."""

RESTORED_SECONDS = 7 * 86_400.0
"""How long after a restore or a failover new work is looked up as well: it may be the old one, submitted again."""

_FIND = "SELECT value FROM paystar_payout_settings WHERE name = 'identity'"
_KEEP = """
INSERT INTO paystar_payout_settings (name, value) VALUES ('identity', :identity) ON CONFLICT (name) DO NOTHING
"""
_ORIGIN = "SELECT CAST(:origin AS TEXT) AS origin, CAST(:now AS DOUBLE PRECISION) AS at"
_FIND_ORIGIN = "SELECT value FROM paystar_payout_settings WHERE name = 'origin'"
_KEEP_ORIGIN = """
INSERT INTO paystar_payout_settings (name, value) VALUES ('origin', :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
OLDER = "the payout ledger is older than it was before: it was restored, or lost its last changes"
_HINT = (
    "stop what pays from this ledger, make sure that it is the right one, then start anew: what was not sent by the "
    "new process is looked up at the bank before it is sent"
)


@define
class LedgerIdentity:
    """The ledger that a process has opened, and how far it has seen it come.

    Attributes:
        runner: names this opening of the ledger; what another one submitted is looked up before it is sent.
        failure: why the ledger is used no more, once it was found to be another or an older one.
        origin: what ``:origin`` was when the ledger was opened; None if the server does not say.
        restored_at: when it was first opened in a new place, in the ledger's time: what was submitted right before
            that may be lost, and is submitted again by people who do not know that it was paid.
    """

    runner: str = field(factory=lambda: secrets.token_hex(8))
    failure: str | None = None
    origin: str | None = None
    restored_at: float = float("-inf")
    _identity: str | None = None
    _versions: dict[Account, int] = field(factory=dict[Account, int])

    async def open(self, database: Database, now: float) -> None:
        """Read which ledger it is; at first use give it a name.

        Args:
            database: where it lies.
            now: the ledger's time, where the database has no clock of its own.

        Raises:
            StorageError: it is not the one that was opened before.
        """
        self.check()
        if self._identity is None:
            rows = await database.fetch(_FIND)
            if not rows:
                await database.execute(_KEEP, {"identity": secrets.token_hex(16)})
                rows = await database.fetch(_FIND)
            self.origin = await self._read_origin(database, now)
            self._identity = rows[0]["value"]
            return
        rows = await database.fetch(_FIND)
        if not rows or rows[0]["value"] != self._identity:
            self.refuse("the payout ledger was replaced by another one while it was in use")

    async def _read_origin(self, database: Database, now: float) -> str | None:
        """Return where the ledger lies, and note when it came there."""
        try:
            [here] = await database.fetch(_ORIGIN, {"now": now})
        except SchemaMismatch:  # it has no such function; whatever else went wrong may go better when it is opened next
            logger.warning("payouts: this server does not tell its timeline; a failover is found by older rows alone")
            return None
        origin: str = here["origin"]
        rows = await database.fetch(_FIND_ORIGIN)
        before, _, moment = rows[0]["value"].partition(" ") if rows else ("", "", "")
        place = origin.rpartition(":")[2]  # the number of a device may be another after each boot
        if before != place:
            moment = str(here["at"]) if rows else ""
            await database.execute(_KEEP_ORIGIN, {"value": f"{place} {moment}"})
        self.restored_at = float(moment or "-inf")
        return origin

    def is_newly_restored(self, now: float) -> bool:
        """Return True if what is submitted now may have been paid before the ledger was restored."""
        return now < self.restored_at + RESTORED_SECONDS

    @property
    def is_known(self) -> bool:
        """Return True once the ledger was opened; its tables are never laid out again."""
        return self._identity is not None

    def check(self) -> None:
        """Raise StorageError if the ledger was found to be another or an older one."""
        if self.failure is not None:
            raise StorageError(self.failure, hint=_HINT)

    def check_origin(self, origin: str) -> None:
        """Raise StorageError if the file was replaced, or the server has failed over, since the ledger was opened."""
        if origin != (self.origin or ""):
            is_file = ":" in origin
            self.refuse(f"the payout ledger's {'file was replaced' if is_file else 'server failed over'} while in use")

    def check_version(self, version: int, seen: int) -> None:
        """Raise StorageError if a row that only counts up has not: the ledger is older than what was seen of it.

        Args:
            version: the version of an account's row as it was read.
            seen: the version noted before it was read: a response may be late, and others have noted newer ones since.
        """
        if version < seen:
            self.refuse(OLDER)

    def note_version(self, account: Account, version: int) -> None:
        """Note the committed version of an account's row; it never goes back."""
        self._versions[account] = max(version, self._versions.get(account, 0))

    def versions(self) -> Mapping[Account, int]:
        """Return the versions that were noted so far."""
        return dict(self._versions)

    def refuse(self, why: str) -> None:
        """Use the ledger no more; raise StorageError now and from now on."""
        self.failure = f"{why}; nothing was sent"
        self.check()
