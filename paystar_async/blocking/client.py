"""The blocking client."""

from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from paystar_async.blocking.runner import Runner
from paystar_async.blocking.services import BlockingGatewayCalls, BlockingIdentityCalls, BlockingInquiryCalls
from paystar_async.blocking.transfers import BlockingKeys, BlockingTransfers, BlockingWallet
from paystar_async.client import Paystar
from paystar_async.config import Options, Settings
from paystar_async.credentials import Application, Gateway, Wallet
from paystar_async.endpoint import Safety
from paystar_async.models.base import Call
from paystar_async.response import Response
from paystar_async.runtime.lazy_service import service
from paystar_async.table import endpoint_of
from paystar_async.values.arguments import require_instance
from paystar_async.values.secret import clear_locals_on_error

if TYPE_CHECKING:
    from paystar_async.blocking.payments import BlockingPayments
    from paystar_async.blocking.payouts import BlockingPayouts

T = TypeVar("T")


def _payments_class() -> "type[BlockingPayments]":
    from paystar_async.blocking.payments import BlockingPayments

    return BlockingPayments


def _payouts_class() -> "type[BlockingPayouts]":
    from paystar_async.blocking.payouts import BlockingPayouts

    return BlockingPayouts


def client_of(paystar: "BlockingPaystar") -> Paystar:
    """Return the client that a blocking client runs."""
    return paystar._runner.client  # noqa: SLF001 - of this module  # pyright: ignore[reportPrivateUsage]


class BlockingPaystar:
    """A client of all of Paystar's services for programs without an event loop.

    Its services, methods and errors are those of ``Paystar``, without ``await``. All blocking clients of a process
    share one event loop in one thread. A client may be used by any number of threads at once; at most ``concurrency``
    calls are in flight. A forked process (gunicorn, Celery, multiprocessing) opens its own connections. Close a client
    by ``with`` or ``close``; it is also closed when the process exits.

    An exception that interrupts a waiting thread (KeyboardInterrupt, Celery's time limit) cancels the call. If the call
    may have been executed, a note on the exception and a warning in the log name the endpoint that looks up its result.

    Args:
        application: the open-banking application, for ``identity``, ``inquiry`` and ``transfers``.
        gateway: the payment gateway, for ``gateway`` and ``payments``.
        wallet: the wallet, for ``wallet``.
        **settings: further arguments of ``Paystar``: ``timeout`` in seconds, ``concurrency``, ``keys``, ``database``, …

    Raises:
        ConfigurationError: a setting is wrong. Missing credentials raise an error only when their realm is called.
    """

    @clear_locals_on_error
    def __init__(
        self,
        application: Application | None = None,
        gateway: Gateway | None = None,
        wallet: Wallet | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self._runner = Runner(Paystar(application, gateway, wallet, **settings))

    @classmethod
    @clear_locals_on_error
    def from_env(cls, **overrides: Unpack[Options]) -> Self:
        """Return a client configured by the environment (``PAYSTAR_…``, each also as ``PAYSTAR_…_FILE``).

        Args:
            **overrides: any argument of ``Paystar``; takes precedence over the environment.

        Raises:
            ConfigurationError: a variable is wrong, or some of an account's variables are missing.
        """
        return cls.from_client(Paystar.from_env(**overrides))

    @classmethod
    def from_client(cls, client: Paystar) -> Self:
        """Return a blocking client with the settings, keys and handlers of a Paystar, for programs that use both.

        Args:
            client: the client; it may be open in other event loops at the same time.

        Raises:
            InvalidValue: ``client`` is not a Paystar.
        """
        require_instance("client", client, Paystar)
        blocking_client = cls.__new__(cls)
        blocking_client._runner = Runner(client)  # noqa: SLF001 - its own class
        return blocking_client

    @service(lambda: BlockingIdentityCalls)
    def identity(self) -> BlockingIdentityCalls:
        """Return the identity checks: does a person own a mobile number, a card or an IBAN?"""
        return BlockingIdentityCalls(self)

    @service(lambda: BlockingInquiryCalls)
    def inquiry(self) -> BlockingInquiryCalls:
        """Return the inquiries about accounts, cards and IBANs and their owners."""
        return BlockingInquiryCalls(self)

    @service(lambda: BlockingTransfers)
    def transfers(self) -> BlockingTransfers:
        """Return the bank transfers."""
        return BlockingTransfers(self, self._runner.client.transfers, self._runner)

    @service(lambda: BlockingGatewayCalls)
    def gateway(self) -> BlockingGatewayCalls:
        """Return the single calls of the payment gateway."""
        return BlockingGatewayCalls(self)

    @service(lambda: BlockingWallet)
    def wallet(self) -> BlockingWallet:
        """Return the wallet: payouts and balance."""
        return BlockingWallet(self, self._runner.client.wallet, self._runner)

    @service(lambda: BlockingKeys)
    def keys(self) -> BlockingKeys:
        """Return the calls that refresh or replace keys by hand."""
        return BlockingKeys(self, self._runner.client.keys, self._runner)

    @service(_payments_class)
    def payments(self) -> "BlockingPayments":
        """Return the payments: orders, their verification and their outcomes."""
        return _payments_class()(self._runner.client.payments, self._runner)

    @service(_payouts_class)
    def payouts(self) -> "BlockingPayouts":
        """Return the payouts: transfers recorded in a ledger."""
        return _payouts_class()(self._runner.client.payouts, self._runner)

    def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        """Send a request value and return the complete response: the raw access.

        Args:
            value: any request value (``MatchMobile(...)``); its class determines the endpoint.
            timeout: seconds the whole call may take; the client's timeout by default.

        Returns:
            The response with its status, message, HTTP status, headers and body.

        Raises:
            ConfigurationError: the realm's account is not configured, or the caller runs in an event loop; nothing was
                sent.
            InvalidValue: ``value`` is not a request, or a checksum is wrong (``checks="strict"``); nothing was sent.
            NotSent: the request was not sent.
            NoResponse: the request may have been sent, and no response was received.
            InvalidResponse: the response cannot be parsed.
            StatusError: Paystar returned an error status; each status has its class.
        """
        endpoint = endpoint_of(value, "call")
        interrupted = None
        if endpoint.safety is Safety.ONCE:
            lookup = f": look it up with {endpoint.lookup} before you call again" if endpoint.lookup else ""
            interrupted = f"{endpoint.id} was interrupted and may have been executed{lookup}"
        client = self._runner.client
        return self._runner.run(
            lambda: client.send(value, timeout=timeout),
            interrupted=interrupted,
            executed="maybe" if interrupted else "no",
        )

    def page(self, value: Call[str], /) -> str:
        """Return the URL of a page; nothing is sent."""
        return self._runner.client.page(value)

    def __repr__(self) -> str:
        return f"<Blocking{repr(self._runner.client).removeprefix('<')}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for key refreshes, then close the connections; the client may be used again afterwards.

        Raises:
            ConfigurationError: the caller runs in an event loop.
        """
        self._runner.close()
