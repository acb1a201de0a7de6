"""Run many seeds of the payout simulator, on all cores."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable

from attrs import define, field

from tests.payouts.simulator.run import SeedResult, run_seed


@define
class SeedTotals:
    """The totals of many simulator runs.

    Attributes:
        seeds: number of runs.
        transfers: number of transfers to pay.
        executions: number of payments of the bank.
        crashes: number of processes that died.
        losses: number of times the store lost records: by a restored backup, or a failover.
        states: number of transfers by final state.
        broken: the first broken promise by seed.
    """

    seeds: int = 0
    transfers: int = 0
    executions: int = 0
    crashes: int = 0
    losses: int = 0
    states: Counter[str] = field(factory=Counter[str])
    broken: dict[int, str] = field(factory=dict[int, str])

    def add(self, run: SeedResult) -> None:
        self.seeds += 1
        self.transfers += len(run.states)
        self.executions += run.executions
        self.crashes += run.crashes
        self.losses += run.losses
        self.states.update(run.states)
        if run.violations:
            self.broken[run.seed] = run.violations[0]


def _run_seed(seed: int) -> SeedResult:
    """Run a seed; return the run without its trace, which is long."""
    run = run_seed(seed)
    return SeedResult(run.seed, run.violations, (), run.states, run.executions, run.crashes, run.losses)


def run_seeds(seeds: Iterable[int], log: Callable[[str], object] = lambda _: None) -> SeedTotals:
    """Run the simulator with each seed; pass broken seeds and the progress to ``log``."""
    totals = SeedTotals()
    with multiprocessing.get_context("forkserver").Pool(maxtasksperchild=20) as pool:
        for run in pool.imap_unordered(_run_seed, seeds, chunksize=10):
            totals.add(run)
            if run.violations:
                log(f"     seed {run.seed}: {'; '.join(run.violations)}")
            if totals.seeds % 1_000 == 0:
                log(f"     … {totals.seeds} seeds, {len(totals.broken)} broken")
    return totals
