"""A batch: transfers that were submitted together, and what becomes of each."""

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
from paystar_async.values.numbers import checked_seconds

PAGE_SIZE = 500
"""Transfers looked at in one statement."""
PAGES_AHEAD = 4
"""Pages of which nothing was sent yet that are looked at in one round: they come in order, mostly."""

_UNDER_WAY = """
    SELECT 1 AS more FROM paystar_payout_chunks WHERE batch_id = :batch_id AND due_at IS NOT NULL LIMIT 1
"""
_UNDER_WAY_ELSEWHERE = """
    SELECT 1 AS more
    FROM paystar_payout_batch_items m
    JOIN paystar_payout_transfers t
        ON t.product = :product AND t.account = :account AND t.track_id = m.track_id
    JOIN paystar_payout_chunks c ON c.chunk_id = t.chunk_id
    WHERE m.batch_id = :batch_id AND c.due_at IS NOT NULL LIMIT 1
"""
"""A transfer may have been on record before, with a chunk of the batch that brought it first."""


async def is_idle(tables: LedgerDatabase, batch: BatchRecord) -> bool:
    """Whether nothing more will happen to a batch until a person does something."""
    of_batch = {"batch_id": batch.batch_id}
    if await tables.fetch(_UNDER_WAY, of_batch):
        return False
    of_account = {**of_batch, "product": batch.product, "account": batch.account}
    return not await tables.fetch(_UNDER_WAY_ELSEWHERE, of_account)


