"""The client: builds the middleware stack from credentials and settings, and offers the services."""

import warnings
import weakref
from collections.abc import Sequence
from functools import cached_property, partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from paystar_async import config
from paystar_async.client.loop_state import LoopState, RequestFactory, current_loop_state
from paystar_async.config import Checks, Options, require_above, require_middleware
from paystar_async.credentials import BASE_URL, Application, Credentials, Gateway, Realm, Wallet
from paystar_async.endpoint import Middleware, build_middleware_stack
from paystar_async.errors import ConfigurationError
from paystar_async.key_service import Keys
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.refresher import KeyRefresher
from paystar_async.keys.store import KeyId, KeyRecord, KeyStore
from paystar_async.middleware.auth import AuthMiddleware
from paystar_async.middleware.concurrency import ConcurrencyMiddleware
from paystar_async.middleware.deadline import DeadlineMiddleware
from paystar_async.middleware.logging import LoggingMiddleware
from paystar_async.middleware.retry import RetryBudget, RetryMiddleware
from paystar_async.models.base import Call, verify_checksums
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock, clock_or_system
from paystar_async.runtime.events import OnEvent, event_notifier, log_to_stderr, logger
from paystar_async.runtime.lazy_service import service
from paystar_async.runtime.tasks import BackgroundTasks, LoopLocal
from paystar_async.services import GatewayCalls, IdentityCalls, InquiryCalls
from paystar_async.storage.database import Database
from paystar_async.storage.encryption import Crypto
from paystar_async.storage.factory import database as open_database
from paystar_async.table import REFRESH_ENDPOINTS, endpoint_of
from paystar_async.transfers import Transfers, Wallets
from paystar_async.transport.factory import check_engine, make_engine
from paystar_async.transport.proxy import check_proxy
from paystar_async.values.arguments import require_setting
from paystar_async.values.secret import clear_locals_on_error
from paystar_async.waiters import Waiters

if TYPE_CHECKING:
    from paystar_async.payments.service import Payments
    from paystar_async.payouts.runtime import PayoutRuntime
    from paystar_async.payouts.service import Payouts
    from paystar_async.transport.decoder import ResponseDecoder
    from paystar_async.transport.encoder import RequestEncoder
    from paystar_async.transport.factory import EngineOption

T = TypeVar("T")

REFRESH_CONNECTIONS = 3
"""Connections reserved for refreshes of the three keys, which bypass the concurrency limit."""


def _payments_class() -> "type[Payments]":
    from paystar_async.payments.service import Payments

    return Payments


def _payouts_class() -> "type[Payouts]":
    from paystar_async.payouts.service import Payouts

    return Payouts


def user_middleware(paystar: "Paystar") -> Sequence[Middleware]:
    """Return the user middlewares of a client, outermost first."""
    return paystar._middleware  # noqa: SLF001 - of this module  # pyright: ignore[reportPrivateUsage]


