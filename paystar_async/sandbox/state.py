"""All of the sandbox that can be seen and steered, without the ways in."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qs, urlsplit

from paystar_async.accounts import Application, Gateway, Wallet
from paystar_async.clock import Clock
from paystar_async.endpoint import Endpoint
from paystar_async.errors import ConfigurationError
from paystar_async.sandbox.authentication import Raw
from paystar_async.sandbox.bank import Bank
from paystar_async.sandbox.clock import SandboxClock
from paystar_async.sandbox.faults import Fault, FaultKind, Faults
from paystar_async.sandbox.ledger import Line
from paystar_async.sandbox.payments import Callback, Choice
from paystar_async.sandbox.request_log import LoggedRequest, RequestLog
from paystar_async.sandbox.responses import Refusal
from paystar_async.sandbox.settings import MAX_SECONDS, Settings, is_number
from paystar_async.sandbox.test_data import Person


@runtime_checkable
class Advancing(Protocol):
    """A clock that can be moved."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...


MAX_TIME = 7_258_118_400.0
"""Seconds since 1970 that the clock may show: the year 2200."""


class RunOnce:
    """Something that is done once, whoever asks for it first."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def __call__(self) -> None:
        """Do it, unless it was done."""
        act, self._act = self._act, None
        if act is not None:
            act()


class SandboxState:
    """The state of a sandbox.

    Args:
        seed: accounts, people, names and chances follow from it.
        clock: what keys expire, transfers settle and answers are late by; its own by default.
        key_life: seconds a key is good for.
        settings: how it behaves, by name; see ``Settings``.

    Raises:
        ConfigurationError: a setting does not exist, or its value is not allowed.
    """

    def __init__(self, seed: int = 0, clock: Clock | None = None, key_life: float = 86_400.0, **settings: Any) -> None:
        self.clock: Clock = clock or SandboxClock()
        self.settings = Settings()
        self.settings.change(settings)
        self._seed, self._key_life = seed, key_life
        self.reset()

    def reset(self) -> None:
        """Start over: first keys, full accounts, no transfers, no faults. Settings and clock stay."""
        self.bank = Bank(seed=self._seed, clock=self.clock, key_life=self._key_life, settings=self.settings)
        self.faults = Faults(random.Random(f"{self._seed}:faults"))
        self.requests: Counter[str] = Counter()
        self.journal = RequestLog()
        self._late: list[tuple[float, int, RunOnce]] = []
        self._order = count()

    @property
    def application(self) -> Application:
        """The application it plays, with its key of now."""
        return self.bank.gatekeeper.application

    @property
    def gateway(self) -> Gateway:
        """The gateway it plays."""
        return self.bank.gatekeeper.gateway

    @property
    def wallet(self) -> Wallet:
        """The wallet it plays, with its keys of now."""
        return self.bank.gatekeeper.wallet

    @property
    def people(self) -> tuple[Person, ...]:
        """Who exists."""
        return self.bank.people

    @property
    def ledger(self) -> Mapping[str, Line]:
        """The executed transfers by track_id, each with how often it was executed."""
        self.catch_up()
        return self.bank.ledger()

    @property
    def stats(self) -> Mapping[str, Mapping[str, int]]:
        """How many requests each endpoint saw, and how often each key was renewed."""
        return {"requests": dict(self.requests), "refreshes": dict(self.bank.keys.refreshes)}

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
        """Let something go wrong; the first fault ordered that hits a call has it.

        Args:
            endpoint: the row it goes wrong at (``transfers.settle``); None for all.
            kind: what goes wrong.
            rate: for which part of the calls, 0 to 1.
            times: how often; None until ``heal()``.
            seconds: how late, or what Retry-After says.
            executed: whether the call is carried out all the same, before anything goes wrong.
            status: the status of kind ``status``.
            envelope: whether ``server_error`` comes with an envelope.
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
        self.faults.order(fault)

    def heal(self, endpoint: str | None = None, kind: FaultKind | str | None = None) -> None:
        """Let nothing go wrong any more.

        Args:
            endpoint: only what was ordered for this row; None for everything.
            kind: only this kind of fault; None for all.
        """
        order = Fault(kind=FaultKind.LATENCY if kind is None else kind, endpoint=endpoint)  # checks both
        self.faults.clear(endpoint, None if kind is None else order.kind)

    def advance(self, seconds: float) -> None:
        """Put the clock forward.

        Raises:
            ConfigurationError: it is a clock that cannot be moved, or was to go back.
        """
        if not is_number(seconds):
            raise ConfigurationError(f"advance is a number of seconds, 0 to {MAX_SECONDS}, not {seconds!r:.60}")
        if self.clock.time() + seconds > MAX_TIME:
            raise ConfigurationError("the clock would pass the year 2200", hint="start a new sandbox")
        if not isinstance(self.clock, Advancing):
            raise ConfigurationError("this clock cannot be moved", hint="a ManualClock can, or the sandbox's own")
        self.clock.advance(seconds)

    def set_balance(self, account: str, amount: int) -> None:
        """Put so many Rial into a deposit account, or into the wallet by its hashid."""
        self.bank.set_balance(account, amount)

    def pay(self, token: str, choice: Choice | str = Choice.PAY) -> dict[str, str]:
        """Do what a payer does on the payment page.

        Args:
            token: what create answered with, or the address of the payment page.
            choice: ``pay``; ``cancel`` or ``fail``, which Paystar answers alike, with -98; or ``expire``: pay, and
                come back too late to be verified.

        Returns:
            What the payer's browser brings to the callback, every value a text.
        """
        return dict(self.come_back(token, choice).fields)

    def come_back(self, token: str, choice: Choice | str = Choice.PAY) -> Callback:
        """The same, with the method and the address the browser comes back by."""
        shown = parse_qs(urlsplit(token).query).get("token", [token])[0]
        try:
            return self.bank.payments.choose(shown, Choice(choice))
        except ValueError:
            raise ConfigurationError(f"no choice {choice!r:.60}", hint=f"one of {', '.join(Choice)}") from None
        except Refusal as refusal:
            message = refusal.message
        raise ConfigurationError(f"this token cannot be paid: {message}", hint="a token is good for one payment")

    def saw(self, row: Endpoint, raw: Raw) -> LoggedRequest:
        """Count a request, and keep it for those who want to look."""
        self.requests[row.id] += 1
        return self.journal.begin(self.clock.time(), row, raw)

    def do_later(self, seconds: float, act: RunOnce) -> None:
        """Have something done after so long, by whoever looks at the sandbox next."""
        heappush(self._late, (self.clock.monotonic() + seconds, next(self._order), act))

    def catch_up(self) -> None:
        """Do what was due meanwhile."""
        now = self.clock.monotonic()
        while self._late and self._late[0][0] <= now:
            heappop(self._late)[2]()
