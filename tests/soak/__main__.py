"""``python -m tests.soak keys``: the proofs in full, with their figures."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import keys, rings


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
                f"{name}: 8 processes, 20 tasks, 3 expiries: {refreshes} renewals, {dict(ended)}",
                held=held,
                since=since,
            )
        for name, empty in stores.items():
            since = time.monotonic()
            told = keys.kills(empty, kills)
            held = told.healed == kills and told.detected == 2 * kills and not told.wiped and told.most_probes <= 1
            note(f"{name}: killed between rotation and store: {told}", held=held, since=since)
        for name, empty in stores.items():
            for style in keys.STYLES:
                since = time.monotonic()
                lost = keys.cancellations(empty(), style, cancels)
                note(f"{name}: {cancels} x {style}: {lost} keys lost", held=not lost, since=since)
    since = time.monotonic()
    for name, jump in asyncio.run(rings.clock_jumps()):
        note(f"{name}: {jump}", held=not jump.failed and jump.renewals <= 1 and jump.refused <= 1, since=since)
    cost = asyncio.run(rings.ring_cost())
    note(f"the auth ring on a hot call: {cost:.2f} microseconds of CPU", held=cost <= 3, since=since)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", choices=["keys"])
    parser.add_argument("--kills", type=int, default=50, help="kills for each store")
    parser.add_argument("--cancels", type=int, default=400, help="cancellations in each style")
    asked = parser.parse_args()
    return 0 if prove_keys(asked.kills, asked.cancels) else 1


if __name__ == "__main__":
    sys.exit(main())
