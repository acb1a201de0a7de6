"""Reconcile the ledger with the bank's list of transfers, and report the differences."""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta

from attrs import define, frozen

from paystar_async.listing import PAGE_SIZE, pages
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.channels import NoListError, PayoutChannel, find_each
from paystar_async.payouts.comparison import Comparison, Mismatch, Scope, is_sent
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.queries import TRANSFER_COLUMNS, transfer_of
from paystar_async.payouts.ledger.session import LedgerDatabase, split
from paystar_async.payouts.runtime import PayoutRuntime
from paystar_async.storage.database import Value
from paystar_async.storage.record_types import require_time
from paystar_async.values.numbers import require_seconds

__all__ = ["Mismatch", "Reconciliation", "reconcile"]

CALL_SECONDS = 30.0
ROWS_PER_QUERY = 1000
LOOK_UPS_PER_TRANSACTION = 200

_IN_SCOPE = "(t.changed_at >= :since OR t.state NOT IN ('success', 'failed', 'reversed'))"
_DEPOSITS = f"""
SELECT DISTINCT t.deposit FROM paystar_payout_transfers t
WHERE t.product = :product AND t.account = :account AND {_IN_SCOPE} ORDER BY t.deposit
"""  # noqa: S608
_ALL_DEPOSITS = """
SELECT DISTINCT deposit FROM paystar_payout_chunks WHERE product = :product AND account = :account ORDER BY deposit
"""
_TRANSFERS = f"""
SELECT {TRANSFER_COLUMNS} FROM paystar_payout_transfers t
WHERE t.product = :product AND t.account = :account AND t.deposit = :deposit AND t.track_id > :after AND {_IN_SCOPE}
ORDER BY t.track_id LIMIT :limit
"""  # noqa: S608
_OLDEST_PLAN = """
SELECT MIN(b.created_at) AS at FROM paystar_payout_transfers t
JOIN paystar_payout_batches b ON b.batch_id = t.batch_id
WHERE t.product = :product AND t.account = :account AND t.deposit = :deposit
    AND t.state NOT IN ('success', 'failed', 'reversed')
"""


@frozen(kw_only=True)
class Reconciliation:
    """The differences between the ledger and the bank's list.

    Attributes:
        compared: number of transfers that both have, of those in the window or undecided.
        learned: number of these that the bank had decided and the ledger did not know; the ledger is updated.
        orphans: entries of the bank's list that are not in the ledger and not provably older than the window: another
            system pays from the same account.
        mismatches: differences that remain after the update; transfers that the ledger never sent and the bank has;
            every track_id that the bank has paid twice.
        missing: track_ids that the ledger sent and the bank does not have, neither in its list nor by a look-up.
        undated: number of further entries that are not in the ledger, behind all that the ledger sent in the window
            and before any older entry: whether they are in the window is unknown.
        listed: number of entries of the bank's list that were compared.
        requests: number of requests that were made.
    """

    compared: int
    learned: int
    orphans: tuple[Settlement, ...]
    mismatches: tuple[Mismatch, ...]
    missing: tuple[str, ...]
    undated: int
    listed: int
    requests: int

    @property
    def ok(self) -> bool:
        """Return True if a request was made and both agree.

        Without a request the result is False: a ledger without transfers has no deposit account to list.
        """
        return self.requests > 0 and not (self.orphans or self.mismatches or self.missing)


