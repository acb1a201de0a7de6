"""What a person does about payouts: hold them, let them go on, look at what nobody knows, and decide it."""

from collections.abc import Callable, Sequence
from typing import Literal, cast

from paystar_async.errors import InvalidValue
from paystar_async.payouts import gates, learning, reading
from paystar_async.payouts.desk import Desk
from paystar_async.payouts.dispatch import Dispatcher
from paystar_async.payouts.planning import sweep
from paystar_async.payouts.records import EventRecord, ProductName, TransferRecord
from paystar_async.payouts.states import State
from paystar_async.values.account import AccountNumber
from paystar_async.values.integer import integer
from paystar_async.values.kind import Kind, kind_of, shown
from paystar_async.values.mask import described
from paystar_async.values.text import TrackId, text

AT_ONCE = 1000

_NUMBER = cast("Kind", kind_of(AccountNumber))
_TRACK_ID = cast("Kind", kind_of(TrackId))
_REF_CODE = text("bank reference", most=255, example="14050101123456")
_NOTE = text("note", least=0, most=1000, example="seen in the statement of 1405/01/01", mask=described)
LIMIT = integer("limit", least=1, example=100)


class ByHand:
    """Payouts under way, and what is done about them."""

    def __init__(self, desk: Callable[[], Desk]) -> None:
        self._open = desk
        self._given: Dispatcher | None = None

    def use(self, dispatcher: Dispatcher) -> None:
        """Let another dispatcher say when chunks are due, instead of the one in this event loop.

        Args:
            dispatcher: the other one; it is neither started twice nor closed here.
        """
        self._given = dispatcher

    def _desk(self) -> Desk:
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
        await sweep(desk.ledger)
        dispatcher = desk.start()
        now = await desk.ledger.time()
        await dispatcher.wake([chunk_id for chunk_id, due in await desk.advancer.due(AT_ONCE) if due <= now])

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
        for product in desk.products.values():
            if deposit is None or product.name == "bank":
                await gates.pause(desk.ledger, product.name, product.account, deposit or "")

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
        for product in desk.products.values():
            if deposit is None or product.name == "bank":
                resumed += await gates.resume(desk.ledger, product.name, product.account, deposit)
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
            for product in desk.products.values()
            for record in await reading.review(desk.ledger, product.name, product.account, limit)
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
        record = await self._one(track_id, product, State.NEEDS_REVIEW)
        return await learning.resolve(
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
        return await reading.events(self._desk().ledger, record.product, record.account, track_id)

    async def _one(self, track_id: str, product: ProductName | None, state: State | None) -> TransferRecord:
        track_id = _TRACK_ID.convert(track_id, "track_id")
        if product not in (None, "bank", "wallet"):
            raise InvalidValue("product", expected='"bank" or "wallet"', got=shown(product))
        desk = self._desk()
        found: list[TransferRecord] = []
        for one in desk.products.values() if product is None else [desk.product(product)]:
            record = await reading.find_transfer(desk.ledger, one.name, one.account, track_id)
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
