"""Reconcile the ledger with the bank's own list: report what only one of them has, and what they say differently."""

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
from paystar_async.values.numbers import checked_seconds

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
    """The result of comparing the ledger with what the bank has.

    Attributes:
        compared: how many transfers both have, of those in the window or undecided.
        learned: how many of these the bank had decided and the ledger did not know yet; now it does.
        orphans: entries of the bank's list that are not on record, and that nothing shows to be older than the window:
            somebody else pays from the same account.
        mismatches: what they say differently after the ledger has learned; a transfer that was not sent by the ledger
            and that the bank has; every track_id that the bank has paid twice.
        missing: track_ids that were sent, by the ledger, and that the bank does not have, not even by a look-up each.
        undated: how many more entries are not on record, behind all that the ledger sent in the window and before
            anything older: nothing tells whether they are in the window.
        listed: how many entries of the bank's list were compared.
        requests: how many requests were made for that.
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
        """Whether the bank was asked, and both say the same.

        It is never True where no request was made: of a ledger without transfers there is no deposit account to list.
        """
        return self.requests > 0 and not (self.orphans or self.mismatches or self.missing)


async def reconcile(desk: PayoutRuntime, window: timedelta | float) -> Reconciliation:
    """Compare the transfers of the last ``window`` seconds, and all undecided ones, with what the bank has."""
    seconds = checked_seconds("window", window.total_seconds() if isinstance(window, timedelta) else window)
    since = await desk.ledger.time() - seconds
    work: list[_Reconciler] = []
    for product in desk.channels.values():
        of_account: dict[str, Value] = {"product": product.name, "account": product.account, "since": since}
        rows = await desk.ledger.fetch(_DEPOSITS, of_account)
        # Without a transfer in the window, others may still have paid from the account.
        rows = rows or await desk.ledger.fetch(_ALL_DEPOSITS, of_account)
        work += [_Reconciler(desk.ledger, product, row["deposit"], since) for row in rows]
    results = [await one.run() for one in work]
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
    """Compares the transfers of one deposit account with what the bank has."""

    ledger: LedgerDatabase
    product: PayoutChannel
    deposit: str
    since: float
    asked_at: float = 0.0
    listed: int = 0
    requests: int = 0

    async def run(self) -> Reconciliation:
        """Walk the bank's list through the window, then look up what it did not show."""
        scope = await self._scope()
        comparison = Comparison(self.ledger, self.product, scope)
        try:
            whole = await self._walk(comparison)
        except NoListError:
            names = scope.sent | scope.unsent
        else:
            await comparison.end(self.asked_at, whole=whole)
            names = scope.sent & scope.unseen
            if not whole:  # the list may have more about these, further down
                names |= scope.resent | comparison.doubtful | comparison.failed.keys()
        for piece in split(sorted(names), LOOK_UPS_PER_TRANSACTION):
            asked_at = await self.ledger.time()
            self.requests += len(piece)
            await comparison.add_found(await find_each(self.product, piece, timeout=CALL_SECONDS), asked_at)
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
        of_deposit: dict[str, Value] = {
            "product": self.product.name,
            "account": self.product.account,
            "deposit": self.deposit,
        }
        rows = await self.ledger.fetch(_OLDEST_PLAN, of_deposit)
        oldest: float | None = rows[0]["at"]
        scope = Scope(since=self.since, horizon=self.since if oldest is None else min(self.since, oldest))
        after = ""
        while rows := await self.ledger.fetch(
            _TRANSFERS, {**of_deposit, "since": self.since, "after": after, "limit": ROWS_PER_QUERY}
        ):
            for row in rows:
                scope.add(transfer_of(row), row["ambiguous_attempts"])
            after = rows[-1]["track_id"]
        return scope

    async def _walk(self, comparison: Comparison) -> bool:
        """Compare the bank's list as far back as the window goes; return True if it was walked to its end."""

        async def fetch(skip: int) -> Sequence[Settlement]:
            self.asked_at = await self.ledger.time()
            page = await self.product.list(self.deposit, skip, CALL_SECONDS)
            self.requests += 1
            return page

        async with aclosing(pages(fetch)) as walked:
            async for page in walked:
                self.listed += len(page)
                await comparison.add_page(page, self.asked_at)
                if comparison.done:
                    return False
        return True

    async def _missing(self, scope: Scope) -> tuple[str, ...]:
        """Return the track_ids that were sent and were not found, unless that has changed meanwhile."""
        missing: list[str] = []
        for piece in split(sorted(scope.sent & scope.unseen), PAGE_SIZE):
            records = await queries.transfers(self.ledger, self.product.name, self.product.account, piece)
            missing += [track_id for track_id in piece if is_sent(records[track_id])]
        return tuple(missing)
