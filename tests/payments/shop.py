"""A shop for the tests: the client, the sandbox it asks, a file of orders, and a clock that all of them go by."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from paystar_async import Callback, Gateway, Paystar
from paystar_async.payments import Payment, StartedPayment
from paystar_async.payments.order import Order
from paystar_async.payments.orders import OrderStore
from paystar_async.sandbox import Sandbox
from paystar_async.storage.database import Database
from tests.support import QuickClock

AMOUNT = 50_000
BACK = "https://shop.example/back"


@define(eq=False)
class Shop:
    """A shop with one worker; ``worker()`` adds others on the same file."""

    path: Path
    clock: QuickClock
    sandbox: Sandbox
    gateway: Gateway
    paystar: Paystar
    fulfilled: list[str] = field(factory=list[str])
    """The payments it was told of, in order."""

    def worker(self, **options: Any) -> Paystar:
        """Another process of the shop, as far as one can be had here."""
        return _client(self.path, self.clock, self.sandbox, self.gateway, **options)

    async def told(self, payment: Payment) -> None:
        """What it does about a verified payment."""
        self.fulfilled.append(payment.id)

    async def start(self, order_id: str = "o-1", **options: Any) -> StartedPayment:
        return await self.paystar.payments.start(
            **{"amount": AMOUNT, "order_id": order_id, "callback": BACK, **options}
        )

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
        order = await self.store.find(order_id)
        assert order is not None
        return order

    @property
    def store(self) -> OrderStore:
        return self.paystar.payments._desk().store

    @property
    def asked(self) -> dict[str, int]:
        """How often the gateway was asked for what."""
        return {name.removeprefix("gateway."): count for name, count in self.sandbox.stats["requests"].items()}


def token_of(started: StartedPayment) -> str:
    return parse_qs(urlsplit(started.url).query)["token"][0]


def _client(path: Path | Database, clock: QuickClock, sandbox: Sandbox, gateway: Gateway, **options: Any) -> Paystar:
    given: dict[str, Any] = {"gateway": gateway, "engine": sandbox.engine(), "database": path, "clock": clock}
    return Paystar(**{**given, **options})


@asynccontextmanager
async def open_shop(path: Path, *, gateway: dict[str, Any] | None = None, **options: Any) -> AsyncGenerator[Shop, None]:
    """A shop that nobody has bought from yet."""
    clock = QuickClock()
    sandbox = Sandbox(clock=clock)
    account = Gateway(**{"id": sandbox.gateway.id, "sign_key": sandbox.gateway.sign_key, **(gateway or {})})
    paystar = _client(path, clock, sandbox, account, **options)
    shop = Shop(path, clock, sandbox, account, paystar)
    paystar.payments.on_verified(shop.told)
    async with paystar:
        yield shop
