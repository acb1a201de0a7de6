"""Many seeds of the simulator, on all cores."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable

from attrs import define, field

from tests.payouts.simulator.run import Story, story


@define
class Figures:
    """What became of many seeds.

    Attributes:
        seeds: how many.
        transfers: how many transfers were to be paid in them.
        executions: how often the bank paid.
        crashes: how often a process died.
        losses: how often the store lost records: by a restored backup, or a failover.
        states: how the transfers ended.
        broken: the seeds that broke a promise, with the first one.
    """

    seeds: int = 0
    transfers: int = 0
    executions: int = 0
    crashes: int = 0
    losses: int = 0
    states: Counter[str] = field(factory=Counter[str])
    broken: dict[int, str] = field(factory=dict[int, str])

    def add(self, one: Story) -> None:
        self.seeds += 1
        self.transfers += len(one.states)
        self.executions += one.executions
        self.crashes += one.crashes
        self.losses += one.losses
        self.states.update(one.states)
        if one.wrong:
            self.broken[one.seed] = one.wrong[0]


def _short(seed: int) -> Story:
    one = story(seed)
    return Story(one.seed, one.wrong, (), one.states, one.executions, one.crashes, one.losses)


def many(seeds: Iterable[int], say: Callable[[str], object] = lambda _: None) -> Figures:
    """Live through all of them."""
    figures = Figures()
    with multiprocessing.get_context("forkserver").Pool(maxtasksperchild=20) as pool:
        for one in pool.imap_unordered(_short, seeds, chunksize=10):
            figures.add(one)
            if one.wrong:
                say(f"     seed {one.seed}: {'; '.join(one.wrong)}")
            if figures.seeds % 1_000 == 0:
                say(f"     … {figures.seeds} seeds, {len(figures.broken)} broken")
    return figures
