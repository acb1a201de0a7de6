"""Decide the transitions of a chunk from the classifications of its transfers. Pure functions; the ledger records."""

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import evolve, field, frozen

from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.classify import Classification, Verdict
from paystar_async.payouts.ledger.updates import HoldReason, StoredTransfer, Transition
from paystar_async.payouts.models import BANK_FAILED, ChunkPhase, Policy, Refusal, TransferRecord, TransferState

FIRST_CHECK_SECONDS = 1.0
CHECK_BACKOFF_FACTOR = 1.6
MAX_UNKNOWN_WAIT_SECONDS, MAX_PENDING_WAIT_SECONDS, MAX_BACKOFF_SECONDS = 30.0, 300.0, 60.0
REQUIRED_NOT_FOUNDS = 3
MAX_ATTEMPTS = 3
"""Attempts after which a transfer that is never found needs manual review, whatever the policy says."""
TWO_HASHIDS = "the bank lists it under two hashids"

TransitionCause = Literal[
    "response", "not_sent", "auth", "suspended", "funds", "rejected", "found", "late", "reconcile", "recovered"
]
STATES: Mapping[TransferStatus, TransferState] = {
    TransferStatus.SUCCESS: TransferState.SUCCESS,
    TransferStatus.FAILED: TransferState.FAILED,
    TransferStatus.PENDING: TransferState.PENDING,
}


@frozen(kw_only=True)
class Decision:
    """The transitions and the schedule to record for a chunk.

    Attributes:
        cause: the cause of the transitions.
        chunk_transition: the state and reason for all transfers that were being sent.
        refusal: why the call was refused, if the refusal does not prove that nothing was executed.
        steps: transitions of single transfers, in order; a transfer may be in several steps.
        counted: the new "not found" count by track_id, where it has changed.
        split: whether transfers that are planned again get a chunk each.
        regroup: whether transfers that are planned again, or lack funds, get one separate chunk.
        hold: the hold to set, of the account (``suspended_reason``) or the deposit account (``no_funds_reason``), and
            its reason.
        phase: the chunk's next phase.
        pause: seconds until that phase is due; None: not before ``resume``.
        checks: consecutive checks that changed nothing.
    """

    cause: TransitionCause
    chunk_transition: tuple[TransferState, str] | None = None
    refusal: Refusal | None = None
    steps: Sequence[Sequence[Transition]] = ()
    counted: Mapping[str, int] = field(factory=lambda: dict[str, int]())
    split: bool = False
    regroup: bool = False
    hold: tuple[HoldReason, str] | None = None
    phase: ChunkPhase
    pause: float | None
    checks: int = 0


def decide_after_send(
    transfers: Sequence[StoredTransfer], classifications: Mapping[str, Classification], policy: Policy, checks: int
) -> Decision:
    """Decide the transfers of one send call.

    Args:
        transfers: the transfers of the call, as they were when the lease was acquired.
        classifications: the classification of each transfer by track_id.
        policy: the policy of the batch.
        checks: how many times the send was postponed before.
    """
    results = [classifications[transfer.record.track_id] for transfer in transfers]
    verdicts = {result.verdict for result in results}
    reason = results[0].reason
    planned = TransferState.PLANNED, reason
    if not results[0].proven:
        return _decide_refused_call(results[0], policy)
    if verdicts == {Verdict.NOT_SENT}:
        return Decision(
            cause="not_sent", chunk_transition=planned, phase="send", pause=backoff(0.5, checks), checks=checks + 1
        )
    if verdicts == {Verdict.AUTH}:
        return Decision(
            cause="auth", chunk_transition=planned, phase="send", pause=backoff(5.0, checks), checks=checks + 1
        )
    if verdicts == {Verdict.SUSPENDED}:
        return Decision(
            cause="suspended", chunk_transition=planned, hold=("suspended_reason", reason), phase="send", pause=None
        )
    if verdicts == {Verdict.FUNDS}:
        paused = TransferState.PAUSED_FUNDS, reason
        return Decision(
            cause="funds", chunk_transition=paused, hold=("no_funds_reason", reason), phase="funds", pause=None
        )
    if verdicts == {Verdict.REJECTED} and len(transfers) > 1:
        # Nothing was executed, and one transfer is invalid: send each alone, so that only the invalid one fails.
        return Decision(cause="rejected", chunk_transition=planned, split=True, phase="none", pause=None)
    transitions = [
        _transition_after_send(transfer, classifications[transfer.record.track_id]) for transfer in transfers
    ]
    is_waiting = any(transition.after in (TransferState.UNKNOWN, TransferState.PENDING) for transition in transitions)
    cause: TransitionCause = "rejected" if verdicts == {Verdict.REJECTED} else "response"
    phase: ChunkPhase = "check" if is_waiting else "none"
    pause = FIRST_CHECK_SECONDS if is_waiting else None
    first = transitions[0]
    common = first.after, first.reason, first.refusal, None, None
    if all(
        (transition.after, transition.reason, transition.refusal, transition.ref_code, transition.hashid) == common
        for transition in transitions
    ):
        # One statement instead of a statement for each transfer.
        chunk_transition = first.after, first.reason
        return Decision(cause=cause, chunk_transition=chunk_transition, refusal=first.refusal, phase=phase, pause=pause)
    return Decision(cause=cause, steps=[transitions], phase=phase, pause=pause)


