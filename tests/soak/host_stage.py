"""The stage of the hosts' soak – a bank, two databases, three workers – and what is counted on it."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from attrs import define, field

from tests.soak.fleet import WorkerFleet
from tests.soak.network import Network
from tests.soak.processes import SandboxProcess, read_message
from tests.soak.replication import ReplicatedPostgres
from tests.support import environment_without_paystar

WORKERS = ("w1", "w2", "w3")
BANK_PORT = 8000
CALL_SECONDS, SETTLE_SECONDS, PACKET_SECONDS = 0.15, 0.05, 0.005
BANK_DELAYS = ((0.01, 4.0), (0.02, 1.5))
"""How often the bank responds late, and by how many seconds."""
MAX_STANDSTILL_SECONDS = 8.0
"""How long after the end of a partition the other hosts may stand still."""
BUSY_SECONDS = 3.0
DONE_SECONDS = 150.0
FINAL = frozenset({"success", "failed", "reversed", "needs_review"})
_RECORDS = "SELECT track_id, state, amount, reason FROM paystar_payout_transfers"


@define
class Result:
    """What the bank and the ledger say at the end of a scenario.

    Attributes:
        scenario: what happened, in words.
        kind: partition, kill, refresh, failover or restore.
        transfers: submitted.
        paid: executed by the bank.
        duplicates: executed more than once.
        lost: submitted, neither executed nor explained.
        wrong: executed with another amount, never submitted, or recorded as not paid.
        unexplained: not in a final state, or failed or in review without a reason.
        in_review: waiting for a manual review, with a reason.
        restarts: workers that ended by themselves and were started again.
        ledger_stops: workers that the ledger stopped as another or an older one.
        false_stops: those of them whose ledger was the same all the time.
        standstill: the longest time without a payment of the healthy hosts, from the partition's start; seconds.
        after_heal: how much of that lies after the partition's end; seconds.
        seconds: the whole scenario.
        notes: what else was counted.
    """

    scenario: str
    kind: str = ""
    transfers: int = 0
    paid: int = 0
    duplicates: int = 0
    lost: int = 0
    wrong: int = 0
    unexplained: int = 0
    in_review: int = 0
    restarts: int = 0
    ledger_stops: int = 0
    false_stops: int = 0
    standstill: float | None = None
    after_heal: float | None = None
    seconds: float = 0.0
    notes: dict[str, int] = field(factory=dict[str, int])

    @property
    def good(self) -> bool:
        """Return True if every promise was kept."""
        in_time = self.after_heal is None or self.after_heal <= MAX_STANDSTILL_SECONDS
        faults = self.duplicates, self.lost, self.wrong, self.unexplained, self.false_stops
        return self.paid > 0 and in_time and not any(faults)


@define
class Stage:
    """Six hosts: the bank, two PostgreSQL servers and three workers."""

    network: Network
    bank: SandboxProcess
    postgres: ReplicatedPostgres
    scenarios: int = 0

    @contextmanager
    def fleet(self, *, hurry: bool = True) -> Generator[tuple[WorkerFleet, str]]:
        """Start workers on an empty database; yield them and its name."""
        self.scenarios += 1
        database = f"scenario_{self.scenarios}"
        settings = {
            "application": self.bank.get("accounts")["application"],
            "base_url": f"http://localhost:{BANK_PORT}/api",
            "ledger": self.postgres.create_database(database),
            "hurry": hurry,
        }
        fleet = WorkerFleet(self.network, WORKERS, settings)
        try:
            fleet.start()
            yield fleet, database
        finally:
            fleet.kill()

    def executed(self, fleet: WorkerFleet) -> dict[str, dict[str, Any]]:
        """Return what the bank executed of a fleet's batches, by track_id."""
        batches = tuple(f"{batch}-" for batch in fleet.batches)
        lines: dict[str, dict[str, Any]] = self.bank.get("ledger")["transfers"]
        return {track_id: line for track_id, line in lines.items() if track_id.startswith(batches)}

    def records(self, database: str) -> dict[str, tuple[str, int, str]]:
        """Return state, amount and reason of all transfers on record, by track_id."""
        with self.postgres.primary.connect(database) as connection:
            rows: list[Any] = connection.execute(_RECORDS).fetchall()
        return {track_id: (state, amount, reason) for track_id, state, amount, reason in rows}

    def wait_paid(self, fleet: WorkerFleet, count: int) -> None:
        """Wait until the bank has executed ``count`` transfers."""
        wait_until(lambda: len(self.executed(fleet)) >= count, f"{count} transfers are paid", fleet.tend)

    def wait_final(self, fleet: WorkerFleet, database: str) -> None:
        """Wait until all transfers that were submitted are final; what stays open is counted later."""
        expected = sum(fleet.batches.values())

        def is_final() -> bool:
            states = [state for state, _, _ in self.records(database).values()]
            return len(states) >= expected and FINAL.issuperset(states)

        end = time.monotonic() + DONE_SECONDS
        while not is_final() and time.monotonic() < end:
            fleet.tend()
            time.sleep(0.2)

    def compare(self, scenario: str, fleet: WorkerFleet, database: str, since: float) -> Result:
        """Hold what is on record against what the bank did."""
        executed, records = self.executed(fleet), self.records(database)
        amounts = {f"{batch}-{n}": 10_000 + n for batch, count in fleet.batches.items() for n in range(count)}
        result = Result(scenario, transfers=len(amounts), paid=len(executed), restarts=fleet.restarts)
        explained: set[str] = set()
        for track_id, (state, _, reason) in records.items():
            is_explained = state == "success" or (state in FINAL and bool(reason))
            result.unexplained += not is_explained
            result.in_review += state == "needs_review"
            if is_explained:
                explained.add(track_id)
            result.wrong += track_id in executed and state in {"failed", "planned", "paused_funds"}
            result.wrong += track_id not in executed and state == "success"
        result.lost = sum(track_id not in executed and track_id not in explained for track_id in amounts)
        result.wrong += sum(amounts.get(track_id) != line["amount"] for track_id, line in executed.items())
        result.duplicates = sum(line["count"] > 1 for line in executed.values())
        result.ledger_stops = len(fleet.stop_reasons)
        result.notes = dict(fleet.events + Counter(reason.partition(";")[0] for reason in fleet.stop_reasons))
        result.seconds = time.monotonic() - since
        return result

    def standstill(self, healthy: Sequence[str], start: float, heal: float) -> tuple[float, float]:
        """Return the longest time without a payment by these hosts after ``start``, and after ``heal``; seconds.

        Times that begin more than ``BUSY_SECONDS`` after ``heal`` do not count: there may be nothing left to pay.
        """
        addresses = {self.network.address(host) for host in healthy}
        times = sorted(at for at, host in self.bank.get("payments") if host in addresses)
        gaps = [(before, after) for before, after in pairwise(times) if after > start and before < heal + BUSY_SECONDS]
        longest = max((after - max(before, start) for before, after in gaps), default=0.0)
        healed = [(max(before, heal), after) for before, after in gaps if after > heal]
        return longest, max((after - before for before, after in healed), default=0.0)


