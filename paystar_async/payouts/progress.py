"""What has become known of a batch since the last look, however long the batch is."""

from collections.abc import AsyncGenerator, Sequence

from attrs import define, field

from paystar_async.outcomes import Outcome
from paystar_async.payouts import reading
from paystar_async.payouts.records import BatchRecord, TransferRecord
from paystar_async.payouts.states import FINAL, State
from paystar_async.payouts.tables import Tables

PAGE = 500
"""Transfers looked at in one statement."""
AHEAD = 4
"""Pages of which nothing was sent yet that are looked at in one round: they come in order, mostly."""

_UNDER_WAY = """
    SELECT 1 AS more FROM paystar_payout_chunks WHERE batch_id = :batch_id AND due IS NOT NULL LIMIT 1
"""
_UNDER_WAY_ELSEWHERE = """
    SELECT 1 AS more
    FROM paystar_payout_members m
    JOIN paystar_payout_transfers t
        ON t.product = :product AND t.account = :account AND t.track_id = m.track_id
    JOIN paystar_payout_chunks c ON c.chunk_id = t.chunk_id
    WHERE m.batch_id = :batch_id AND c.due IS NOT NULL LIMIT 1
"""
"""A transfer may have been on record before, with a chunk of the batch that brought it first."""


async def is_at_rest(tables: Tables, batch: BatchRecord) -> bool:
    """Whether nothing more will happen to a batch until a person does something."""
    of_batch = {"batch_id": batch.batch_id}
    if await tables.fetch(_UNDER_WAY, of_batch):
        return False
    of_account = {**of_batch, "product": batch.product, "account": batch.account}
    return not await tables.fetch(_UNDER_WAY_ELSEWHERE, of_account)


@define
class Progress:
    """Gives the outcome of each transfer of a batch once, as it is decided.

    It keeps a bit for each transfer and a count for each page of them, and looks only at pages that have some left.
    """

    ledger: Tables
    batch: BatchRecord
    _told: bytearray = field(init=False)
    _left: list[int] = field(init=False)
    _begun: set[int] = field(init=False, factory=set[int])
    _ahead: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        count = self.batch.count
        self._told = bytearray((count + 7) // 8)
        self._left = [min(PAGE, count - first) for first in range(0, count, PAGE)]

    @property
    def complete(self) -> bool:
        """Whether all have been given."""
        return not self._begun and not any(self._left)

    async def news(self) -> AsyncGenerator[Outcome, None]:
        """The outcomes of those that have been decided and were not given yet."""
        for page in self._round():
            records = await self._page(page)
            if any(record.attempt or record.state is not State.PLANNED for _, record in records):
                self._begun.add(page)
            for place, record in records:
                if record.state in FINAL and self._take(place):
                    yield record.outcome
            if not self._left[page]:
                self._begun.discard(page)

    async def rest(self) -> AsyncGenerator[Outcome, None]:
        """The outcomes of all that were not given yet, as they are."""
        for page, left in enumerate(self._left):
            if left:
                for place, record in await self._page(page):
                    if self._take(place):
                        yield record.outcome
        self._begun.clear()

    async def _page(self, page: int) -> Sequence[tuple[int, TransferRecord]]:
        return await reading.page(self.ledger, self.batch.batch_id, after=page * PAGE - 1, limit=PAGE)

    def _round(self) -> list[int]:
        """The pages to look at now: those under way, and the next few in turn of the others."""
        pages, begun = len(self._left), sorted(self._begun)
        others: list[int] = []
        for _ in range(pages):
            if len(others) == AHEAD:
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
        self._left[place // PAGE] -= 1
        return True
