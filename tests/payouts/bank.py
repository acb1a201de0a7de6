"""A fake bank with a script of its results, and the fixture of a payout that uses the bank."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from paystar_async.models.base import Call
from paystar_async.models.transfers import FindTransfers, Settle, Settlement, Transfer, TransferStatus
from paystar_async.models.wallet import Accepted, FindWalletTransfers, SettleWallet, WalletTransfer
from paystar_async.payouts.channels import BankTransferChannel, PayoutChannel, WalletChannel
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import TransferRecord, TransferState
from paystar_async.payouts.worker import ChunkWorker
from paystar_async.response import Response
from paystar_async.runtime.clock import ManualClock
from paystar_async.runtime.events import Event
from paystar_async.runtime.tasks import BackgroundTasks

DEPOSIT = "0111234567890"
IBAN = "IR110170000000123456789001"

Act = Callable[["FakeBank", Sequence[AnyTransfer]], object]
"""A function that executes one send call of the bank: it returns the response, or raises."""


def transfer(number: int = 0, **fields: Any) -> Transfer:
    defaults: dict[str, Any] = {
        "amount": 10_000 + number,
        "deposit": DEPOSIT,
        "destination_account": IBAN,
        "destination_firstname": "Sara",
        "destination_lastname": "Ahmadi",
        "track_id": f"t-{number:05d}",
    }
    return Transfer(**(defaults | fields))


def transfers(count: int, **fields: Any) -> list[Transfer]:
    return [transfer(number, **fields) for number in range(count)]


def wallet_transfer(number: int = 0, **fields: Any) -> WalletTransfer:
    defaults: dict[str, Any] = {
        "amount": 10_000 + number,
        "destination_number": IBAN,
        "destination_firstname": "Sara",
        "destination_lastname": "Ahmadi",
        "track_id": f"w-{number:05d}",
    }
    return WalletTransfer(**(defaults | fields))


def transfer_record(state: TransferState, track_id: str = "t-00000", **fields: Any) -> TransferRecord:
    """Return the record of a transfer that was sent once."""
    defaults: dict[str, Any] = {"product": "bank", "account": "app-1", "version": 3, "attempt": 1, "amount": 1}
    defaults |= {"deposit": "d", "destination": "IR**", "batch_id": "b", "chunk_id": "c"}
    return TransferRecord(track_id=track_id, state=state, **(defaults | fields))


async def each(values: Iterable[AnyTransfer]) -> AsyncIterator[AnyTransfer]:
    for value in values:
        yield value


class FakeBank:
    """A bank that executes every transfer it is sent, unless its script has another act for the call.

    Attributes:
        script: the acts of the next calls.
        finds: functions that return the entries of the next look-ups, given the track_id.
        status: the status of transfers that are executed.
        executed: how often each track_id was executed.
        statuses: the status of each track_id.
        calls: the track_ids of each call.
        look_ups: the track_id of each look-up; None for the list.
        before_sends: the ``before_send`` of each call.
        on_send: called before the first byte of a call; a returned awaitable is awaited.
        on_response: awaited before the response of a call.
        on_find: awaited before the response of a look-up.
    """

    def __init__(self) -> None:
        self.script: deque[Act] = deque()
        self.finds: deque[Callable[[str | None], object]] = deque()
        self.status = TransferStatus.SUCCESS
        self.executed: dict[str, int] = {}
        self.statuses: dict[str, TransferStatus] = {}
        self.calls: list[list[str]] = []
        self.look_ups: list[str | None] = []
        self.before_sends: list[Callable[[], None]] = []
        self.on_send: Callable[[], object] | None = None
        self.on_response: Callable[[], Awaitable[object]] | None = None
        self.on_find: Callable[[], Awaitable[object]] | None = None

    async def deliver(
        self, value: Call[Any], timeout: float | None, before_send: Callable[[], None] | None = None, /
    ) -> Response[Any]:
        result = await self._respond(value, before_send)
        return Response(value=result, status=1, message="", http_status=200, headers={}, body=b"")

    async def _respond(self, value: Call[Any], before_send: Callable[[], None] | None) -> object:
        if isinstance(value, Settle | SettleWallet):
            assert before_send is not None, "money was sent without before_send"
            if self.on_send is not None:
                waited = self.on_send()
                if waited is not None:
                    await cast("Any", waited)
            before_send()
            self.before_sends.append(before_send)
            values: list[AnyTransfer] = list(value.transfers)
            self.calls.append([value.track_id for value in values])
            result = (self.script.popleft() if self.script else execute)(self, values)
            if self.on_response is not None:
                await self.on_response()
            return result if isinstance(value, Settle) else Accepted()
        assert isinstance(value, FindTransfers | FindWalletTransfers)
        self.look_ups.append(value.track_id)
        if self.on_find is not None:
            await self.on_find()
        if self.finds:
            return self.finds.popleft()(value.track_id)
        if value.track_id is None:
            assert isinstance(value, FindTransfers)
            newest = [self.entry(name) for name in reversed(self.statuses)]
            return newest[value.skip or 0 :][: value.limit]
        return [self.entry(value.track_id)] if value.track_id in self.statuses else []

    def execute(self, values: Sequence[AnyTransfer], status: TransferStatus | None = None) -> list[Settlement]:
        for value in values:
            self.executed[value.track_id] = self.executed.get(value.track_id, 0) + 1
            self.statuses[value.track_id] = status or self.status
        return [self.entry(value.track_id) for value in values]

    def entry(self, track_id: str) -> Settlement:
        return Settlement(
            hashid=f"h-{track_id}", track_id=track_id, status=self.statuses[track_id], ref_code=f"r-{track_id}"
        )


def execute(bank: FakeBank, values: Sequence[AnyTransfer]) -> list[Settlement]:
    """Return the response of a successful call."""
    return bank.execute(values)


def responding(*entries: Settlement) -> Act:
    """Return an act that executes nothing and responds with these entries."""

    def act(bank: FakeBank, values: Sequence[AnyTransfer]) -> list[Settlement]:
        return list(entries)

    return act


def raising(error: BaseException, *, executed: bool = False) -> Act:
    """Return an act that raises an error, and executes the transfers before if ``executed``."""

    def act(bank: FakeBank, values: Sequence[AnyTransfer]) -> object:
        if executed:
            bank.execute(values)
        raise error

    return act


class PayoutFixture:
    """The parts of one process that pays out: a ledger, a bank, a clock and a worker."""

    def __init__(
        self,
        ledger: LedgerDatabase,
        clock: ManualClock,
        bank: FakeBank | None = None,
        *,
        channel: type[BankTransferChannel] | type[WalletChannel] = BankTransferChannel,
        account: str = "app-1",
        **timing: float,
    ) -> None:
        self.ledger, self.clock = ledger, clock
        self.bank = bank or FakeBank()
        self.channel: PayoutChannel = channel(self.bank.deliver, account)
        self.background = BackgroundTasks()
        self.events: list[Event] = []
        self.supports_before_send = True
        self.worker = ChunkWorker(
            ledger,
            [self.channel],
            clock,
            self.background,
            lambda: self.supports_before_send,
            self.events.append,
            **timing,
        )

    async def record(self, track_id: str = "t-00000") -> TransferRecord:
        record = await queries.find_transfer(self.ledger, self.channel.name, self.channel.account, track_id)
        assert record is not None
        return record

    async def state(self, track_id: str) -> str:
        return (await self.record(track_id)).state.value

    async def states(self, batch_id: str = "b") -> list[str]:
        return [record.state.value for _, record in await queries.page(self.ledger, batch_id)]

    async def wait_for_states(self, *states: str, batch_id: str = "b") -> None:
        """Wait until the transfers have reached these states."""
        for _ in range(100_000):
            if await self.states(batch_id) == list(states):
                return
            await asyncio.sleep(0)
        raise AssertionError(f"the states stay {await self.states(batch_id)}")

    async def causes(self, track_id: str) -> list[str]:
        events = await queries.events(self.ledger, self.channel.name, self.channel.account, track_id)
        return [event.cause for event in events]

    async def chunks(self, batch_id: str = "b") -> list[str]:
        return list(await queries.chunk_ids(self.ledger, batch_id))
