"""Paid once on several hosts: with partitions, delays, a failover to a lagging standby and a restored dump.

Counted at a bank that pays a repeated ``track_id`` again. ``python -m tests.soak hosts`` runs it; this module as a
program is the process inside the network.
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
LOOKED_UP = POLICY | ({"look_before_send": "always"} if "look_before_send" in Policy().to_json() else {})
PAID_PER_SECOND = 20
MOMENTS: tuple[Moment, ...] = ("claim-open", "claimed", "before-record")
LEASE_CHECK_SECONDS = 4.0
"""How long the others may take to see that a lease is extended no more, beyond the limit for a partition."""
RECONNECT_SECONDS = 14.0
"""A little more than a client needs to notice that its connections are dead."""
MAX_SHORT_SECONDS, MAX_FULL_SECONDS = 240.0, 2_400.0


def cut_off(
    stage: Stage, moments: dict[str, Moment], seconds: float, *, hurry: bool = True, concurrency: int = 4
) -> Result:
    """Cut hosts off while each is at a moment that hurts; the others have enough to pay."""
    since = time.monotonic()
    with stage.fleet(hurry=hurry) as (fleet, database):
        healthy = [host for host in WORKERS if host not in moments]
        for number in range(3):
            count = int(PAID_PER_SECOND * min(1, concurrency / 4) * (seconds + 12) / 3)
            policy = POLICY | {"concurrency": concurrency, "rate": PAID_PER_SECOND / POLICY["chunk"]}
            fleet.submit(f"{database}-{number}", count, policy, by=[WORKERS[number]])
        stage.wait_paid(fleet, 30)
        # A host that holds a lease open keeps the others from theirs, so it is cut off last.
        for host, moment in sorted(moments.items(), key=lambda item: item[1] == "claim-open"):
            fleet.workers[host].arm(moment)
            assert fleet.workers[host].held.wait(20), f"{host} does not come to {moment}"
        with stage.network.partition(*moments):
            start = time.monotonic()
            for host in moments:
                fleet.workers[host].tell("release")
            time.sleep(seconds)
        heal = time.monotonic()
        stage.wait_final(fleet, database)
        standstill = stage.standstill(healthy, start, heal)
        fleet.end()
        what = ", ".join(f"{host} {moment}" for host, moment in moments.items())
        what += ", which holds the only slot" if concurrency == 1 else ""
        result = stage.compare(f"partition of {seconds:.0f} s: {what}", fleet, database, since)
        result.standstill, result.after_heal = (round(value, 1) for value in standstill)
        return result


def killed(stage: Stage) -> Result:
    """Kill -9 a worker that holds the only slot, between intent and first byte."""
    since = time.monotonic()
    with stage.fleet(hurry=False) as (fleet, database):
        for number in range(3):
            policy = POLICY | {"concurrency": 1}
            fleet.submit(f"{database}-{number}", 40, policy, by=[WORKERS[number]])
        stage.wait_paid(fleet, 10)
        fleet.workers["w1"].arm("claimed")
        assert fleet.workers["w1"].held.wait(20), "w1 does not come to a claim"
        start = time.monotonic()
        fleet.workers["w1"].kill()
        stage.wait_final(fleet, database)
        standstill = stage.standstill(["w2", "w3"], start, start + LEASE_CHECK_SECONDS)
        fleet.end()
        result = stage.compare("w1, which holds the only slot, is killed", fleet, database, since)
        result.standstill, result.after_heal = (round(value, 1) for value in standstill)
        return result


def refresh(stage: Stage, seconds: float, *, rotate: bool = True) -> Result:
    """Cut off the host that has refreshed the key and not stored it."""
    since = time.monotonic()
    stage.bank.post("settings", rotate_refresh_tokens=rotate, refresh_ends_old_key=rotate)
    with stage.fleet() as (fleet, database):
        fleet.submit(f"{database}-0", 100, POLICY)
        stage.wait_paid(fleet, 20)
        for worker in fleet.workers.values():
            worker.arm("key-refreshed")
        refreshes = stage.bank.refreshes
        stage.bank.post("clock", advance=86_400)
        wait_until(lambda: any(worker.held.is_set() for worker in fleet.workers.values()), "a host refreshes the key")
        host = next(host for host, worker in fleet.workers.items() if worker.held.is_set())
        with stage.network.partition(host):
            for worker in fleet.workers.values():
                worker.arm(None)
            fleet.workers[host].tell("release")
            time.sleep(seconds)
        stage.wait_final(fleet, database)
        fleet.end()
        how = "a refresh token that rotates" if rotate else "a refresh token that stays"
        result = stage.compare(f"partition of {seconds:.0f} s during a refresh, {how}", fleet, database, since)
        result.notes["refreshes"] = stage.bank.refreshes - refreshes
        return result


def failover(stage: Stage, lag: float, *, held: bool = False) -> Result:
    """Promote a standby that lags behind.

    Args:
        stage: the hosts.
        lag: seconds the standby has missed.
        held: whether a worker is held between intent and first byte, until shortly before its deadline.
    """
    since = time.monotonic()
    with stage.fleet(hurry=not held) as (fleet, database):
        for number in range(3):
            fleet.submit(f"{database}-{number}", 50, POLICY)
        stage.postgres.wait_replicated()
        stage.wait_paid(fleet, 20)
        deadline = 0.0
        with stage.network.partition(stage.postgres.standby.host):
            time.sleep(lag)
            if held:
                fleet.workers["w1"].arm("claimed")
                assert fleet.workers["w1"].held.wait(10), "w1 does not come to a claim"
                deadline = time.monotonic() + 4.0
            stage.postgres.primary.kill()
        stage.postgres.fail_over()
        if held:
            while time.monotonic() < deadline:
                fleet.tend()
                time.sleep(0.1)
            fleet.workers["w1"].tell("release")
        _resubmit(fleet)
        stage.wait_final(fleet, database)
        fleet.end()
        what = f"failover to a standby {lag} s behind" + (", w1 held before its first byte" if held else "")
        result = stage.compare(what, fleet, database, since)
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
        _resubmit(fleet, LOOKED_UP)
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
        how = "under running workers" if running else "while the workers were stopped"
        return stage.compare(f"an older dump restored {how}", fleet, database, since)


def forgotten(stage: Stage, home: Path) -> Result:
    """Restore an older dump while the workers are stopped, all but one, which is cut off and was forgotten.

    The batch is its own, so that nothing of it was recovered there; it saw nothing of what the others paid.
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
    """Submit all batches again, as an application does that does not know what was lost."""
    for batch_id, count in list(fleet.batches.items()):
        fleet.submit(batch_id, count, policy)


