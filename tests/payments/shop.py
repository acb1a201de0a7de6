"""A shop for the tests: the client, the sandbox it asks, a file of orders, and a clock that all of them go by."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from paystar_async import Callback, Gateway, Paystar
from paystar_async.payments import Payment, StartedPayment
from paystar_async.payments.models import Order
from paystar_async.sandbox import Sandbox
from tests.support import QuickClock

AMOUNT = 50_000
BACK = "https://shop.example/back"


@define(eq=False)
class Shop:
    """A shop with one worker; ``worker()`` adds others on the same file."""

    path: Path | str
    clock: QuickClock
    sandbox: Sandbox
    gateway: Gateway
    paystar: Paystar
    fulfilled: list[str] = field(factory=list[str])
    """The payments it was told of, in order."""

    def worker(self, **options: Any) -> Paystar:
        """Another process of the shop, as far as one can be had here."""
        return _client(self.path, self.sandbox, **{"gateway": self.gateway, "clock": self.clock, **options})

    async def told(self, payment: Payment) -> None:
        """What it does about a verified payment."""
        self.fulfilled.append(payment.id)

    async def start(self, order_id: str = "o-1", **options: Any) -> StartedPayment:
        given: dict[str, Any] = {"amount": AMOUNT, "order_id": order_id, "callback": BACK, **options}
        return await self.paystar.payments.start(**given)

    def pay(self, started: StartedPayment, choice: str = "pay") -> Callback:
        """Let the payer choose; what they bring back."""
        return Callback.parse(self.sandbox.pay(token_of(started), choice))

    async def confirm(self, callback: Callback) -> Payment:
        return await self.paystar.payments.confirm(callback)

    async def pass_by(self, seconds: float, *, every: float = 15.0) -> list[Payment]:
        """Let time pass with the sweeper at work."""
        decided: list[Payment] = []
        end = self.clock.time() + seconds
        while self.clock.time() < end:
            self.clock.advance(min(every, end - self.clock.time()))
            decided += await self.paystar.payments.sweep()
        return decided

    async def order(self, order_id: str = "o-1") -> Order:
        order = await self.paystar.payments.find(order_id=order_id)
        assert order is not None
        return order

    @property
    def asked(self) -> dict[str, int]:
        """How often the gateway was asked for what."""
        return {name.removeprefix("gateway."): count for name, count in self.sandbox.stats["requests"].items()}


def token_of(started: StartedPayment) -> str:
    """What opens the payment page."""
    return parse_qs(urlsplit(started.url).query)["token"][0]


def _client(path: Path | str, sandbox: Sandbox, **options: Any) -> Paystar:
    given: dict[str, Any] = {"engine": sandbox.engine(), "database": path}
    return Paystar(**{**given, **options})


@asynccontextmanager
async def open_shop(
    path: Path | str, *, direct: bool = False, signed: bool = True, **options: Any
) -> AsyncGenerator[Shop, None]:
    """A shop that nobody has bought from yet."""
    clock = QuickClock()
    sandbox = Sandbox(clock=clock)
    sandbox.settings.gateway_signed = signed
    account = Gateway(id=sandbox.gateway.id, sign_key=sandbox.gateway.sign_key, direct=direct)
    paystar = _client(path, sandbox, gateway=account, clock=clock, **options)
    shop = Shop(path, clock, sandbox, account, paystar)
    paystar.payments.on_verified(shop.told)
    async with paystar:
        yield shop
