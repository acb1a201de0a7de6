"""The figures that are shown: each a ratio, with the floor it must not miss and the target it is meant to reach."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from attrs import frozen

from benchmarks.measure import Panel, Rounds, Spread, paired, spread

PANELS = {
    one.name: one
    for one in (
        Panel("null 1", "plain", 1, 2000),
        Panel("null 16", "plain", 16, 2000),
        Panel("null 100", "plain", 100, 2000),
        Panel("1", "plain", 1, 300),
        Panel("16", "plain", 16, 480),
        Panel("100", "plain", 100, 600),
        Panel("20ms 16", "20ms", 16, 320),
        Panel("20ms 100", "20ms", 100, 800),
        Panel("20ms 1000", "20ms", 1000, 2000),
        Panel("tls 16", "tls", 16, 480),
    )
}
"""By name; a name's number is how many calls are in flight."""

LOAD, LATENCY = ("1", "16", "100"), ("20ms 16", "20ms 100", "20ms 1000")
CURRENT = ("githubkit",), ("openai (httpx)", "openai (aiohttp)"), ("aiobotocore",)


@frozen
class Goal:
    """What a figure must and should be.

    Attributes:
        sense: whether it may be so much at the most, or must be so much at the least.
        floor: what it must not miss.
        target: what it is meant to reach.
    """

    sense: Literal["≤", "≥"]
    floor: float
    target: float

    def verdict(self, value: float) -> str:
        """One word."""
        if value <= self.target if self.sense == "≤" else value >= self.target:
            return "target"
        return "floor" if (value <= self.floor if self.sense == "≤" else value >= self.floor) else "missed"


@frozen
class Cell:
    """One figure in one place of the table.

    Attributes:
        at: which load, or what of it.
        goal: what it must be; None where it is only shown.
        value: what it is; None where a library is missing.
        unit: what it is counted in; nothing for a ratio.
    """

    at: str
    goal: Goal | None
    value: Spread | None
    unit: str = ""


Seen = Mapping[str, Rounds]
"""Panels by name, each with the rounds of its subjects."""


@frozen
class Figure:
    """A line of the table that is made of panels.

    Attributes:
        name: for ``--only``.
        what: what stands over what.
        panels: the loads it is shown at.
        over: the subject above the line; of several, the one that used the least CPU.
        under: the one below it.
        goals: one a panel.
    """

    name: str
    what: str
    panels: Sequence[str]
    over: Sequence[str]
    under: Sequence[str]
    goals: Sequence[Goal]

    def cells(self, seen: Seen) -> list[Cell]:
        """The line, of what was measured."""
        return [
            self._cell(panel, goal, seen.get(panel, {})) for panel, goal in zip(self.panels, self.goals, strict=True)
        ]

    def _cell(self, panel: str, goal: Goal, rounds: Rounds) -> Cell:
        over, under = fastest(rounds, self.over), fastest(rounds, self.under)
        value = paired(over, under) if over and under else None
        return Cell(panel, goal, value)


def fastest(rounds: Rounds, names: Sequence[str]) -> list[float]:
    """CPU per call, round by round, of whichever of these uses the least."""
    there = [[one.cpu for one in rounds[name]] for name in names if name in rounds]
    return min(there, key=lambda cpus: spread(cpus).middle, default=[])


def _most(floors: Sequence[float], targets: Sequence[float]) -> list[Goal]:
    return [Goal("≤", floor, target) for floor, target in zip(floors, targets, strict=True)]


def _least(floors: Sequence[float], targets: Sequence[float]) -> list[Goal]:
    return [Goal("≥", floor, target) for floor, target in zip(floors, targets, strict=True)]


FIGURES = [
    Figure(
        "null",
        "ours, all rings, null engine ÷ stdlib json of the same bodies",
        ("null 1", "null 16", "null 100"),
        ("ours (nothing carried)",),
        ("json",),
        _most([3] * 3, [2] * 3),
    ),
    Figure(
        "default",
        "ours on the default engine ÷ raw httpx",
        LOAD,
        ("ours",),
        ("httpx",),
        _most([0.45, 0.25, 0.25], [0.33, 0.18, 0.18]),
    ),
    Figure(
        "latency",
        "the same, a server that takes 20 ms",
        LATENCY,
        ("ours",),
        ("httpx",),
        _most([0.32, 0.15, 0.15], [0.25, 0.10, 0.10]),
    ),
    Figure("tls", "the same over TLS", ("tls 16",), ("ours",), ("httpx",), _most([0.22], [0.15])),
    Figure(
        "stock",
        "ours on a stock httpx client handed in ÷ raw httpx",
        LOAD,
        ("ours (stock client)",),
        ("httpx",),
        _most([1.15] * 3, [1.0] * 3),
    ),
    Figure(
        "stripe-httpx",
        "calls per CPU second, default engine, ÷ stripe on httpx",
        LOAD,
        ("stripe (httpx)",),
        ("ours",),
        _least([3, 5, 5], [4, 7, 8]),
    ),
    Figure(
        "stripe-aiohttp",
        "÷ stripe on aiohttp (the fastest peer)",
        LOAD,
        ("stripe (aiohttp)",),
        ("ours",),
        _least([1.2] * 3, [1.5] * 3),
    ),
    *(
        Figure(peers[0].partition(" ")[0], f"÷ {peers[0].partition(' ')[0]}", LOAD, peers, ("ours",), goals)
        for peers in CURRENT
        for goals in [_least([2] * 3, [2.5] * 3)]
    ),
    Figure(
        "fast",
        "ours on the fast engine ÷ raw httpx",
        LOAD,
        ("ours (fast)",),
        ("httpx",),
        _most([0.28, 0.07, 0.06], [0.25, 0.06, 0.05]),
    ),
    Figure(
        "fast-raw",
        "ours on the fast engine ÷ raw pyreqwest",
        LOAD,
        ("ours (fast)",),
        ("pyreqwest",),
        _most([1.4] * 3, [1.2] * 3),
    ),
]

SHOWN_TOO = {"ours (aiohttp)", "aiohttp"}
"""Measured beside them and shown in the table of raw numbers."""


def growth(seen: Seen) -> list[Cell]:
    """CPU per call at 1000 in flight, by that at 16."""
    low, high = (fastest(seen.get(f"20ms {count}", {}), ["ours"]) for count in (16, 1000))
    return [Cell("20ms", Goal("≤", 1.3, 1.1), paired(high, low) if low and high else None)]


def fairness(seen: Seen) -> list[Cell]:
    """How much longer the slowest hundredth waits."""
    cells: list[Cell] = []
    for panel in ("16", "100"):
        rounds = seen.get(panel, {}).get("ours", [])
        value = spread([one.p99 / one.p50 for one in rounds]) if rounds else None
        cells.append(Cell(panel, Goal("≤", 3, 2), value))
    return cells


OWN: dict[str, tuple[str, tuple[str, ...], Callable[[Seen], list[Cell]]]] = {
    "growth": ("CPU per call at 1000 ÷ at 16, default engine", ("20ms 16", "20ms 1000"), growth),
    "fairness": ("p99 ÷ p50 at 16 and at 100, default engine", ("16", "100"), fairness),
}
"""Lines about ours alone: what they say, and the panels they are made of."""
