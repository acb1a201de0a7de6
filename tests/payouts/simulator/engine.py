"""The way from one of our processes to the bank."""

import asyncio
import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from paystar_async.errors import NoResponse, NotSent
from paystar_async.transport.engine import Headers
from tests.payouts.simulator.bank import NONSENSE, UNREADABLE, Bank, Raw
from tests.payouts.simulator.world import QUIET, Host


class SimEngine:
    """The way from one of our processes to the bank; it says when a request leaves."""

    supports_before_send = True

    def __init__(self, bank: Bank, host: Host) -> None:
        self._bank, self._host = bank, host

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> Raw:
        world, host, bank = self._bank.world, self._host, self._bank
        if timeout <= 0:
            raise NotSent("no time was left to send it")
        ends = world.now + timeout
        await host.step("connects")
        if world.chance(world.weather.refused):
            raise NotSent("not connected")
        if world.chance(world.weather.slow):
            await self._wait(world.dice.random() * 2 * timeout, ends, NotSent("not connected in time"))
        if world.chance(world.weather.stall_before_send):
            host.stand_still(world.dice.random() * QUIET / 5)
        await host.step("is about to send")
        if before_send is not None:
            before_send()
        if method == "POST":
            await self._at_the_fence(timeout)
        await asyncio.sleep(world.dice.random() * 0.2)
        if method == "POST":
            reply = bank.pay(host.name, json.loads(body or b"{}")["transfers"])
        else:
            reply = bank.find({name: texts[0] for name, texts in parse_qs(urlsplit(url).query).items()})
        if reply is None:
            await self._wait(world.dice.choice((0.0, 2 * timeout)), ends, NoResponse("no answer in time"))
            raise NoResponse("the connection broke")
        await self._wait(
            world.dice.choice((0.1, 0.1, 1.0, timeout)) * world.dice.random(), ends, NoResponse("too late")
        )
        await host.step("has an answer")
        if method == "POST" and reply[0] == 200 and reply not in (*NONSENSE, UNREADABLE):
            bank.answered(host, json.loads(reply[2]))
        return reply

    async def _at_the_fence(self, timeout: float) -> None:
        """Let a moment pass between the last check of the clock and the first byte, which no program can prevent."""
        world, host = self._bank.world, self._host
        if world.chance(4 * world.weather.crash):
            host.die("the fence")
        if world.chance(world.weather.stall):
            host.stand_still(world.dice.random() * timeout / 2)
        await host.awake()

    async def _wait(self, seconds: float, ends: float, error: Exception) -> None:
        remaining = ends - self._bank.world.now
        await asyncio.sleep(max(0.0, min(seconds, remaining)))
        await self._host.awake()
        if seconds > remaining:
            raise error

    async def aclose(self) -> None:
        pass
