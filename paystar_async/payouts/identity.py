"""Which ledger this is: a running process goes on with the very one it has opened, or stops.

A file that was replaced, deleted or set back, and a standby that was promoted without the last commits, do not know
what was sent in the meantime. Going on with one of these pays twice, so the process stops: it is started anew, and then
looks up at the bank what it has not sent itself.
"""

import secrets
from collections.abc import Mapping

from attrs import define, field

from paystar_async.errors import StorageError, StorageUnavailable
from paystar_async.events import logger
from paystar_async.storage.database import Database

Account = tuple[str, str, str]
"""Product, account and deposit account of a row of the ledger's holds."""

_FIND = "SELECT held FROM paystar_payout_settings WHERE name = 'identity'"
_KEEP = """
INSERT INTO paystar_payout_settings (name, held) VALUES ('identity', :identity) ON CONFLICT (name) DO NOTHING
"""
_ORIGIN = "SELECT CAST(:origin AS TEXT) AS origin"
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
    """

    runner: str = field(factory=lambda: secrets.token_hex(8))
    failure: str | None = None
    origin: str | None = None
    _identity: str | None = None
    _versions: dict[Account, int] = field(factory=dict[Account, int])

    async def open(self, database: Database) -> None:
        """Read which ledger it is; at first use give it a name.

        Raises:
            StorageError: it is not the one that was opened before.
        """
        self.check()
        if self._identity is None:
            rows = await database.fetch(_FIND)
            if not rows:
                await database.execute(_KEEP, {"identity": secrets.token_hex(16)})
                rows = await database.fetch(_FIND)
            self.origin = await _origin(database)
            self._identity = rows[0]["held"]
            return
        rows = await database.fetch(_FIND)
        if not rows or rows[0]["held"] != self._identity:
            self.refuse("the payout ledger was replaced by another one while it was in use")

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

    def check_version(self, account: Account, version: int, seen: int | None = None) -> None:
        """Raise StorageError if a row that only counts up has not: the ledger is older than what was seen of it.

        Args:
            account: whose row.
            version: its version now.
            seen: what it was at least; by default the version that was noted last.
        """
        if version < (self._versions.get(account, 0) if seen is None else seen):
            self.refuse("the payout ledger is older than it was before: it was restored, or lost its last changes")

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


async def _origin(database: Database) -> str | None:
    try:
        origin: str = (await database.fetch(_ORIGIN))[0]["origin"]
    except StorageUnavailable:
        raise
    except StorageError:
        logger.warning("payouts: this server does not tell its timeline; a failover is found by older rows alone")
        return None
    return origin
