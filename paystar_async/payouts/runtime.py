"""The payout runtime: ledger, channels, worker and dispatcher of one event loop."""

from collections.abc import Callable
from typing import Self

from attrs import define, field

from paystar_async.credentials import Credentials
from paystar_async.errors import ConfigurationError, NotSent
from paystar_async.payouts.channels import BankTransferChannel, Deliver, PayoutChannel, WalletChannel
from paystar_async.payouts.dispatcher import Dispatcher, DueQueue, LocalDispatcher
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import ProductName
from paystar_async.payouts.turns import TurnRunner
from paystar_async.payouts.worker import LEASE_MARGIN_SECONDS, SEND_DEADLINE_SECONDS, ChunkWorker
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import OnEvent
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent
from paystar_async.storage.database import Database
from paystar_async.storage.encryption import Crypto

_MISSING_ACCOUNT = {
    "bank": "bank transfers need an application: Paystar(application=Application(…)), PAYSTAR_APPLICATION_ID",
    "wallet": "wallet settlements need a wallet: Paystar(wallet=Wallet(…)), PAYSTAR_WALLET_HASHID",
}


@define(eq=False)
class PayoutRuntime:
    """The parts of payouts that are bound to one event loop.

    Attributes:
        ledger: the payout ledger.
        channels: the channels with a configured account, by product.
        worker: processes chunks.
        clock: the clock.
        supports_before_send: returns True if the engine calls back right before the first byte.
        background: the background tasks of the event loop.
        dispatcher: the dispatcher; None until ``start``.
        progress_event: set after each step of this process.
        turns: sends chunks that wait for their turn, within jobs of a queue.
        closed: whether the client was closed.
    """

    ledger: LedgerDatabase
    channels: dict[ProductName, PayoutChannel]
    worker: ChunkWorker
    clock: Clock
    supports_before_send: Callable[[], bool]
    background: BackgroundTasks
    dispatcher: Dispatcher | None = None
    progress_event: WakeEvent = field(init=False)
    turns: TurnRunner = field(init=False)
    closed: bool = False
    _local: LocalDispatcher | None = None
    _due_queue: DueQueue = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.progress_event = WakeEvent(self.clock)
        self._due_queue = DueQueue(self.ledger, tuple(self.channels.values()), self.worker)
        self.turns = TurnRunner(self._due_queue, self.clock, self.background, self.progress_event.set)

    @classmethod
    def create(
        cls,
        *,
        database: Database | None,
        credentials: Credentials,
        deliver: Deliver,
        clock: Clock,
        background: BackgroundTasks,
        supports_before_send: Callable[[], bool],
        notify: OnEvent,
        timeout: float,
        crypto: Crypto | None = None,
    ) -> Self:
        """Return the runtime of a client; raise ConfigurationError without a database."""
        if database is None:
            raise ConfigurationError(
                "payouts are recorded in a database, and none is configured",
                hint='give Paystar(database="paystar.db") or set PAYSTAR_DATABASE',
            )
        channels: dict[ProductName, PayoutChannel] = {}
        if credentials.application is not None:
            channels["bank"] = BankTransferChannel(deliver, credentials.application.id)
        if credentials.wallet is not None:
            channels["wallet"] = WalletChannel(deliver, credentials.wallet.hashid)
        ledger = LedgerDatabase(database, crypto=crypto, clock=clock)
        worker = ChunkWorker(
            ledger,
            channels.values(),
            clock,
            background,
            supports_before_send,
            notify,
            timeout=timeout,
            # A short timeout also shortens the time until a crashed process's chunks are checked.
            send_deadline=min(SEND_DEADLINE_SECONDS, timeout),
            lease_margin=min(LEASE_MARGIN_SECONDS, timeout),
        )
        return cls(ledger, channels, worker, clock, supports_before_send, background)

    def channel(self, name: ProductName) -> PayoutChannel:
        """Return the channel of a product; raise ConfigurationError if its account is not configured."""
        if name not in self.channels:
            raise ConfigurationError("the account that pays is not configured", hint=_MISSING_ACCOUNT[name])
        return self.channels[name]

    def check(self) -> None:
        """Raise if payouts cannot be sent.

        Raises:
            ConfigurationError: the engine does not support ``before_send``; nothing is sent through it.
            NotSent: the client was closed.
        """
        if self.closed:
            raise NotSent(
                "the client was closed", hint="nothing is lost: open a client again and call payouts.recover()"
            )
        if self.dispatcher is None and not self.supports_before_send():
            raise ConfigurationError(
                "this engine cannot report when the first byte is sent, and payouts send nothing through it",
                hint='engine="auto", or one whose supports_before_send is True',
            )

    def start(self) -> Dispatcher:
        """Start the dispatcher and return it; raise the errors of ``check``."""
        self.check()
        if self.dispatcher is None:
            self.dispatcher = self._local = LocalDispatcher(
                self._due_queue, self.clock, self.background, self.progress_event.set
            )
        self.dispatcher.start()
        return self.dispatcher

    def close(self) -> None:
        """Stop the dispatcher and the worker, and wake the tasks that wait for progress."""
        self.closed = True
        if self._local is not None:
            self._local.stop()
        self.worker.close()
        self.progress_event.set()