def _decide_refused_call(result: Classification, policy: Policy) -> Decision:
    """Decide a refused call of several transfers: look each transfer up before any is sent again."""
    cause, hold = _REFUSALS[result.verdict]
    return Decision(
        cause=cause,
        chunk_transition=(TransferState.UNKNOWN, result.reason),
        refusal=cause,
        hold=(hold, result.reason) if hold is not None else None,
        phase="check",
        pause=policy.not_found_interval,
    )


_CallRefusal = Literal["auth", "suspended", "funds", "rejected"]
_REFUSALS: Mapping[Verdict, tuple[_CallRefusal, HoldReason | None]] = {
    Verdict.AUTH: ("auth", None),
    Verdict.SUSPENDED: ("suspended", "suspended_reason"),
    Verdict.FUNDS: ("funds", "no_funds_reason"),
    Verdict.REJECTED: ("rejected", None),
}


def _transition_after_send(transfer: StoredTransfer, result: Classification) -> Transition:
    """Return the transition of one transfer from the response to its send call."""
    record = transfer.record
    if result.verdict is Verdict.CONTRADICTION:
        return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=result.reason)
    if result.verdict is Verdict.REJECTED:
        # An earlier attempt may be the cause: "this track_id was used before" does not prove that nothing was paid.
        if transfer.ambiguous_attempts:
            return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=result.reason)
        if record.attempt > 1:
            return Transition(record=record, after=TransferState.UNKNOWN, reason=result.reason, refusal="failed")
        return Transition(record=record, after=TransferState.FAILED, reason=result.reason)
    if result.verdict is not Verdict.REPORTED or result.settlement is None:
        return Transition(record=record, after=TransferState.UNKNOWN, reason=result.reason)
    after = STATES[result.settlement.status]
    if after is TransferState.FAILED and transfer.ambiguous_attempts:
        # Perhaps only this attempt failed; a look-up covers all attempts.
        reason = f"sent again, and failed: {result.reason}"
        return Transition(record=record, after=TransferState.UNKNOWN, reason=reason, hashid=result.settlement.hashid)
    if after is TransferState.FAILED:
        # A bank that rejects duplicates fails a transfer that was paid before this ledger was restored, too.
        reason = result.reason or BANK_FAILED
        hashid = result.settlement.hashid
        return Transition(record=record, after=TransferState.UNKNOWN, reason=reason, hashid=hashid, refusal="failed")
    return bank_transition(record, after, result)


def is_different_payment(hashid: str | None, entry: Settlement | None) -> bool:
    """Return True if an entry has another hashid than the recorded payment of the same track_id."""
    return hashid is not None and entry is not None and entry.hashid not in (None, hashid)


def failure_covers_all_attempts(transfer: StoredTransfer, entry: Settlement) -> bool:
    """Return True if a failed entry proves that no attempt of the transfer was paid."""
    return not transfer.ambiguous_attempts or (entry.hashid is not None and entry.hashid == transfer.record.hashid)


def bank_transition(record: TransferRecord, after: TransferState, result: Classification) -> Transition:
    """Return the transition to the state that the bank reports."""
    entry = result.settlement
    return Transition(
        record=record,
        after=after,
        reason=result.reason
        if after in (TransferState.FAILED, TransferState.REVERSED, TransferState.NEEDS_REVIEW)
        else "",
        ref_code=entry.ref_code if entry else None,
        hashid=entry.hashid if entry else None,
    )


