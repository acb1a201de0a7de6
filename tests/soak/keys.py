"""Soak of key refreshes with many processes, kills and cancellations: one refresh per expiry, and no key is lost."""

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
from tests.soak.processes import SandboxProcess, read_message, running_program, running_sandbox, send_line

EXPIRY_ADVANCE_SECONDS = 86_401.0
"""Longer than the lifetime of a key."""
WAIT_SECONDS = 60.0
Style = Literal["task.cancel", "asyncio.timeout", "anyio scope"]
STYLES: tuple[Style, ...] = ("task.cancel", "asyncio.timeout", "anyio scope")


@contextmanager
def shared_stores(home: Path) -> Generator[dict[str, Callable[[], str]]]:
    """Yield the stores that several processes can share, each as a function that returns the URL of an empty store."""
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


def _settings(sandbox: SandboxProcess, keys: str) -> dict[str, Any]:
    application = sandbox.get("accounts")["application"]
    return {"application": application, "base_url": sandbox.base_url, "keys": keys}


def _wait_until(condition: Callable[[], bool], description: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"timeout while waiting: {description}"
        time.sleep(0.005)


def expiries(
    keys: str, *, processes: int = 8, tasks: int = 20, calls: int = 4, times: int = 3
) -> tuple[int, Counter[str]]:
    """Let the key expire under many processes; return the number of refreshes, and of calls by outcome."""
    outcomes: Counter[str] = Counter()
    with running_sandbox(rotate=True) as sandbox, ExitStack() as stack:
        settings = _settings(sandbox, keys) | {"tasks": tasks, "calls": calls}
        clients = [stack.enter_context(running_program("tests.soak.client", settings)) for _ in range(processes)]
        for client in clients:
            assert read_message(client) == "ready"
        for _ in range(times):
            for client in clients:
                send_line(client, "round")
            sandbox.post("clock", advance=EXPIRY_ADVANCE_SECONDS)  # during their calls
            for client in clients:
                assert read_message(client) == "done"
        for client in clients:
            send_line(client, "stop")
        for client in clients:
            outcomes.update(read_message(client)["calls"])
        return sandbox.refreshes, outcomes


@define
class KillReport:
    """Results for lease owners that were killed after the server had rotated the key and before it was stored.

    Attributes:
        killed: number of killed owners.
        detected: number of later clients whose calls all failed, because the refresh token was rejected.
        wiped: number of key records that were lost, or not marked as rejected.
        probes: number of rejected refreshes of the later clients.
        max_probes: largest number of rejected refreshes after one kill.
        healed: number of clients that work with a replaced key pair.
        events: number of events by name.
    """

    killed: int = 0
    detected: int = 0
    wiped: int = 0
    probes: int = 0
    max_probes: int = 0
    healed: int = 0
    events: Counter[str] = field(factory=Counter[str])


def kills(empty: Callable[[], str], count: int, lease_seconds: float = 0.3, settle: float = 0.1) -> KillReport:
    """Kill the lease owner with SIGKILL after the server has rotated the key and before the response is stored."""
    report = KillReport()
    with running_sandbox(rotate=True) as sandbox, short_leases(lease_seconds, settle):
        for _ in range(count):
            asyncio.run(_one_kill(sandbox, empty(), report))
    return report


@contextmanager
def short_leases(lease_seconds: float, settle: float) -> Generator[None]:
    """Shorten the leases, and the wait after a lease has expired, in this process."""
    defaults = lease.LEASE_SECONDS, refresher.STORE_SETTLE_SECONDS
    lease.LEASE_SECONDS, refresher.STORE_SETTLE_SECONDS = lease_seconds, settle
    try:
        yield
    finally:
        lease.LEASE_SECONDS, refresher.STORE_SETTLE_SECONDS = defaults


async def _one_kill(sandbox: SandboxProcess, keys: str, report: KillReport) -> None:
    settings = _settings(sandbox, keys)
    before = sandbox.refreshes
    sandbox.post("clock", advance=EXPIRY_ADVANCE_SECONDS)
    sandbox.post(
        "faults", endpoint="keys.refresh_application_key", kind="latency", seconds=WAIT_SECONDS, executed=True, times=1
    )
    with running_program("tests.soak.refresh_owner", settings | {"lease": lease.LEASE_SECONDS}) as owner:
        await asyncio.to_thread(_wait_until, lambda: sandbox.refreshes > before, "the server's rotation")
        owner.kill()
        owner.wait()
    report.killed += 1
    sandbox.post("faults", clear=True)

    refused = sandbox.refused_refreshes
    for _ in range(2):  # the second client finds the refresh token rejected and sends no refresh
        async with _client(settings, report.events) as paystar:
            outcomes = await asyncio.gather(
                *(paystar.transfers.find(limit=1) for _ in range(3)), return_exceptions=True
            )
        report.detected += all(isinstance(outcome, PaystarError) for outcome in outcomes)
    probes = sandbox.refused_refreshes - refused
    report.probes, report.max_probes = report.probes + probes, max(report.max_probes, probes)

    record = await _load_record(settings)
    report.wiped += (
        record is None or record.token is None or record.refresh_token is None or not record.refresh_rejected
    )
    current = sandbox.get("accounts")["application"]
    async with _client(settings, report.events) as paystar:
        await paystar.keys.replace("application", token=current["api_key"], refresh_token=current["refresh_token"])
        await paystar.transfers.find(limit=1)
    report.healed += 1


def _client(settings: dict[str, Any], events: Counter[str]) -> Paystar:
    def count(event: Event) -> None:
        events[event.name] += 1

    return Paystar(
        Application(**settings["application"]), base_url=settings["base_url"], keys=settings["keys"], on_event=count
    )


async def _load_record(settings: dict[str, Any]) -> KeyRecord | None:
    store = make_key_store(settings["keys"], SystemClock())
    try:
        return await store.load(KeyId("application", settings["application"]["id"]))
    finally:
        await store.aclose()


def takeover_seconds(keys: str, lease_seconds: float = lease.LEASE_SECONDS) -> float:
    """Kill the lease owner during its refresh; return the seconds of the next call of another client."""
    with running_sandbox() as sandbox, short_leases(lease_seconds, refresher.STORE_SETTLE_SECONDS):
        settings = _settings(sandbox, keys)
        sandbox.post("clock", advance=EXPIRY_ADVANCE_SECONDS)
        sandbox.post("faults", endpoint="keys.refresh_application_key", kind="latency", seconds=WAIT_SECONDS, times=1)
        before = sandbox.requests
        with running_program("tests.soak.refresh_owner", settings | {"lease": lease_seconds}) as owner:
            expected = before + 2  # a call whose key is rejected, and the refresh
            _wait_until(lambda: sandbox.requests >= expected, "the refresh")
            time.sleep(lease_seconds)  # after this time only heartbeats keep the lease
            owner.kill()
            owner.wait()
        return asyncio.run(_call_seconds(settings))


async def _call_seconds(settings: dict[str, Any]) -> float:
    async with _client(settings, Counter()) as paystar:
        started = time.monotonic()
        await paystar.transfers.find(limit=1, timeout=WAIT_SECONDS)
        return time.monotonic() - started


def cancellations(keys: str, style: Style, count: int, seed: int = 0) -> int:
    """Cancel callers at random moments of a refresh; return how many next calls failed because the key was lost."""
    with running_sandbox(rotate=True) as sandbox:
        return asyncio.run(_cancellations(sandbox, _settings(sandbox, keys), style, count, random.Random(seed)))


async def _cancellations(
    sandbox: SandboxProcess, settings: dict[str, Any], style: Style, count: int, rng: random.Random
) -> int:
    lost = 0
    async with _client(settings, Counter()) as paystar:
        for _ in range(count):
            await asyncio.to_thread(sandbox.post, "clock", advance=EXPIRY_ADVANCE_SECONDS)
            await _cancelled(paystar, style, rng.uniform(0, 0.012))
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
