"""``python -m tests.soak keys``, ``payouts`` or ``hosts``: the full soak tests, with their figures."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.servers import running_postgres
from tests.soak import auth_middleware, hosts, keys, payouts, simulator_seeds
from tests.soak.network import why_unavailable


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_keys(kills: int, cancels: int) -> bool:
    all_passed = True

    def report_check(line: str, *, passed: bool, since: float) -> None:
        nonlocal all_passed
        all_passed &= passed
        print_line(f"{'ok  ' if passed else 'FAIL'} {line} ({time.monotonic() - since:.0f} s)")

    with tempfile.TemporaryDirectory() as home, keys.shared_stores(Path(home)) as stores:
        for name, empty in stores.items():
            since = time.monotonic()
            refreshes, outcomes = keys.expiries(empty())
            passed = refreshes == 3 and set(outcomes) == {"answered"}
            report_check(
                f"{name}: 8 processes, 20 tasks, 3 expiries: {refreshes} refreshes, {dict(outcomes)}",
                passed=passed,
                since=since,
            )
        for name, empty in stores.items():
            since = time.monotonic()
            report = keys.kills(empty, kills)
            passed = (
                report.healed == kills and report.detected == 2 * kills and not report.wiped and report.max_probes <= 1
            )
            report_check(f"{name}: killed between rotation and store: {report}", passed=passed, since=since)
        for name, empty in stores.items():
            since = time.monotonic()
            seconds = keys.takeover_seconds(empty())
            report_check(f"{name}: killed in a refresh: others wait {seconds:.1f} s", passed=seconds <= 12, since=since)
        for name, empty in stores.items():
            for style in keys.STYLES:
                since = time.monotonic()
                lost = keys.cancellations(empty(), style, cancels)
                report_check(f"{name}: {cancels} x {style}: {lost} keys lost", passed=not lost, since=since)
    since = time.monotonic()
    for name, jump in asyncio.run(auth_middleware.clock_jumps()):
        report_check(
            f"{name}: {jump}", passed=not jump.failed and jump.refreshes <= 1 and jump.refused <= 1, since=since
        )
    cost = asyncio.run(auth_middleware.hot_call_cost())
    report_check(f"the auth middleware on a hot call: {cost:.2f} microseconds of CPU", passed=cost <= 3, since=since)
    return all_passed


def run_payouts(only: str | None, seeds: int, kills: int, cancels: int) -> bool:
    all_passed = True

    def report_check(line: str, *, passed: bool, since: float) -> None:
        nonlocal all_passed
        all_passed &= passed
        print_line(f"{'ok  ' if passed else 'FAIL'} {line} ({time.monotonic() - since:.0f} s)")

    def run_scenario(name: str, scenario: Callable[[], payouts.KillReport]) -> None:
        since = time.monotonic()
        result = scenario()
        report_check(f"{name}: {result}", passed=result.good, since=since)

    def print_progress(result: payouts.KillReport) -> None:
        print_line(f"     … {result.kills} kills")

    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def new_folder(name: str) -> Path:
            (home / name).mkdir()
            return home / name

        if only in (None, "seeds"):
            since = time.monotonic()
            totals = simulator_seeds.run_seeds(range(seeds), print_line)
            report_check(f"simulator: {totals}", passed=not totals.broken, since=since)
        if only in (None, "cancel"):
            for style in payouts.STYLES:
                run_scenario(
                    f"{cancels} x {style}",
                    partial(payouts.cancellations, new_folder(style.replace(" ", "-")), style, cancels),
                )
        if only in (None, "stop"):
            run_scenario("stopped before the send", lambda: payouts.stops(new_folder("stop"), 20))
        if only in (None, "disk"):
            run_scenario("a file that cannot grow", lambda: payouts.full_disks(new_folder("limit"), 40))
            if payouts.can_mount():
                run_scenario("a full disk", lambda: payouts.full_disks(new_folder("disk"), 40, mounted=True))
        if only in (None, "sqlite"):
            run_scenario(
                "killed on SQLite", lambda: payouts.kills_on_sqlite(new_folder("sqlite"), kills, note=print_progress)
            )
        if only in (None, "postgres", "restart"):
            server = stack.enter_context(running_postgres())
            if only != "restart":
                run_scenario(
                    "killed on PostgreSQL",
                    lambda: payouts.kills_on_postgres(server, new_folder("postgres"), kills, note=print_progress),
                )
                run_scenario(
                    "killed on PostgreSQL while chunks wait for their turns",
                    lambda: payouts.kills_on_postgres(
                        server, new_folder("turns"), max(kills // 8, 12), note=print_progress, rate=4.0
                    ),
                )
            if only != "postgres":
                run_scenario("PostgreSQL restarted", lambda: payouts.restarts(server, new_folder("restart"), 20))
    return all_passed


def run_hosts(only: str | None, *, short: bool) -> bool:
    """Run the scenarios of several hosts and print the result of each."""
    if (reason := why_unavailable()) is not None:
        print_line(f"skipped: {reason}")
        return True
    results = hosts.run(short=short, only=only)
    return all(result.good for result in results)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    soaks = parser.add_subparsers(dest="soak", required=True)
    keys_parser = soaks.add_parser("keys")
    keys_parser.add_argument("--kills", type=int, default=50, help="kills for each store")
    keys_parser.add_argument("--cancels", type=int, default=400, help="cancellations in each style")
    payouts_parser = soaks.add_parser("payouts")
    payouts_parser.add_argument("--only", choices=["seeds", "sqlite", "postgres", "stop", "restart", "disk", "cancel"])
    payouts_parser.add_argument("--seeds", type=int, default=10_000, help="seeds of the simulator")
    payouts_parser.add_argument("--kills", type=int, default=1_000, help="kills for each ledger")
    payouts_parser.add_argument("--cancels", type=int, default=400, help="cancellations in each style")
    hosts_parser = soaks.add_parser("hosts")
    hosts_parser.add_argument("--only", choices=hosts.KINDS)
    hosts_parser.add_argument("--short", action="store_true", help="one scenario of each kind, as in the test suite")
    options = parser.parse_args()
    if options.soak == "keys":
        return 0 if run_keys(options.kills, options.cancels) else 1
    if options.soak == "hosts":
        return 0 if run_hosts(options.only, short=options.short) else 1
    return 0 if run_payouts(options.only, options.seeds, options.kills, options.cancels) else 1


if __name__ == "__main__":
    sys.exit(main())