class Paystar:
    """An asynchronous client of all of Paystar's services.

    One client serves any number of event loops, one after the other (``asyncio.run`` for each task) or at once in
    threads of their own: each has its own connections, which close when the loop ends. Close a client by ``async with``
    or ``aclose``; an unclosed client that is garbage-collected closes its connections, sends no more payouts and issues
    a ResourceWarning.

    Args:
        application: the open-banking application, for ``identity``, ``inquiry`` and ``transfers``.
        gateway: the payment gateway, for ``gateway`` and ``payments``.
        wallet: the wallet, for ``wallet``.
        base_url: URL of the service; https, or http on loopback. ``http://HOST/api`` of a sandbox on another host is
            accepted with the credentials of a sandbox alone.
        timeout: seconds a call may take by default, including queueing, retries and refreshing a key.
        max_retries: maximum number of retries of a call, where a retry is safe.
        concurrency: maximum number of calls in flight; others wait in order.
        checks: ``"strict"`` also verifies checksums (IBAN, card, national id) before anything is sent.
        keys: where refreshed keys are stored; None: in the memory of this process.
        database: where payouts and orders are stored: a file's path, ``postgresql://…``, or a Database, which is
            never closed here.
        crypto: encrypts the database and a key store that is given as a path or address; records that were stored
            unencrypted can still be read. None: records are stored unencrypted.
        engine: ``"auto"``, ``"native"``, ``"httpx"``, ``"httpx2"``, ``"aiohttp"``, or a client, session, transport or
            engine, which this client never closes.
        proxy: URL of an HTTP proxy (``http://user:password@host:port``) for an engine chosen by name, except
            ``"native"``. None: no proxy; variables of other programs (``HTTPS_PROXY``) are not read.
        middleware: user middlewares, outermost first; each is ``async (request, next) -> response``.
        clock: the source of time; a ``ManualClock`` in tests.
        on_event: called on key refreshes, rejected refresh tokens, retries and suspended payouts; must not block.

    Raises:
        ConfigurationError: a setting is wrong. Missing credentials raise an error only when their realm is called.
    """

    @clear_locals_on_error
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
        require_above("timeout", timeout, 0, float)
        require_above("max_retries", max_retries, -1, int)
        require_above("concurrency", concurrency, 0, int)
        require_setting("application", application, Application)
        require_setting("gateway", gateway, Gateway)
        require_setting("wallet", wallet, Wallet)
        if checks not in ("shape", "strict"):
            raise ConfigurationError('checks must be "shape" or "strict"')
        self._credentials = Credentials(application=application, gateway=gateway, wallet=wallet)
        self._base_url = config.require_base_url(base_url, self._credentials)
        self._timeout, self._max_retries, self._concurrency = timeout, max_retries, concurrency
        strict = checks == "strict"
        self._check = verify_checksums if strict else None
        self._request_factory = RequestFactory(self._credentials, timeout, strict)
        self._middleware = require_middleware(middleware)
        self._clock = clock_or_system(clock)
        self._notify = event_notifier(on_event)
        require_setting("crypto", crypto, Crypto)
        self._crypto = crypto
        self._key_store = make_key_store(keys, self._clock, crypto)
        self._owns_key_store = self._key_store is not keys
        self._newest_keys: dict[KeyId, KeyRecord] = {}
        self._database = None if database is None else open_database(database, self._clock)
        self._owns_database = self._database is not database
        check_engine(engine)
        self._engine_choice: EngineOption = engine
        self._proxy = check_proxy(proxy, engine)
        self._retry_budget = RetryBudget()
        self._loop_states = LoopLocal(LoopState.aclose, LoopState.abandon)

    @service(lambda: IdentityCalls)
    def identity(self) -> IdentityCalls:
        """Return the identity checks: does a person own a mobile number, a card or an IBAN?"""
        return IdentityCalls(self)

    @service(lambda: InquiryCalls)
    def inquiry(self) -> InquiryCalls:
        """Return the inquiries about accounts, cards and IBANs and their owners."""
        return InquiryCalls(self)

    @service(lambda: Transfers)
    def transfers(self) -> Transfers:
        """Return the bank transfers."""
        return Transfers(
            self,
            background=self._background,
            waiters=self._waiters,
            window=self._concurrency,
            check=self._check,
        )

    @service(lambda: GatewayCalls)
    def gateway(self) -> GatewayCalls:
        """Return the single calls of the payment gateway."""
        return GatewayCalls(self)

    @service(lambda: Wallets)
    def wallet(self) -> Wallets:
        """Return the wallet: payouts and balance."""
        wallet = self._credentials.wallet
        return Wallets(self, waiters=self._waiters, hashid=wallet.hashid if wallet else "")

    @service(lambda: Keys)
    def keys(self) -> Keys:
        """Return the calls that refresh or replace keys by hand."""
        return Keys(self, self._key_refresher)

    # Loaded on first use: importing these modules would double the import time of a client that needs neither.
    @service(_payments_class)
    def payments(self) -> "Payments":
        """Return the payments: orders, their verification and their outcomes."""
        from paystar_async.payments.order_store import OrderStore

        gateway = self._credentials.gateway
        create_store = partial(OrderStore.create, self._database, gateway)
        return _payments_class()(self.gateway, create_store, self._background, self._clock, self._timeout, client=self)

    @service(_payouts_class)
    def payouts(self) -> "Payouts":
        """Return the payouts: transfers recorded in a ledger."""
        return _payouts_class()(self._payout_runtime, client=self)

    @cached_property
    def _encoder(self) -> "RequestEncoder":
        from paystar_async.transport.encoder import RequestEncoder

        only_sandbox = config.is_unencrypted(self._base_url)
        return RequestEncoder(self._credentials, self._base_url, only_sandbox_keys=only_sandbox)

    @cached_property
    def _decoder(self) -> "ResponseDecoder":
        from paystar_async.transport.decoder import ResponseDecoder

        return ResponseDecoder(self._credentials.secrets(), self._clock)

    @classmethod
    @clear_locals_on_error
    def from_env(cls, **overrides: Unpack[Options]) -> Self:
        """Return a client configured by the environment (``PAYSTAR_…``, each also as ``PAYSTAR_…_FILE``).

        ``PAYSTAR_LOG`` sets the level of the logger ``paystar_async``.

        Args:
            **overrides: any argument of ``Paystar``; takes precedence over the environment.

        Raises:
            ConfigurationError: a variable is wrong, or some of an account's variables are missing.
        """
        if (log_level := config.read_log_level()) is not None:
            log_to_stderr(log_level)
        # Overridden variables are not read, so that a wrong one does no harm.
        settings = {name: read() for name, read in config.VARIABLES.items() if name not in overrides}
        options: Any = {name: value for name, value in settings.items() if value is not None} | overrides
        return cls(**options)

    async def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        """Send a request value and return the complete response: the raw access.

        Args:
            value: any request value (``MatchMobile(...)``); its class determines the endpoint.
            timeout: seconds the whole call may take; the client's timeout by default.

        Returns:
            The response with its status, message, HTTP status, headers and body.

        Raises:
            ConfigurationError: the realm's account is not configured; nothing was sent.
            InvalidValue: ``value`` is not a request, or a checksum is wrong (``checks="strict"``); nothing was sent.
            NotSent: the request was not sent.
            NoResponse: the request may have been sent, and no response was received.
            InvalidResponse: the response cannot be parsed.
            StatusError: Paystar returned an error status; each status has its class.
        """
        state = self._loop_state()
        return await state.send(state.prepare(value, timeout))

    def page(self, value: Call[str], /) -> str:
        """Return the URL of a page; nothing is sent."""
        endpoint = endpoint_of(value, "page")
        self._credentials.account_id(endpoint.realm)
        return self._encoder.page_url(endpoint, value)

    def __repr__(self) -> str:
        """Return the configured accounts and the base URL, without secrets."""
        credentials: Credentials | None = vars(self).get("_credentials")  # None where the constructor raised
        accounts = ", ".join(credentials.account_names()) if credentials is not None else ""
        return f"<Paystar {accounts or 'without accounts'} at {vars(self).get('_base_url', 'no base URL')}>"

    async def __aenter__(self) -> Self:
        self._loop_state()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Wait for key refreshes, then close the connections; the client may be used again afterwards."""
        state = self._loop_states.get()
        if state is not None:
            if "payments" in vars(self):
                self.payments.close(state.background)
            await self._loop_states.aclose()
            if self._owns_key_store:
                await self._key_store.aclose()
            if self._database is not None and self._owns_database:
                await self._database.aclose()

    def __del__(self) -> None:
        loop_states: LoopLocal[LoopState] | None = vars(self).get("_loop_states")  # None where the constructor raised
        unclosed = [] if loop_states is None else loop_states.values()  # each is closed in its own loop
        if any(state.payouts is not None and state.payouts.dispatcher is not None for state in unclosed):
            logger.warning("payouts: the client was not closed, so payouts stop; call payouts.recover() to continue")
        if any(state.owns_engine for state in unclosed):
            warnings.warn(f"unclosed client {self!r}", ResourceWarning, stacklevel=2, source=self)

    def _loop_state(self) -> LoopState:
        current = current_loop_state.get()
        if current is not None and current.serves(self):
            return current
        state = self._loop_states.get()
        if state is None:
            state = self._create_loop_state()
            self._loop_states.put(state)
        return state

    def _key_refresher(self, realm: Realm) -> KeyRefresher:
        return self._loop_state().auth.refresher(realm)

    def _background(self) -> BackgroundTasks:
        return self._loop_state().background

    def _waiters(self) -> Waiters:
        return self._loop_state().waiters

    def _payout_runtime(self) -> "PayoutRuntime":
        from paystar_async.payouts.runtime import PayoutRuntime

        state = self._loop_state()
        if state.payouts is None:
            state.payouts = PayoutRuntime.create(
                database=self._database,
                credentials=self._credentials,
                deliver=state.deliver,
                clock=self._clock,
                background=state.background,
                supports_before_send=partial(getattr, state.engine, "supports_before_send"),
                notify=self._notify,
                timeout=self._timeout,
                crypto=self._crypto,
            )
        return state.payouts

    def _create_loop_state(self) -> LoopState:
        from paystar_async.transport.sender import Sender

        engine = make_engine(self._engine_choice, self._concurrency + REFRESH_CONNECTIONS, self._proxy)
        background = BackgroundTasks(lambda: current_loop_state.set(state))
        auth = AuthMiddleware(
            self._credentials,
            self._key_store,
            self._clock,
            background,
            self._notify,
            refresh_endpoints=REFRESH_ENDPOINTS,
            supports_before_send=partial(getattr, engine, "supports_before_send"),
            newest_records=self._newest_keys,
        )
        builtin: tuple[Middleware, ...] = (
            DeadlineMiddleware(self._clock),
            RetryMiddleware(self._clock, self._max_retries, self._notify, budget=self._retry_budget),
            ConcurrencyMiddleware(self._concurrency, self._clock),
            auth,
            LoggingMiddleware(self._clock),
        )
        send = build_middleware_stack(
            Sender(self._encoder, self._decoder, engine, self._clock), builtin, self._middleware
        )
        state = LoopState(
            client=weakref.ref(self),
            requests=self._request_factory,
            send=send,
            engine=engine,
            owns_engine=engine is not self._engine_choice,
            auth=auth,
            background=background,
            waiters=Waiters(self._clock, background),
        )
        return state
