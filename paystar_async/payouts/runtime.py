"""What payouts hold in one event loop: the ledger, what brings it forward, and who says when."""

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

MISSING = {
    "bank": "bank transfers are paid by an application: Paystar(application=Application(…)), PAYSTAR_APPLICATION_ID",
    "wallet": "they are paid by a wallet: Paystar(wallet=Wallet(…)), PAYSTAR_WALLET_HASHID",
}


@define(eq=False)
class PayoutRuntime:
    """All of payouts that is bound to one event loop.

    Attributes:
        ledger: what is on record.
        products: what this client can pay out, by name.
        worker: brings chunks forward.
        clock: what time it is.
        fences: whether the engine calls back right before the first byte.
        moved: rings after each step taken here.
        turns: sends chunks that wait for a turn, within the jobs of a queue.
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
    _agenda: DueQueue = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.progress_event = WakeEvent(self.clock)
        self._agenda = DueQueue(self.ledger, tuple(self.channels.values()), self.worker)
        self.turns = TurnRunner(self._agenda, self.clock, self.background, self.progress_event.set)

    @classmethod
    def create(
        cls,
        database: Database | None,
        accounts: Credentials,
        deliver: Deliver,
        clock: Clock,
        background: BackgroundTasks,
        fences: Callable[[], bool],
        notify: OnEvent,
        *,
        timeout: float,
        crypto: Crypto | None = None,
    ) -> Self:
        """The desk of a client; raises ConfigurationError where it has no database."""
        if database is None:
            raise ConfigurationError(
                "payouts are kept on record, and there is no database",
                hint='give Paystar(database="paystar.db") or set PAYSTAR_DATABASE',
            )
        products: dict[ProductName, PayoutChannel] = {}
        if accounts.application is not None:
            products["bank"] = BankTransferChannel(deliver, accounts.application.id)
        if accounts.wallet is not None:
            products["wallet"] = WalletChannel(deliver, accounts.wallet.hashid)
        ledger = LedgerDatabase(database, crypto=crypto, clock=clock)
        # Whoever waits for a short call at the most means to know soon what became of a process that died, too.
        spare = {
            "send_deadline": min(SEND_DEADLINE_SECONDS, timeout),
            "lease_margin": min(LEASE_MARGIN_SECONDS, timeout),
        }
        worker = ChunkWorker(
            ledger, products.values(), clock, lambda: background, fences, notify, timeout=timeout, **spare
        )
        return cls(ledger, products, worker, clock, fences, background)

    def channel(self, name: ProductName) -> PayoutChannel:
        """A product; raises ConfigurationError where its account is not configured."""
        if name not in self.channels:
            raise ConfigurationError("nobody to pay: the account is not configured", hint=MISSING[name])
        return self.channels[name]

    def check(self) -> None:
        """Refuse to begin what could not go on.

        Raises:
            ConfigurationError: the engine cannot be fenced; nothing is sent through it.
            NotSent: the client was closed.
        """
        if self.closed:
            raise NotSent("the client was closed", hint="nothing is lost: open it again and call payouts.recover()")
        if self.dispatcher is None and not self.supports_before_send():
            raise ConfigurationError(
                "this engine cannot say when the first byte leaves, and payouts send nothing through it",
                hint='engine="auto", or one whose supports_before_send is True',
            )

    def start(self) -> Dispatcher:
        """See to it that somebody looks for what is due; raises what ``check`` does."""
        self.check()
        if self.dispatcher is None:
            self.dispatcher = self._local = LocalDispatcher(
                self._agenda, self.clock, self.background, self.progress_event.set
            )
        self.dispatcher.start()
        return self.dispatcher

    def close(self) -> None:
        """Begin nothing more, and wake whoever waits for more to happen."""
        self.closed = True
        if self._local is not None:
            self._local.stop()
        self.worker.close()
        self.progress_event.set()
