"""``paystar.payouts``: submit batches of transfers that are paid exactly once, and operate them."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from paystar_async.errors import InvalidValue
from paystar_async.models.transfers import Transfer
from paystar_async.payouts import validation
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy
from paystar_async.payouts.operations import WAKE_PAGE_SIZE, PayoutOperations
from paystar_async.payouts.reconcile import Reconciliation, reconcile
from paystar_async.payouts.runtime import PayoutRuntime
from paystar_async.payouts.turns import TurnJobs
from paystar_async.payouts.validation import Plan, Source
from paystar_async.values.arguments import require_instance, require_methods
from paystar_async.values.field_type import short_repr
from paystar_async.values.numbers import LIMIT, require_seconds

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

MAX_ID_CHARACTERS = 200


class Payouts(PayoutOperations):
    """Batches of transfers, recorded before the first byte is sent and until each result is known."""

    async def plan(self, transfers: Source, *, sheet: str | None = None) -> Plan:
        """Read and check all transfers, checksums too; nothing is stored or sent.

        Args:
            transfers: a CSV or XLSX file with the fields of ``Transfer`` or ``WalletTransfer`` as its columns, or an
                iterable or async iterable of them, or of mappings of their fields. Headings may be Persian, too.
            sheet: the name of the sheet to read; needed where several sheets of a workbook hold transfers.

        Returns:
            The number of transfers, their sum in Rial, and all errors by row, field and reason.

        Raises:
            InvalidValue: the file cannot be read, a column is unknown, missing or hidden, or a sheet has to be chosen.
        """
        return await validation.plan(transfers, sheet=sheet)

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
        """Record a batch, completely or not at all, and begin to pay it.

        Submitting again, after a crash for example, is safe: the same transfers under the same ``batch_id`` return the
        existing batch. A transfer that is identical to one of another batch is the same transfer, and is paid once.

        Args:
            transfers: as in ``plan``; Transfer or WalletTransfer, never both. Read once, and never all in memory.
            batch_id: your id of the batch, 1 to 200 characters, never used for another batch.
            connection: a psycopg connection with an open transaction on the ledger's database; the batch exists when
                the transaction commits, and not if it is rolled back.
            policy: the policy by which the batch is paid; by default that of the existing batch, or ``Policy()``.
            planned: the approved result of ``plan``; transfers that changed since are rejected.
            sheet: the name of the sheet to read; needed where several sheets of a workbook hold transfers.

        Returns:
            The recorded batch; ``outcomes()`` yields its results.

        Raises:
            InvalidRows: rows are not valid; nothing was sent.
            InvalidValue: the source is not a file or iterable, ``batch_id`` is recorded with other contents, or a value
                is not valid; nothing was sent.
            TrackIdConflict: a track_id is on record with other contents; nothing was sent.
            ConfigurationError: no database, no account to pay from, or an engine without ``before_send`` support;
                nothing was sent.
            StorageError: the ledger cannot be used. Nothing was sent; submit it again.

        Source: POST /bank-transfer/v2/settlement
        """
        runtime = self._runtime()
        _check_id("batch_id", batch_id)
        if policy is not None:
            require_instance("policy", policy, Policy, hint="policy=Policy(chunk=20, rate=2.0)")
        if planned is not None:
            require_instance("planned", planned, Plan, hint="pass the result of: await payouts.plan(...)")
        runtime.check()
        async with aclosing(validation.validated_transfers(transfers, planned=planned, sheet=sheet)) as values:
            first = await anext(values)
            channel = runtime.channel("bank" if isinstance(first, Transfer) else "wallet")
            record = await insert_batch(
                runtime.ledger, channel, batch_id, _chain(first, values), policy=policy, connection=connection
            )
        await self._wake(runtime, batch_id, connection)
        return Batch(runtime, record, self)

    async def _wake(self, runtime: PayoutRuntime, batch_id: str, connection: "Connection | None") -> None:
        dispatcher = runtime.start()
        if self._dispatcher is None:
            await dispatcher.wake(())  # the local dispatcher reads the ledger itself
            return
        after = ""
        while True:
            async with runtime.ledger.transaction(connection) as transaction:
                chunks = await queries.chunk_ids(transaction, batch_id, after, WAKE_PAGE_SIZE)
            if not chunks:
                return
            await dispatcher.wake(chunks, connection)
            after = chunks[-1]

    async def batch(self, batch_id: str) -> Batch:
        """Return a batch that was submitted before, by any process.

        Args:
            batch_id: the batch's id.

        Raises:
            InvalidValue: there is no such batch, or ``batch_id`` is not a valid id.
            StorageError: the ledger cannot be read.
        """
        _check_id("batch_id", batch_id)
        runtime = self._runtime()
        record = await queries.find_batch(runtime.ledger, batch_id)
        if record is None:
            raise InvalidValue("batch_id", expected="a batch on record", got=short_repr(batch_id))
        return Batch(runtime, record, self)

    async def batches(self, limit: int = 100) -> Sequence[Batch]:
        """Return the recorded batches, newest first.

        Args:
            limit: maximum number of batches.

        Raises:
            InvalidValue: ``limit`` is below 1.
            StorageError: the ledger cannot be read.
        """
        limit = LIMIT.convert(limit, "limit")
        runtime = self._runtime()
        return [Batch(runtime, record, self) for record in await queries.batches(runtime.ledger, limit)]

    async def reconcile(self, window: timedelta | float) -> Reconciliation:
        """Compare the ledger with the bank's list, and record the bank's decisions.

        Args:
            window: the age up to which transfers are compared, as a timedelta or in seconds.

        Returns:
            Transfers that only the bank has, that differ, and that the bank does not list.

        Raises:
            StatusError, NotSent, NoResponse, InvalidResponse: the list could not be read; nothing was changed.
            StorageError: the ledger cannot be used.

        Source: GET /bank-transfer/settlement-requests
        """
        return await reconcile(self._runtime(), window)

    async def advance(self, chunk_id: str) -> float | None:
        """Process one chunk; for jobs of your own queue, see ``payouts.dispatcher``.

        Args:
            chunk_id: the chunk; repeated and concurrent calls from any process are safe.

        Returns:
            Seconds until the chunk is due again; None: nothing more to do, or not before ``resume``.

        Raises:
            InvalidValue: ``chunk_id`` is not a valid id.
            ConfigurationError: the chunk's account is not configured here, or the engine lacks ``before_send`` support.
            StorageError: the ledger cannot be used; nothing was sent that is not on record. Call again.
        """
        _check_id("chunk_id", chunk_id)
        runtime = self._runtime()
        due = await runtime.worker.advance(chunk_id)
        runtime.progress_event.set()
        return None if due is None else max(0.0, due - await runtime.ledger.time())

    async def advance_in_turn(self, chunk_id: str, jobs: TurnJobs, *, seconds: float, handed_on: bool = False) -> None:
        """Process a chunk; if it has to wait for its turn, send all chunks of its deposit account.

        For a queue whose workers have few slots for jobs, as ``contrib.procrastinate`` uses it: one job of a process
        sends for an account, each call at its turn, and the jobs of the account's other chunks end at once.

        Args:
            chunk_id: the chunk.
            jobs: the queue, for chunks that are due later, and for an account that another job has to go on with.
            seconds: how long the job may begin calls; those under way are waited for.
            handed_on: whether the job was queued by ``jobs.continue_elsewhere``.

        Raises:
            InvalidValue: ``chunk_id`` is not a valid id, or ``seconds`` is not above 0.
            ConfigurationError: ``jobs`` is not a queue, the chunk's account is not configured here, or the engine lacks
                ``before_send`` support.
            StorageError: the ledger cannot be used; nothing was sent that is not on record. Call again.
        """
        _check_id("chunk_id", chunk_id)
        require_methods("jobs", jobs, "advance_later", "continue_elsewhere", hint="see payouts.turns.TurnJobs")
        require_seconds("seconds", seconds)
        turns = self._runtime().turns
        await (turns.continue_lane if handed_on else turns.advance)(chunk_id, seconds, jobs)


async def _chain(first: AnyTransfer, remaining: AsyncIterator[AnyTransfer]) -> AsyncGenerator[AnyTransfer, None]:
    yield first
    async for transfer in remaining:
        yield transfer


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARACTERS or not value.isprintable():
        raise InvalidValue(
            name, expected=f"a text of 1 to {MAX_ID_CHARACTERS} printable characters", got=short_repr(value)
        )
