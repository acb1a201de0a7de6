"""What becomes of a chunk, given what is known of its transfers. Pure: the ledger only writes it down."""

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import evolve, field, frozen

from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.classify import Classification, Verdict
from paystar_async.payouts.ledger.updates import StoredTransfer, Transition
from paystar_async.payouts.models import ChunkPhase, Policy, Refusal, TransferRecord, TransferState

FIRST_CHECK_SECONDS = 1.0
CHECK_BACKOFF_FACTOR = 1.6
MAX_UNKNOWN_WAIT_SECONDS, MAX_PENDING_WAIT_SECONDS, MAX_BACKOFF_SECONDS = 30.0, 300.0, 60.0
REQUIRED_NOT_FOUNDS = 3
MAX_ATTEMPTS = 3
"""What was sent so often, and never found, is for a person to look at, whatever the policy says."""

TransitionCause = Literal[
    "answer", "not_sent", "auth", "halt", "funds", "rejected", "found", "late", "reconcile", "recovered"
]
STATES: Mapping[TransferStatus, TransferState] = {
    TransferStatus.SUCCESS: TransferState.SUCCESS,
    TransferStatus.FAILED: TransferState.FAILED,
    TransferStatus.PENDING: TransferState.PENDING,
}


@frozen(kw_only=True)
class Decision:
    """What to write down.

    Attributes:
        cause: why, in a word.
        whole: the state, and the reason, that all that was being sent comes to.
        refusal: what ``whole`` was refused for, where that does not prove that nothing was executed.
        steps: changes of single transfers, in order; a transfer may be in several.
        counted: track_id → how many times "not found" has counted now, where that has changed.
        apart: whether those that are planned again get a chunk each.
        regroup: whether those that are planned again, or lack money, get one chunk of their own.
        close: which gate closes: all of the account (``suspended_reason``) or the deposit account (``no_funds_reason``), and why.
        phase: what is to be done next for the chunk.
        pause: seconds until then; None: not before somebody resumes it.
        looks: how often nothing had changed.
    """

    cause: TransitionCause
    chunk_transition: tuple[TransferState, str] | None = None
    refusal: Refusal | None = None
    steps: Sequence[Sequence[Transition]] = ()
    counted: Mapping[str, int] = field(factory=lambda: dict[str, int]())
    split: bool = False
    regroup: bool = False
    close: tuple[Literal["suspended_reason", "no_funds_reason"], str] | None = None
    phase: ChunkPhase
    pause: float | None
    checks: int = 0


def decide_after_send(
    transfers: Sequence[StoredTransfer], known: Mapping[str, Classification], policy: Policy, looks: int
) -> Decision:
    """What becomes of transfers that were to be sent in one call.

    Args:
        transfers: those of the call, as they were claimed.
        known: what is known of each.
        policy: of their batch.
        looks: how often their sending was put off before.
    """
    words = [known[one.record.track_id] for one in transfers]
    verdicts = {word.verdict for word in words}
    reason = words[0].reason
    again = TransferState.PLANNED, reason
    if not words[0].proven:
        return _refused_several(words[0], policy)
    if verdicts == {Verdict.NOT_SENT}:
        return Decision(
            cause="not_sent", chunk_transition=again, phase="send", pause=backoff(0.5, looks), checks=looks + 1
        )
    if verdicts == {Verdict.AUTH}:
        return Decision(cause="auth", chunk_transition=again, phase="send", pause=backoff(5.0, looks), checks=looks + 1)
    if verdicts == {Verdict.SUSPENDED}:
        return Decision(
            cause="halt", chunk_transition=again, close=("suspended_reason", reason), phase="send", pause=None
        )
    if verdicts == {Verdict.FUNDS}:
        whole = TransferState.PAUSED_FUNDS, reason
        return Decision(
            cause="funds", chunk_transition=whole, close=("no_funds_reason", reason), phase="funds", pause=None
        )
    if verdicts == {Verdict.REJECTED} and len(transfers) > 1:
        # Nothing of it was done, and one is to blame: each goes alone now, and the bad one fails alone.
        return Decision(cause="rejected", chunk_transition=again, split=True, phase="none", pause=None)
    changes = [_answered(one, known[one.record.track_id]) for one in transfers]
    waiting = any(one.after in (TransferState.UNKNOWN, TransferState.PENDING) for one in changes)
    cause: TransitionCause = "rejected" if verdicts == {Verdict.REJECTED} else "answer"
    work: ChunkPhase = "ask" if waiting else "none"
    pause = FIRST_CHECK_SECONDS if waiting else None
    first = changes[0]
    same = first.after, first.reason, first.refusal, None, None
    if all((one.after, one.reason, one.refusal, one.ref_code, one.hashid) == same for one in changes):
        whole = first.after, first.reason
        return Decision(cause=cause, chunk_transition=whole, refusal=first.refusal, phase=work, pause=pause)
    return Decision(cause=cause, steps=[changes], phase=work, pause=pause)


