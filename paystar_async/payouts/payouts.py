"""``paystar.payouts``: batches of transfers that are paid once, whatever happens to whoever pays them."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from paystar_async.errors import InvalidValue
from paystar_async.models.transfers import Transfer
from paystar_async.payouts import plan as planning
from paystar_async.payouts import reading
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.byhand import AT_ONCE, LIMIT, ByHand
from paystar_async.payouts.classify import Value
from paystar_async.payouts.desk import Desk
from paystar_async.payouts.plan import Plan, Source
from paystar_async.payouts.planning import insert_batch
from paystar_async.payouts.reconcile import Reconciliation, reconcile
from paystar_async.payouts.records import Policy
from paystar_async.payouts.turns import TurnJobs
from paystar_async.values.kind import shown

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

MOST_IN_AN_ID = 200


class Payouts(ByHand):
    """Batches of transfers, on record before the first byte leaves and until each one's fate is known."""

    async def plan(self, transfers: Source, *, sheet: str | None = None) -> Plan:
        """Read all transfers and check each to the last checksum; nothing is kept or sent.

        Args:
            transfers: a CSV or XLSX file with the fields of ``Transfer`` or ``WalletTransfer`` as its columns, or an
                iterable or async iterable of them, or of mappings of their fields. Headings may be Persian, too.
            sheet: the name of the sheet to read; needed where several sheets of a workbook hold transfers.

        Returns:
            How many there are, what they come to in Rial, and everything that is wrong, by row, field and reason.

        Raises:
            InvalidValue: the file cannot be read, a column is unknown, missing or hidden, or a sheet has to be chosen.
        """
        return await planning.plan(transfers, sheet=sheet)

    async def submit(
        self,
        transfers: Source,
        *,
        batch_id: str,
        connection: "Connection | None" = None,
        policy: Policy | None = None,
        planned: Plan | None = None,
        sheet: str | None = None,
    ) -> Batch:
        """Put a batch on record, whole or not at all, and begin to pay it.

        It may be submitted again, after a crash say: the same transfers under the same ``batch_id`` are the batch that
        is there. A transfer that another batch brought, to the letter, is the same transfer, and is paid once.

        Args:
            transfers: as ``plan`` takes them; Transfer or WalletTransfer, never both. Read once, and never all in
                memory.
            batch_id: its name, yours, 1 to 200 characters, unique for ever.
            connection: a psycopg connection with a transaction under way on the ledger's database; the batch is there
                when that commits, and never was if it rolls back.
            policy: how it is paid out; that of the batch that is there, or the default.
            planned: what ``plan`` told of it and somebody agreed to; what has changed since is refused.
            sheet: the name of the sheet to read; needed where several sheets of a workbook hold transfers.

        Returns:
            The batch, on record; ``outcomes()`` tells what becomes of it.

        Raises:
            InvalidRows: rows are not in order; nothing was sent.
            InvalidValue: it is no file or iterable, ``batch_id`` is on record with other contents, or a value is
                wrong; nothing was sent.
            TrackIdConflict: a track_id is on record with other contents; nothing was sent.
            ConfigurationError: no database, no account to pay from, or an engine that cannot be fenced; nothing was
                sent.
            StorageError: the ledger cannot be used. Nothing was sent; submit it again.

        Source: POST /bank-transfer/v2/settlement
        """
        desk = self._desk()
        _checked_id("batch_id", batch_id)
        desk.check()
        async with aclosing(planning.sound(transfers, planned=planned, sheet=sheet)) as values:
            first = await anext(values)
            product = desk.product("bank" if isinstance(first, Transfer) else "wallet")
            record = await insert_batch(
                desk.ledger, product, batch_id, _all(first, values), policy=policy, connection=connection
            )
        await self._wake(desk, batch_id, connection)
        return Batch(desk, record, self)

    async def _wake(self, desk: Desk, batch_id: str, connection: "Connection | None") -> None:
        dispatcher = desk.start()
        if self._given is None:
            await dispatcher.wake(())  # the local dispatcher reads the ledger itself
            return
        after = ""
        while True:
            async with desk.ledger.transaction(connection) as transaction:
                chunks = await reading.chunk_ids(transaction, batch_id, after, AT_ONCE)
            if not chunks:
                return
            await dispatcher.wake(chunks, connection)
            after = chunks[-1]

    async def batch(self, batch_id: str) -> Batch:
        """A batch that was submitted before, by whomever.

        Args:
            batch_id: its name.

        Raises:
            InvalidValue: there is none of that name, or it is none that a batch could have.
            StorageError: the ledger cannot be read.
        """
        _checked_id("batch_id", batch_id)
        desk = self._desk()
        record = await reading.find_batch(desk.ledger, batch_id)
        if record is None:
            raise InvalidValue("batch_id", expected="a batch on record", got=shown(batch_id))
        return Batch(desk, record, self)

    async def batches(self, limit: int = 100) -> Sequence[Batch]:
        """The batches on record, newest first.

        Args:
            limit: how many at the most.

        Raises:
            InvalidValue: ``limit`` is below 1.
            StorageError: the ledger cannot be read.
        """
        limit = LIMIT.convert(limit, "limit")
        desk = self._desk()
        return [Batch(desk, record, self) for record in await reading.batches(desk.ledger, limit)]

    async def reconcile(self, window: timedelta | float) -> Reconciliation:
        """Compare the ledger with the bank's own list, and take in what the bank has decided.

        Args:
            window: how far back transfers of the ledger are looked for, as a timedelta or in seconds.

        Returns:
            What the bank has that the ledger has not, what they say differently, and what the bank does not list.

        Raises:
            StatusError, NotSent, Unanswered, BadAnswer: the list could not be had; nothing was changed by that.
            StorageError: the ledger cannot be used.

        Source: GET /bank-transfer/settlement-requests
        """
        return await reconcile(self._desk(), window)

    async def advance(self, chunk_id: str) -> float | None:
        """Bring one chunk forward: what a job of a queue of yours does, see ``payouts.dispatch``.

        Args:
            chunk_id: the chunk; calling it twice, at once, from anywhere is the same as once.

        Returns:
            Seconds until it is due again; None: there is nothing more to do, or not before ``resume``.

        Raises:
            InvalidValue: ``chunk_id`` is none that a chunk could have.
            ConfigurationError: the chunk's account is not configured here, or the engine cannot be fenced.
            StorageError: the ledger cannot be used; nothing was sent that is not on record. Call again.
        """
        _checked_id("chunk_id", chunk_id)
        desk = self._desk()
        due = await desk.advancer.advance(chunk_id)
        desk.moved.set()
        return None if due is None else max(0.0, due - await desk.ledger.time())

    async def advance_in_turn(self, chunk_id: str, jobs: TurnJobs, *, seconds: float, handed_on: bool = False) -> None:
        """Bring a chunk forward; where it has to wait for its turn, send for all chunks of its deposit account.

        For a queue whose workers have few slots for jobs, as ``contrib.procrastinate`` uses it: one job of a process
        sends for an account, each call at its turn, and the jobs of the account's other chunks end at once.

        Args:
            chunk_id: the chunk.
            jobs: the queue, for chunks that are due later, and for an account that another job has to go on with.
            seconds: how long the job may begin calls; those under way are waited for.
            handed_on: whether the job was queued by ``jobs.hand_on``.

        Raises:
            InvalidValue: ``chunk_id`` is none that a chunk could have.
            ConfigurationError: the chunk's account is not configured here, or the engine cannot be fenced.
            StorageError: the ledger cannot be used; nothing was sent that is not on record. Call again.
        """
        _checked_id("chunk_id", chunk_id)
        turns = self._desk().turns
        await (turns.go_on if handed_on else turns.advance)(chunk_id, seconds, jobs)


async def _all(first: Value, others: AsyncIterator[Value]) -> AsyncGenerator[Value, None]:
    yield first
    async for one in others:
        yield one


def _checked_id(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_IN_AN_ID or not value.isprintable():
        raise InvalidValue(name, expected=f"a text of 1 to {MOST_IN_AN_ID} printable characters", got=shown(value))
