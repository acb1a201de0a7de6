"""One refresh per expiry, and no key lost: with processes, kills and cancellations, counted at the sandbox."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
from attrs import define, field
from redis import Redis

from paystar_async import Application, Event, Paystar
from paystar_async.errors import PaystarError
from paystar_async.keys import lease, refresher
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import SystemClock
from tests.servers import running_postgres, running_redis
from tests.soak.play import Play, program, read, sandbox, tell

DAY = 86_401.0
ENOUGH = 60.0
Style = Literal["task.cancel", "asyncio.timeout", "anyio scope"]
STYLES: tuple[Style, ...] = ("task.cancel", "asyncio.timeout", "anyio scope")


@contextmanager
def shared_stores(home: Path) -> Generator[dict[str, Callable[[], str]]]:
    """Return the stores that several processes can share, each as a function that returns an empty address."""
    numbers = iter(range(1_000_000))
    with running_redis() as redis, running_postgres() as postgres, ExitStack() as schemas:

        def empty_redis() -> str:
            with Redis.from_url(redis.url) as client:  # pyright: ignore[reportUnknownMemberType]
                client.flushall()  # pyright: ignore[reportUnknownMemberType]
            return redis.url

        yield {
            "sqlite": lambda: str(home / f"keys-{next(numbers)}.db"),
            "redis": empty_redis,
            "postgres": lambda: schemas.enter_context(postgres.schema()),
        }


def _settings(play: Play, keys: str) -> dict[str, Any]:
    application = play.get("accounts")["application"]
    return {"application": application, "base_url": play.base_url, "keys": keys}


def _until(happened: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + ENOUGH
    while not happened():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.005)


def expiries(
    keys: str, *, processes: int = 8, tasks: int = 20, calls: int = 4, times: int = 3
) -> tuple[int, Counter[str]]:
    """Let the key expire under many processes; return how often it was refreshed, and how the calls ended."""
    ended: Counter[str] = Counter()
    with sandbox(rotate=True) as play, ExitStack() as stack:
        settings = _settings(play, keys) | {"tasks": tasks, "calls": calls}
        clients = [stack.enter_context(program("tests.soak.client", settings)) for _ in range(processes)]
        for client in clients:
            assert read(client) == "ready"
        for _ in range(times):
            for client in clients:
                tell(client, "round")
            play.post("clock", advance=DAY)  # in the middle of their calls
            for client in clients:
                assert read(client) == "done"
        for client in clients:
            tell(client, "stop")
        for client in clients:
            ended.update(read(client)["calls"])
        return play.refreshes, ended


@define
class Kills:
    """What became of the keys of owners that were killed between the server's rotation and our store."""

    killed: int = 0
    detected: int = 0
    wiped: int = 0
    probes: int = 0
    most_probes: int = 0
    healed: int = 0
    events: Counter[str] = field(factory=Counter[str])


def kills(empty: Callable[[], str], count: int, lease_seconds: float = 0.3, settle: float = 0.1) -> Kills:
    """Kill -9 the owner of a refresh after the server has rotated and before the response is stored."""
    report = Kills()
    with sandbox(rotate=True) as play, short_leases(lease_seconds, settle):
        for _ in range(count):
            asyncio.run(_one_kill(play, empty(), report))
    return report


@contextmanager
def short_leases(lease_seconds: float, settle: float) -> Generator[None]:
    """Owners count as dead sooner: seconds are right for a service, and too long for a test."""
    held = lease.LEASE_SECONDS, refresher.STORE_SETTLE_SECONDS
    lease.LEASE_SECONDS, refresher.STORE_SETTLE_SECONDS = lease_seconds, settle
    try:
        yield
    finally:
        lease.LEASE_SECONDS, refresher.STORE_SETTLE_SECONDS = held


