"""Invariants: what must hold at every commit, at every request and at the end."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

from attrs import define, field

from paystar_async.payouts.models import TRANSITIONS, TransferState
from tests.payouts.simulator.bank import Bank, PayRequest
from tests.payouts.simulator.store import Store
from tests.payouts.simulator.world import QUIET_SECONDS, SPACING_SECONDS, Host, World

Event = tuple[str, int, str | None, str]
"""track_id, version, state before and state after."""
RECORDING_SECONDS = 10.0
_PAUSED = """
SELECT 1 FROM paystar_payout_transfers t
JOIN paystar_payout_chunks c ON c.chunk_id = t.chunk_id
JOIN paystar_payout_holds h ON h.product = c.product AND h.account = c.account AND h.deposit IN ('', c.deposit)
WHERE t.track_id = :track_id AND h.paused = 1
"""


@define(eq=False)
class InvariantChecker:
    """A checker that compares every commit of the ledger with the bank.

    Attributes:
        world: records the violations.
        store: the ledger's store.
        states: the committed state and version of each transfer.
        events: the committed events, in order.
        intent_counts: the number of committed intents of each transfer, lost commits included.
        reset_times: when the store lost commits.
        decided: the transfers that the operator decided, with his verdicts.
    """

    world: World
    store: Store
    bank: Bank = field(init=False)
    states: dict[str, tuple[TransferState, int]] = field(factory=dict[str, tuple[TransferState, int]])
    events: list[Event] = field(factory=list[Event])
    intent_counts: defaultdict[str, int] = field(factory=lambda: defaultdict[str, int](int))
    reset_times: list[float] = field(factory=list[float])
    decided: set[tuple[str, str]] = field(factory=set[tuple[str, str]])

    def on_commit(self) -> None:
        """Check that every changed state has an event and is an allowed transition."""
        changed: dict[str, int] = {}
        for row in self.store.rows("SELECT track_id, state, version FROM paystar_payout_transfers ORDER BY track_id"):
            track_id, now = row["track_id"], (TransferState(row["state"]), row["version"])
            if self.states.get(track_id) != now:
                changed[track_id] = self.states[track_id][1] if track_id in self.states else -1
                self.states[track_id] = now
        for track_id, version in changed.items():
            self._check_events(track_id, version)

    def reset(self) -> None:
        """Read the states and events again after the store lost commits."""
        self.reset_times.append(self.world.now)
        self.events = self.store.events()
        rows = self.store.rows("SELECT track_id, state, version FROM paystar_payout_transfers ORDER BY track_id")
        self.states = {row["track_id"]: (TransferState(row["state"]), row["version"]) for row in rows}

    def _check_events(self, track_id: str, version: int) -> None:
        last: str | None = self._last_state(track_id)
        for row in self.store.rows(
            "SELECT version, before, after FROM paystar_payout_events"
            " WHERE track_id = :track_id AND version > :version ORDER BY version",
            track_id=track_id,
            version=version,
        ):
            before, after = row["before"], TransferState(row["after"])
            self.world.note(f"ledger {track_id}: {before} -> {after}")
            if before != last or (before is None) != (last is None):
                self.world.add_violation(f"an event of {track_id} begins at {before}, and its state was {last}")
            if before is not None and after not in TRANSITIONS[TransferState(before)]:
                self.world.add_violation(f"{track_id} went from {before} to {after}")
            self._check_transition(track_id, after)
            self.events.append((track_id, row["version"], before, after))
            last = after
        if last != self.states[track_id][0]:
            self.world.add_violation(f"{track_id} is {self.states[track_id][0]} without an event")

    def _last_state(self, track_id: str) -> str | None:
        return next((after for name, _, _, after in reversed(self.events) if name == track_id), None)

    def _check_transition(self, track_id: str, after: TransferState) -> None:
        if after is TransferState.SENDING:
            self.intent_counts[track_id] += 1
            if self.store.rows(_PAUSED, track_id=track_id):
                self.world.add_violation(f"{track_id} is sent from an account that is paused")
            sender = self.store.committer
            if sender is not None and sender.origin != self.store.origin:
                self.world.add_violation(f"{sender.name} sends {track_id} from a store that has failed over since")
        if after is TransferState.NOT_ACCEPTED:
            sent = [request for request in self.bank.requests if track_id in request.track_ids]
            # One look-up decides a refused call, once the bank's list had time to catch up.
            refused = bool(sent) and sent[-1] in self.bank.refused[track_id]
            since = sent[-1].at + (SPACING_SECONDS if refused else QUIET_SECONDS) if sent else 0.0
            enough = 1 if refused else 3
            caught_up = [at for at in self.reset_times if sent and sent[-1].at <= at]
            if caught_up:
                # The intent may be lost, and the bank has caught up: one look-up proves that nothing was paid.
                since, enough = caught_up[0], 1
            counted = [at for at in self.bank.not_found[track_id] if at >= since]
            if len(counted) < enough:
                self.world.add_violation(f"{track_id} was given up after {len(counted)} counted look-ups")

    def on_request(self, request: PayRequest) -> None:
        """Check that each transfer of a request has a valid durable intent when the request reaches the bank."""
        for track_id in request.track_ids:
            state = self.states.get(track_id, (None, 0))[0]
            if state is not TransferState.SENDING:
                self.world.add_violation(f"{track_id} was sent while it was {state}")
            sent = sum(track_id in other.track_ids for other in self.bank.requests)
            if sent > self.intent_counts[track_id]:
                self.world.add_violation(
                    f"{track_id} was sent {sent} times with {self.intent_counts[track_id]} intents"
                )

    def on_response(self, host: Host, response: Mapping[str, Any]) -> None:
        """Note that a process holds a plain response, which it stores even if its caller was cancelled."""
        data = response.get("data")
        items = cast("list[Mapping[str, Any]]", [data] if isinstance(data, dict) else data or [])
        states = {str(item["track_id"]): self.states.get(str(item["track_id"])) for item in items if "track_id" in item}
        at = self.world.now

        def check_recorded() -> None:
            if not host.is_alive or max(host.last_stalled_until, host.last_store_error_at, *self.reset_times) >= at:
                return
            for track_id, then in states.items():
                if then is not None and then[0] is TransferState.SENDING and self.states[track_id] == then:
                    self.world.add_violation(f"{track_id} got a response that was not recorded")

        self.world.call_later(RECORDING_SECONDS, check_recorded)

    def is_settled(self) -> bool:
        """Return True if every transfer is final or needs manual review."""
        return bool(self.states) and all(
            state in {TransferState.SUCCESS, TransferState.FAILED, TransferState.REVERSED, TransferState.NEEDS_REVIEW}
            for state, _ in self.states.values()
        )

    def check_end(self, track_ids: list[str]) -> None:
        """Compare the whole ledger with the bank."""
        self.store.roll_back()
        if self.store.events() != sorted(self.events, key=lambda event: event[:2]):
            self.world.add_violation("an event was changed or deleted")
        for track_id in track_ids:
            self._check_final_state(track_id)

    def _check_final_state(self, track_id: str) -> None:
        world, executions = self.world, self.bank.executed[track_id]
        state = self.states.get(track_id, (None, 0))[0]
        statuses = {execution.status(world.now) for execution in executions}
        listed = [execution for execution in executions if execution.listed_at == execution.at == execution.request.at]
        for first, second in pairwise(executions):
            self._check_double_payment(track_id, first.request, second.request)
        match state:
            case TransferState.SUCCESS:
                # A later reversal is found by reconcile.
                good = any(not execution.fails and execution.decided_at <= world.now for execution in executions)
            case TransferState.FAILED:
                unpaid = bool(self.bank.refused[track_id]) or (track_id, "failed") in self.decided
                good = (unpaid and not executions) or statuses == {"failed"}
            case TransferState.REVERSED:
                good = statuses == {"failed"}
            case TransferState.NEEDS_REVIEW:
                # Only if the bank did not list the transfer, contradicted itself, or reversed the transfer early.
                taken_back = any(execution.reversed_at <= world.now for execution in executions)
                # After a resend, one failed attempt, or a record that was lost since, proves nothing of the other.
                resent = (track_id, "resend") in self.decided
                good = track_id in self.bank.contradicted or taken_back or resent or not listed
            case _:
                good = False
        if not good:
            world.add_violation(f"{track_id} ended as {state}; the bank says {sorted(statuses) or 'nothing'}")

    def _check_double_payment(self, track_id: str, first: PayRequest, second: PayRequest) -> None:
        between = [at for at in self.bank.not_found[track_id] if first.at + QUIET_SECONDS <= at <= second.at]
        if not self.world.resend:
            self.world.add_violation(f"{track_id} was paid twice")
        elif len(between) < 3:
            self.world.add_violation(f"{track_id} was paid twice after {len(between)} counted look-ups")
