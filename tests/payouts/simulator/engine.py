"""An engine that sends the requests of one simulated process to the simulated bank."""

import asyncio
import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from paystar_async.errors import NoResponse, NotSent
from paystar_async.transport.engine import Headers
from tests.payouts.simulator.bank import BROKEN_RESPONSES, UNREADABLE_RESPONSE, Bank, Raw
from tests.payouts.simulator.world import QUIET_SECONDS, Host


class SimEngine:
    """An engine that connects one simulated process to the bank, and supports before_send."""

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
        if world.chance(world.fault_rates.connection_refused):
            raise NotSent("not connected")
        if world.chance(world.fault_rates.slow_connect):
            await self._wait(world.rng.random() * 2 * timeout, ends, NotSent("not connected in time"))
        if world.chance(world.fault_rates.stall_before_send):
            host.stall(world.rng.random() * QUIET_SECONDS / 5)
        await host.step("is about to send")
        if before_send is not None:
            before_send()
        if method == "POST":
            await self._before_first_byte(timeout)
        await asyncio.sleep(world.rng.random() * 0.2)
        if method == "POST":
            reply = bank.pay(host.name, json.loads(body or b"{}")["transfers"])
        else:
            reply = bank.find({name: texts[0] for name, texts in parse_qs(urlsplit(url).query).items()})
        if reply is None:
            await self._wait(world.rng.choice((0.0, 2 * timeout)), ends, NoResponse("no response in time"))
            raise NoResponse("the connection broke")
        await self._wait(world.rng.choice((0.1, 0.1, 1.0, timeout)) * world.rng.random(), ends, NoResponse("too late"))
        await host.step("has a response")
        if method == "POST" and reply[0] == 200 and reply not in (*BROKEN_RESPONSES, UNREADABLE_RESPONSE):
            bank.on_response(host, json.loads(reply[2]))
        return reply

    async def _before_first_byte(self, timeout: float) -> None:
        """Let time pass between before_send and the first byte, as an operating system may."""
        world, host = self._bank.world, self._host
        if world.chance(4 * world.fault_rates.crash):
            host.die("the first byte")
        if world.chance(world.fault_rates.stall):
            host.stall(world.rng.random() * timeout / 2)
        await host.wait_until_running()

    async def _wait(self, seconds: float, ends: float, error: Exception) -> None:
        remaining = ends - self._bank.world.now
        await asyncio.sleep(max(0.0, min(seconds, remaining)))
        await self._host.wait_until_running()
        if seconds > remaining:
            raise error

    async def aclose(self) -> None:
        pass
