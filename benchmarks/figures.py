"""The figures: their formula, the floor that must not be missed, and the target."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from attrs import frozen

from benchmarks.measure import LOADS, Run, Spread, differences, measure_calls, measure_imports, ratios, spread
from benchmarks.payouts import measure_batch, measure_payouts, measure_queue, measure_rate, measure_submit

Samples = Mapping[int, Mapping[str, Sequence[float]]]
"""µs of CPU a call, round by round: by calls in flight, by subject."""
Verdict = Literal["target", "floor", "missed"]


@frozen
class Goal:
    """The floor and target of a figure.

    Attributes:
        comparison: ≤ if the figure must not be above floor and target, ≥ if not below.
        floor: the bound that must not be missed.
        target: the bound to aim at.
    """

    comparison: Literal["≤", "≥"]
    floor: float
    target: float

    def verdict(self, value: float) -> Verdict:
        """Return "target" or "floor", the better of those that a value reaches, or "missed"."""
        for verdict, bound in (("target", self.target), ("floor", self.floor)):
            if value <= bound if self.comparison == "≤" else value >= bound:
                return verdict
        return "missed"


@frozen
class Cell:
    """A figure at one load, or one of its parts.

    Attributes:
        at: the load in calls in flight, or the name of the part with its unit.
        spread: the measured values; None if the measurement failed, or a subject is missing.
        goal: floor and target; None for a figure that is only shown.
    """

    at: str
    spread: Spread | None
    goal: Goal | None

    @property
    def verdict(self) -> Verdict | None:
        """Return how the median compares with the goal; None without either."""
        return self.goal.verdict(self.spread.median) if self.goal and self.spread else None


@frozen
class CallFigure:
    """CPU a call of one subject compared with that of another, at each load.

    Attributes:
        name: for ``--only``.
        formula: the formula, for readers.
        over: the subject of the numerator, or of the minuend.
        under: the subject of the denominator, or of the subtrahend.
        goals: the goal at each load.
        compare: returns the ratio or the difference of each round.
    """

    name: str
    formula: str
    over: str
    under: str
    goals: Sequence[Goal]
    compare: Callable[[Sequence[float], Sequence[float]], list[float]] = ratios

    def cells(self, samples: Samples) -> list[Cell]:
        """Return the ratio or the difference at each load, paired by round."""
        cells: list[Cell] = []
        for load, goal in zip(LOADS, self.goals, strict=True):
            over, under = (samples.get(load, {}).get(subject) for subject in (self.over, self.under))
            cells.append(Cell(f"{load}", spread(self.compare(over, under)) if over and under else None, goal))
        return cells


@frozen
class ProcessFigure:
    """A figure that is measured separately, in its own processes or databases.

    Attributes:
        name: for ``--only``.
        formula: the formula, for readers.
        goals: the goal by part.
        measure: returns the values of each part, round by round.
    """

    name: str
    formula: str
    goals: Mapping[str, Goal]
    measure: Callable[[Run], Mapping[str, Sequence[float]]]

    def cells(self, run: Run) -> list[Cell]:
        """Measure, and return each part; record the reason of a failure in ``run.missing``."""
        try:
            measured = self.measure(run)
        except Exception as error:  # the other figures are still measured
            run.missing[self.name] = f"{type(error).__name__}: {error}"
            return [Cell(part, None, goal) for part, goal in self.goals.items()]
        return [Cell(part, spread(values), self.goals.get(part)) for part, values in measured.items()]


def _at_most(floors: Sequence[float], targets: Sequence[float]) -> list[Goal]:
    return [Goal("≤", floor, target) for floor, target in zip(floors, targets, strict=True)]


_PEERS = [
    CallFigure(peer, f"calls per CPU second, `auto` ÷ {title}", peer, "auto", [Goal("≥", 2.5, 4)] * 3)
    for peer, title in (
        ("stripe", "stripe on aiohttp"),
        ("openai", "openai on aiohttp"),
        ("aiobotocore", "aiobotocore on aiohttp"),
        ("githubkit", "githubkit on httpx-aiohttp"),
    )
]
FIGURES: Mapping[str, CallFigure | ProcessFigure] = {
    figure.name: figure
    for figure in (
        CallFigure("auto-httpx", "`auto` ÷ httpx", "auto", "httpx", _at_most([0.20, 0.07, 0.05], [0.16, 0.05, 0.03])),
        CallFigure("auto-pyreqwest", "`auto` ÷ pyreqwest", "auto", "pyreqwest", _at_most([1.2] * 3, [0.9] * 3)),
        CallFigure(
            "auto-probe",
            "`auto` ÷ a bare asyncio protocol",
            "auto",
            "asyncio probe",
            _at_most([2.8, 2.6, 2.6], [2.0] * 3),
        ),
        *_PEERS,
        CallFigure("httpx", '`engine="httpx"` ÷ httpx', "engine httpx", "httpx", _at_most([1.1] * 3, [1.0] * 3)),
        CallFigure("httpx2", '`engine="httpx2"` ÷ httpx2', "engine httpx2", "httpx2", _at_most([1.1] * 3, [1.0] * 3)),
        CallFigure(
            "null",
            "an engine without a network ÷ stdlib json",
            "null engine",
            "stdlib json",
            _at_most([3] * 3, [2.5] * 3),
        ),
        CallFigure(
            "recorder",
            "µs of a `ShapeRecorder`: an engine without a network with it − without",
            "null engine, recorded",
            "null engine",
            _at_most([15] * 3, [10] * 3),
            differences,
        ),
        ProcessFigure(
            "import", "`import paystar_async` ÷ `import httpx`", {"CPU": Goal("≤", 0.3, 0.1)}, measure_imports
        ),
        ProcessFigure(
            "batch",
            "peak RSS of `transfers.batch` of 1,000,000 ÷ of 10,000; loop lag",
            {"RSS": Goal("≤", 1.3, 1.15), "lag p99, ms": Goal("≤", 10, 5)},
            measure_batch,
        ),
        ProcessFigure(
            "payouts",
            "payouts, CPU a transfer; at 1,000,000 on record ÷ at 1,000",
            {
                "SQLite, ms": Goal("≤", 0.15, 0.10),
                "SQLite, growth": Goal("≤", 1.1, 1.1),
                "PostgreSQL, ms": Goal("≤", 0.30, 0.20),
                "PostgreSQL, growth": Goal("≤", 1.1, 1.1),
            },
            measure_payouts,
        ),
        ProcessFigure(
            "submit",
            "the first batch of 20,000 of a new database, on record",
            {"PostgreSQL, s": Goal("≤", 3, 3)},
            measure_submit,
        ),
        ProcessFigure(
            "queue",
            "payouts through procrastinate, a bank that takes 20 ms: transfers a second; CPU a transfer",
            {"two workers ÷ one": Goal("≥", 1.7, 1.9), "CPU ÷ local": Goal("≤", 1.5, 1.2)},
            measure_queue,
        ),
        ProcessFigure(
            "rate",
            "calls a second, difference from `Policy.rate`",
            {"local, %": Goal("≤", 10, 3), "procrastinate, %": Goal("≤", 10, 3)},
            measure_rate,
        ),
    )
}
CHART_SUBJECTS = ("aiohttp", "engine aiohttp")
"""Subjects of no figure, measured in a whole run for the chart."""


def measure_all_calls(run: Run, figures: Iterable[CallFigure], more_subjects: Sequence[str] = ()) -> Samples:
    """Measure the subjects of the figures, and more subjects, in one interleaved run at each load."""
    names = dict.fromkeys(subject for figure in figures for subject in (figure.over, figure.under))
    names |= dict.fromkeys(more_subjects)
    return {load: measure_calls(run, list(names), load) for load in LOADS} if names else {}
