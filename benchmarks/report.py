"""What was measured, for people: a table in the terminal, and the same in Markdown."""

from collections.abc import Mapping, Sequence
from statistics import median

from attrs import frozen

from benchmarks.figures import Cell, Seen


@frozen
class Line:
    """A line of the table.

    Attributes:
        name: for ``--only``.
        what: what it says.
        cells: one a load.
    """

    name: str
    what: str
    cells: Sequence[Cell]


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _shown(cell: Cell) -> tuple[str, str, str, str, str]:
    goal, at = cell.goal, cell.at.removeprefix("null ")
    floor, target = (f"{goal.sense} {goal.floor:g}", f"{goal.sense} {goal.target:g}") if goal else ("", "")
    if cell.value is None:
        return at, "not measured", floor, target, ""
    between = f" ({number(cell.value.low)}–{number(cell.value.high)})" if cell.value.rounds > 1 else ""
    said = f"{number(cell.value.middle)}{' ' if cell.unit else ''}{cell.unit}{between}"
    return at, said, floor, target, goal.verdict(cell.value.middle) if goal else ""


def figures(lines: Sequence[Line]) -> str:
    """The figures, with floor, target and verdict beside each."""
    rows = [("", "at", "median (quartiles)", "floor", "target", "met")]
    for line in lines:
        rows += [(line.what if place == 0 else "", *_shown(cell)) for place, cell in enumerate(line.cells)]
    return aligned(rows)


def raw(seen: Seen, held: Mapping[str, float]) -> str:
    """What a call takes, by load and client."""
    rows = [("at", "client", "CPU µs", "wall µs", "p50 ms", "p99 ms", "RSS MB")]
    for panel, rounds in seen.items():
        subjects = sorted(rounds, key=lambda name: median(one.cpu for one in rounds[name]))
        for place, name in enumerate(subjects):
            cpu, wall, p50, p99 = (
                median(getattr(one, what) for one in rounds[name]) for what in ("cpu", "wall", "p50", "p99")
            )
            memory = f"{held[name]:.0f}" if name in held and panel == "16" else ""
            rows.append(
                (
                    panel if place == 0 else "",
                    name,
                    f"{cpu:.0f}",
                    f"{wall:.0f}",
                    f"{p50 / 1000:.2f}",
                    f"{p99 / 1000:.2f}",
                    memory,
                )
            )
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns under one another."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(one.ljust(width) for one, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(lines: Sequence[Line]) -> str:
    """The figures as the README shows them: one row a line, its loads side by side."""
    rows = ["| | at | measured | floor | target |", "|---|---|---|---|---|"]
    for line in lines:
        shown = [_shown(cell) for cell in line.cells if cell.goal]
        columns = zip(
            *[(at, said.partition(" (")[0], floor, target) for at, said, floor, target, _ in shown], strict=True
        )
        rows.append(
            f"| {line.what} | "
            + " | ".join(" / ".join(dict.fromkeys(one) if len(set(one)) == 1 else one) for one in columns)
            + " |"
        )
    return "\n".join(rows)
