"""Check chunks at the bank before their first send, because a restored ledger may lack transfers that were paid.

A restored backup, a copied file or a promoted standby that lagged behind shows paid transfers as planned. So transfers
that this runner did not submit itself are looked up in the bank's list, and those that are listed are not sent.
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
from paystar_async.storage.record_types import require_time

FIRST_PAUSE_SECONDS = 1.0

_OLDEST = """
SELECT MIN(b.created_at) AS at FROM paystar_payout_chunks c JOIN paystar_payout_batches b ON b.batch_id = c.batch_id
WHERE c.product = :product AND c.account = :account AND c.deposit = :deposit AND c.phase IN ('send', 'funds')
"""
_PLANNED = "SELECT track_id FROM paystar_payout_transfers WHERE chunk_id = :chunk_id AND state = 'planned'"


@define
class _DepositList:
    """The part of one deposit account's list at the bank that was read before."""

    lock: anyio.Lock = field(factory=anyio.Lock)
    newest: frozenset[EntryKey] = frozenset()


@define
class RecoveryCheck:
    """A check of chunks at the bank before their first send.

    Attributes:
        ledger: the ledger that holds the chunks.
        timeout: seconds one request may take.
        send_deadline: seconds after a lease was acquired within which the first byte may be written.
    """

    ledger: LedgerDatabase
    timeout: float
    send_deadline: float
    _lists: dict[tuple[str, str], _DepositList] = field(factory=dict[tuple[str, str], _DepositList])

    def is_needed(self, snapshot: ChunkSnapshot) -> bool:
        """Return True if a chunk has to be checked before it is sent."""
        return snapshot.policy.look_before_send != "never" and snapshot.chunk.runner != self.ledger.identity.runner

    async def check(self, snapshot: ChunkSnapshot, channel: PayoutChannel) -> bool:
        """Look up a chunk's transfers, and update the ledger from the bank's entries.

        Args:
            snapshot: the chunk.
            channel: the payout channel of the chunk.

        Returns:
            True if the chunk may be sent now; False if it was postponed: the look-up failed, or it is too early.

        Raises:
            StorageError: the ledger cannot be used; nothing was sent.
        """
        # Right after a failover a sender whose lease was lost with the newest commits may still be about to send.
        wait_seconds = self.ledger.identity.restored_at + self.send_deadline - snapshot.at
        if wait_seconds > 0:
            await postpone(self.ledger, snapshot, wait_seconds)
            return False
        try:
            await self._look_up(snapshot, channel)
        except StorageError:
            raise
        except Exception as error:  # a user middleware may raise anything; nothing is sent without a response
            logger.warning("payouts: cannot look up chunk %s before it is sent: %s", snapshot.chunk.chunk_id, error)
            await postpone(self.ledger, snapshot, backoff(FIRST_PAUSE_SECONDS, snapshot.chunk.checks))
            return False
        await mark_looked_up(self.ledger, snapshot)
        return True

    async def _look_up(self, snapshot: ChunkSnapshot, channel: PayoutChannel) -> None:
        chunk = snapshot.chunk
        bank_list = self._lists.setdefault((chunk.product, chunk.deposit), _DepositList())
        with suppress(NoListError):
            async with bank_list.lock:  # the first reader may read many pages; the next ones read one page each
                await self._read_list(bank_list, channel, chunk.deposit)
            return
        rows = await self.ledger.fetch(_PLANNED, {"chunk_id": chunk.chunk_id})
        await self._look_up_each(channel, [row["track_id"] for row in rows])

    async def _look_up_each(self, channel: PayoutChannel, track_ids: Sequence[str]) -> None:
        entries_by_track_id = await find_each(channel, track_ids, timeout=self.timeout)
        await apply_observations(
            self.ledger, channel, [entry for entries in entries_by_track_id.values() for entry in entries], "recovered"
        )

    async def _read_list(self, bank_list: _DepositList, channel: PayoutChannel, deposit: str) -> None:
        """Update the ledger from the bank's list, back to the oldest chunk that is still to be sent."""
        deposit_params: Parameters = {"product": channel.name, "account": channel.account, "deposit": deposit}
        oldest = (await self.ledger.fetch(_OLDEST, deposit_params))[0]["at"]
        if oldest is not None:
            require_time(oldest, "created_at of a batch")
        newest: frozenset[EntryKey] | None = None
        failed: set[str] = set()
        async with aclosing(pages(lambda skip: channel.list(deposit, skip, self.timeout))) as page_iterator:
            async for page in page_iterator:
                keys = frozenset(key for entry in page if (key := entry_key(entry)) is not None)
                newest = keys if newest is None else newest
                alive = [entry for entry in page if entry.status != TransferStatus.FAILED]
                failed |= _track_ids(channel, page) - _track_ids(channel, alive)
                await apply_observations(self.ledger, channel, alive, "recovered")
                if keys & bank_list.newest:
                    break
                if oldest is not None and await self._is_decided_before(channel, page, oldest):
                    break
        await self._look_up_failed(channel, failed)
        bank_list.newest = newest or bank_list.newest

    async def _look_up_failed(self, channel: PayoutChannel, track_ids: set[str]) -> None:
        """Look up unsent transfers with a failed entry: another page may list an attempt that did not fail."""
        records = await queries.transfers(self.ledger, channel.name, channel.account, track_ids)
        unsent = [
            record.track_id
            for record in records.values()
            if record.state in (TransferState.PLANNED, TransferState.PAUSED_FUNDS)
        ]
        await self._look_up_each(channel, unsent)

    async def _is_decided_before(self, channel: PayoutChannel, page: Sequence[Settlement], moment: float) -> bool:
        """Return True if a page lists a transfer that was decided before ``moment``: later entries are older.

        assumed (list-order): the bank lists the newest first.
        """
        names = _track_ids(channel, page)
        records = await queries.transfers(self.ledger, channel.name, channel.account, names)
        return any(record.state in FINAL and record.changed_at < moment for record in records.values())


def _track_ids(channel: PayoutChannel, entries: Sequence[Settlement]) -> set[str]:
    return {channel.sent_track_id(entry.track_id) for entry in entries if entry.track_id}