_ONE_FAILED = "it was sent more than once, and the bank lists only one attempt, which failed"
ABSENT = Classification(verdict=Verdict.NOT_SENT, reason="the bank does not have it")
"""The classification of a transfer that the bank does not have when it is looked up."""


def decide_after_check(
    transfers: Sequence[StoredTransfer],
    classifications: Mapping[str, Classification],
    policy: Policy,
    at: float,
    checks: int,
) -> Decision:
    """Decide the transfers of one status check.

    Args:
        transfers: the checked transfers, as they were when the check began.
        classifications: the classification by track_id; ABSENT if the bank does not have the transfer; no entry if
            the look-up got no response.
        policy: the policy of the batch.
        at: when the check began, in the ledger's time.
        checks: how many earlier checks changed nothing.
    """
    transitions: list[Transition] = []
    counted: dict[str, int] = {}
    not_found: list[TransferRecord] = []
    not_executed: list[StoredTransfer] = []
    waits: list[float] = []
    for transfer in transfers:
        record = transfer.record
        result = classifications.get(record.track_id)
        count = _count_not_found(transfer, result, policy, at)
        has_counted = count != record.not_found_count
        transition = None if result is None else _transition_after_check(transfer, result, count, policy, at)
        if transition is not None:
            transitions.append(transition)
            if transition.after is TransferState.PENDING:
                waits.append(_seconds_until_check(transfer, policy, at, 0, counted=has_counted))
        elif result is not None and _shows_no_execution(transfer, result, policy, at):
            not_executed.append(transfer)
        elif count >= REQUIRED_NOT_FOUNDS:
            not_found.append(record)
        else:
            if has_counted:
                counted[record.track_id] = count
            waits.append(_seconds_until_check(transfer, policy, at, checks + 1, counted=has_counted))
    resent = [record for record in not_found if policy.resend and record.attempt < MAX_ATTEMPTS]
    absent = not_found + [transfer.record for transfer in not_executed]
    not_accepted = [
        Transition(record=record, after=TransferState.NOT_ACCEPTED, reason=ABSENT.reason) for record in absent
    ]
    next_states = [_resolve_not_found(record, resend=record in resent) for record in not_found]
    next_states += [_replan(transfer) for transfer in not_executed]
    has_changed = bool(transitions or absent)
    return Decision(
        cause="found",
        steps=[step for step in (transitions + not_accepted, next_states) if step],
        counted=counted,
        split=bool(resent) or any(transfer.refusal == "rejected" for transfer in not_executed),
        regroup=any(transfer.refusal != "rejected" for transfer in not_executed),
        phase="check" if waits else "none",
        pause=min(waits) if waits else None,
        checks=0 if has_changed else checks + 1,
    )


def _shows_no_execution(transfer: StoredTransfer, result: Classification, policy: Policy, at: float) -> bool:
    """Return True if a look-up shows that a refused call did not execute a transfer."""
    if transfer.refusal is None or at < _refusal_settles_at(transfer, policy):
        return False
    return result is ABSENT or _is_other_attempt(transfer, result)


def _refusal_settles_at(transfer: StoredTransfer, policy: Policy) -> float:
    """Return when a look-up may decide a refusal, in the ledger's time; the bank's list may lag behind its refusal."""
    since = transfer.record.unknown_since or 0.0
    return since if transfer.refusal == "failed" else since + policy.not_found_interval


def _replan(transfer: StoredTransfer) -> Transition:
    """Return the transition of a transfer that a refused call did not execute: it may be sent again."""
    record = transfer.record
    not_accepted = evolve(record, state=TransferState.NOT_ACCEPTED, version=record.version + 1)
    after = TransferState.PAUSED_FUNDS if transfer.refusal == "funds" else TransferState.PLANNED
    return Transition(record=not_accepted, after=after, reason=record.reason, is_proven=True)


