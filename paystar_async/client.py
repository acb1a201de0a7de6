"""The client: accounts in, the build_middleware_stack built, services and flows out."""

import warnings
import weakref
from collections.abc import Sequence
from functools import cached_property, partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from paystar_async import config
from paystar_async.config import Checks, Options, above, account, rings
from paystar_async.credentials import BASE_URL, Application, Credentials, Gateway, Realm, Wallet
from paystar_async.endpoint import Middleware, Response, build_middleware_stack
from paystar_async.errors import ConfigurationError
from paystar_async.key_service import Keys
from paystar_async.keys.factory import key_store
from paystar_async.keys.refresher import KeyRefresher
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.middleware.auth import AuthMiddleware
from paystar_async.middleware.concurrency import ConcurrencyMiddleware
from paystar_async.middleware.deadline import DeadlineMiddleware
from paystar_async.middleware.logging import LoggingMiddleware
from paystar_async.middleware.retry import RetryBudget, RetryMiddleware
from paystar_async.models.base import Call, verify_checksums
from paystar_async.runtime.clock import Clock, SystemClock
from paystar_async.runtime.events import OnEvent, logger, notifier
from paystar_async.runtime.lazy_service import service
from paystar_async.runtime.tasks import BackgroundTasks, LoopLocal
from paystar_async.services import GatewayCalls, IdentityCalls, InquiryCalls
from paystar_async.session import LoopState, Requests, current_loop_state
from paystar_async.storage.database import Database
from paystar_async.storage.encryption import Crypto
from paystar_async.storage.factory import database as chosen_database
from paystar_async.table import endpoint_of
from paystar_async.transfers import Transfers, Wallets
from paystar_async.transport.factory import check_engine, make_engine
from paystar_async.transport.proxy import check_proxy
from paystar_async.values.secret import sealed
from paystar_async.waiters import Waiters

if TYPE_CHECKING:
    from paystar_async.payments.service import Payments
    from paystar_async.payouts.runtime import PayoutRuntime
    from paystar_async.payouts.service import Payouts
    from paystar_async.transport.decoder import ResponseDecoder
    from paystar_async.transport.encoder import RequestEncoder
    from paystar_async.transport.factory import EngineOption

T = TypeVar("T")

RENEWALS_AT_ONCE = 3
"""Connections kept free for the three keys' renewals, which take no slot of the limiter."""


def _payments_class() -> "type[Payments]":
    from paystar_async.payments.service import Payments

    return Payments


def _payouts_class() -> "type[Payouts]":
    from paystar_async.payouts.service import Payouts

    return Payouts