@define
class OutcomeCursor:
    """Gives the outcome of each transfer of a batch once, as it is decided.

    It keeps a bit for each transfer and a count for each page of them, and looks only at pages that have some left.
    """

    ledger: LedgerDatabase
    batch: BatchRecord
    _told: bytearray = field(init=False)
    _left: list[int] = field(init=False)
    _begun: set[int] = field(init=False, factory=set[int])
    _ahead: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        count = self.batch.count
        self._told = bytearray((count + 7) // 8)
        self._left = [min(PAGE_SIZE, count - first) for first in range(0, count, PAGE_SIZE)]

    @property
    def is_complete(self) -> bool:
        """Whether all have been given."""
        return not self._begun and not any(self._left)

    async def new_outcomes(self) -> AsyncGenerator[Outcome, None]:
        """The outcomes of those that have been decided and were not given yet."""
        for page in self._round():
            records = await self._page(page)
            if any(record.attempt or record.state is not TransferState.PLANNED for _, record in records):
                self._begun.add(page)
            for place, record in records:
                if record.state in FINAL and self._take(place):
                    yield record.outcome
            if not self._left[page]:
                self._begun.discard(page)

    async def remaining_outcomes(self) -> AsyncGenerator[Outcome, None]:
        """The outcomes of all that were not given yet, as they are."""
        for page, left in enumerate(self._left):
            if left:
                for place, record in await self._page(page):
                    if self._take(place):
                        yield record.outcome
        self._begun.clear()

    async def _page(self, page: int) -> Sequence[tuple[int, TransferRecord]]:
        return await queries.page(self.ledger, self.batch.batch_id, after=page * PAGE_SIZE - 1, limit=PAGE_SIZE)

    def _round(self) -> list[int]:
        """The pages to look at now: those under way, and the next few in turn of the others."""
        pages, begun = len(self._left), sorted(self._begun)
        others: list[int] = []
        for _ in range(pages):
            if len(others) == PAGES_AHEAD:
                break
            page, self._ahead = self._ahead, (self._ahead + 1) % pages
            if self._left[page] and page not in self._begun:
                others.append(page)
        return begun + others

    def _take(self, place: int) -> bool:
        byte, bit = divmod(place, 8)
        if self._told[byte] >> bit & 1:
            return False
        self._told[byte] |= 1 << bit
        self._left[place // PAGE_SIZE] -= 1
        return True


MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.05, 60.0
"""Seconds between two looks at the ledger, by how long a look takes: looking is a tenth of the time at the most."""
REMOTE_POLL_SECONDS = 2.0
"""Seconds until a look after which nothing has happened here: another process may have done something."""


class Batch:
    """Transfers that were submitted together. It holds nothing: all of it is in the ledger.

    Attributes:
        id: its name.
        product: ``bank`` transfers or settlements of the ``wallet``.
        count: how many transfers it has.
        amount: what they come to, in Rial.
        policy: how it is paid out.
        created_at: when it was submitted, in the ledger's time (seconds since 1970).
    """

    def __init__(self, desk: PayoutRuntime, record: BatchRecord, owner: object = None) -> None:
        self._desk, self._record = desk, record
        self._owner = owner  # the client: while somebody has its batch, it is not dropped
        self.id: str = record.batch_id
        self.product: ProductName = record.product
        self.count: int = record.count
        self.amount: int = record.amount
        self.policy: Policy = record.policy
        self.created_at: float = record.created_at

    def __repr__(self) -> str:
        return f"Batch({self.id!r}, {self.count} transfers, {self.amount:,} Rial)"

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Each transfer's outcome as it becomes known, once each.

        It ends when all are decided, or when nothing more happens without a person; the rest is then told as it is:
        Unknown for what needs review, Pending for what waits for money. Ask again, after a restart too, and it begins
        anew with what is known by then. Leaving the loop stops nothing.

        Yields:
            Succeeded, Failed, Unknown or Pending, in the order in which they become known.

        Raises:
            ConfigurationError: this client cannot pay: no account, or an engine that cannot be fenced.
            InvalidValue: the transaction it was submitted in is not committed, or was rolled back.
            NotSent: the client was closed meanwhile; all goes on with ``payouts.recover()``.
            StorageError: the ledger cannot be read.

        Source: GET /bank-transfer/settlement-requests
        """
        self._start()
        await self._check()
        progress = OutcomeCursor(self._desk.ledger, self._record)
        while True:
            began = self._desk.clock.monotonic()
            over = await is_idle(self._desk.ledger, self._record)  # first: what happens meanwhile is not missed
            async with aclosing(progress.remaining_outcomes() if over else progress.new_outcomes()) as told:
                async for outcome in told:
                    yield outcome
            if progress.is_complete:
                return
            await self._pause(self._desk.clock.monotonic() - began)

    async def wait(self, timeout: float | None = None) -> Report:
        """Wait until all is decided, or nothing more happens without a person.

        Args:
            timeout: seconds to wait at the most; None: as long as it takes.

        Returns:
            Where the batch stands then.

        Raises:
            ConfigurationError, InvalidValue, NotSent, StorageError: as ``outcomes``.

        Source: GET /bank-transfer/settlement-requests
        """
        if timeout is not None:
            checked_seconds("timeout", timeout)
        self._start()
        await self._check()
        desk = self._desk
        end = None if timeout is None else desk.clock.monotonic() + timeout
        while not await is_idle(desk.ledger, self._record):
            left = MAX_POLL_SECONDS if end is None else end - desk.clock.monotonic()
            if left <= 0:
                break
            await self._pause(0.0, left)
        return await self.report()

    async def report(self) -> Report:
        """How many transfers are in which state, and what they come to.

        Raises:
            InvalidValue: as ``outcomes``.
            StorageError: the ledger cannot be read.
        """
        await self._check()
        totals = await queries.totals(self._desk.ledger, self.id)
        return Report(
            batch_id=self.id, product=self.product, states={state: Subtotal(*both) for state, both in totals.items()}
        )

    async def transfers(self, *states: TransferState) -> AsyncGenerator[TransferRecord, None]:
        """The transfers as they are on record, in the order of the batch.

        Args:
            *states: only those in one of these states; all where none is given.

        Raises:
            StorageError: the ledger cannot be read.
        """
        async with aclosing(self._numbered()) as records:
            async for _, record in records:
                if not states or record.state in states:
                    yield record

    async def _numbered(self) -> AsyncGenerator[tuple[int, TransferRecord], None]:
        after = -1
        while records := await queries.page(self._desk.ledger, self.id, after=after, limit=PAGE_SIZE):
            for after, record in records:
                yield after + 1, record

    async def export(self, path: str | PathLike[str]) -> None:
        """Write a CSV file of all transfers: number, track_id, amount (Rial), accounts (masked), state, why.

        Args:
            path: the file; one that is there is replaced. It opens safely: no cell is a formula.

        Raises:
            InvalidValue: as ``outcomes``.
            OSError: the file cannot be written.
            StorageError: the ledger cannot be read.
        """
        await self._check()
        with CsvFile(path) as file:
            async with aclosing(self._numbered()) as records:
                async for number, record in records:
                    file.write(number, record)

    def _start(self) -> None:
        self._desk.channel(self.product)
        self._desk.start()

    async def _check(self) -> None:
        """Refuse to tell of nothing as if it were all."""
        if await queries.find_batch(self._desk.ledger, self.id) is None:
            hint = "commit the transaction it was submitted in, then ask; submit it again where that was rolled back"
            raise InvalidValue("batch_id", expected="a batch on record", got="one that is not committed", hint=hint)

    async def _pause(self, took: float, most: float = MAX_POLL_SECONDS) -> None:
        """Wait until something has happened here, or could have elsewhere; never so short that looking is all we do."""
        desk = self._desk
        shortest = min(most, max(MIN_POLL_SECONDS, took * 9))
        await desk.clock.sleep(shortest)
        if not desk.closed and most > shortest:
            await desk.progress_event.sleep(min(most - shortest, REMOTE_POLL_SECONDS))
        desk.start()  # raises where the client was closed