def _transition_after_check(
    transfer: StoredTransfer, result: Classification, count: int, policy: Policy, at: float
) -> Transition | None:
    """Return the transition of a transfer from its status at the bank, or None if that decides nothing yet.

    Args:
        transfer: the transfer.
        result: its classification; ABSENT if the bank does not have it.
        count: the new "not found" count.
        policy: the policy of the batch.
        at: when the check began, in the ledger's time.
    """
    record = transfer.record
    if result.verdict is Verdict.CONTRADICTION:
        return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=result.reason)
    if _is_other_attempt(transfer, result) and _is_conclusive(record, count, policy, at):
        return _resolve_stale_failure(record, result, policy)
    if transfer.refusal == "failed" and _shows_no_execution(transfer, result, policy, at):
        return Transition(record=record, after=TransferState.FAILED, reason=record.reason)
    if result.verdict is not Verdict.REPORTED or result.settlement is None or _is_other_attempt(transfer, result):
        return None
    after = STATES[result.settlement.status]
    if after is record.state:
        return None
    if record.state is TransferState.PENDING and is_different_payment(record.hashid, result.settlement):
        transition = Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=TWO_HASHIDS)
        return transition if after is not TransferState.FAILED else None
    transition = bank_transition(record, after, result)
    is_unexplained = after is TransferState.FAILED and not transition.reason
    return evolve(transition, reason=record.reason) if is_unexplained else transition


def _resolve_not_found(record: TransferRecord, *, resend: bool) -> Transition:
    """Return the transition of a transfer that was not found often enough: send it again or review it manually."""
    not_accepted = evolve(record, state=TransferState.NOT_ACCEPTED, version=record.version + 1)
    if resend:
        return Transition(record=not_accepted, after=TransferState.PLANNED, reason="not found at the bank; sent again")
    return Transition(
        record=not_accepted, after=TransferState.NEEDS_REVIEW, reason="it was sent, but the bank does not have it"
    )


def _is_conclusive(record: TransferRecord, count: int, policy: Policy, at: float) -> bool:
    """Return True if the bank would have listed the other attempts by now."""
    if record.state is TransferState.PENDING:
        return record.hashid is None and at >= record.changed_at + policy.quiet_window
    return count >= REQUIRED_NOT_FOUNDS


def _resolve_stale_failure(record: TransferRecord, result: Classification, policy: Policy) -> Transition:
    """Decide a resent transfer of which the bank lists only one failed attempt after the quiet window."""
    if policy.resend:  # the policy takes unlisted attempts as not executed
        return bank_transition(record, TransferState.FAILED, result)
    return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=_ONE_FAILED)


def _count_not_found(transfer: StoredTransfer, result: Classification | None, policy: Policy, at: float) -> int:
    """Return the new "not found" count: only checks after the quiet window and far enough apart count."""
    record = transfer.record
    if result is None:
        return record.not_found_count
    if result is not ABSENT and not _is_other_attempt(transfer, result):
        return 0
    if record.state is not TransferState.UNKNOWN or record.unknown_since is None:
        return record.not_found_count
    is_late = at >= record.unknown_since + policy.quiet_window
    is_spaced = transfer.last_not_found_at is None or at >= transfer.last_not_found_at + policy.not_found_interval
    return record.not_found_count + 1 if is_late and is_spaced else record.not_found_count


def _is_other_attempt(transfer: StoredTransfer, result: Classification) -> bool:
    """Return True if the entry is a failed attempt that says nothing about the other attempts."""
    entry = result.settlement if result.verdict is Verdict.REPORTED else None
    return (
        entry is not None
        and STATES[entry.status] is TransferState.FAILED
        and not failure_covers_all_attempts(transfer, entry)
    )


def _seconds_until_check(transfer: StoredTransfer, policy: Policy, at: float, checks: int, *, counted: bool) -> float:
    """Return the seconds until the next check of a transfer."""
    record = transfer.record
    if transfer.refusal is not None:
        return max(
            FIRST_CHECK_SECONDS * CHECK_BACKOFF_FACTOR ** min(checks, 8), _refusal_settles_at(transfer, policy) - at
        )
    if record.state is not TransferState.UNKNOWN or record.unknown_since is None:
        return min(MAX_PENDING_WAIT_SECONDS, FIRST_CHECK_SECONDS * CHECK_BACKOFF_FACTOR ** min(checks, 40))
    quiet_ends = record.unknown_since + policy.quiet_window
    if at < quiet_ends:
        # Check soon and often, then right when "not found" begins to count.
        return min(
            MAX_UNKNOWN_WAIT_SECONDS, FIRST_CHECK_SECONDS * CHECK_BACKOFF_FACTOR ** min(checks, 40), quiet_ends - at
        )
    last = at if counted else transfer.last_not_found_at
    return (
        policy.not_found_interval if last is None else max(FIRST_CHECK_SECONDS, last + policy.not_found_interval - at)
    )


def backoff(first: float, retries: int) -> float:
    """Return the seconds to wait before the next retry, after ``retries`` failed ones."""
    return min(MAX_BACKOFF_SECONDS, first * 2.0 ** min(retries, 20))