@contextmanager
def running_bank(network: Network) -> Generator[SandboxProcess]:
    """Run a bank that pays a repeated ``track_id`` again, and responds late now and then."""
    address = network.address("bank")
    command = [sys.executable, "-m", "tests.soak.host_bank", json.dumps({"address": address, "port": BANK_PORT})]
    with network.start("bank", command, stdout=subprocess.PIPE, env=environment_without_paystar()) as process:
        try:
            read_message(process)
            bank = SandboxProcess(f"http://{address}:{BANK_PORT}/api")
            bank.post("settings", repeats_execute=True, settle_seconds=SETTLE_SECONDS)
            # Where the kernel cannot delay packets the bank delays more of its responses, some beyond the timeout.
            delays = [network.delay(host, PACKET_SECONDS) for host in WORKERS]
            for rate, seconds in () if all(delays) else BANK_DELAYS:
                bank.post("faults", kind="latency", rate=rate, seconds=seconds, executed=True)
            bank.post("faults", endpoint="transfers.settle", kind="latency", seconds=CALL_SECONDS, executed=True)
            yield bank
            bank.close()
        finally:
            process.kill()


def wait_until(happened: Callable[[], bool], what: str, tend: Callable[[], object] = lambda: None) -> None:
    """Wait until a condition is true; call ``tend`` at each step to restart dead workers."""
    end = time.monotonic() + DONE_SECONDS
    while not happened():
        assert time.monotonic() < end, f"waited in vain: {what}"
        tend()
        time.sleep(0.1)
