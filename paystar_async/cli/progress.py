"""A progress bar with the rate and the time left, shown only at a terminal."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """A column with the number of items a second, over the last seconds."""

    def render(self, task: Task) -> Text:
        """Return the rate; empty until it is known."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else format_rate(rate), "dim")


def format_rate(rate: float) -> str:
    """Return a rate: in items a second, or a minute where they are few.

    Args:
        rate: items a second.
    """
    if rate >= 10:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def progress_bar(console: Console, *, transient: bool = True) -> Progress:
    """Return a progress bar that shows count, rate, time and time left.

    Args:
        console: a console for messages; without a terminal nothing is shown.
        transient: whether the bar disappears at its end.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=transient,
    )
