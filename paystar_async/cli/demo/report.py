"""The report of a demo run, checked against the sandbox ledger."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import frozen
from rich.table import Table
from rich.text import Text

from paystar_async.cli.console import make_table
from paystar_async.cli.json_output import JsonObject
from paystar_async.outcomes import Failed, Outcome, Succeeded

EXPECTED_KILLS = 2


@frozen(kw_only=True)
class Report:
    """The outcomes the client reported beside the sandbox ledger.

    Attributes:
        requested: the track_ids of the batch.
        outcomes: the outcome of every transfer, in the batch or not, as the client reported it.
        ledger: the transfers the sandbox executed by track_id: ``count`` and ``status`` of each.
        stats: the sandbox's ``requests`` by endpoint and ``refreshes`` by key.
        workflows: each workflow by description, and whether it succeeded.
        kills: how often the worker that pays the batch was killed.
        retries: calls the client retried.
        resent: transfers that were sent again because the bank did not find them.
        seconds: duration of the run.
    """

    requested: Collection[str]
    outcomes: Mapping[str, Outcome]
    ledger: Mapping[str, Mapping[str, Any]]
    stats: Mapping[str, Mapping[str, int]]
    workflows: Mapping[str, bool]
    kills: int
    retries: int
    resent: int
    seconds: float

    @property
    def executed_once(self) -> int:
        """The number of transfers of the batch that were executed exactly once."""
        return sum(track_id in self.ledger and self.ledger[track_id]["count"] == 1 for track_id in self.requested)

    @property
    def executed_twice(self) -> int:
        """The number of transfers, in the batch or not, that were executed more than once."""
        return sum(entry["count"] > 1 for entry in self.ledger.values())

    @property
    def not_requested(self) -> int:
        """The number of executed transfers that were never requested."""
        return len(self.ledger.keys() - self.outcomes.keys() - set(self.requested))

    @property
    def unresolved(self) -> int:
        """The number of transfers without a final outcome, or with one that the ledger contradicts."""
        return sum(not self._is_resolved(track_id) for track_id in {*self.requested, *self.outcomes})

    def _is_resolved(self, track_id: str) -> bool:
        status = self.ledger[track_id]["status"] if track_id in self.ledger else "failed"
        match self.outcomes.get(track_id):
            case Succeeded():
                return bool(status == "success")
            case Failed():
                return bool(status == "failed")
            case _:
                return False

    def checks(self) -> Iterator[tuple[str, int, bool | None]]:
        """Yield each count with its name and whether it is as expected; None if any value is allowed."""
        yield "transfers requested", len(self.requested), None
        yield "executed exactly once", self.executed_once, self.executed_once == len(self.requested)
        yield "executed twice", self.executed_twice, self.executed_twice == 0
        yield "executed but not requested", self.not_requested, self.not_requested == 0
        yield "unresolved", self.unresolved, self.unresolved == 0
        for key, count in self.stats["refreshes"].items():
            yield f"refreshes of the {key} key", count, count == 1
        yield "kills (-9) of the worker", self.kills, self.kills == EXPECTED_KILLS
        yield "requests", sum(self.stats["requests"].values()), None
        yield "retries by the client", self.retries, None
        yield "resent (not found at bank)", self.resent, None

    @property
    def is_passed(self) -> bool:
        """Whether every workflow succeeded and every count is as expected."""
        return all(self.workflows.values()) and all(is_expected is not False for _, _, is_expected in self.checks())

    def to_json(self) -> JsonObject:
        """Return the report as JSON types; ``ok`` of a check is null if any count is allowed."""
        return {
            "ok": self.is_passed,
            "seconds": round(self.seconds, 1),
            "workflows": [{"name": name, "ok": succeeded} for name, succeeded in self.workflows.items()],
            "checks": [{"name": name, "count": count, "ok": is_ok} for name, count, is_ok in self.checks()],
        }

    def table(self) -> Table:
        """Return the report as a table."""
        table = make_table("From the sandbox ledger", "", "")
        table.columns[1].justify = "right"
        for name, succeeded in self.workflows.items():
            table.add_row(name, "yes" if succeeded else "no", _mark(succeeded))
        for name, count, is_expected in self.checks():
            table.add_row(name, f"{count:,}", _mark(is_expected))
        table.add_row("seconds", f"{self.seconds:.1f}", "")
        return table


def _mark(is_expected: bool | None) -> Text:  # noqa: FBT001 - three states, not a flag
    if is_expected is None:
        return Text("")
    return Text("ok", "green") if is_expected else Text("WRONG", "bold red")
