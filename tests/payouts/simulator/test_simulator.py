"""Test the simulator: no seed violates an invariant, each seed replays exactly, and planted bugs are found."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.payouts.simulator.plants import PLANTED_BUGS, PlantedBug
from tests.payouts.simulator.run import SeedResult, first_violation, run_seed

SEEDS = range(100)
BUG_SEEDS = range(200)
FAULTS = {
    "dies at the first byte",
    "stands still",
    "jumps",
    "went away",
    "bank refuses: ",
    "executes some of the refused",
    "refuses the repeat",
    "lists another transfer",
    "the store is stopped",
    "the store breaks down",
    "is back without its last",
    "dies at a replaced ledger",
    "repeats a call",
    "raises after a call",
    "will wait",
    "operator resumes",
    "operator pauses",
    "operator decides",
}


@pytest.fixture(scope="module")
def results() -> list[SeedResult]:
    return [run_seed(seed) for seed in SEEDS]


def test_simulator_pays_once_and_agrees_with_bank(results: list[SeedResult]) -> None:
    assert {result.seed: result.violations for result in results if result.violations} == {}


def test_simulator_injects_every_fault(results: list[SeedResult]) -> None:
    """A simulator with few faults proves little."""
    states = Counter(state for result in results for state in result.states)
    faults = Counter(fault for result in results for _, event in result.trace for fault in FAULTS if fault in event)
    transitions = Counter(
        event.partition(": ")[2] for result in results for _, event in result.trace if event.startswith("ledger")
    )
    assert states.keys() >= {"success", "failed", "needs_review"}
    assert faults.keys() == FAULTS
    assert sum(result.crashes for result in results) > 3 * len(results)
    assert transitions.keys() >= {
        "sending -> unknown",
        "sending -> planned",
        "sending -> paused_funds",
        "unknown -> success",
        "unknown -> not_accepted",
        "not_accepted -> planned",
        "not_accepted -> needs_review",
        "not_accepted -> paused_funds",
        "needs_review -> planned",
        "planned -> success",
        "pending -> success",
    }


@pytest.mark.parametrize("seed", [3, 7])
def test_simulator_same_seed_replays_exactly(results: list[SeedResult], seed: int) -> None:
    replay = run_seed(seed)
    assert replay.trace == results[seed].trace
    assert replay == results[seed]


def test_simulator_other_process_replays_exactly(results: list[SeedResult]) -> None:
    """No event depends on the order of a set, or on an address in memory."""
    script = "from tests.payouts.simulator.run import run_seed\nfor seed in (3, 7): print(repr(run_seed(seed).trace))"
    for hash_seed in ("0", "1"):
        process = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert process.stdout.splitlines() == [repr(results[seed].trace) for seed in (3, 7)]


def test_simulator_seeds_differ(results: list[SeedResult]) -> None:
    assert len({result.trace for result in results}) == len(results)


@pytest.mark.parametrize("planted_bug", PLANTED_BUGS, ids=lambda planted_bug: planted_bug.__name__)
def test_simulator_finds_planted_bug(planted_bug: PlantedBug) -> None:
    with planted_bug():
        broken = first_violation(BUG_SEEDS)
    assert broken is not None