Scenario = tuple[str, Callable[[], Result]]


def short_form(stage: Stage, home: Path) -> Generator[Scenario]:
    """Yield one scenario of each kind."""
    yield "partition", partial(cut_off, stage, {"w1": "claim-open", "w2": "before-record"}, 9)
    yield "refresh", partial(refresh, stage, 5)
    yield "failover", partial(failover, stage, 1.0)
    yield "restore", partial(restore, stage, home, running=True)


def full_form(stage: Stage, home: Path) -> Generator[Scenario]:
    """Yield all scenarios, with the package's own leases where time is measured."""
    for seconds in (9, 12, 16):
        for moment in MOMENTS:
            yield "partition", partial(cut_off, stage, {"w1": moment}, seconds, hurry=False)
    both: dict[str, Moment] = {"w1": "claim-open", "w2": "before-record"}
    yield "partition", partial(cut_off, stage, both, 16, hurry=False)
    yield "partition", partial(cut_off, stage, {"w1": "claimed"}, 12, hurry=False, concurrency=1)
    yield "kill", partial(killed, stage)
    for rotate in (True, False):
        yield "refresh", partial(refresh, stage, 12, rotate=rotate)
    for lag in (0.2, 1.0, 3.0):
        yield "failover", partial(failover, stage, lag)
    yield "failover", partial(failover, stage, 0.5, held=True)
    yield "failover", partial(lost_batch, stage)
    for running in (False, True):
        yield "restore", partial(restore, stage, home, running=running)
    yield "restore", partial(forgotten, stage, home)


def run(*, short: bool, only: str | None = None) -> Sequence[Result]:
    """Run the scenarios in a network of their own; each writes a line to standard error when it ends.

    Args:
        short: the short form instead of the full one.
        only: one kind of scenario.

    Raises:
        RuntimeError: the scenarios did not come to their end.
        subprocess.TimeoutExpired: they took too long; everything in the network was killed.
    """
    with tempfile.TemporaryDirectory(prefix="paystar-") as home:
        arguments = [home, "--short" if short else "--full", only or "all"]
        status = run_inside("tests.soak.hosts", arguments, MAX_SHORT_SECONDS if short else MAX_FULL_SECONDS)
        if status:
            raise RuntimeError(f"the process inside the network ended with status {status}; see above")
        lines = (Path(home) / "results").read_text("utf-8").splitlines()
        return [Result(**json.loads(line)) for line in lines]


def inside(home: Path, *, short: bool, only: str | None) -> None:
    """Set the stage and run the scenarios; the figures go to a file."""
    with ExitStack() as stack:
        network = Network(("bank", "db1", "db2", *WORKERS), home / "hosts", localhost="bank")
        bank = stack.enter_context(running_bank(network))
        postgres = ReplicatedPostgres(network, ("db1", "db2"), home / "postgres")
        stack.callback(postgres.stop)
        stage = Stage(network, bank, postgres)
        with (home / "results").open("w", encoding="utf-8") as file:
            for kind, scenario in (short_form if short else full_form)(stage, home):
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