def _refused_several(word: Classification, policy: Policy) -> Decision:
    """Decide a refused call of several transfers: each is looked up before anything of it is sent again."""
    cause, kind = _REFUSED[word.verdict]
    return Decision(
        cause=cause,
        chunk_transition=(TransferState.UNKNOWN, word.reason),
        refusal=cause,
        close=(kind, word.reason) if kind is not None else None,
        phase="ask",
        pause=policy.not_found_interval,
    )


_CallRefusal = Literal["auth", "halt", "funds", "rejected"]
_REFUSED: Mapping[Verdict, tuple[_CallRefusal, Literal["suspended_reason", "no_funds_reason"] | None]] = {
    Verdict.AUTH: ("auth", None),
    Verdict.SUSPENDED: ("halt", "suspended_reason"),
    Verdict.FUNDS: ("funds", "no_funds_reason"),
    Verdict.REJECTED: ("rejected", None),
}


def _answered(held: StoredTransfer, word: Classification) -> Transition:
    """What becomes of one transfer by the answer to the call it was in."""
    record = held.record
    if word.verdict is Verdict.CONTRADICTION:
        return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=word.reason)
    if word.verdict is Verdict.REJECTED:
        # An earlier attempt may be why: "this track_id was used before" is no proof that nothing was paid.
        if held.ambiguous_attempts:
            return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=word.reason)
        if record.attempt > 1:
            return Transition(record=record, after=TransferState.UNKNOWN, reason=word.reason, refusal="failed")
        return Transition(record=record, after=TransferState.FAILED, reason=word.reason)
    if word.verdict is not Verdict.REPORTED or word.settlement is None:
        return Transition(record=record, after=TransferState.UNKNOWN, reason=word.reason)
    after = STATES[word.settlement.status]
    if after is TransferState.FAILED and held.ambiguous_attempts:
        # It may be this attempt alone that failed: the inquiry knows of all of them.
        why = f"sent again, and failed: {word.reason}"
        return Transition(record=record, after=TransferState.UNKNOWN, reason=why, hashid=word.settlement.hashid)
    if after is TransferState.FAILED:
        # A bank that refuses repeats fails one that an earlier life of this ledger has paid: it is looked up first.
        reason = word.reason or "the bank says it failed"
        hashid = word.settlement.hashid
        return Transition(record=record, after=TransferState.UNKNOWN, reason=reason, hashid=hashid, refusal="failed")
    return bank_transition(record, after, word)


def is_different_payment(hashid: str | None, entry: Settlement | None) -> bool:
    """Whether an entry is about another payment than the one of this name, though it has the same track_id."""
    return hashid is not None and entry is not None and entry.hashid not in (None, hashid)


def failure_covers_all_attempts(held: StoredTransfer, entry: Settlement) -> bool:
    """Whether an entry that says "failed" says so of all of a transfer: there may have been other attempts."""
    return not held.ambiguous_attempts or (entry.hashid is not None and entry.hashid == held.record.hashid)


def bank_transition(record: TransferRecord, after: TransferState, word: Classification) -> Transition:
    """The change to what the bank has said."""
    entry = word.settlement
    return Transition(
        record=record,
        after=after,
        reason=word.reason
        if after in (TransferState.FAILED, TransferState.REVERSED, TransferState.NEEDS_REVIEW)
        else "",
        ref_code=entry.ref_code if entry else None,
        hashid=entry.hashid if entry else None,
    )


