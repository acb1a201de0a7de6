"""Scenarios on several hosts: partitions, delays, a failover to a lagging standby and a restored dump.

Every transfer must be paid once, as counted at a bank that pays a repeated ``track_id`` again.
``python -m tests.soak hosts`` runs the scenarios; this module as a program is the process inside the network.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from attrs import asdict

from paystar_async.payouts.models import Policy
from tests.soak.fleet import WorkerFleet
from tests.soak.host_stage import WORKERS, Result, Stage, running_bank, wait_until
from tests.soak.host_worker import Moment
from tests.soak.network import Network, end_with_parent, run_inside
from tests.soak.replication import ReplicatedPostgres

KINDS = ("partition", "kill", "refresh", "failover", "restore")
SAME_LEDGER = frozenset({"partition", "kill", "refresh"})
POLICY: dict[str, Any] = {"chunk": 2, "concurrency": 4, "quiet_window": 3.0, "resend": True}
LOOK_UP_POLICY = POLICY | ({"look_before_send": "always"} if "look_before_send" in Policy().to_json() else {})
PAID_PER_SECOND = 20
MOMENTS: tuple[Moment, ...] = ("lease-uncommitted", "before-send", "before-record")
LEASE_CHECK_SECONDS = 4.0
"""Time for the other hosts to notice that a lease is no longer extended, beyond the limit for a partition."""
RECONNECT_SECONDS = 14.0
"""Slightly more than a client needs to notice that its connections are dead."""
MAX_SHORT_SECONDS, MAX_FULL_SECONDS = 240.0, 2_400.0


def cut_off(
    stage: Stage, moments: dict[str, Moment], seconds: float, *, hurry: bool = True, concurrency: int = 4
) -> Result:
    """Cut hosts off while each is held at a critical moment; the other hosts have enough to pay."""
    since = time.monotonic()
    with stage.fleet(hurry=hurry) as (fleet, database):
        healthy = [host for host in WORKERS if host not in moments]
        for number in range(3):
            count = int(PAID_PER_SECOND * min(1, concurrency / 4) * (seconds + 12) / 3)
            policy = POLICY | {"concurrency": concurrency, "rate": PAID_PER_SECOND / POLICY["chunk"]}
            fleet.submit(f"{database}-{number}", count, policy, by=[WORKERS[number]])
        stage.wait_paid(fleet, 30)
        # An uncommitted lease keeps the other hosts from their leases, so its host is cut off last.
        for host, moment in sorted(moments.items(), key=lambda item: item[1] == "lease-uncommitted"):
            fleet.workers[host].arm(moment)
            assert fleet.workers[host].holding.wait(20), f"{host} does not reach {moment}"
        with stage.network.partition(*moments):
            start = time.monotonic()
            for host in moments:
                fleet.workers[host].send_command("release")
            time.sleep(seconds)
        heal = time.monotonic()
        stage.wait_final(fleet, database)
        standstill = stage.standstill(healthy, start, heal)
        fleet.end()
        conditions = ", ".join(f"{host} {moment}" for host, moment in moments.items())
        conditions += ", which holds the only slot" if concurrency == 1 else ""
        result = stage.compare(f"partition of {seconds:.0f} s: {conditions}", fleet, database, since)
        result.standstill, result.after_heal = (round(value, 1) for value in standstill)
        return result


def kill_slot_holder(stage: Stage) -> Result:
    """Kill a worker with SIGKILL that holds the only slot, between intent and first byte."""
    since = time.monotonic()
    with stage.fleet(hurry=False) as (fleet, database):
        for number in range(3):
            policy = POLICY | {"concurrency": 1}
            fleet.submit(f"{database}-{number}", 40, policy, by=[WORKERS[number]])
        stage.wait_paid(fleet, 10)
        fleet.workers["w1"].arm("before-send")
        assert fleet.workers["w1"].holding.wait(20), "w1 does not reach its send"
        start = time.monotonic()
        fleet.workers["w1"].kill()
        stage.wait_final(fleet, database)
        standstill = stage.standstill(["w2", "w3"], start, start + LEASE_CHECK_SECONDS)
        fleet.end()
        result = stage.compare("w1, which holds the only slot, is killed", fleet, database, since)
        result.standstill, result.after_heal = (round(value, 1) for value in standstill)
        return result


def refresh_interrupted(stage: Stage, seconds: float, *, rotate: bool = True) -> Result:
    """Cut off a host that has refreshed the key and not yet stored the new key."""
    since = time.monotonic()
    stage.bank.post("settings", rotate_refresh_tokens=rotate, refresh_ends_old_key=rotate)
    with stage.fleet() as (fleet, database):
        fleet.submit(f"{database}-0", 100, POLICY)
        stage.wait_paid(fleet, 20)
        for worker in fleet.workers.values():
            worker.arm("before-key-save")
        refreshes = stage.bank.refreshes
        stage.bank.post("clock", advance=86_400)
        wait_until(
            lambda: any(worker.holding.is_set() for worker in fleet.workers.values()), "a host refreshes the key"
        )
        host = next(host for host, worker in fleet.workers.items() if worker.holding.is_set())
        with stage.network.partition(host):
            for worker in fleet.workers.values():
                worker.arm(None)
            fleet.workers[host].send_command("release")
            time.sleep(seconds)
        stage.wait_final(fleet, database)
        fleet.end()
        token = "a rotating refresh token" if rotate else "a constant refresh token"
        result = stage.compare(f"partition of {seconds:.0f} s during a refresh, {token}", fleet, database, since)
        result.notes["refreshes"] = stage.bank.refreshes - refreshes
        return result


def failover(stage: Stage, lag: float, *, hold_worker: bool = False) -> Result:
    """Promote a standby that lags behind.

    Args:
        stage: the hosts.
        lag: seconds by which the standby lags behind.
        hold_worker: hold a worker between intent and first byte, until shortly before its deadline.
    """
    since = time.monotonic()
    with stage.fleet(hurry=not hold_worker) as (fleet, database):
        for number in range(3):
            fleet.submit(f"{database}-{number}", 50, POLICY)
        stage.postgres.wait_replicated()
        stage.wait_paid(fleet, 20)
        deadline = 0.0
        with stage.network.partition(stage.postgres.standby.host):
            time.sleep(lag)
            if hold_worker:
                fleet.workers["w1"].arm("before-send")
                assert fleet.workers["w1"].holding.wait(10), "w1 does not reach its send"
                deadline = time.monotonic() + 4.0
            stage.postgres.primary.kill()
        stage.postgres.fail_over()
        if hold_worker:
            while time.monotonic() < deadline:
                fleet.tend()
                time.sleep(0.1)
            fleet.workers["w1"].send_command("release")
        _resubmit(fleet)
        stage.wait_final(fleet, database)
        fleet.end()
        name = f"failover to a standby {lag} s behind" + (", w1 held before its first byte" if hold_worker else "")
        result = stage.compare(name, fleet, database, since)
    stage.postgres.add_standby()
    return result


def lost_batch(stage: Stage) -> Result:
    """Promote a standby that never saw a batch; the application submits the batch again, to be looked up first."""
    since = time.monotonic()
    with stage.fleet() as (fleet, database):
        fleet.submit(f"{database}-0", 30, POLICY)
        stage.postgres.wait_replicated()
        with stage.network.partition(stage.postgres.standby.host):
            fleet.submit(f"{database}-1", 120, POLICY)
            stage.wait_paid(fleet, 90)
            stage.postgres.primary.kill()
        stage.postgres.fail_over()
        _resubmit(fleet, LOOK_UP_POLICY)
        stage.wait_final(fleet, database)
        fleet.end()
        result = stage.compare("failover to a standby without the batch, submitted again", fleet, database, since)
    stage.postgres.add_standby()
    return result


def restore(stage: Stage, home: Path, *, running: bool) -> Result:
    """Restore a dump that is older than the last payments, while the workers are stopped or under them."""
    since = time.monotonic()
    with stage.fleet() as (fleet, database):
        for number in range(2):
            fleet.submit(f"{database}-{number}", 60, POLICY)
        stage.wait_paid(fleet, 20)
        stage.postgres.primary.dump(database, home / "dump.sql")
        stage.wait_paid(fleet, 60)
        if not running:
            fleet.end()
        stage.postgres.primary.restore(database, home / "dump.sql")
        if not running:
            fleet.start()
        _resubmit(fleet)
        stage.wait_final(fleet, database)
        fleet.end()
        condition = "under running workers" if running else "while the workers were stopped"
        return stage.compare(f"an older dump restored {condition}", fleet, database, since)


def restore_under_cut_off_worker(stage: Stage, home: Path) -> Result:
    """Restore an older dump while all workers but one are stopped; that one is cut off and keeps running.

    The cut-off worker submitted the batch itself, so it has recovered nothing, and it saw no payment of the others.
    """
    since = time.monotonic()
    with stage.fleet() as (fleet, database):
        fleet.submit(f"{database}-0", 160, POLICY, by=["w1"])
        stage.wait_paid(fleet, 30)
        with stage.network.partition("w1"):
            stage.postgres.primary.dump(database, home / "dump.sql")
            stage.wait_paid(fleet, 110)
            for host in ("w2", "w3"):
                fleet.workers[host].end()
            stage.postgres.primary.restore(database, home / "dump.sql")
        time.sleep(RECONNECT_SECONDS)
        stage.wait_final(fleet, database)
        fleet.end()
        return stage.compare("an older dump restored under w1, which was cut off", fleet, database, since)


def _resubmit(fleet: WorkerFleet, policy: dict[str, Any] = POLICY) -> None:
    """Submit all batches again, as by an application that does not know which records were lost."""
    for batch_id, count in list(fleet.batches.items()):
        fleet.submit(batch_id, count, policy)


Scenario = tuple[str, Callable[[], Result]]


def short_scenarios(stage: Stage, home: Path) -> Generator[Scenario]:
    """Yield one scenario of each kind."""
    yield "partition", partial(cut_off, stage, {"w1": "lease-uncommitted", "w2": "before-record"}, 9)
    yield "refresh", partial(refresh_interrupted, stage, 5)
    yield "failover", partial(failover, stage, 1.0)
    yield "restore", partial(restore, stage, home, running=True)


def full_scenarios(stage: Stage, home: Path) -> Generator[Scenario]:
    """Yield all scenarios, with the leases of the package where a time is measured."""
    for seconds in (9, 12, 16):
        for moment in MOMENTS:
            yield "partition", partial(cut_off, stage, {"w1": moment}, seconds, hurry=False)
    moments: dict[str, Moment] = {"w1": "lease-uncommitted", "w2": "before-record"}
    yield "partition", partial(cut_off, stage, moments, 16, hurry=False)
    yield "partition", partial(cut_off, stage, {"w1": "before-send"}, 12, hurry=False, concurrency=1)
    yield "kill", partial(kill_slot_holder, stage)
    for rotate in (True, False):
        yield "refresh", partial(refresh_interrupted, stage, 12, rotate=rotate)
    for lag in (0.2, 1.0, 3.0):
        yield "failover", partial(failover, stage, lag)
    yield "failover", partial(failover, stage, 0.5, hold_worker=True)
    yield "failover", partial(lost_batch, stage)
    for running in (False, True):
        yield "restore", partial(restore, stage, home, running=running)
    yield "restore", partial(restore_under_cut_off_worker, stage, home)


def run(*, short: bool, only: str | None = None) -> Sequence[Result]:
    """Run the scenarios in a new network; each writes a line to standard error when it ends.

    Args:
        short: run the short list instead of the full one.
        only: the kind of scenario to run; None: all.

    Raises:
        RuntimeError: the process inside the network failed.
        subprocess.TimeoutExpired: the scenarios took too long; everything in the network was killed.
    """
    with tempfile.TemporaryDirectory(prefix="paystar-") as home:
        arguments = [home, "--short" if short else "--full", only or "all"]
        status = run_inside("tests.soak.hosts", arguments, MAX_SHORT_SECONDS if short else MAX_FULL_SECONDS)
        if status:
            raise RuntimeError(f"the process inside the network ended with status {status}; see above")
        lines = (Path(home) / "results").read_text("utf-8").splitlines()
        return [Result(**json.loads(line)) for line in lines]


def inside(home: Path, *, short: bool, only: str | None) -> None:
    """Start the hosts and run the scenarios; write the results to a file."""
    with ExitStack() as stack:
        network = Network(("bank", "db1", "db2", *WORKERS), home / "hosts", localhost="bank")
        bank = stack.enter_context(running_bank(network))
        postgres = ReplicatedPostgres(network, ("db1", "db2"), home / "postgres")
        stack.callback(postgres.stop)
        stage = Stage(network, bank, postgres)
        with (home / "results").open("w", encoding="utf-8") as file:
            for kind, scenario in (short_scenarios if short else full_scenarios)(stage, home):
                if only not in (None, kind):
                    continue
                try:
                    result = scenario()
                except AssertionError as error:
                    result = Result(f"{scenario}: {error}")
                result.kind = kind
                result.false_stops = result.ledger_stops if kind in SAME_LEDGER else 0
                file.write(json.dumps(asdict(result)) + "\n")
                file.flush()
                sys.stderr.write(f"{'ok  ' if result.good else 'FAIL'} {result}\n")


if __name__ == "__main__":
    end_with_parent()
    _home, _form, _only = sys.argv[1:]
    inside(Path(_home), short=_form == "--short", only=None if _only == "all" else _only)
