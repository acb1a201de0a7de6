"""What a call costs, ours and the peers', in one interleaved run."""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict, evolve

from benchmarks import kept
from benchmarks.certificate import trusted
from benchmarks.figures import FIGURES, OWN, PANELS, SHOWN_TOO, Seen
from benchmarks.figures_alone import ALONE, held
from benchmarks.measure import Rounds, as_json, measured
from benchmarks.report import Line, figures, raw
from benchmarks.server import Place, many_files, running
from benchmarks.subjects import SUBJECTS

NAMES = [one.name for one in FIGURES] + list(OWN) + list(ALONE)
DISTRIBUTIONS = ("httpx", "httpcore", "aiohttp", "pyreqwest", "orjson", "stripe", "openai", "githubkit", "aiobotocore")

EPILOG = f"""\
Figures, for --only: {", ".join(NAMES)}.

CPU is this process's (getrusage: user and system, all threads). Each round runs every client once, in shuffled order,
so that a machine that is busy is busy for all; a figure is the median of the rounds' ratios, its quartiles beside it.
The server is a bare asyncio protocol in a process of its own (uvloop where installed) that answers bytes made before.
Peers that are not installed are left out and named: pip install -e '.[bench]'. A whole run takes about half an hour.
"""


def _wanted() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="NAME", action="append", choices=NAMES, help="this figure; may be repeated")
    parser.add_argument("--rounds", type=int, help="paired rounds of each load (9; 3 when quick)")
    parser.add_argument("--quick", action="store_true", help="half the calls a round, a tenth of the largest batch")
    parser.add_argument("--write", action="store_true", help="keep it: results.json, chart.svg and the README's table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    given = parser.parse_args()
    given.only = given.only or NAMES
    return given


def _told(text: str) -> None:
    print(
        f"\r\x1b[K{text}" if sys.stderr.isatty() else text,
        end="" if sys.stderr.isatty() else "\n",
        file=sys.stderr,
        flush=True,
    )


def _needed(only: Sequence[str]) -> dict[str, set[str]]:
    """Panels by name, each with the clients that the wanted figures need of it."""
    needed: dict[str, set[str]] = {}
    for figure in FIGURES:
        if figure.name in only:
            for panel in figure.panels:
                needed.setdefault(panel, set()).update(figure.over, figure.under)
    for name, (_, panels, _) in OWN.items():
        if name in only:
            for panel in panels:
                needed.setdefault(panel, set()).add("ours")
    if set(only) == set(NAMES):
        for panel in ("1", "16", "100"):
            needed[panel] |= SHOWN_TOO
    return {name: needed[name] for name in PANELS if name in needed}


async def _present(names: set[str], place: Place) -> dict[str, str]:
    """What cannot be measured here, and why."""
    missing: dict[str, str] = {}
    for name in sorted(names):
        try:
            async with SUBJECTS[name](place.url("plain"), 1) as call:
                await call()
        except Exception as problem:
            missing[name] = f"{type(problem).__name__}: {problem}"
    return missing


async def _panels(given: argparse.Namespace, place: Place) -> dict[str, Rounds]:
    needed = _needed(given.only)
    missing = await _present(set().union(*needed.values()) if needed else set(), place)
    for name, why in missing.items():
        print(f"left out: {name} ({why})", file=sys.stderr)
    seen: dict[str, Rounds] = {}
    for name, subjects in needed.items():
        panel = PANELS[name]
        if given.quick:
            panel = evolve(panel, calls=panel.calls // 2)
        there = {one: SUBJECTS[one] for one in SUBJECTS if one in subjects and one not in missing}
        seen[name] = await measured(panel, there, place.url(panel.port), given.rounds, _told)
    return seen


def _lines(given: argparse.Namespace, seen: Seen, place: Place) -> list[Line]:
    lines = [Line(one.name, one.what, one.cells(seen)) for one in FIGURES if one.name in given.only]
    lines += [Line(name, what, cells(seen)) for name, (what, _, cells) in OWN.items() if name in given.only]
    for name, (what, cells) in ALONE.items():
        if name in given.only:
            lines.append(Line(name, what, cells(place, given.rounds, _told, quick=given.quick)))
    return lines


def _machine() -> dict[str, object]:
    versions: dict[str, str] = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": versions,
    }


def main() -> None:
    """Measure, print, and write down what was asked for."""
    given = _wanted()
    given.rounds = given.rounds or (3 if given.quick else 9)
    many_files()
    machine = _machine()
    with tempfile.TemporaryDirectory() as folder, trusted(folder), running() as place:
        seen = asyncio.run(_panels(given, place))
        lines = _lines(given, seen, place)
        memory = held(list(seen.get("16", {})), place, _told)
    _told("")
    print(raw(seen, memory), figures(lines), sep="\n\n")
    found = {
        "machine": machine,
        "rounds": given.rounds,
        "held": memory,
        "lines": {line.name: asdict(line) for line in lines},
        "panels": {name: as_json(rounds) for name, rounds in seen.items()},
    }
    if given.json is not None:
        given.json.write_text(json.dumps(found, ensure_ascii=False) + "\n")
    if given.write:
        kept.write(found)


if __name__ == "__main__":
    main()
