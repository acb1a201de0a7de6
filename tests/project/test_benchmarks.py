"""The arithmetic and reports of the benchmarks; no timing is asserted."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from benchmarks.figures import FIGURES, CallFigure, Cell, Goal, ProcessFigure
from benchmarks.measure import LOADS, Run, Spread, measure_calls, ratios, run_round, spread
from benchmarks.payouts import Paid
from benchmarks.report import INTRODUCTION, write
from benchmarks.server import Server, ServerProtocol
from benchmarks.subjects import SUBJECTS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run() -> Run:
    return Run(Server({}), rounds=1, quick=True, progress=Progress(disable=True))


async def test_run_round_makes_each_call_within_load() -> None:
    calls = active = max_active = 0

    async def call() -> None:
        nonlocal calls, active, max_active
        calls, active = calls + 1, active + 1
        max_active = max(max_active, active)
        await asyncio.sleep(0)
        active -= 1

    await run_round(call, calls=50, in_flight=7)
    await run_round(call, calls=3, in_flight=7)

    assert (calls, max_active) == (53, 7)


def test_measure_calls_names_subject_that_fails() -> None:
    run = Run(Server({0: 1}), rounds=2, quick=True, progress=Progress(disable=True))

    samples = measure_calls(run, ["stdlib json", "unknown"], 1)

    assert {name: len(values) for name, values in samples.items()} == {"stdlib json": 2}
    assert run.missing == {"unknown": "KeyError: 'unknown'"}


def test_ratios_busy_round_cancels_out() -> None:
    assert ratios([10, 40, 12], [20, 80, 24]) == [0.5, 0.5, 0.5]


def test_recorder_figure_is_difference_of_each_round() -> None:
    recorder = FIGURES["recorder"]
    assert isinstance(recorder, CallFigure)

    cells = recorder.cells({1: {"null engine, recorded": [30, 52, 29], "null engine": [18, 40, 19]}})

    assert (cells[0].at, cells[0].spread, cells[0].verdict) == ("1", Spread(12, 11, 12), "floor")


@pytest.mark.parametrize(
    ("values", "expected"), [([3.0, 1.0, 2.0, 5.0, 4.0], Spread(3, 2, 4)), ([7.0], Spread(7, 7, 7))]
)
def test_spread_is_median_and_quartiles(values: list[float], expected: Spread) -> None:
    assert spread(values) == expected


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal("≤", 0.45, 0.33), 0.33, "target"),
        (Goal("≤", 0.45, 0.33), 0.4, "floor"),
        (Goal("≤", 0.45, 0.33), 0.5, "missed"),
        (Goal("≥", 3, 4), 4, "target"),
        (Goal("≥", 3, 4), 3.5, "floor"),
        (Goal("≥", 3, 4), 2, "missed"),
    ],
)
def test_goal_verdict_compares_with_bounds(goal: Goal, value: float, verdict: str) -> None:
    assert goal.verdict(value) == verdict


def test_call_ratio_divides_subjects_at_each_load() -> None:
    stripe = FIGURES["stripe"]
    assert isinstance(stripe, CallFigure)

    cells = stripe.cells({16: {"stripe": [300, 900], "auto": [100, 300]}, 100: {"auto": [100]}})

    assert [(cell.at, cell.spread and cell.spread.median, cell.verdict) for cell in cells] == [
        ("1", None, None),
        ("16", 3.0, "floor"),
        ("100", None, None),
    ]


def test_process_figure_failure_is_named(run: Run) -> None:
    def measure(run: Run) -> Any:
        raise OSError("no such server")

    figure = ProcessFigure("broken", "a ÷ b", {"CPU": Goal("≤", 2, 1)}, measure)

    assert figure.cells(run) == [Cell("CPU", None, Goal("≤", 2, 1))]
    assert run.missing == {"broken": "OSError: no such server"}


def test_figures_name_known_subjects_and_all_loads() -> None:
    call_ratios = [figure for figure in FIGURES.values() if isinstance(figure, CallFigure)]

    assert call_ratios
    for figure in call_ratios:
        assert {figure.over, figure.under} <= set(SUBJECTS)
        assert len(figure.goals) == len(LOADS)


def test_paid_rate_error_is_percent_of_rate() -> None:
    on_time = Paid(1.0, [(number / 10, 1) for number in range(11)])
    twice_as_slow = Paid(1.0, [(number / 5, 20) for number in range(11)])

    assert on_time.rate_error_percent == pytest.approx(0)
    assert twice_as_slow.rate_error_percent == pytest.approx(50)
    assert twice_as_slow.transfers_per_second == pytest.approx(100)


async def test_server_protocol_settles_and_counts_transfers() -> None:
    calls: list[tuple[float, int]] = []
    body = b'{"transfers":[{"track_id":"a"},{"track_id": "b"}]}'

    response = ServerProtocol(0, calls).respond(b"POST /bank-transfer/v2/settlement HTTP/1.1\r\n\r\n" + body)

    head, _, content = response.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(content)}".encode() in head
    assert re.findall(rb'"track_id":"(\w)"', content) == [b"a", b"b"]
    assert [transfers for _, transfers in calls] == [2]


def test_report_writes_each_figure_and_its_command(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pygal")
    run.missing["stripe"] = "ModuleNotFoundError: stripe"
    results = {"null": [Cell("1", Spread(2.0, 1.5, 2.5), Goal("≤", 3, 2.5)), Cell("16", None, Goal("≤", 3, 2.5))]}

    write(tmp_path, results, {1: {"auto": [50.0], "null engine": [9.0]}}, run)

    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| 1<br>16 | 2 (1.5–2.5)<br>not measured | ≤ 3<br>≤ 3 | ≤ 2.5<br>≤ 2.5 | target<br> | `null` |" in page
    assert "not measured: stripe (ModuleNotFoundError: stripe)" in page
    assert "<svg" in (tmp_path / "chart.svg").read_text("utf-8")


def test_committed_report_has_every_figure() -> None:
    page = (BENCHMARKS / "README.md").read_text("utf-8")

    assert page.startswith(INTRODUCTION)
    assert [name for name, figure in FIGURES.items() if f"| {figure.formula} |" not in page] == []
    assert (BENCHMARKS / "chart.svg").exists()


def test_benchmarks_are_at_most_eight_modules() -> None:
    assert len(list(BENCHMARKS.glob("*.py"))) <= 8
