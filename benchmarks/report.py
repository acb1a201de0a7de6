"""Report the measured figures: a table in the terminal, and ``benchmarks/README.md`` with a chart."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.figures import FIGURES, Cell, Samples
from benchmarks.measure import Run

LIBRARIES = ("httpx", "httpx2", "aiohttp", "pyreqwest", "httptools", "stripe", "openai", "aiobotocore", "githubkit")
NOT_CHARTED = ("null engine", "null engine, recorded", "stdlib json")
COLORS = {"missed": "red", "floor": "yellow", "target": "green"}
INTRODUCTION = """\
# Benchmarks

Written by `python -m benchmarks`; do not edit. Install the peers into an environment of their own:
`pip install -e '.[bench]'`.

A figure is the median of paired rounds, its quartiles in parentheses. In each round every client repeats one small JSON
call, in shuffled order, so that a slow round is slow for all clients: this SDK with all its
middleware, each peer on the fastest of its transports, with 1, 16 and 100 calls in flight. Each client has its own
process, and so has the server, a bare asyncio protocol. CPU is that of the client's process, user and system, all
threads.

`python -m benchmarks --only NAME` measures one figure, and prints it. With 16 and more calls in flight the cost
of httpx's pool differs up to twofold between processes, so its rows need more rounds: `--only httpx --rounds 11`.
"""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _measured(cell: Cell) -> str:
    if cell.spread is None:
        return "not measured"
    return f"{_number(cell.spread.median)} ({_number(cell.spread.low)}–{_number(cell.spread.high)})"


def _bounds(cell: Cell) -> tuple[str, str]:
    goal = cell.goal
    return (f"{goal.comparison} {goal.floor:g}", f"{goal.comparison} {goal.target:g}") if goal else ("", "")


def print_results(console: Console, results: Mapping[str, Sequence[Cell]], samples: Samples) -> None:
    """Print the table of figures, and the CPU of each client's call."""
    table = Table("figure", "at", "measured", "floor", "target", "verdict")
    for name, cells in results.items():
        for index, cell in enumerate(cells):
            verdict = f"[{COLORS[cell.verdict]}]{cell.verdict}" if cell.verdict else ""
            table.add_row("" if index else name, cell.at, _measured(cell), *_bounds(cell), verdict)
    console.print(table)
    if samples:
        table = Table("CPU a call, µs", *(f"{load} in flight" for load in samples))
        for subject, used in _cpu_by_subject(samples).items():
            table.add_row(subject, *map(_number, used))
        console.print(table)


def _cpu_by_subject(samples: Samples) -> dict[str, list[float]]:
    """Return each subject's median CPU a call at each load, the cheapest subject first."""
    subjects = set.intersection(*(set(by_subject) for by_subject in samples.values()))
    used = {name: [median(by_subject[name]) for by_subject in samples.values()] for name in subjects}
    return dict(sorted(used.items(), key=lambda each: sum(each[1])))


def write(folder: Path, results: Mapping[str, Sequence[Cell]], samples: Samples, run: Run) -> None:
    """Write README.md and chart.svg."""
    rows = ["| figure | at | measured | floor | target | verdict | `--only` |", "|---|---|---|---|---|---|---|"]
    for name, cells in results.items():
        columns = [(cell.at, _measured(cell), *_bounds(cell), cell.verdict or "") for cell in cells]
        joined = " | ".join("<br>".join(column) for column in zip(*columns, strict=True))
        rows.append(f"| {FIGURES[name].formula} | {joined} | `{name}` |")
    used = ["| CPU a call, µs | " + " | ".join(f"{load} in flight" for load in samples) + " |"]
    used.append("|---" * (len(samples) + 1) + "|")
    used += [f"| {name} | {' | '.join(map(_number, values))} |" for name, values in _cpu_by_subject(samples).items()]
    chart = "![CPU of a call by client and calls in flight](chart.svg)"
    missing = "\n".join(f"- not measured: {name} ({reason})" for name, reason in run.missing.items())
    parts = [INTRODUCTION, "\n".join(rows), missing, chart, "\n".join(used), _describe_machine(run.rounds)]
    (folder / "README.md").write_text("\n\n".join(part.strip() for part in parts if part) + "\n", encoding="utf-8")
    _draw(folder / "chart.svg", samples)


def _describe_machine(rounds: int) -> str:
    versions: list[str] = []
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{library} not installed")
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return (
        f"Measured {time.strftime('%Y-%m-%d', time.gmtime())}, {rounds} rounds: Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load averages {load} at the end; "
        f"{', '.join(versions)}."
    )


def _draw(path: Path, samples: Samples) -> None:
    import pygal

    used = {name: values for name, values in _cpu_by_subject(samples).items() if name not in NOT_CHARTED}
    names = list(used)[::-1]  # bars are drawn from below
    chart = pygal.HorizontalBar(
        title="CPU of one small JSON call, µs (logarithmic)",
        js=[],
        logarithmic=True,
        zero=10,
        range=(10, 10 ** len(str(int(max(map(max, used.values())))))),
        print_values=True,
        print_values_position="center",
        y_labels=(10, 100, 1_000, 10_000),
        value_formatter=lambda value: f"{value:,.0f}",
        height=60 + 60 * len(names),
        style=pygal.style.CleanStyle,
    )
    chart.x_labels = names
    for index, load in enumerate(samples):
        chart.add(f"{load} in flight", [used[name][index] for name in names])
    path.write_bytes(chart.render() + b"\n")
