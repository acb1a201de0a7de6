"""Batches: the outcomes, report and export of transfers that were submitted together."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from os import PathLike

from attrs import define, field

from paystar_async.errors import InvalidValue
from paystar_async.outcomes import Outcome
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import FINAL, BatchRecord, Policy, ProductName, TransferRecord, TransferState
from paystar_async.payouts.report import CsvFile, Report, Subtotal
from paystar_async.payouts.runtime import PayoutRuntime
from paystar_async.values.arguments import require_path
from paystar_async.values.field_type import short_repr
from paystar_async.values.numbers import require_seconds

PAGE_SIZE = 500
"""Transfers read by one statement."""
PAGES_AHEAD = 4
"""Unstarted pages read in one round; transfers are mostly sent in order."""
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.05, 60.0
"""Bounds of the interval between two reads of the ledger; reading takes at most a tenth of the time."""
REMOTE_POLL_SECONDS = 2.0
"""The interval if nothing happened in this process: another process may have made progress."""

_IN_PROGRESS = """
    SELECT 1 AS more FROM paystar_payout_chunks WHERE batch_id = :batch_id AND due_at IS NOT NULL LIMIT 1
"""
# Scalar subqueries, which PostgreSQL runs row by row, by primary keys: with statistics older than the batch, a join is
# planned from the chunks, and reads the whole batch for each transfer.
_IN_PROGRESS_ELSEWHERE = """
    SELECT 1 AS more FROM paystar_payout_batch_items m
    WHERE m.batch_id = :batch_id AND (
        SELECT (SELECT c.due_at FROM paystar_payout_chunks c WHERE c.chunk_id = t.chunk_id)
        FROM paystar_payout_transfers t
        WHERE t.product = :product AND t.account = :account AND t.track_id = m.track_id
    ) IS NOT NULL LIMIT 1
