"""Look up recovered work at the bank before its first send: a ledger may have forgotten what was sent.

A restored backup, a copied file and a promoted standby that lagged behind show transfers as planned that were paid. So
what this opening of the ledger did not submit itself is looked for in the bank's list, and what is there is not sent.
"""

from collections.abc import Sequence
from contextlib import aclosing, suppress

import anyio
from attrs import define, field

from paystar_async.errors import StorageError
from paystar_async.listing import EntryKey, entry_key, pages
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.channels import NoListError, PayoutChannel, find_each
from paystar_async.payouts.decisions import backoff
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.leases import ChunkSnapshot, mark_looked_up, postpone
from paystar_async.payouts.ledger.observations import apply_observations
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import FINAL, TransferState
from paystar_async.runtime.events import logger
from paystar_async.storage.database import Parameters

FIRST_PAUSE_SECONDS = 1.0

_OLDEST = """
SELECT MIN(b.created_at) AS at FROM paystar_payout_chunks c JOIN paystar_payout_batches b ON b.batch_id = c.batch_id
WHERE c.product = :product AND c.account = :account AND c.deposit = :deposit AND c.phase IN ('send', 'funds')
"""
_PLANNED = "SELECT track_id FROM paystar_payout_transfers WHERE chunk_id = :chunk_id AND state = 'planned'"


@define
class _DepositList:
    """What was seen of the bank's list of one deposit account."""

    lock: anyio.Lock = field(factory=anyio.Lock)
    newest: frozenset[EntryKey] = frozenset()


@define
class RecoveryCheck:
    """Looks chunks up at the bank before their first send.

    Attributes:
        tables: the ledger.
        timeout: seconds one request may take.
        send_deadline: seconds after its intent within which a first byte may leave.
    """

    tables: LedgerDatabase
    timeout: float
    send_deadline: float
    _lists: dict[tuple[str, str], _DepositList] = field(factory=dict[tuple[str, str], _DepositList])

    def is_needed(self, sight: ChunkSnapshot) -> bool:
        """Return True if a chunk has to be looked up before it is sent."""
        return sight.policy.look_before_send != "never" and sight.chunk.runner != self.tables.identity.runner

    async def check(self, sight: ChunkSnapshot, product: PayoutChannel) -> bool:
        """Look a chunk's transfers up, and take in what the bank has of them.

        Args:
            sight: the chunk.
            product: what it pays out.

        Returns:
            True if the chunk may be sent now; False if it was put off: the bank could not be asked, or it is too early.

        Raises:
            StorageError: the ledger cannot be used; nothing was sent.
        """
        # Right after a failover a sender whose intent was lost with the newest commits may still be about to send.
        until_sent = self.tables.identity.restored_at + self.send_deadline - sight.at
        if until_sent > 0:
            await postpone(self.tables, sight, until_sent)
            return False
        try:
            await self._look_up(sight, product)
        except StorageError:
            raise
        except Exception as error:  # a user middleware may raise anything; nothing is sent without a response
            logger.warning("payouts: chunk %s cannot be looked up before it is sent: %s", sight.chunk.chunk_id, error)
            await postpone(self.tables, sight, backoff(FIRST_PAUSE_SECONDS, sight.chunk.checks))
            return False
        await mark_looked_up(self.tables, sight)
        return True

    async def _look_up(self, sight: ChunkSnapshot, product: PayoutChannel) -> None:
        chunk = sight.chunk
        seen = self._lists.setdefault((chunk.product, chunk.deposit), _DepositList())
        with suppress(NoListError):
            async with seen.lock:  # the first walk may be a long one; those that wait for it read one page each
                await self._walk(seen, product, chunk.deposit)
            return
        rows = await self.tables.fetch(_PLANNED, {"chunk_id": chunk.chunk_id})
        await self._find(product, [row["track_id"] for row in rows])

    async def _find(self, product: PayoutChannel, track_ids: Sequence[str]) -> None:
        found = await find_each(product, track_ids, timeout=self.timeout)
        await apply_observations(
            self.tables, product, [entry for entries in found.values() for entry in entries], "recovered"
        )

    async def _walk(self, seen: _DepositList, product: PayoutChannel, deposit: str) -> None:
        """Take in the bank's list as far back as something that is still to be sent may stand in it."""
        of_deposit: Parameters = {"product": product.name, "account": product.account, "deposit": deposit}
        oldest = (await self.tables.fetch(_OLDEST, of_deposit))[0]["at"]
        newest: frozenset[EntryKey] | None = None
        failed: set[str] = set()
        async with aclosing(pages(lambda skip: product.list(deposit, skip, self.timeout))) as walked:
            async for page in walked:
                keys = frozenset(key for entry in page if (key := entry_key(entry)) is not None)
                newest = keys if newest is None else newest
                alive = [entry for entry in page if entry.status != TransferStatus.FAILED]
                failed |= _named(product, page) - _named(product, alive)
                await apply_observations(self.tables, product, alive, "recovered")
                if keys & seen.newest:
                    break
                if oldest is not None and await self._is_decided_before(product, page, oldest):
                    break
        await self._learn_failed(product, failed)
        seen.newest = newest or seen.newest

    async def _learn_failed(self, product: PayoutChannel, track_ids: set[str]) -> None:
        """Take in what failed of what is still to be sent: another page may show an attempt that did not fail."""
        records = await queries.transfers(self.tables, product.name, product.account, track_ids)
        unsent = [
            one.track_id for one in records.values() if one.state in (TransferState.PLANNED, TransferState.PAUSED_FUNDS)
        ]
        await self._find(product, unsent)

    async def _is_decided_before(self, product: PayoutChannel, page: Sequence[Settlement], moment: float) -> bool:
        """Return True if a page shows a transfer that was decided before ``moment``: what is behind it is older.

        assumed: the bank lists the newest first.
        """
        names = _named(product, page)
        records = await queries.transfers(self.tables, product.name, product.account, names)
        return any(one.state in FINAL and one.changed_at < moment for one in records.values())


def _named(product: PayoutChannel, entries: Sequence[Settlement]) -> set[str]:
    return {product.sent_track_id(entry.track_id) for entry in entries if entry.track_id}
