"""What is due, lane by lane: each deposit account at its own pace, and no question behind a queue of sends."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from attrs import define

from paystar_async.payouts.advance import Advancer
from paystar_async.payouts.claims import Lane, Later
from paystar_async.payouts.product import Product
from paystar_async.payouts.records import Policy
from paystar_async.payouts.tables import Tables
from paystar_async.storage.database import Row, Value

QUESTIONS = 8
"""Chunks asked about at once; what is sent at once, the batch's policy says."""

_LANES = """
    SELECT deposit, version FROM paystar_payout_gates WHERE product = :product AND account = :account ORDER BY deposit
"""
_SENDS = """
    SELECT c.chunk_id, c.due, b.policy
    FROM paystar_payout_chunks c JOIN paystar_payout_batches b ON b.batch_id = c.batch_id
    WHERE c.due IS NOT NULL AND c.work = 'send'
        AND c.product = :product AND c.account = :account AND c.deposit = :deposit
    ORDER BY c.due, c.chunk_id LIMIT :most
"""
_OTHERS = """
    SELECT chunk_id, due FROM paystar_payout_chunks
    WHERE due IS NOT NULL AND work <> 'send' AND product = :product AND account = :account
    ORDER BY due LIMIT :most
"""


class Due(NamedTuple):
    """A chunk with something to do.

    Attributes:
        at: when, in the ledger's time.
        chunk_id: which.
        lane: what it shares with others of which only so many go at once.
        most: how many.
        rate: how many a second; None: as fast as they come.
    """

    at: float
    chunk_id: str
    lane: str
    most: int
    rate: float | None = None


@define
class Agenda:
    """What is due for the accounts of one client."""

    tables: Tables
    products: Sequence[Product]
    advancer: Advancer

    async def due(self, most: int) -> Sequence[Due]:
        """The soonest of each lane, ``most`` of each at the most; what lies in the future included."""
        found: list[Due] = []
        identity = self.tables.identity
        seen = identity.versions()  # before anything is read: a claim may raise one while it is read
        for product in self.products:
            whose: dict[str, Value] = {"product": product.name, "account": product.account, "most": most}
            lane = f"{product.name} questions"
            others = await self.tables.fetch(_OTHERS, whose)
            found += [Due(row["due"], row["chunk_id"], lane, QUESTIONS) for row in others]
            for gate in await self.tables.fetch(_LANES, whose):
                account = product.name, product.account, gate["deposit"]
                identity.check_version(gate["version"], seen.get(account, 0))
                identity.note_version(account, gate["version"])
                found += await self.sends(Lane(product.name, product.account, gate["deposit"]), most)
        return found

    async def sends(self, lane: Lane, most: int) -> list[Due]:
        """Return the soonest chunks that a deposit account has to send, ``most`` at the most."""
        rows = await self.tables.fetch(_SENDS, {**lane._asdict(), "most": most})
        return [_send(row, f"{lane.product} {lane.deposit}") for row in rows]

    async def step(self, chunk_id: str) -> Later:
        """Do what is due for a chunk; return when to call again, in the ledger's time, and what it waits for."""
        return await self.advancer.step(chunk_id)

    async def lane_of(self, chunk_id: str) -> Lane | None:
        """Return the deposit account a chunk is paid from; None where there is no such chunk."""
        return await self.advancer.lane_of(chunk_id)

    async def now(self) -> float:
        """The ledger's time."""
        return await self.tables.time()


def _send(row: Row, lane: str) -> Due:
    policy = _policy(row["policy"])
    return Due(row["due"], row["chunk_id"], lane, policy.concurrency, policy.rate)


_policy = lru_cache(maxsize=64)(Policy.from_text)
