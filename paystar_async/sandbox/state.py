"""The state of a sandbox: bank, faults, request log, clock, and the methods that tests call to control them."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol, cast, runtime_checkable
from urllib.parse import parse_qs, urlsplit

from paystar_async.credentials import Application, Gateway, Realm, Wallet
from paystar_async.endpoint import Endpoint
from paystar_async.errors import ConfigurationError
from paystar_async.errors.text import describe_type
from paystar_async.runtime.clock import Clock, clock_or_system
from paystar_async.sandbox.authentication import REFRESHABLE_REALMS, RawFields
from paystar_async.sandbox.bank import Bank
from paystar_async.sandbox.clock import SandboxClock
from paystar_async.sandbox.deviations import DEVIATIONS, BankCall, Deviation, wrap_bank
from paystar_async.sandbox.faults import Fault, FaultInjector, FaultKind
from paystar_async.sandbox.ledger import LedgerLine
from paystar_async.sandbox.payments import NEWEST, CallbackRequest, PayerChoice
from paystar_async.sandbox.request_log import LoggedRequest, RequestLog
from paystar_async.sandbox.responses import Refusal, SandboxResponse
from paystar_async.sandbox.settings import MAX_RIAL, MAX_SECONDS, Settings, is_number, is_rial
from paystar_async.sandbox.test_data import Person
from paystar_async.values.field_type import short_repr
from paystar_async.values.numbers import MAX_INT64


@runtime_checkable
class AdjustableClock(Protocol):
    """A clock that can be put forward."""

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        ...


MAX_ACCOUNT_CHARACTERS = 100
"""Characters of an account number or a hashid."""
MAX_CLOCK_SECONDS = 7_258_118_400.0
"""Latest time of the clock, in seconds since 1970: the year 2200."""


class RunOnce:
    """A callable that runs its function on the first call only."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function: Callable[[], None] | None = function

    def __call__(self) -> None:
        """Run the function, unless it has run."""
        function, self._function = self._function, None
        if function is not None:
            function()