async def reconcile(runtime: PayoutRuntime, window: timedelta | float) -> Reconciliation:
    """Compare the transfers of the last ``window`` seconds, and all undecided ones, with the bank's list."""
    seconds = require_seconds("window", window.total_seconds() if isinstance(window, timedelta) else window)
    since = await runtime.ledger.time() - seconds
    reconcilers: list[_Reconciler] = []
    for channel in runtime.channels.values():
        account_params: dict[str, Value] = {"product": channel.name, "account": channel.account, "since": since}
        rows = await runtime.ledger.fetch(_DEPOSITS, account_params)
        # Without a transfer in the window, another system may still have paid from the account.
        rows = rows or await runtime.ledger.fetch(_ALL_DEPOSITS, account_params)
        reconcilers += [_Reconciler(runtime.ledger, channel, row["deposit"], since) for row in rows]
    results = [await reconciler.run() for reconciler in reconcilers]
    return Reconciliation(
        compared=sum(result.compared for result in results),
        learned=sum(result.learned for result in results),
        orphans=tuple(entry for result in results for entry in result.orphans),
        mismatches=tuple(dict.fromkeys(mismatch for result in results for mismatch in result.mismatches)),
        missing=tuple(track_id for result in results for track_id in result.missing),
        undated=sum(result.undated for result in results),
        listed=sum(result.listed for result in results),
        requests=sum(result.requests for result in results),
    )


@define
class _Reconciler:
    """A comparison of one deposit account's transfers with the bank."""

    ledger: LedgerDatabase
    channel: PayoutChannel
    deposit: str
    since: float
    asked_at: float = 0.0
    listed: int = 0
    requests: int = 0

    async def run(self) -> Reconciliation:
        """Read the bank's list through the window, then look up transfers that were not listed."""
        scope = await self._scope()
        comparison = Comparison(self.ledger, self.channel, scope)
        try:
            is_complete = await self._walk(comparison)
        except NoListError:
            names = scope.sent | scope.unsent
        else:
            await comparison.end(self.asked_at, is_complete=is_complete)
            names = scope.sent & scope.unseen
            if not is_complete:  # the unread rest of the list may have more entries of these
                names |= scope.resent | comparison.doubtful | comparison.failed.keys()
        for piece in split(sorted(names), LOOK_UPS_PER_TRANSACTION):
            asked_at = await self.ledger.time()
            self.requests += len(piece)
            await comparison.add_look_ups(await find_each(self.channel, piece, timeout=CALL_SECONDS), asked_at)
        return Reconciliation(
            compared=scope.count - len(scope.unseen),
            learned=comparison.learned,
            orphans=tuple(comparison.orphans),
            mismatches=tuple(comparison.mismatches),
            missing=await self._missing(scope),
            undated=comparison.undated,
            listed=self.listed,
            requests=self.requests,
        )

    async def _scope(self) -> Scope:
        deposit_params: dict[str, Value] = {
            "product": self.channel.name,
            "account": self.channel.account,
            "deposit": self.deposit,
        }
        rows = await self.ledger.fetch(_OLDEST_PLAN, deposit_params)
        oldest = self.since if rows[0]["at"] is None else require_time(rows[0]["at"], "created_at of a batch")
        scope = Scope(since=self.since, horizon=min(self.since, oldest))
        after = ""
        while rows := await self.ledger.fetch(
            _TRANSFERS, {**deposit_params, "since": self.since, "after": after, "limit": ROWS_PER_QUERY}
        ):
            for row in rows:
                scope.add(transfer_of(row), row["ambiguous_attempts"])
            after = rows[-1]["track_id"]
        return scope

    async def _walk(self, comparison: Comparison) -> bool:
        """Compare the bank's list back to the start of the window; return True if it was read to its end."""

        async def fetch(skip: int) -> Sequence[Settlement]:
            self.asked_at = await self.ledger.time()
            page = await self.channel.list(self.deposit, skip, CALL_SECONDS)
            self.requests += 1
            return page

        async with aclosing(pages(fetch)) as page_iterator:
            async for page in page_iterator:
                self.listed += len(page)
                await comparison.add_page(page, self.asked_at)
                if comparison.done:
                    return False
        return True

    async def _missing(self, scope: Scope) -> tuple[str, ...]:
        """Return the track_ids that are still recorded as sent and were not found."""
        missing: list[str] = []
        for piece in split(sorted(scope.sent & scope.unseen), PAGE_SIZE):
            records = await queries.transfers(self.ledger, self.channel.name, self.channel.account, piece)
            missing += [track_id for track_id in piece if is_sent(records[track_id])]
        return tuple(missing)