async def _one_kill(play: Play, keys: str, report: Kills) -> None:
    settings = _settings(play, keys)
    before = play.refreshes
    play.post("clock", advance=DAY)
    play.post("faults", endpoint="keys.refresh_application_key", kind="latency", seconds=ENOUGH, executed=True, times=1)
    with program("tests.soak.owner", settings | {"lease": lease.LEASE_SECONDS}) as owner:
        await asyncio.to_thread(_until, lambda: play.refreshes > before, "the server's rotation")
        owner.kill()
        owner.wait()
    report.killed += 1
    play.post("faults", clear=True)

    refused = play.refused_renewals
    for _ in range(2):  # the second one finds it lost, and does not knock again
        async with _client(settings, report.events) as paystar:
            ends = await asyncio.gather(*(paystar.transfers.find(limit=1) for _ in range(3)), return_exceptions=True)
        report.detected += all(isinstance(end, PaystarError) for end in ends)
    probes = play.refused_renewals - refused
    report.probes, report.most_probes = report.probes + probes, max(report.most_probes, probes)

    record = await _stored(settings)
    report.wiped += (
        record is None or record.token is None or record.refresh_token is None or not record.refresh_rejected
    )
    now = play.get("accounts")["application"]
    async with _client(settings, report.events) as paystar:
        await paystar.keys.replace("application", token=now["api_key"], refresh_token=now["refresh_token"])
        await paystar.transfers.find(limit=1)
    report.healed += 1


def _client(settings: dict[str, Any], events: Counter[str]) -> Paystar:
    def count(event: Event) -> None:
        events[event.name] += 1

    return Paystar(
        Application(**settings["application"]), base_url=settings["base_url"], keys=settings["keys"], on_event=count
    )


async def _stored(settings: dict[str, Any]) -> KeyRecord | None:
    store = make_key_store(settings["keys"], SystemClock())
    try:
        return await store.load(KeyId("application", settings["application"]["id"]))
    finally:
        await store.aclose()


def takeover(keys: str, lease_seconds: float = lease.LEASE_SECONDS) -> float:
    """Kill -9 the owner of a refresh while the server works on it; return the seconds of another client's next call."""
    with sandbox() as play, short_leases(lease_seconds, refresher.STORE_SETTLE_SECONDS):
        settings = _settings(play, keys)
        play.post("clock", advance=DAY)
        play.post("faults", endpoint="keys.refresh_application_key", kind="latency", seconds=ENOUGH, times=1)
        before = play.requests
        with program("tests.soak.owner", settings | {"lease": lease_seconds}) as owner:
            asked = before + 2  # a call whose key is rejected, and the refresh
            _until(lambda: play.requests >= asked, "the refresh")
            time.sleep(lease_seconds)  # so that heartbeats alone hold the lease
            owner.kill()
            owner.wait()
        return asyncio.run(_call_seconds(settings))


async def _call_seconds(settings: dict[str, Any]) -> float:
    async with _client(settings, Counter()) as paystar:
        started = time.monotonic()
        await paystar.transfers.find(limit=1, timeout=ENOUGH)
        return time.monotonic() - started


def cancellations(keys: str, style: Style, count: int, seed: int = 0) -> int:
    """Cancel callers at random moments of a refresh; return how often the next call found the key lost."""
    with sandbox(rotate=True) as play:
        return asyncio.run(_cancellations(play, _settings(play, keys), style, count, random.Random(seed)))


async def _cancellations(play: Play, settings: dict[str, Any], style: Style, count: int, dice: random.Random) -> int:
    lost = 0
    async with _client(settings, Counter()) as paystar:
        for _ in range(count):
            await asyncio.to_thread(play.post, "clock", advance=DAY)
            await _cancelled(paystar, style, dice.uniform(0, 0.012))
            try:
                await paystar.transfers.find(limit=1)
            except PaystarError:
                lost += 1
    return lost


async def _cancelled(paystar: Paystar, style: Style, after: float) -> None:
    match style:
        case "task.cancel":
            task = asyncio.create_task(paystar.transfers.find(limit=1))
            await asyncio.sleep(after)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        case "asyncio.timeout":
            try:
                async with asyncio.timeout(after):
                    await paystar.transfers.find(limit=1)
            except TimeoutError:
                pass
        case "anyio scope":
            with anyio.move_on_after(after):
                await paystar.transfers.find(limit=1)
