"""``paystar.payouts``: batches of transfers that are paid once, whatever happens to whoever pays them."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from paystar_async.errors import InvalidValue
from paystar_async.models.transfers import Transfer
from paystar_async.payouts import validation as planning
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.dispatcher import Dispatcher
from paystar_async.payouts.ledger import observations, queries, updates
from paystar_async.payouts.ledger.insert import delete_abandoned, insert_batch
from paystar_async.payouts.models import EventRecord, Policy, ProductName, TransferRecord, TransferState
from paystar_async.payouts.reconcile import Reconciliation, reconcile
from paystar_async.payouts.runtime import PayoutRuntime
from paystar_async.payouts.turns import TurnJobs
from paystar_async.payouts.validation import Plan, Source
from paystar_async.values.bank_accounts import AccountNumber
from paystar_async.values.field_type import FieldType, find_field_type, shown
from paystar_async.values.masking import described
from paystar_async.values.numbers import integer
from paystar_async.values.text import TrackId, text

WAKE_PAGE_SIZE = 1000

_NUMBER = cast("FieldType", find_field_type(AccountNumber))
_TRACK_ID = cast("FieldType", find_field_type(TrackId))
_REF_CODE = text("bank reference", max_length=255, example="14050101123456")
_NOTE = text("note", min_length=0, max_length=1000, example="seen in the statement of 1405/01/01", mask=described)
LIMIT = integer("limit", minimum=1, example=100)


class PayoutOperations:
    """Payouts under way, and what is done about them."""

    def __init__(self, desk: Callable[[], PayoutRuntime], client: object = None) -> None:
        self._open, self._client = desk, client
        self._given: Dispatcher | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client!r}>"

    def use(self, dispatcher: Dispatcher) -> None:
        """Let another dispatcher say when chunks are due, instead of the one in this event loop.

        Args:
            dispatcher: the other one; it is neither started twice nor closed here.
        """
        self._given = dispatcher

    def _desk(self) -> PayoutRuntime:
        desk = self._open()
        if self._given is not None:
            desk.dispatcher = self._given
        return desk

    async def recover(self) -> None:
        """Go on with everything that is on record and not decided: at the start of each process that pays.

        It may be called at any time. What a process that died was sending is asked about before anything else.

        Raises:
            ConfigurationError: no database, or an engine that cannot be fenced.
            StorageError: the ledger cannot be used.
        """
        desk = self._desk()
        await delete_abandoned(desk.ledger)
        dispatcher = desk.start()
        now = await desk.ledger.time()
        await dispatcher.wake([chunk_id for chunk_id, due in await desk.worker.due(WAKE_PAGE_SIZE) if due <= now])

    async def now(self) -> float:
        """The ledger's time, in seconds since 1970; it does not jump."""
        return await self._desk().ledger.time()

    async def pause(self, *, deposit: str | None = None) -> None:
        """Send nothing more, on any host; what is under way is still asked about.

        Args:
            deposit: only what leaves this deposit account; None: everything.

        Raises:
            InvalidValue: ``deposit`` is no account number.
            StorageError: the ledger cannot be used; nothing was paused.
        """
        desk = self._desk()
        deposit = _account(deposit)
        for product in desk.channels.values():
            if deposit is None or product.name == "bank":
                await updates.pause(desk.ledger, product.name, product.account, deposit or "")

    async def resume(self, *, deposit: str | None = None) -> int:
        """Go on after ``pause``, after Paystar refused everything, or after money ran out.

        Args:
            deposit: only what leaves this deposit account; None: everything.

        Returns:
            How many transfers are sent now that were kept back for lack of money: exactly the unsent ones.

        Raises:
            InvalidValue: ``deposit`` is no account number.
            StorageError: the ledger cannot be used; nothing was resumed.
        """
        desk = self._desk()
        deposit = _account(deposit)
        resumed = 0
        for product in desk.channels.values():
            if deposit is None or product.name == "bank":
                resumed += await updates.resume(desk.ledger, product.name, product.account, deposit)
        await self.recover()
        return resumed

    async def review(self, limit: int = 500) -> Sequence[TransferRecord]:
        """The transfers a person has to look at, oldest first, each with its ``reason``.

        Args:
            limit: how many at the most, for each account.

        Raises:
            InvalidValue: ``limit`` is below 1.
            StorageError: the ledger cannot be read.
        """
        limit = LIMIT.convert(limit, "limit")
        desk = self._desk()
        return [
            record
            for product in desk.channels.values()
            for record in await queries.review(desk.ledger, product.name, product.account, limit)
        ]

    async def resolve(
        self,
        *,
        track_id: str,
        verdict: Literal["success", "failed", "resend"],
        ref_code: str | None = None,
        note: str = "",
        product: ProductName | None = None,
    ) -> TransferRecord:
        """Decide about a transfer that needs review, once you know from the bank's own statement.

        Args:
            track_id: the transfer's own id.
            verdict: ``success``: the money arrived; ``failed``: it did not, and is not sent; ``resend``: it did not,
                and is sent again under the same track_id, at once where this or another process is paying, else after
                ``recover``. Only you can know: a wrong ``resend`` pays twice.
            ref_code: the bank's reference, where there is one; 1 to 255 characters.
            note: how you know, in up to 1000 characters; it is kept in the transfer's history.
            product: ``bank`` or ``wallet``, where both have a transfer of this track_id.

        Returns:
            The transfer as it now is.

        Raises:
            InvalidValue: there is no such transfer, it does not wait for review, ``product`` has to be named, or a
                value does not have its shape.
            StorageError: the ledger cannot be used; nothing was decided.
        """
        note = _NOTE.convert(note, "note")
        ref_code = None if ref_code is None else _REF_CODE.convert(ref_code, "ref_code")
        desk = self._desk()
        if verdict not in ("success", "failed", "resend"):
            raise InvalidValue("verdict", expected='"success", "failed" or "resend"', got=shown(verdict))
        record = await self._one(track_id, product, TransferState.NEEDS_REVIEW)
        return await observations.resolve(
            desk.ledger, record.product, record.account, track_id, verdict, note=note, ref_code=ref_code
        )

    async def find(self, *, track_id: str, product: ProductName | None = None) -> TransferRecord:
        """A transfer as the ledger has it.

        Args:
            track_id: the transfer's own id.
            product: ``bank`` or ``wallet``, where both have a transfer of this track_id.

        Raises:
            InvalidValue: there is no such transfer, or ``track_id`` is none that a transfer could have.
            StorageError: the ledger cannot be read.
        """
        return await self._one(track_id, product, None)

    async def history(self, *, track_id: str, product: ProductName | None = None) -> Sequence[EventRecord]:
        """All that happened to a transfer, in order.

        Args:
            track_id: the transfer's own id.
            product: ``bank`` or ``wallet``, where both have a transfer of this track_id.

        Raises:
            InvalidValue: there is no such transfer, or ``track_id`` is none that a transfer could have.
            StorageError: the ledger cannot be read.
        """
        record = await self._one(track_id, product, None)
        return await queries.events(self._desk().ledger, record.product, record.account, track_id)

    async def _one(self, track_id: str, product: ProductName | None, state: TransferState | None) -> TransferRecord:
        track_id = _TRACK_ID.convert(track_id, "track_id")
        if product not in (None, "bank", "wallet"):
            raise InvalidValue("product", expected='"bank" or "wallet"', got=shown(product))
        desk = self._desk()
        found: list[TransferRecord] = []
        for one in desk.channels.values() if product is None else [desk.channel(product)]:
            record = await queries.find_transfer(desk.ledger, one.name, one.account, track_id)
            if record is not None:
                found.append(record)
        wanted = [record for record in found if state is None or record.state is state] or found
        if len(wanted) == 1:
            return wanted[0]
        if wanted:
            raise InvalidValue("product", expected='"bank" or "wallet": both have this track_id', got="None")
        raise InvalidValue("track_id", expected="a transfer on record", got=shown(track_id))