class Paystar:
    """Everything Paystar offers, awaited.

    One client serves any number of event loops, one after the other (``asyncio.run`` for each task) or at once in
    threads of their own: each has its own connections, which close when the loop ends. Close a client by ``async with``
    or ``aclose``; one that is dropped unclosed closes its connections, pays no more, and issues a ResourceWarning.

    Args:
        application: the open-banking application, for ``identity``, ``inquiry`` and ``transfers``.
        gateway: the payment gateway, for ``gateway`` and ``payments``.
        wallet: the wallet, for ``wallet``.
        base_url: where the service lives; https, or http on loopback.
        timeout: seconds one call may take by default, with queueing, retries and renewing a key.
        max_retries: how often a call is repeated at the most, where repeating is safe.
        concurrency: how many calls are in flight at the most; the rest wait in turn.
        checks: ``"strict"`` also proves checksums (IBAN, card, national id) before anything is sent.
        keys: where renewed keys are kept; None: in memory, for this process alone.
        database: where payouts and orders are kept: a file's path, ``postgresql://…``, or a Database, which is never
            closed here.
        crypto: seals what lies in the database and in a key store that is given as a path or address; what was stored
            before it was given can still be read. None: stored as it is.
        engine: ``"auto"``, ``"native"``, ``"httpx"``, ``"httpx2"``, ``"aiohttp"``, or a client, session, transport or
            engine, never closed here.
        proxy: URL of an HTTP proxy (``http://user:password@host:port``) for an engine chosen by name, ``"native"``
            aside. None: no proxy; the variables of other programs (``HTTPS_PROXY``) are not read.
        middleware: rings of your own, the first one outermost; each ``async (request, next) -> response``.
        clock: what time it is; a ``ManualClock`` in tests.
        on_event: told of renewed and lost keys, of retries, and of payouts that Paystar refuses; must not block.

    Raises:
        ConfigurationError: a setting is wrong; an account that is missing is only missed when it is called.
    """

    @sealed
    def __init__(
        self,
        application: Application | None = None,
        gateway: Gateway | None = None,
        wallet: Wallet | None = None,
        *,
        base_url: str = BASE_URL,
        timeout: float = 30.0,
        max_retries: int = 3,
        concurrency: int = 16,
        checks: Checks = "shape",
        keys: str | KeyStore | None = None,
        database: str | PathLike[str] | Database | None = None,
        crypto: Crypto | None = None,
        engine: "EngineOption" = "auto",
        proxy: str | None = None,
        middleware: Sequence[Middleware] = (),
        clock: Clock | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        above("timeout", timeout, 0, float)
        above("max_retries", max_retries, -1, int)
        above("concurrency", concurrency, 0, int)
        account("application", application, Application)
        account("gateway", gateway, Gateway)
        account("wallet", wallet, Wallet)
        if checks not in ("shape", "strict"):
            raise ConfigurationError('checks must be "shape" or "strict"')
        self._accounts = Credentials(application=application, gateway=gateway, wallet=wallet)
        self._base_url = config.checked_base_url(base_url)
        self._timeout, self._max_retries, self._concurrency = timeout, max_retries, concurrency
        strict = checks == "strict"
        self._check = verify_checksums if strict else None
        self._requests = Requests(self._accounts, timeout, strict)
        self._middleware = rings(middleware)
        self._clock = clock or SystemClock()
        self._notify = notifier(on_event)
        account("crypto", crypto, Crypto)
        self._crypto = crypto
        self._store = key_store(keys, self._clock, crypto)
        self._store_is_ours = self._store is not keys
        self._newest_keys: dict[KeyId, KeyRecord] = {}
        self._database = None if database is None else chosen_database(database, self._clock)
        self._database_is_ours = self._database is not database
        check_engine(engine)
        self._given: EngineOption = engine
        self._proxy = check_proxy(proxy, engine)
        self._budget = RetryBudget()
        self._sessions = LoopLocal(LoopState.aclose, LoopState.abandon)

    @service(lambda: IdentityCalls)
    def identity(self) -> IdentityCalls:
        """Whether a person owns a mobile number, a card or an IBAN."""
        return IdentityCalls(self)

    @service(lambda: InquiryCalls)
    def inquiry(self) -> InquiryCalls:
        """Accounts, cards and IBANs, and who owns them."""
        return InquiryCalls(self)

    @service(lambda: Transfers)
    def transfers(self) -> Transfers:
        """Bank transfers."""
        return Transfers(self, self._flows, self._concurrency, self._check)

    @service(lambda: GatewayCalls)
    def gateway(self) -> GatewayCalls:
        """The payment gateway, call by call."""
        return GatewayCalls(self)

    @service(lambda: Wallets)
    def wallet(self) -> Wallets:
        """The wallet: payouts and balance."""
        wallet = self._accounts.wallet
        return Wallets(self, self._flows, wallet.hashid if wallet else "")

    @service(lambda: Keys)
    def keys(self) -> Keys:
        """The keys, by hand."""
        return Keys(self, self._keeper)

    # What many services never use is loaded by its first use: it would double what an import costs.
    @service(_payments_class)
    def payments(self) -> "Payments":
        """Orders, and what becomes of them."""
        from paystar_async.payments.order_store import OrderStore

        gateway = self._accounts.gateway
        stored = partial(OrderStore.create, self._database, gateway)
        return _payments_class()(self.gateway, stored, self._flows, self._clock, self._timeout)

    @service(_payouts_class)
    def payouts(self) -> "Payouts":
        """Transfers by a ledger."""
        return _payouts_class()(self._desk)

    @cached_property
    def _encoder(self) -> "RequestEncoder":
        from paystar_async.transport.encoder import RequestEncoder

        return RequestEncoder(self._accounts, self._base_url)

    @cached_property
    def _decoder(self) -> "ResponseDecoder":
        from paystar_async.transport.decoder import ResponseDecoder

        return ResponseDecoder(self._accounts.secrets(), self._clock)

    @classmethod
    @sealed
    def from_env(cls, **overrides: Unpack[Options]) -> Self:
        """A client of what the environment says (``PAYSTAR_…``, each also as ``PAYSTAR_…_FILE``).

        Args:
            **overrides: any argument of ``Paystar``; it goes before the environment.

        Raises:
            ConfigurationError: a variable is wrong, or half of an account is missing.
        """
        # What is overridden is not even read: a variable that is wrong does no harm then.
        said = {name: read() for name, read in config.VARIABLES.items() if name not in overrides}
        options: Any = {name: value for name, value in said.items() if value is not None} | overrides
        return cls(**options)

    async def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        """Send a request value and get the whole answer: the raw access.

        Args:
            value: any request value (``MatchMobile(...)``); its row is found by its class.
            timeout: seconds the whole call may take; the client's own by default.

        Returns:
            The answer with its status, message, HTTP status, headers and body.

        Raises:
            ConfigurationError: the realm's account is not configured; nothing was sent.
            InvalidValue: it is no request, or a checksum is wrong (``checks="strict"``); nothing was sent.
            NotSent: it never left.
            NoResponse: it may have left, and no answer came.
            InvalidResponse: the answer cannot be read.
            StatusError: Paystar refused; the class names the status.
        """
        session = self._session()
        return await session.send(session.prepare(value, timeout))

    def page(self, value: Call[str], /) -> str:
        """The address of a page; nothing is sent."""
        endpoint = endpoint_of(value, "page")
        self._accounts.account_id(endpoint.realm)
        return self._encoder.page_url(endpoint, value)

    async def __aenter__(self) -> Self:
        self._session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let renewals end, then close the connections; the client may be used again afterwards."""
        session = self._sessions.get()
        if session is not None:
            if "payments" in vars(self):
                self.payments.close(session.background)
            await self._sessions.aclose()
            if self._store_is_ours:
                await self._store.aclose()
            if self._database is not None and self._database_is_ours:
                await self._database.aclose()

    def __del__(self) -> None:
        sessions: LoopLocal[LoopState] | None = vars(self).get("_sessions")  # None where the constructor raised
        left = [] if sessions is None else sessions.values()  # they are closed each in its own loop
        if any(session.payouts is not None and session.payouts.dispatcher is not None for session in left):
            logger.warning("payouts: the client was dropped unclosed, and pays no more; go on with payouts.recover()")
        if any(session.owns_engine for session in left):
            warnings.warn(f"unclosed client {self!r}", ResourceWarning, stacklevel=2, source=self)

    def _session(self) -> LoopState:
        working = current_loop_state.get()
        if working is not None and working.serves(self):
            return working
        session = self._sessions.get()
        if session is None:
            session = self._build()
            self._sessions.put(session)
        return session

    def _keeper(self, realm: Realm) -> KeyRefresher:
        return self._session().auth.keeper(realm)

    def _flows(self) -> tuple[BackgroundTasks, Waiters]:
        session = self._session()
        return session.background, session.watches

    def _desk(self) -> "PayoutRuntime":
        from paystar_async.payouts.runtime import PayoutRuntime

        session = self._session()
        if session.payouts is None:
            given = self._database, self._accounts, session.deliver, self._clock, session.background
            fences = partial(getattr, session.engine, "supports_before_send")
            session.payouts = PayoutRuntime.of(*given, fences, self._notify, timeout=self._timeout, crypto=self._crypto)
        return session.payouts

    def _build(self) -> LoopState:
        from paystar_async.transport.sender import Sender

        engine = make_engine(self._given, self._concurrency + RENEWALS_AT_ONCE, self._proxy)
        background = BackgroundTasks(lambda: current_loop_state.set(session))
        fences = partial(getattr, engine, "supports_before_send")
        auth = AuthMiddleware(
            self._accounts, self._store, self._clock, background, self._notify, fences, newest=self._newest_keys
        )
        ours: tuple[Middleware, ...] = (
            DeadlineMiddleware(self._clock),
            RetryMiddleware(self._clock, self._max_retries, self._notify, budget=self._budget),
            ConcurrencyMiddleware(self._concurrency, self._clock),
            auth,
            LoggingMiddleware(self._clock),
        )
        send = build_middleware_stack(Sender(self._encoder, self._decoder, engine, self._clock), ours, self._middleware)
        session = LoopState(
            weakref.ref(self),
            self._requests,
            send,
            engine,
            engine is not self._given,
            auth,
            background,
            Waiters(self._clock, background),
        )
        return session
