"""The benchmarks count what they say they count; how long anything takes is nobody's business here."""

import asyncio
import re
from pathlib import Path

import pytest

from benchmarks.figures import FIGURES, OWN, PANELS, Goal, fairness, growth
from benchmarks.figures_alone import ALONE
from benchmarks.measure import Round, paired, round_of, spread
from benchmarks.server import answer_to

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def rounds(*cpus: float, p99: float = 1.0) -> list[Round]:
    return [Round(cpu=one, wall=one, p50=1.0, p99=p99) for one in cpus]


async def test_a_round_makes_so_many_calls_and_never_more_at_once() -> None:
    made = under_way = most = 0

    async def call() -> None:
        nonlocal made, under_way, most
        made, under_way = made + 1, under_way + 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await round_of(call, calls=50, in_flight=7)
    await round_of(call, calls=3, in_flight=7)

    assert (made, most) == (53, 7)


def test_ratios_are_taken_round_by_round() -> None:
    # The machine was four times as busy in the second round, for both.
    assert paired([10, 40, 12], [20, 80, 24]).middle == 0.5
    assert spread([3, 1, 2]).middle == 2


def test_a_figure_takes_the_fastest_of_several_peers() -> None:
    openai = next(one for one in FIGURES if one.name == "openai")
    seen = {"16": {"openai (httpx)": rounds(900, 900), "openai (aiohttp)": rounds(300, 300), "ours": rounds(100, 100)}}

    cells = openai.cells(seen)

    assert [cell.value.middle if cell.value else None for cell in cells] == [None, 3.0, None]


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
def test_a_verdict(goal: Goal, value: float, verdict: str) -> None:
    assert goal.verdict(value) == verdict


def test_growth_and_fairness_are_about_ours() -> None:
    seen = {
        "20ms 16": {"ours": rounds(100), "httpx": rounds(1)},
        "20ms 1000": {"ours": rounds(120), "httpx": rounds(1)},
        "16": {"ours": rounds(1, p99=2.0)},
    }

    assert [cell.value.middle for cell in growth(seen) if cell.value] == [1.2]
    assert [cell.value.middle for cell in fairness(seen) if cell.value] == [2.0]


def test_every_load_of_a_figure_is_a_panel_and_has_a_goal() -> None:
    for figure in FIGURES:
        assert set(figure.panels) <= set(PANELS)
        assert len(figure.panels) == len(figure.goals)


def test_the_readme_shows_every_line() -> None:
    table = re.findall(r"<!-- measured: begin -->\n(.*?)<!-- measured: end -->", README, re.DOTALL)[0]
    lines = [one.what for one in FIGURES] + [what for what, *_ in OWN.values()] + [what for what, _ in ALONE.values()]

    assert [line for line in lines if f"| {line} |" not in table] == []


def test_the_server_names_the_transfers_it_was_asked_for() -> None:
    body = b'{"transfers":[{"track_id":"a"},{"track_id": "b"}]}'
    answer = answer_to(b"POST /bank-transfer/v2/settlement HTTP/1.1\r\n\r\n" + body)

    head, _, said = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(said)}".encode() in head
    assert re.findall(rb'"track_id":"(\w)"', said) == [b"a", b"b"]