def _account(deposit: str | None) -> str | None:
    """A deposit account as transfers name it: one that is written otherwise would be held, and no transfer with it."""
    return None if deposit is None else _NUMBER.convert(deposit, "deposit")


if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

MAX_ID_CHARACTERS = 200


class Payouts(PayoutOperations):
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
        async with aclosing(planning.validated_transfers(transfers, planned=planned, sheet=sheet)) as values:
            first = await anext(values)
            product = desk.channel("bank" if isinstance(first, Transfer) else "wallet")
            record = await insert_batch(
                desk.ledger, product, batch_id, _all(first, values), policy=policy, connection=connection
            )
        await self._wake(desk, batch_id, connection)
        return Batch(desk, record, self)

    async def _wake(self, desk: PayoutRuntime, batch_id: str, connection: "Connection | None") -> None:
        dispatcher = desk.start()
        if self._given is None:
            await dispatcher.wake(())  # the local dispatcher reads the ledger itself
            return
        after = ""
        while True:
            async with desk.ledger.transaction(connection) as transaction:
                chunks = await queries.chunk_ids(transaction, batch_id, after, WAKE_PAGE_SIZE)
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
        record = await queries.find_batch(desk.ledger, batch_id)
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
        return [Batch(desk, record, self) for record in await queries.batches(desk.ledger, limit)]

    async def reconcile(self, window: timedelta | float) -> Reconciliation:
        """Compare the ledger with the bank's own list, and take in what the bank has decided.

        Args:
            window: how far back transfers of the ledger are looked for, as a timedelta or in seconds.

        Returns:
            What the bank has that the ledger has not, what they say differently, and what the bank does not list.

        Raises:
            StatusError, NotSent, NoResponse, InvalidResponse: the list could not be had; nothing was changed by that.
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
        due = await desk.worker.advance(chunk_id)
        desk.progress_event.set()
        return None if due is None else max(0.0, due - await desk.ledger.time())

    async def advance_in_turn(self, chunk_id: str, jobs: TurnJobs, *, seconds: float, handed_on: bool = False) -> None:
        """Bring a chunk forward; where it has to wait for its turn, send for all chunks of its deposit account.

        For a queue whose workers have few slots for jobs, as ``contrib.procrastinate`` uses it: one job of a process
        sends for an account, each call at its turn, and the jobs of the account's other chunks end at once.

        Args:
            chunk_id: the chunk.
            jobs: the queue, for chunks that are due later, and for an account that another job has to go on with.
            seconds: how long the job may begin calls; those under way are waited for.
            handed_on: whether the job was queued by ``jobs.continue_elsewhere``.

        Raises:
            InvalidValue: ``chunk_id`` is none that a chunk could have.
            ConfigurationError: the chunk's account is not configured here, or the engine cannot be fenced.
            StorageError: the ledger cannot be used; nothing was sent that is not on record. Call again.
        """
        _checked_id("chunk_id", chunk_id)
        turns = self._desk().turns
        await (turns.continue_lane if handed_on else turns.advance)(chunk_id, seconds, jobs)


async def _all(first: AnyTransfer, others: AsyncIterator[AnyTransfer]) -> AsyncGenerator[AnyTransfer, None]:
    yield first
    async for one in others:
        yield one


def _checked_id(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARACTERS or not value.isprintable():
        raise InvalidValue(name, expected=f"a text of 1 to {MAX_ID_CHARACTERS} printable characters", got=shown(value))
