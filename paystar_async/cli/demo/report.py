"""What the demo came to, by the sandbox's own books."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import frozen
from rich.table import Table
from rich.text import Text

from paystar_async.cli.console import grid
from paystar_async.outcomes import Failed, Outcome, Succeeded

KILLS = 2


@frozen(kw_only=True)
class Report:
    """The sandbox's books beside what the client was told.

    Attributes:
        asked: the track_ids of the batch.
        ends: what became of every transfer, the batch's and the others', as far as the client was told.
        ledger: the sandbox's executed transfers by track_id: ``count`` and ``status`` of each.
        stats: the sandbox's ``requests`` by endpoint and ``refreshes`` by key.
        workflows: what each workflow was to end with, and whether it did.
        kills: how often the worker that pays the batch was killed.
        retries: calls the client repeated by itself.
        resent: transfers that were sent again, the bank surely not having them.
        seconds: how long all of it took.
    """

    asked: Collection[str]
    ends: Mapping[str, Outcome]
    ledger: Mapping[str, Mapping[str, Any]]
    stats: Mapping[str, Mapping[str, int]]
    workflows: Mapping[str, bool]
    kills: int
    retries: int
    resent: int
    seconds: float

    @property
    def executed(self) -> int:
        """How many of the batch were carried out exactly once."""
        return sum(track_id in self.ledger and self.ledger[track_id]["count"] == 1 for track_id in self.asked)

    @property
    def twice(self) -> int:
        """How many transfers, of the batch or not, were carried out more than once."""
        return sum(line["count"] > 1 for line in self.ledger.values())

    @property
    def unasked(self) -> int:
        """How many were carried out that nobody asked for."""
        return len(self.ledger.keys() - self.ends.keys() - set(self.asked))

    @property
    def unknown(self) -> int:
        """How many have no end the client knows, or not the one in the sandbox's books."""
        return sum(not self._is_known(track_id) for track_id in {*self.asked, *self.ends})

    def _is_known(self, track_id: str) -> bool:
        status = self.ledger[track_id]["status"] if track_id in self.ledger else "failed"
        match self.ends.get(track_id):
            case Succeeded():
                return bool(status == "success")
            case Failed():
                return bool(status == "failed")
            case _:
                return False

    def lines(self) -> Iterator[tuple[str, int, bool | None]]:
        """What was counted, how much it is, and whether it is as it must be; None where anything may be."""
        yield "transfers asked", len(self.asked), None
        yield "executed exactly once", self.executed, self.executed == len(self.asked)
        yield "executed twice", self.twice, self.twice == 0
        yield "executed and never asked", self.unasked, self.unasked == 0
        yield "fate unknown at the end", self.unknown, self.unknown == 0
        for key, times in self.stats["refreshes"].items():
            yield f"refreshes of the {key} key", times, times == 1
        yield "kills (-9) of the worker", self.kills, self.kills == KILLS
        yield "requests", sum(self.stats["requests"].values()), None
        yield "retries by the client", self.retries, None
        yield "sent again, surely absent", self.resent, None

    @property
    def fine(self) -> bool:
        """Whether everything is as it must be."""
        return all(self.workflows.values()) and all(fine is not False for _, _, fine in self.lines())

    def table(self) -> Table:
        """All of it."""
        table = grid("By the sandbox's own books", "", "")
        table.columns[1].justify = "right"
        for name, done in self.workflows.items():
            table.add_row(name, "yes" if done else "no", _mark(done))
        for name, number, fine in self.lines():
            table.add_row(name, f"{number:,}", _mark(fine))
        table.add_row("seconds", f"{self.seconds:.1f}", "")
        return table


def _mark(fine: bool | None) -> Text:  # noqa: FBT001 - three states, not a switch
    return {True: Text("ok", "green"), False: Text("WRONG", "bold red"), None: Text("")}[fine]