class SandboxState:
    """The state of a sandbox.

    Args:
        seed: seed of the accounts, people, ids and random faults.
        clock: clock for key expiry, settlement and latency; by default a ``SandboxClock``.
        key_life: seconds a key is valid.
        settings: settings by name; see ``Settings``.

    Raises:
        ConfigurationError: a setting does not exist, or a value is not allowed.
    """

    def __init__(self, seed: int = 0, clock: Clock | None = None, key_life: float = 86_400.0, **settings: Any) -> None:
        self.clock = SandboxClock() if clock is None else clock_or_system(clock)
        is_integer = isinstance(cast("object", seed), int) and not isinstance(cast("object", seed), bool)
        if not is_integer or abs(seed) > MAX_INT64:
            raise ConfigurationError(f"seed is a whole number, not {short_repr(seed)}")
        if not is_number(key_life) or key_life == 0:
            raise ConfigurationError(f"key_life is a number of seconds above 0, not {short_repr(key_life)}")
        self.settings = Settings()
        self.settings.change(settings)
        self.deviations: list[Deviation] = []
        self._seed, self._key_life = seed, key_life
        self.reset()

    def reset(self) -> None:
        """Restore the initial state: first keys, opening balances, no transfers, no faults; keep settings and clock."""
        self.bank = Bank(seed=self._seed, clock=self.clock, key_life=self._key_life, settings=self.settings)
        self.faults = FaultInjector(random.Random(f"{self._seed}:faults"))
        self.request_counts: Counter[str] = Counter()
        self.request_log = RequestLog()
        self._scheduled: list[tuple[float, int, RunOnce]] = []
        self._sequence = count()

    @property
    def application(self) -> Application:
        """The application with its current key."""
        return self.bank.authenticator.application

    @property
    def gateway(self) -> Gateway:
        """The gateway."""
        return self.bank.authenticator.gateway

    @property
    def wallet(self) -> Wallet:
        """The wallet with its current keys."""
        return self.bank.authenticator.wallet

    @property
    def people(self) -> tuple[Person, ...]:
        """The people with accounts at the sandbox."""
        return self.bank.people

    @property
    def ledger(self) -> Mapping[str, LedgerLine]:
        """The executed transfers by track_id, each with its number of executions."""
        self.run_due()
        return self.bank.ledger()

    @property
    def stats(self) -> Mapping[str, Mapping[str, int]]:
        """Numbers of requests by endpoint and of refreshes by realm."""
        return {"requests": dict(self.request_counts), "refreshes": dict(self.bank.keys.refreshes)}

    def fail(
        self,
        endpoint: str | None = None,
        kind: FaultKind | str = FaultKind.SERVER_ERROR,
        *,
        rate: float = 1.0,
        times: int | None = None,
        seconds: float = 1.0,
        executed: bool = False,
        status: int | str = 0,
        envelope: bool = True,
    ) -> None:
        """Activate a fault; a call gets the oldest fault that applies to it.

        Args:
            endpoint: id of the affected endpoint (``transfers.settle``); None for all.
            kind: kind of fault.
            rate: share of the calls that are affected, 0 to 1.
            times: number of calls to affect; None until ``heal()``.
            seconds: delay, or the value of Retry-After.
            executed: whether the call is executed before the fault.
            status: status of kind ``status``.
            envelope: whether ``server_error`` has an envelope.

        Raises:
            ConfigurationError: a value is not allowed, or too many faults are active.
        """
        fault = Fault(
            kind=kind,
            endpoint=endpoint,
            rate=rate,
            times=times,
            seconds=seconds,
            executed=executed,
            status=status,
            envelope=envelope,
        )
        self.faults.add(fault)

    def heal(self, endpoint: str | None = None, kind: FaultKind | str | None = None) -> None:
        """Deactivate faults.

        Args:
            endpoint: only the faults activated for this endpoint; None for all.
            kind: only this kind of fault; None for all.

        Raises:
            ConfigurationError: the endpoint or the kind does not exist.
        """
        selection = Fault(kind=FaultKind.LATENCY if kind is None else kind, endpoint=endpoint)  # validates both
        self.faults.clear(endpoint, None if kind is None else selection.kind)

    def advance(self, seconds: float) -> None:
        """Put the clock forward.

        Raises:
            ConfigurationError: the clock cannot be put forward, or not by this number of seconds.
        """
        if not is_number(seconds):
            raise ConfigurationError(f"advance is a number of seconds, 0 to {MAX_SECONDS}, not {short_repr(seconds)}")
        if self.clock.time() + seconds > MAX_CLOCK_SECONDS:
            raise ConfigurationError("the clock would pass the year 2200", hint="start a new sandbox")
        if not isinstance(self.clock, AdjustableClock):
            raise ConfigurationError(
                "this clock cannot be moved", hint="use a ManualClock or the sandbox's default clock"
            )
        self.clock.advance(seconds)

    def set_balance(self, account: str, amount: int) -> None:
        """Set the balance of a deposit account, or of the wallet by its hashid, to ``amount`` Rial.

        Raises:
            ConfigurationError: the account is not a text, or the amount is not in Rial, from 0.
        """
        if not isinstance(cast("object", account), str) or not 0 < len(account) <= MAX_ACCOUNT_CHARACTERS:
            raise ConfigurationError(f"account is a text of up to {MAX_ACCOUNT_CHARACTERS} characters")
        if not is_rial(amount):
            raise ConfigurationError(f"amount is an integer in Rial, 0 to {MAX_RIAL}, not {short_repr(amount)}")
        self.bank.set_balance(account, amount)

    def pay(self, token: str, choice: PayerChoice | str = PayerChoice.PAY) -> dict[str, str]:
        """Make the payer's choice on the payment page.

        Args:
            token: the token from the ``create`` response, or the URL of the payment page; or an order_id, a ref_num, or
                ``newest`` for the newest unpaid payment.
            choice: ``pay``; ``cancel`` or ``fail``, for which Paystar sends the same status, -98; or ``expire``: pay,
                and come back too late to be verified.

        Returns:
            The fields of the callback, every value a text.

        Raises:
            ConfigurationError: the choice does not exist, or the token cannot be paid.
        """
        return dict(self.return_payer(token, choice).fields)

    def return_payer(self, token: str, choice: PayerChoice | str = PayerChoice.PAY) -> CallbackRequest:
        """Make the payer's choice like ``pay``, and return the callback with its method and URL."""
        if not isinstance(cast("object", token), str):
            raise ConfigurationError(f"token is a text, not {describe_type(token)}", hint="the url of payments.start")
        name = parse_qs(urlsplit(token).query).get("token", [token])[0]
        try:
            token = self.bank.payments.find_token(name)
        except Refusal:
            unknown = f"no payment has the token, order_id or ref_num {short_repr(name)}"
            missing = "no payment is unpaid" if name == NEWEST else unknown
            raise ConfigurationError(missing, hint="create one first") from None
        try:
            return self.bank.payments.apply_choice(token, PayerChoice(choice))
        except ValueError:
            raise ConfigurationError(
                f"no choice {short_repr(choice)}", hint=f"one of {', '.join(PayerChoice)}"
            ) from None
        except Refusal as refusal:
            message = refusal.message
        raise ConfigurationError(f"this token cannot be paid: {message}", hint="a token is valid for one payment")

    def decide_transfer(self, track_id: str, status: str) -> None:
        """Settle the newest transfer with a track_id now; a transfer that had succeeded may fail: its bank returned it.

        Args:
            track_id: the track_id of a deposit account's or the wallet's transfer.
            status: ``success`` or ``failed``.

        Raises:
            ConfigurationError: there is no such transfer or status.
        """
        if status not in ("success", "failed"):
            raise ConfigurationError(f"no status {short_repr(status)}", hint="success or failed")
        is_text = isinstance(cast("object", track_id), str)
        if not is_text or not self.bank.decide_transfer(track_id, fails=status == "failed"):
            raise ConfigurationError(
                f"no transfer has the track_id {short_repr(track_id)}", hint="the ledger lists them"
            )

    def expire_key(self, realm: str | None = None) -> None:
        """Let the keys of a realm expire now; their refresh tokens stay valid, and the clock does not move.

        Args:
            realm: ``application``, ``wallet`` or ``inquiry``; None: all three.

        Raises:
            ConfigurationError: the realm does not exist, or has no key that expires.
        """
        if realm is not None and realm not in tuple(REFRESHABLE_REALMS):
            raise ConfigurationError(
                f"no key of {short_repr(realm)} expires", hint=f"one of {', '.join(REFRESHABLE_REALMS)}"
            )
        for each in REFRESHABLE_REALMS if realm is None else (Realm(realm),):
            self.bank.keys.expire(each)

    def break_assumption(self, assumption: str) -> None:
        """Make an assumption about the live service wrong in this sandbox, until the process ends.

        Args:
            assumption: its id in the register, such as ``list-order``; see the guide about ``paystar conform``.

        Raises:
            ConfigurationError: there is no such assumption.
        """
        if not isinstance(cast("object", assumption), str) or assumption not in DEVIATIONS:
            raise ConfigurationError(f"there is no assumption {short_repr(assumption)}", hint=", ".join(DEVIATIONS))
        deviation = DEVIATIONS[assumption]
        if callable(deviation):
            self.deviations.append(deviation)
            order = list(DEVIATIONS.values())
            self.deviations.sort(key=lambda item: order.index(item) if item in order else len(order))
        else:
            self.settings.change(deviation)

    def handle(
        self, endpoint: Endpoint, bearer: str, raw: RawFields, failure_http: int | None = None, *, path: str = ""
    ) -> SandboxResponse:
        """Execute a call at the bank, with this sandbox's deviations; see ``Bank.handle``."""
        call = BankCall(
            endpoint=endpoint,
            bearer=bearer,
            raw=raw,
            path=path,
            failure_http=failure_http,
            settings=self.settings,
            payments=self.bank.payments,
            authenticate=lambda: self.bank.authenticator.authenticate(endpoint, bearer, raw),
        )
        return wrap_bank(self.bank.handle, self.deviations)(call)

    def log_request(self, endpoint: Endpoint, raw: RawFields) -> LoggedRequest:
        """Count a request and add it to the request log."""
        self.request_counts[endpoint.id] += 1
        return self.request_log.add(self.clock.time(), endpoint, raw)

    def schedule(self, seconds: float, function: RunOnce) -> None:
        """Schedule a function; the next ``run_due`` after ``seconds`` runs it."""
        heappush(self._scheduled, (self.clock.monotonic() + seconds, next(self._sequence), function))

    def run_due(self) -> None:
        """Run the scheduled functions that are due."""
        now = self.clock.monotonic()
        while self._scheduled and self._scheduled[0][0] <= now:
            heappop(self._scheduled)[2]()