"""
"""A transfer may belong to a chunk of an earlier batch that recorded it first."""


async def is_idle(ledger: LedgerDatabase, batch: BatchRecord) -> bool:
    """Return True if the batch makes no further progress without a user."""
    batch_params = {"batch_id": batch.batch_id}
    if await ledger.fetch(_IN_PROGRESS, batch_params):
        return False
    account_params = {**batch_params, "product": batch.product, "account": batch.account}
    return not await ledger.fetch(_IN_PROGRESS_ELSEWHERE, account_params)


@define
class OutcomeCursor:
    """A cursor that yields the outcome of each transfer of a batch once, when it is decided.

    The cursor keeps one bit for each transfer and a count for each page, and reads only pages with transfers left.
    """

    ledger: LedgerDatabase
    batch: BatchRecord
    _yielded: bytearray = field(init=False)
    _remaining: list[int] = field(init=False)
    _started: set[int] = field(init=False, factory=set[int])
    _next_page: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        count = self.batch.count
        self._yielded = bytearray((count + 7) // 8)
        self._remaining = [min(PAGE_SIZE, count - first) for first in range(0, count, PAGE_SIZE)]

    @property
    def is_complete(self) -> bool:
        """Return True if all outcomes were yielded."""
        return not self._started and not any(self._remaining)

    async def new_outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of transfers that were decided since the last call."""
        for page in self._pages_to_read():
            records = await self._read_page(page)
            if any(record.attempt or record.state is not TransferState.PLANNED for _, record in records):
                self._started.add(page)
            for position, record in records:
                if record.state in FINAL and self._mark_yielded(position):
                    yield record.outcome
            if not self._remaining[page]:
                self._started.discard(page)

    async def remaining_outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield the current outcomes of all transfers not yielded yet."""
        for page, remaining in enumerate(self._remaining):
            if remaining:
                for position, record in await self._read_page(page):
                    if self._mark_yielded(position):
                        yield record.outcome
        self._started.clear()

    async def _read_page(self, page: int) -> Sequence[tuple[int, TransferRecord]]:
        return await queries.page(self.ledger, self.batch.batch_id, after=page * PAGE_SIZE - 1, limit=PAGE_SIZE)

    def _pages_to_read(self) -> list[int]:
        """Return the pages to read now: those in progress, and the next few unstarted ones in turn."""
        pages, started = len(self._remaining), sorted(self._started)
        unstarted: list[int] = []
        for _ in range(pages):
            if len(unstarted) == PAGES_AHEAD:
                break
            page, self._next_page = self._next_page, (self._next_page + 1) % pages
            if self._remaining[page] and page not in self._started:
                unstarted.append(page)
        return started + unstarted

    def _mark_yielded(self, position: int) -> bool:
        byte, bit = divmod(position, 8)
        if self._yielded[byte] >> bit & 1:
            return False
        self._yielded[byte] |= 1 << bit
        self._remaining[position // PAGE_SIZE] -= 1
        return True


class Batch:
    """A batch of transfers that were submitted together; all of its state is in the ledger.

    Attributes:
        id: the batch's id.
        product: ``bank`` transfers or settlements of the ``wallet``.
        count: the number of transfers.
        amount: the sum of the transfers, in Rial.
        policy: the policy by which the batch is paid.
        created_at: the time of submission, in the ledger's time (seconds since 1970).
    """

    def __init__(self, runtime: PayoutRuntime, record: BatchRecord, owner: object) -> None:
        self._runtime, self._record = runtime, record
        self._owner = owner  # keeps the client alive while one of its batches is in use
        self.id: str = record.batch_id
        self.product: ProductName = record.product
        self.count: int = record.count
        self.amount: int = record.amount
        self.policy: Policy = record.policy
        self.created_at: float = record.created_at

    def __repr__(self) -> str:
        return f"Batch({self.id!r}, {self.count} transfers, {self.amount:,} Rial)"

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield the outcome of each transfer once, as soon as it is known.

        The iteration ends when all transfers are decided or nothing more happens without a user; the remaining
        transfers are then yielded as Unknown if they need manual review, or Pending if they wait for money. A new
        iteration, also after a restart, begins with what is known by then. Leaving the loop stops no payment.

        Yields:
            Succeeded, Failed, Unknown or Pending, in the order in which they become known.

        Raises:
            ConfigurationError: this client cannot pay: no account, or an engine without ``before_send`` support.
            InvalidValue: the transaction of ``submit`` is not committed, or was rolled back.
            NotSent: the client was closed; ``payouts.recover()`` continues the payments.
            StorageError: the ledger cannot be read.

        Source: GET /bank-transfer/settlement-requests
        """
        self._start()
        await self._check()
        cursor = OutcomeCursor(self._runtime.ledger, self._record)
        while True:
            began = self._runtime.clock.monotonic()
            idle = await is_idle(self._runtime.ledger, self._record)  # first, so that later progress is not missed
            async with aclosing(cursor.remaining_outcomes() if idle else cursor.new_outcomes()) as outcomes:
                async for outcome in outcomes:
                    yield outcome
            if cursor.is_complete:
                return
            await self._wait_for_progress(self._runtime.clock.monotonic() - began)

    async def wait(self, timeout: float | None = None) -> Report:
        """Wait until all transfers are decided, or nothing more happens without a user.

        Args:
            timeout: maximum seconds to wait; None: no limit.

        Returns:
            The report of the batch at that time.

        Raises:
            ConfigurationError, InvalidValue, NotSent, StorageError: as ``outcomes``.

        Source: GET /bank-transfer/settlement-requests
        """
        if timeout is not None:
            require_seconds("timeout", timeout)
        self._start()
        await self._check()
        runtime = self._runtime
        end = None if timeout is None else runtime.clock.monotonic() + timeout
        while not await is_idle(runtime.ledger, self._record):
            time_left = MAX_POLL_SECONDS if end is None else end - runtime.clock.monotonic()
            if time_left <= 0:
                break
            await self._wait_for_progress(0.0, time_left)
        return await self.report()

    async def report(self) -> Report:
        """Return the number and sum of the transfers in each state.

        Raises:
            InvalidValue: as ``outcomes``.
            StorageError: the ledger cannot be read.
        """
        await self._check()
        totals = await queries.totals(self._runtime.ledger, self.id)
        return Report(
            batch_id=self.id,
            product=self.product,
            states={state: Subtotal(*subtotal) for state, subtotal in totals.items()},
        )

    async def transfers(self, *states: TransferState) -> AsyncGenerator[TransferRecord, None]:
        """Yield the records of the transfers, in the order of the batch.

        Args:
            *states: only transfers in one of these states; all if none is given.

        Raises:
            InvalidValue: one of ``states`` is not a state.
            StorageError: the ledger cannot be read.
        """
        for state in states:
            if state not in tuple(TransferState):
                raise InvalidValue("states", expected=f"states of {', '.join(TransferState)}", got=short_repr(state))
        async with aclosing(self._numbered()) as records:
            async for _, record in records:
                if not states or record.state in states:
                    yield record

    async def _numbered(self) -> AsyncGenerator[tuple[int, TransferRecord], None]:
        after = -1
        while records := await queries.page(self._runtime.ledger, self.id, after=after, limit=PAGE_SIZE):
            for after, record in records:
                yield after + 1, record

    async def export(self, path: str | PathLike[str]) -> None:
        """Write a CSV file of all transfers: number, track_id, amount (Rial), accounts (masked), state, reason.

        Args:
            path: the file; an existing file is replaced. No cell of the file is a formula.

        Raises:
            InvalidValue: as ``outcomes``, or ``path`` is not a path.
            OSError: the file cannot be written.
            StorageError: the ledger cannot be read.
        """
        path = require_path("path", path)
        await self._check()
        with CsvFile(path) as file:
            async with aclosing(self._numbered()) as records:
                async for number, record in records:
                    file.write(number, record)

    def _start(self) -> None:
        self._runtime.channel(self.product)
        self._runtime.start()

    async def _check(self) -> None:
        """Raise if the batch is not on record, rather than report an empty batch."""
        if await queries.find_batch(self._runtime.ledger, self.id) is None:
            hint = "commit the transaction of submit first; submit the batch again if that was rolled back"
            raise InvalidValue("batch_id", expected="a batch on record", got="one that is not committed", hint=hint)

    async def _wait_for_progress(self, read_seconds: float, limit: float = MAX_POLL_SECONDS) -> None:
        """Wait until this process or possibly another made progress; at least nine times the time of a read."""
        runtime = self._runtime
        shortest = min(limit, max(MIN_POLL_SECONDS, read_seconds * 9))
        await runtime.clock.sleep(shortest)
        if not runtime.closed and limit > shortest:
            await runtime.progress_event.sleep(min(limit - shortest, REMOTE_POLL_SECONDS))
        runtime.start()  # raises where the client was closed
