"""``python -m tests.soak keys``, ``payouts`` or ``hosts``: the proofs in full, with their figures."""

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
from tests.soak import hosts, keys, lives, payouts, rings
from tests.soak.network import why_unavailable


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def prove_keys(kills: int, cancels: int) -> bool:
    good = True

    def note(line: str, *, held: bool, since: float) -> None:
        nonlocal good
        good &= held
        say(f"{'ok  ' if held else 'FAIL'} {line} ({time.monotonic() - since:.0f} s)")

    with tempfile.TemporaryDirectory() as home, keys.shared_stores(Path(home)) as stores:
        for name, empty in stores.items():
            since = time.monotonic()
            refreshes, ended = keys.expiries(empty())
            held = refreshes == 3 and set(ended) == {"answered"}
            note(
                f"{name}: 8 processes, 20 tasks, 3 expiries: {refreshes} refreshes, {dict(ended)}",
                held=held,
                since=since,
            )
        for name, empty in stores.items():
            since = time.monotonic()
            report = keys.kills(empty, kills)
            held = (
                report.healed == kills and report.detected == 2 * kills and not report.wiped and report.most_probes <= 1
            )
            note(f"{name}: killed between rotation and store: {report}", held=held, since=since)
        for name, empty in stores.items():
            since = time.monotonic()
            seconds = keys.takeover(empty())
            note(f"{name}: killed in a refresh: others wait {seconds:.1f} s", held=seconds <= 12, since=since)
        for name, empty in stores.items():
            for style in keys.STYLES:
                since = time.monotonic()
                lost = keys.cancellations(empty(), style, cancels)
                note(f"{name}: {cancels} x {style}: {lost} keys lost", held=not lost, since=since)
    since = time.monotonic()
    for name, jump in asyncio.run(rings.clock_jumps()):
        note(f"{name}: {jump}", held=not jump.failed and jump.renewals <= 1 and jump.refused <= 1, since=since)
    cost = asyncio.run(rings.ring_cost())
    note(f"the auth middleware on a hot call: {cost:.2f} microseconds of CPU", held=cost <= 3, since=since)
    return good


def prove_payouts(only: str | None, seeds: int, kills: int, cancels: int) -> bool:
    good = True

    def note(line: str, *, held: bool, since: float) -> None:
        nonlocal good
        good &= held
        say(f"{'ok  ' if held else 'FAIL'} {line} ({time.monotonic() - since:.0f} s)")

    def run_scenario(name: str, act: Callable[[], payouts.KillReport]) -> None:
        since = time.monotonic()
        result = act()
        note(f"{name}: {result}", held=result.good, since=since)

    def so_far(result: payouts.KillReport) -> None:
        say(f"     … {result.kills} kills")

    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def place(name: str) -> Path:
            (home / name).mkdir()
            return home / name

        if only in (None, "seeds"):
            since = time.monotonic()
            figures = lives.many(range(seeds), say)
            note(f"simulator: {figures}", held=not figures.broken, since=since)
        if only in (None, "cancel"):
            for style in payouts.STYLES:
                run_scenario(
                    f"{cancels} x {style}",
                    partial(payouts.cancellations, place(style.replace(" ", "-")), style, cancels),
                )
        if only in (None, "stop"):
            run_scenario("stopped at the fence", lambda: payouts.stops(place("stop"), 20))
        if only in (None, "disk"):
            run_scenario("a file that cannot grow", lambda: payouts.full_disks(place("limit"), 40))
            if payouts.may_mount():
                run_scenario("a full disk", lambda: payouts.full_disks(place("disk"), 40, mounted=True))
        if only in (None, "sqlite"):
            run_scenario("killed on SQLite", lambda: payouts.kills_on_sqlite(place("sqlite"), kills, note=so_far))
        if only in (None, "postgres", "restart"):
            server = stack.enter_context(running_postgres())
            if only != "restart":
                run_scenario(
                    "killed on PostgreSQL",
                    lambda: payouts.kills_on_postgres(server, place("postgres"), kills, note=so_far),
                )
                run_scenario(
                    "killed on PostgreSQL while chunks wait for their turns",
                    lambda: payouts.kills_on_postgres(
                        server, place("turns"), max(kills // 8, 12), note=so_far, rate=4.0
                    ),
                )
            if only != "postgres":
                run_scenario("PostgreSQL restarted", lambda: payouts.restarts(server, place("restart"), 20))
    return good


def prove_hosts(only: str | None, *, short: bool) -> bool:
    """Run the scenarios of several hosts, and say how each ended."""
    if (reason := why_unavailable()) is not None:
        say(f"left out: {reason}")
        return True
    results = hosts.run(short=short, only=only)
    return all(result.good for result in results)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    for_keys = what.add_parser("keys")
    for_keys.add_argument("--kills", type=int, default=50, help="kills for each store")
    for_keys.add_argument("--cancels", type=int, default=400, help="cancellations in each style")
    for_payouts = what.add_parser("payouts")
    for_payouts.add_argument("--only", choices=["seeds", "sqlite", "postgres", "stop", "restart", "disk", "cancel"])
    for_payouts.add_argument("--seeds", type=int, default=10_000, help="seeds of the simulator")
    for_payouts.add_argument("--kills", type=int, default=1_000, help="kills for each ledger")
    for_payouts.add_argument("--cancels", type=int, default=400, help="cancellations in each style")
    for_hosts = what.add_parser("hosts")
    for_hosts.add_argument("--only", choices=hosts.KINDS)
    for_hosts.add_argument("--short", action="store_true", help="one scenario of each kind, as among the tests")
    asked = parser.parse_args()
    if asked.what == "keys":
        return 0 if prove_keys(asked.kills, asked.cancels) else 1
    if asked.what == "hosts":
        return 0 if prove_hosts(asked.only, short=asked.short) else 1
    return 0 if prove_payouts(asked.only, asked.seeds, asked.kills, asked.cancels) else 1


if __name__ == "__main__":
    sys.exit(main())
