"""Record losses: a backup is restored, or a server fails over to a standby that lagged behind."""

import random
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from tests.payouts.simulator.bank import Bank
from tests.payouts.simulator.invariants import InvariantChecker
from tests.payouts.simulator.store import Store
from tests.payouts.simulator.world import QUIET_SECONDS, World

MAX_LOST_COMMITS = 20
FAILOVER_SECONDS = 30.0, 120.0
"""assumed: a failover takes longer than the time between a recorded intent and its request."""


@frozen
class Loss:
    """A planned loss of records.

    Attributes:
        commits: the number of commits before the loss.
        is_restore: whether all processes stop, and a backup of any age is restored; else the store loses its last
            commits while processes run.
        is_new_origin: whether the store names another origin afterwards; else only its rows show that it is older.
    """

    commits: int
    is_restore: bool
    is_new_origin: bool


def draw_losses(rng: random.Random) -> list[Loss]:
    """Return the losses of a seed, in order."""
    return [
        Loss(
            commits=int(150 * rng.random() ** 2) + 1,
            is_restore=rng.random() < 0.5,
            is_new_origin=rng.random() < 0.7,
        )
        for _ in range(rng.choice((0, 0, 1, 1, 2)))
    ]


@define(eq=False)
class RecordLosses:
    """An injector of record losses.

    Attributes:
        world: the world of the seed.
        store: the store.
        bank: executes and lists all requests before the ledger is used again.
        checker: is reset to the store.
        upcoming: the losses that have not happened yet.
        stop: stops all processes.
        restart: called when the store is back, of any age. A backup may be older than a batch; a failover loses
            no batch, for no user would know that the batch has to be submitted again.
        is_under_way: whether the store is down.
    """

    world: World
    store: Store
    bank: Bank
    checker: InvariantChecker
    upcoming: list[Loss]
    stop: Callable[[], object]
    restart: Callable[[], object]
    is_under_way: bool = False
    _first_complete: int | None = None
    _count: int = field(default=0, init=False)

    def on_commit(self, track_ids: Sequence[str]) -> None:
        """Count a commit; ``track_ids`` are the transfers of all batches."""
        if not self.upcoming or self.store.snapshots is None:
            return
        if self._first_complete is None and self.checker.states.keys() == set(track_ids):
            self._first_complete = len(self.store.snapshots) - 1
        self._count += 1
        if self._count == self.upcoming[0].commits:
            self.world.call_later(self.world.rng.random() * 0.2, self.begin)

    def begin(self) -> bool:
        """Begin the next loss now, if there is one; return True if the store is down."""
        if self.is_under_way or not self.upcoming or self._first_complete is None or self.world.is_fault_free:
            return self.is_under_way
        loss = self.upcoming.pop(0)
        self.is_under_way = True
        self.world.note("the store is stopped" if loss.is_restore else "the store breaks down")
        self.store.shut_down()
        if loss.is_restore:
            self.stop()
            seconds = self.world.rng.choice((10.0, 600.0, 2 * QUIET_SECONDS))
        else:
            seconds = self.world.rng.uniform(*FAILOVER_SECONDS)
        self.world.call_later(seconds, lambda: self._end(loss))
        return True

    def _end(self, loss: Loss) -> None:
        assert self.store.snapshots is not None and self._first_complete is not None  # noqa: PT018
        last = len(self.store.snapshots) - 1
        if loss.is_restore:
            number = self.world.rng.randint(0, last)
        else:
            number = max(self._first_complete, last - self.world.rng.randint(1, MAX_LOST_COMMITS))
        self.world.note(f"the store is back without its last {last - number} commits")
        self.store.lose_commits(number, is_new_origin=loss.is_new_origin)
        self.bank.catch_up()
        self.checker.reset()
        if number < self._first_complete:
            self._first_complete = None
        self._count, self.is_under_way = 0, False
        self.restart()
