"""Operations on recorded payouts: recover, pause, resume, review, resolve and look up."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

from paystar_async.errors import InvalidValue
from paystar_async.payouts.dispatcher import Dispatcher
from paystar_async.payouts.ledger import observations, queries, updates
from paystar_async.payouts.ledger.insert import delete_abandoned
from paystar_async.payouts.models import AccountHold, EventRecord, ProductName, TransferRecord, TransferState
from paystar_async.payouts.report import Subtotal
from paystar_async.payouts.runtime import PayoutRuntime
from paystar_async.values.arguments import require_methods
from paystar_async.values.bank_accounts import AccountNumber
from paystar_async.values.field_type import FieldType, find_field_type, short_repr
from paystar_async.values.masking import describe_value
from paystar_async.values.numbers import LIMIT
from paystar_async.values.text import TrackId, text

WAKE_PAGE_SIZE = 1000

_ACCOUNT_NUMBER = cast("FieldType", find_field_type(AccountNumber))
_TRACK_ID = cast("FieldType", find_field_type(TrackId))
_REF_CODE = text("bank reference", max_length=255, example="14050101123456")
_NOTE = text("note", min_length=0, max_length=1000, example="seen in the statement of 1405/01/01", mask=describe_value)


class PayoutOperations:
    """Operations on recorded payouts: recover, pause, resume, review, resolve and look up."""

    def __init__(self, runtime: Callable[[], PayoutRuntime], client: object = None) -> None:
        self._open, self._client = runtime, client
        self._dispatcher: Dispatcher | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client!r}>"

    def use(self, dispatcher: Dispatcher) -> None:
        """Use another dispatcher instead of the one in this event loop.

        Args:
            dispatcher: the dispatcher; neither started twice nor closed here.

        Raises:
            ConfigurationError: ``dispatcher`` is not a dispatcher.
        """
        require_methods("dispatcher", dispatcher, "wake", "start", "aclose", hint="see payouts.dispatcher.Dispatcher")
        self._dispatcher = dispatcher

    def _runtime(self) -> PayoutRuntime:
        runtime = self._open()
        if self._dispatcher is not None:
            runtime.dispatcher = self._dispatcher
        return runtime

    async def recover(self) -> None:
        """Continue all undecided payouts; call at the start of each process that pays, or at any time.

        The status of transfers that a crashed process was sending is checked first.

        Raises:
            ConfigurationError: no database, or an engine without ``before_send`` support.
            StorageError: the ledger cannot be used.
        """
        runtime = self._runtime()
        await delete_abandoned(runtime.ledger)
        dispatcher = runtime.start()
        now = await runtime.ledger.time()
        await dispatcher.wake([chunk_id for chunk_id, due in await runtime.worker.due(WAKE_PAGE_SIZE) if due <= now])

    async def now(self) -> float:
        """Return the ledger's time, in seconds since 1970; it never jumps."""
        return await self._runtime().ledger.time()

    async def pause(self, *, deposit: str | None = None) -> None:
        """Stop sending on all hosts; the status of sent transfers is still checked.

        Args:
            deposit: only what leaves this deposit account; None: everything.

        Raises:
            InvalidValue: ``deposit`` is not a valid account number.
            StorageError: the ledger cannot be used; nothing was paused.
        """
        runtime = self._runtime()
        deposit = _normalize_deposit(deposit)
        for channel in runtime.channels.values():
            if deposit is None or channel.name == "bank":
                await updates.pause(runtime.ledger, channel.name, channel.account, deposit or "")

    async def resume(self, *, deposit: str | None = None) -> int:
        """Resume sending after ``pause``, after Paystar rejected every request, or after money ran out.

        Args:
            deposit: only what leaves this deposit account; None: everything.

        Returns:
            The number of transfers sent now that were held back for insufficient funds: exactly the unsent ones.

        Raises:
            InvalidValue: ``deposit`` is not a valid account number.
            StorageError: the ledger cannot be used; nothing was resumed.
        """
        runtime = self._runtime()
        deposit = _normalize_deposit(deposit)
        resumed = 0
        for channel in runtime.channels.values():
            if deposit is None or channel.name == "bank":
                resumed += await updates.resume(runtime.ledger, channel.name, channel.account, deposit)
        await self.recover()
        return resumed

    async def holds(self) -> Sequence[AccountHold]:
        """Return why transfers are held back now: ``pause``, a refusal of every request, or no money.

        Returns:
            The active holds by product and deposit account; a deposit of ``""`` holds the whole account back.

        Raises:
            StorageError: the ledger cannot be read.
        """
        runtime = self._runtime()
        return [
            hold
            for channel in runtime.channels.values()
            for hold in await queries.holds(runtime.ledger, channel.name, channel.account)
            if hold.is_active
        ]

    async def totals(self) -> Mapping[TransferState, Subtotal]:
        """Return the number and sum of all transfers in each state, over all batches of the configured accounts.

        The time this takes grows with the number of transfers on record: call it for a report, not for every request.

        Raises:
            StorageError: the ledger cannot be read.
        """
        runtime = self._runtime()
        totals = dict.fromkeys(TransferState, Subtotal())
        for channel in runtime.channels.values():
            subtotals = await queries.account_totals(runtime.ledger, channel.name, channel.account)
            for state, (count, amount) in subtotals.items():
                totals[state] += Subtotal(count, amount)
        return totals

    async def review(self, limit: int = 500) -> Sequence[TransferRecord]:
        """Return the transfers that need manual review, oldest first, each with its ``reason``.

        Args:
            limit: maximum number for each account.

        Raises:
            InvalidValue: ``limit`` is below 1.
            StorageError: the ledger cannot be read.
        """
        limit = LIMIT.convert(limit, "limit")
        runtime = self._runtime()
        return [
            record
            for channel in runtime.channels.values()
            for record in await queries.review(runtime.ledger, channel.name, channel.account, limit)
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
        """Resolve a transfer that needs manual review, once the bank's statement shows its result.

        Args:
            track_id: the transfer's own id.
            verdict: ``success``: the money arrived; ``failed``: it did not, and is not sent; ``resend``: it did not,
                and is sent again under the same track_id, at once where this or another process is paying, else after
                ``recover``. A wrong ``resend`` pays twice.
            ref_code: the bank's reference, if known; 1 to 255 characters.
            note: the evidence, up to 1000 characters; stored in the transfer's history.
            product: ``bank`` or ``wallet``, where both have a transfer of this track_id.

        Returns:
            The transfer after the decision.

        Raises:
            InvalidValue: there is no such transfer, it does not need review, ``product`` has to be given, or a
                value is not valid.
            StorageError: the ledger cannot be used; nothing was decided.
        """
        note = _NOTE.convert(note, "note")
        ref_code = None if ref_code is None else _REF_CODE.convert(ref_code, "ref_code")
        runtime = self._runtime()
        if verdict not in ("success", "failed", "resend"):
            raise InvalidValue("verdict", expected='"success", "failed" or "resend"', got=short_repr(verdict))
        record = await self._find_record(track_id, product, TransferState.NEEDS_REVIEW)
        return await observations.resolve(
            runtime.ledger, record.product, record.account, track_id, verdict, note=note, ref_code=ref_code
        )

    async def find(self, *, track_id: str, product: ProductName | None = None) -> TransferRecord:
        """Return a transfer's record.

        Args:
            track_id: the transfer's own id.
            product: ``bank`` or ``wallet``, where both have a transfer of this track_id.

        Raises:
            InvalidValue: there is no such transfer, or ``track_id`` is not a valid id.
            StorageError: the ledger cannot be read.
        """
        return await self._find_record(track_id, product)

    async def history(self, *, track_id: str, product: ProductName | None = None) -> Sequence[EventRecord]:
        """Return all state changes of a transfer, in order.

        Args:
            track_id: the transfer's own id.
            product: ``bank`` or ``wallet``, where both have a transfer of this track_id.

        Raises:
            InvalidValue: there is no such transfer, or ``track_id`` is not a valid id.
            StorageError: the ledger cannot be read.
        """
        record = await self._find_record(track_id, product)
        return await queries.events(self._runtime().ledger, record.product, record.account, track_id)

    async def _find_record(
        self, track_id: str, product: ProductName | None, state: TransferState | None = None
    ) -> TransferRecord:
        """Return a transfer's record; of those of two products with this track_id, the one in ``state``."""
        track_id = _TRACK_ID.convert(track_id, "track_id")
        if product not in (None, "bank", "wallet"):
            raise InvalidValue("product", expected='"bank" or "wallet"', got=short_repr(product))
        runtime = self._runtime()
        records: list[TransferRecord] = []
        for channel in runtime.channels.values() if product is None else [runtime.channel(product)]:
            record = await queries.find_transfer(runtime.ledger, channel.name, channel.account, track_id)
            if record is not None:
                records.append(record)
        matches = [record for record in records if state is None or record.state is state] or records
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InvalidValue("product", expected='"bank" or "wallet": both have this track_id', got="None")
        raise InvalidValue("track_id", expected="a transfer on record", got=short_repr(track_id))


def _normalize_deposit(deposit: str | None) -> str | None:
    """Return a deposit account in the form of transfers; another form would pause no transfer."""
    return None if deposit is None else _ACCOUNT_NUMBER.convert(deposit, "deposit")
