"""The ledger: what was to be paid, what was tried, and what is known. It outlives everything else."""

from collections.abc import AsyncIterable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from paystar_async.clock import Clock
from paystar_async.keys.crypto import Crypto
from paystar_async.models.transfers import Settlement
from paystar_async.payouts import gates, learning, planning, reading
from paystar_async.payouts.classify import Value
from paystar_async.payouts.decide import Cause
from paystar_async.payouts.planning import Planner
from paystar_async.payouts.product import Product
from paystar_async.payouts.records import (
    BatchRecord,
    ChunkRecord,
    EventRecord,
    GateRecord,
    Policy,
    ProductName,
    TransferRecord,
)
from paystar_async.payouts.states import State
from paystar_async.payouts.tables import Tables
from paystar_async.storage.database import Database

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]


class Ledger:
    """Payouts on record, in a SQLite file or on a PostgreSQL server. It lays its tables out at first use.

    Args:
        database: where; it is never closed here.
        crypto: seals what is to be sent; None: it is stored as it is, full card numbers only until they are decided.
        clock: what time it is where the database has no clock of its own.
    """

    def __init__(self, database: Database, *, crypto: Crypto | None = None, clock: Clock | None = None) -> None:
        self.tables = Tables(database, crypto, clock)

    async def now(self) -> float:
        """The ledger's time: seconds since 1970 that do not jump with the machine's clock."""
        return await self.tables.time()

    # Planning

    async def plan(
        self,
        product: Product,
        batch_id: str,
        values: AsyncIterable[Value],
        *,
        policy: Policy | None = None,
        connection: "Connection | None" = None,
    ) -> BatchRecord:
        """Put a batch on record, whole or not at all; nothing is sent here.

        Args:
            product: what is paid out, and for whom.
            batch_id: its name; the same one with the same contents gives the batch that is there.
            values: the transfers; read once, a thousand at a time.
            policy: how it is paid out; None: as the batch that is there says, or by default.
            connection: a psycopg connection with a transaction under way, which the batch then is a part of.

        Returns:
            The batch as it is on record.

        Raises:
            InvalidValue: a transfer is of another product, a track_id comes twice, or ``batch_id`` is on record with
                other contents.
            TrackIdConflict: a track_id is on record with other contents.
            StorageError: the ledger cannot be used.
        """
        found = await reading.find_batch(self.tables, batch_id) if connection is None else None
        planner = Planner(self.tables, product, batch_id, policy or Policy(), connection)
        record = await planner.plan(values, found)
        if policy is not None and policy != record.policy:
            record = await self._repace(record, policy, connection)
        return record

    # Reading

    async def batch(self, batch_id: str) -> BatchRecord | None:
        """A batch."""
        return await reading.find_batch(self.tables, batch_id)

    async def batches(self, limit: int = 100) -> Sequence[BatchRecord]:
        """The batches, newest first."""
        return await reading.batches(self.tables, limit)

    async def transfer(self, product: ProductName, account: str, track_id: str) -> TransferRecord | None:
        """A transfer."""
        return (await self.known(product, account, [track_id])).get(track_id)

    async def known(
        self, product: ProductName, account: str, track_ids: Collection[str]
    ) -> Mapping[str, TransferRecord]:
        """Those of these transfers that are on record, by track_id; 500 at the most in one call."""
        return await reading.transfers(self.tables, product, account, track_ids)

    async def page(self, batch_id: str, *, after: int = -1, limit: int = 500) -> Sequence[tuple[int, TransferRecord]]:
        """Transfers of a batch with their position in it, in order, those behind position ``after``."""
        return await reading.page(self.tables, batch_id, after, limit)

    async def totals(self, batch_id: str) -> Mapping[State, tuple[int, int]]:
        """How many transfers of a batch are in each state, and their Rial."""
        return await reading.totals(self.tables, batch_id)

    async def review(self, product: ProductName, account: str, limit: int = 500) -> Sequence[TransferRecord]:
        """Transfers a person has to look at, oldest first."""
        return await reading.review(self.tables, product, account, limit)

    async def events(self, product: ProductName, account: str, track_id: str) -> Sequence[EventRecord]:
        """All that happened to a transfer, in order."""
        return await reading.events(self.tables, product, account, track_id)

    async def chunk(self, chunk_id: str) -> ChunkRecord | None:
        """A chunk."""
        return await reading.chunk(self.tables, chunk_id)

    async def chunk_ids(
        self, batch_id: str, *, after: str = "", limit: int = 1000, connection: "Connection | None" = None
    ) -> Sequence[str]:
        """Chunks of a batch in the order of their names, those behind ``after``."""
        if connection is None:
            return await reading.chunk_ids(self.tables, batch_id, after, limit)
        async with self.tables.transaction(connection) as transaction:
            return await reading.chunk_ids(transaction, batch_id, after, limit)

    async def due(self, accounts: Collection[tuple[ProductName, str]], limit: int = 100) -> Sequence[tuple[str, float]]:
        """Chunks with something to do, and when, soonest first; what lies in the future included."""
        return await reading.due(self.tables, accounts, limit)

    # By hand

    async def gates(self, product: ProductName, account: str) -> Sequence[GateRecord]:
        """What keeps transfers of an account back."""
        return await reading.gates(self.tables, product, account)

    async def pause(self, product: ProductName, account: str, deposit: str = "") -> None:
        """Send nothing more of a deposit account, or of all; what is under way goes on, and is asked about."""
        await gates.pause(self.tables, product, account, deposit)

    async def resume(self, product: ProductName, account: str, deposit: str | None = None) -> int:
        """Open the gates of a deposit account, or all; plan what lacked money again.

        Returns:
            How many transfers are now to be sent that were kept back for lack of money.
        """
        return await gates.resume(self.tables, product, account, deposit)

    async def resolve(
        self,
        product: ProductName,
        account: str,
        track_id: str,
        verdict: Literal["success", "failed", "resend"],
        *,
        note: str = "",
        ref_code: str | None = None,
    ) -> TransferRecord:
        """Say what a person found out about a transfer that needs review.

        Raises:
            InvalidValue: there is no such transfer, or it does not wait for review.
        """
        return await learning.resolve(self.tables, product, account, track_id, verdict, note, ref_code)

    async def learn(
        self, product: Product, found: Sequence[Settlement], *, cause: Cause = "reconcile"
    ) -> Sequence[TransferRecord]:
        """Take in what the bank says of transfers that are on record; the records that changed."""
        return await learning.learn(self.tables, product, found, cause)

    async def sweep(self) -> int:
        """Remove what a plan that was broken off has left behind; how many rows."""
        return await planning.sweep(self.tables)

    async def _repace(self, found: BatchRecord, policy: Policy, connection: "Connection | None") -> BatchRecord:
        """The batch, from now on paid out by another policy; its chunks stay as they are."""
        async with self.tables.transaction(connection) as transaction:
            await transaction.execute(
                "UPDATE paystar_payout_batches SET policy = :policy WHERE batch_id = :batch_id",
                {"policy": policy.to_text(), "batch_id": found.batch_id},
            )
        return evolve(found, policy=policy)