_ONE_FAILED = "it was sent more than once, and the bank names one of these, which failed"
ABSENT = Classification(verdict=Verdict.NOT_SENT, reason="the bank does not have it")
"""What is known of a transfer that was asked about, and which the bank answered it does not have."""


def decide_after_check(
    transfers: Sequence[StoredTransfer], known: Mapping[str, Classification], policy: Policy, at: float, looks: int
) -> Decision:
    """What becomes of transfers that were asked about.

    Args:
        transfers: those that were asked about, as they were when it began.
        known: what is known of each; ABSENT where the bank does not have it; those without an answer are left out.
        policy: of their batch.
        at: when the asking began, in the ledger's time.
        looks: how often they were asked about with nothing changed.
    """
    changes: list[Transition] = []
    counted: dict[str, int] = {}
    given_up: list[TransferRecord] = []
    not_executed: list[StoredTransfer] = []
    waits: list[float] = []
    for held in transfers:
        record = held.record
        word = known.get(record.track_id)
        change = _heard(held, word) if word is not None else None
        count = _count(held, word, policy, at)
        if word is not None and _is_of_another(held, word) and _is_enough(record, count, policy, at):
            change = _outlived(record, word, policy)
        if change is None and word is not None and _shows_no_execution(held, word, policy, at):
            if held.refusal != "failed":
                not_executed.append(held)
                continue
            change = Transition(record=record, after=TransferState.FAILED, reason=record.reason)
        if change is not None:
            changes.append(change)
        elif count >= REQUIRED_NOT_FOUNDS:
            given_up.append(record)
        elif count != record.not_found_count:
            counted[record.track_id] = count
        if (change is None and record not in given_up) or (
            change is not None and change.after is TransferState.PENDING
        ):
            waits.append(_wait(held, policy, at, 0 if change else looks + 1, counted=count != record.not_found_count))
    resent = [one for one in given_up if policy.resend and one.attempt < MAX_ATTEMPTS]
    absent = given_up + [one.record for one in not_executed]
    steps = [
        changes + [Transition(record=one, after=TransferState.NOT_ACCEPTED, reason=ABSENT.reason) for one in absent],
        [_given_up(one, resend=one in resent) for one in given_up] + [_may_go_again(one) for one in not_executed],
    ]
    moved = bool(changes or absent)
    return Decision(
        cause="found",
        steps=[step for step in steps if step],
        counted=counted,
        split=bool(resent) or any(one.refusal == "rejected" for one in not_executed),
        regroup=any(one.refusal != "rejected" for one in not_executed),
        phase="ask" if waits else "none",
        pause=min(waits) if waits else None,
        checks=0 if moved else looks + 1,
    )


def _shows_no_execution(held: StoredTransfer, word: Classification, policy: Policy, at: float) -> bool:
    """Return True if a look-up shows that a refused call did not execute a transfer."""
    if held.refusal is None or at < _refusal_settles_at(held, policy):
        return False
    return word is ABSENT or _is_of_another(held, word)


def _refusal_settles_at(held: StoredTransfer, policy: Policy) -> float:
    """Return when a look-up may settle a refusal, in the ledger's time; the bank's list may lag behind its refusal."""
    since = held.record.unknown_since or 0.0
    return since if held.refusal == "failed" else since + policy.not_found_interval


def _may_go_again(held: StoredTransfer) -> Transition:
    """Return the change of a transfer whose call was refused and which the bank does not have: it may be sent again."""
    record = held.record
    there = evolve(record, state=TransferState.NOT_ACCEPTED, version=record.version + 1)
    after = TransferState.PAUSED_FUNDS if held.refusal == "funds" else TransferState.PLANNED
    return Transition(record=there, after=after, reason=record.reason, is_proven=True)


