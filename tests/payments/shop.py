"""A shop for tests: a client, a sandbox, a database of orders, and their clock."""

import asyncio
from collections.abc import AsyncGenerator, Callable
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
CALLBACK_URL = "https://shop.example/back"


@define(eq=False)
class Shop:
    """A shop with one client; ``worker()`` adds clients on the same database."""

    path: Path | str
    clock: QuickClock
    sandbox: Sandbox
    gateway: Gateway
    paystar: Paystar
    fulfilled: list[str] = field(factory=list[str])
    """Ids of the payments that the shop's handler was notified of, in order."""

    def worker(self, **options: Any) -> Paystar:
        """Return another client on the same orders, as in another process."""
        return _client(self.path, self.sandbox, **{"gateway": self.gateway, "clock": self.clock, **options})

    async def fulfil(self, payment: Payment) -> None:
        """Handle a verified payment."""
        self.fulfilled.append(payment.id)

    async def start(self, order_id: str = "o-1", **options: Any) -> StartedPayment:
        values: dict[str, Any] = {"amount": AMOUNT, "order_id": order_id, "callback": CALLBACK_URL, **options}
        return await self.paystar.payments.start(**values)

    def pay(self, started: StartedPayment, choice: str = "pay") -> Callback:
        """Let the payer choose on the payment page; return the callback."""
        return Callback.parse(self.sandbox.pay(token_of(started), choice))

    async def confirm(self, callback: Callback) -> Payment:
        return await self.paystar.payments.confirm(callback)

    async def advance(self, seconds: float, *, every: float = 15.0) -> list[Payment]:
        """Advance the clock with a sweep every ``every`` seconds; return the decided payments."""
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
    def request_counts(self) -> dict[str, int]:
        """Return the number of requests to each endpoint of the gateway."""
        return {name.removeprefix("gateway."): count for name, count in self.sandbox.stats["requests"].items()}


async def wait_until(condition: Callable[[], bool]) -> None:
    """Let tasks and threads run until a condition holds."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the condition never became true")


def token_of(started: StartedPayment) -> str:
    """Return the token in the URL of a payment page."""
    return parse_qs(urlsplit(started.url).query)["token"][0]


def _client(path: Path | str, sandbox: Sandbox, **options: Any) -> Paystar:
    defaults: dict[str, Any] = {"engine": sandbox.engine(), "database": path}
    return Paystar(**{**defaults, **options})


@asynccontextmanager
async def open_shop(
    path: Path | str, *, direct: bool = False, signed: bool = True, **options: Any
) -> AsyncGenerator[Shop, None]:
    """Yield a new shop."""
    clock = QuickClock()
    sandbox = Sandbox(clock=clock)
    sandbox.settings.gateway_signed = signed
    account = Gateway(id=sandbox.gateway.id, sign_key=sandbox.gateway.sign_key, direct=direct)
    paystar = _client(path, sandbox, gateway=account, clock=clock, **options)
    shop = Shop(path, clock, sandbox, account, paystar)
    paystar.payments.on_verified(shop.fulfil)
    async with paystar:
        yield shop
