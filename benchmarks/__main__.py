"""Measure the cost of a call with this SDK and its peers, in one interleaved run.

A whole run prints the figures and writes benchmarks/README.md; with --only or --quick it only prints. Peers that are
not installed are skipped and named: pip install -e '.[bench]'. The exit status is 1 if anything could not be measured.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.progress import Progress

from benchmarks.figures import CHART_SUBJECTS, FIGURES, CallFigure, Cell, measure_all_calls
from benchmarks.measure import Run
from benchmarks.report import print_results, write
from benchmarks.server import raise_open_files_limit, running_server

app = App("python -m benchmarks", help=__doc__)


@app.default
def main(
    *,
    only: Annotated[tuple[Literal[*FIGURES], ...], Parameter(negative="")] = (),
    rounds: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 9,
    quick: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Measure, print and write.

    Parameters
    ----------
    only
        A figure to measure; may be repeated. All by default.
    rounds
        Paired rounds of each figure.
    quick
        Make fewer calls a round and smaller batches.
    """
    console = Console(stderr=True)
    figures = {name: figure for name, figure in FIGURES.items() if not only or name in only}
    results: dict[str, list[Cell]] = {}
    raise_open_files_limit()
    with running_server() as server, Progress(console=console, auto_refresh=False) as progress:
        run = Run(server, rounds, quick, progress)
        ratios = [figure for figure in figures.values() if isinstance(figure, CallFigure)]
        samples = measure_all_calls(run, ratios, () if only else CHART_SUBJECTS)
        for name, figure in figures.items():
            results[name] = figure.cells(samples) if isinstance(figure, CallFigure) else figure.cells(run)
    for name, reason in run.missing.items():
        console.print(f"not measured: {name} ({reason})", style="yellow")
    print_results(Console(width=None if sys.stdout.isatty() else 120), results, samples)
    if not only and not quick:
        write(Path(__file__).parent, results, samples, run)
    sys.exit(1 if run.missing else 0)


if __name__ == "__main__":
    app()