def _heard(held: StoredTransfer, word: Classification) -> Transition | None:
    """What becomes of a transfer by what the bank says when it is asked."""
    record = held.record
    if word.verdict is Verdict.CONTRADICTION:
        return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=word.reason)
    if word.verdict is not Verdict.REPORTED or word.settlement is None:
        return None
    after = STATES[word.settlement.status]
    if after is record.state or _is_of_another(held, word):
        return None
    if record.state is TransferState.PENDING and is_different_payment(record.hashid, word.settlement):
        change = Transition(record=record, after=TransferState.NEEDS_REVIEW, reason="the bank has it under two names")
        return change if after is not TransferState.FAILED else None
    change = bank_transition(record, after, word)
    return change if change.reason or after is not TransferState.FAILED else evolve(change, reason=record.reason)


def _given_up(record: TransferRecord, *, resend: bool) -> Transition:
    there = evolve(record, state=TransferState.NOT_ACCEPTED, version=record.version + 1)
    if resend:
        return Transition(
            record=there, after=TransferState.PLANNED, reason="the bank does not have it: it is sent again"
        )
    return Transition(
        record=there, after=TransferState.NEEDS_REVIEW, reason="it was sent, and the bank does not have it"
    )


def _is_enough(record: TransferRecord, count: int, policy: Policy, at: float) -> bool:
    """Whether that has been so for long, and what is asked about would have been named by now."""
    if record.state is TransferState.PENDING:
        return record.hashid is None and at >= record.changed_at + policy.quiet_window
    return count >= REQUIRED_NOT_FOUNDS


def _outlived(record: TransferRecord, word: Classification, policy: Policy) -> Transition:
    """What becomes of one of whose attempts the bank knows a single one, late and often enough, which failed."""
    if policy.resend:  # by that, the bank never had the others
        return bank_transition(record, TransferState.FAILED, word)
    return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=_ONE_FAILED)


def _count(held: StoredTransfer, word: Classification | None, policy: Policy, at: float) -> int:
    """How many times "not found" has counted now: late enough, and far enough apart."""
    record = held.record
    if word is None:
        return record.not_found_count
    if word is not ABSENT and not _is_of_another(held, word):
        return 0
    if record.state is not TransferState.UNKNOWN or record.unknown_since is None:
        return record.not_found_count
    late = at >= record.unknown_since + policy.quiet_window
    apart = held.last_not_found_at is None or at >= held.last_not_found_at + policy.not_found_interval
    return record.not_found_count + 1 if late and apart else record.not_found_count


def _is_of_another(held: StoredTransfer, word: Classification) -> bool:
    """Whether it says of an attempt that it failed, and nothing of the one that is asked about."""
    entry = word.settlement if word.verdict is Verdict.REPORTED else None
    return (
        entry is not None
        and STATES[entry.status] is TransferState.FAILED
        and not failure_covers_all_attempts(held, entry)
    )


def _wait(held: StoredTransfer, policy: Policy, at: float, looks: int, *, counted: bool) -> float:
    """Seconds until a transfer is asked about again."""
    record = held.record
    if held.refusal is not None:
        return max(FIRST_CHECK_SECONDS * CHECK_BACKOFF_FACTOR ** min(looks, 8), _refusal_settles_at(held, policy) - at)
    if record.state is not TransferState.UNKNOWN or record.unknown_since is None:
        return min(MAX_PENDING_WAIT_SECONDS, FIRST_CHECK_SECONDS * CHECK_BACKOFF_FACTOR ** min(looks, 40))
    quiet_ends = record.unknown_since + policy.quiet_window
    if at < quiet_ends:
        # Early and often, and then just when "not found" begins to count.
        return min(
            MAX_UNKNOWN_WAIT_SECONDS, FIRST_CHECK_SECONDS * CHECK_BACKOFF_FACTOR ** min(looks, 40), quiet_ends - at
        )
    last = at if counted else held.last_not_found_at
    return (
        policy.not_found_interval if last is None else max(FIRST_CHECK_SECONDS, last + policy.not_found_interval - at)
    )


def backoff(first: float, looks: int) -> float:
    """Return the seconds to wait before the next try, after ``looks`` that came to nothing."""
    return min(MAX_BACKOFF_SECONDS, first * 2.0 ** min(looks, 20))
