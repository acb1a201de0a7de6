"""The progress bar: its rate, and where it is shown."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from paystar_async.cli.progress import RateColumn, format_rate, progress_bar
from paystar_async.sandbox import Sandbox
from tests.payouts.files import row, table, write_csv


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1234.5, "1,234/s"), (10, "10/s"), (9.96, "10.0/s"), (1, "1.0/s"), (0.25, "15.0/min"), (0, "0.0/min")],
)
def test_format_rate_uses_seconds_or_minutes(rate: float, text: str) -> None:
    assert format_rate(rate) == text


def test_rate_column_shows_items_per_second() -> None:
    now = 0.0
    bar = Progress(RateColumn(), get_time=lambda: now, disable=True)
    task = bar.add_task("paying", total=100)
    assert RateColumn().render(bar.tasks[0]).plain == ""
    for _ in range(3):
        now += 2
        bar.advance(task, 25)
    assert RateColumn().render(bar.tasks[0]).plain == "12/s"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_bar_is_shown_only_at_terminal(is_terminal: bool) -> None:
    out = io.StringIO()
    with progress_bar(Console(file=out, force_terminal=is_terminal, width=120), transient=False) as bar:
        bar.add_task("paying", total=3)
    assert ("0/3" in out.getvalue()) == is_terminal
    assert ("left:" in out.getvalue()) == is_terminal


def test_run_shows_bar_on_stderr_and_json_on_stdout(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.settings.settle_seconds = 0.0
    file = write_csv(tmp_path / "salaries.csv", table([row(number) for number in range(3)]))
    command = [sys.executable, "-m", "paystar_async", "payout", "run", str(file), "--yes", "--json"]
    terminal, side = pty.openpty()
    with subprocess.Popen(
        [*command, "--ledger", str(tmp_path / "payouts.db")],
        stdout=subprocess.PIPE,
        stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(side)
        shown = b""
        while chunk := read(terminal):
            shown += chunk
        out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 0
    assert json.loads(out)["done"] is True
    assert b"/3" in shown
    assert b"left:" in shown


def read(terminal: int) -> bytes:
    """Return what a process wrote to its terminal; empty at its end, which Linux reports as an error."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""
