"""Test decisions: the transitions of a chunk after a send and after a status check."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.classify import Classification, Verdict
from paystar_async.payouts.decisions import ABSENT, REQUIRED_NOT_FOUNDS, decide_after_check, decide_after_send
from paystar_async.payouts.ledger.updates import StoredTransfer
from paystar_async.payouts.models import Policy, TransferState, is_allowed_transition
from paystar_async.values.secret import Secret
from tests.payouts.bank import transfer_record

QUIET = 100.0
POLICY = Policy(quiet_window=QUIET)
SINCE = 1000.0


def stored_transfer(
    number: int = 0,
    state: TransferState = TransferState.UNKNOWN,
    *,
    not_founds: int = 0,
    last_not_found_at: float | None = None,
    ambiguous_attempts: int = 0,
) -> StoredTransfer:
    record = transfer_record(
        state,
        f"t{number}",
        not_found_count=not_founds,
        unknown_since=SINCE if state is TransferState.UNKNOWN else None,
    )
    return StoredTransfer(
        record=record,
        ambiguous_attempts=ambiguous_attempts,
        last_not_found_at=last_not_found_at,
        refusal=None,
        payload=Secret("{}"),
        digest="",
        is_masked=False,
    )


def reported(status: str) -> Classification:
    return Classification(verdict=Verdict.REPORTED, settlement=Settlement(status=TransferStatus(status)))


def test_decide_after_check_close_not_founds_count_once() -> None:
    at = SINCE + QUIET + 50
    transfer = stored_transfer(not_founds=1, last_not_found_at=at - 9.9)
    assert decide_after_check([transfer], {"t0": ABSENT}, POLICY, at, 3).counted == {}
    assert decide_after_check([transfer], {"t0": ABSENT}, POLICY, at + 0.2, 3).counted == {"t0": 2}


def test_decide_after_check_pending_not_found_is_not_counted() -> None:
    decided = decide_after_check(
        [stored_transfer(state=TransferState.PENDING)], {"t0": ABSENT}, POLICY, SINCE + 10_000, 3
    )
    assert (decided.steps, decided.counted, decided.phase) == ([], {}, "check")


def test_decide_after_check_no_response_keeps_count() -> None:
    decided = decide_after_check(
        [stored_transfer(not_founds=2, last_not_found_at=SINCE + QUIET)], {}, POLICY, SINCE + 10_000, 3
    )
    assert (decided.steps, decided.counted, decided.phase) == ([], {}, "check")


def test_decide_after_check_last_pause_ends_with_quiet_window() -> None:
    decided = decide_after_check([stored_transfer()], {"t0": ABSENT}, POLICY, SINCE + QUIET - 4, 30)
    assert decided.pause == 4


def test_decide_after_check_earliest_transfer_sets_pause() -> None:
    transfers = [stored_transfer(0, TransferState.PENDING), stored_transfer(1)]
    decided = decide_after_check(transfers, {"t0": reported("pending"), "t1": ABSENT}, POLICY, SINCE + QUIET - 2, 40)
    assert decided.pause == 2


@pytest.mark.parametrize(("ambiguous_attempts", "refusal"), [(0, "failed"), (1, None)])
def test_decide_after_send_failed_resend_is_no_refusal(ambiguous_attempts: int, refusal: str | None) -> None:
    """A look-up that finds nothing ends a refused transfer as failed; the first attempt may be listed late."""
    transfer = stored_transfer(state=TransferState.SENDING, ambiguous_attempts=ambiguous_attempts)

    decided = decide_after_send([transfer], {"t0": reported("failed")}, POLICY, 0)

    assert decided.chunk_transition is not None
    assert (decided.chunk_transition[0], decided.refusal) == (TransferState.UNKNOWN, refusal)


verdicts = st.sampled_from(list(Verdict))
reported_classifications = st.one_of(
    st.builds(reported, st.sampled_from(["success", "failed", "pending"])),
    st.sampled_from(
        [Classification(verdict=verdict, reason="r") for verdict in (Verdict.AMBIGUOUS, Verdict.CONTRADICTION)]
    ),
)
check_results = st.one_of(reported_classifications, st.just(ABSENT), st.none())


@given(verdict=verdicts, count=st.integers(1, 4), checks=st.integers(0, 100), ambiguous_attempts=st.integers(0, 2))
def test_decide_after_send_call_verdict_allows_transition(
    verdict: Verdict, count: int, checks: int, ambiguous_attempts: int
) -> None:
    transfers = [
        stored_transfer(number, TransferState.SENDING, ambiguous_attempts=ambiguous_attempts) for number in range(count)
    ]
    classification = reported("success") if verdict is Verdict.REPORTED else Classification(verdict=verdict, reason="r")
    decided = decide_after_send(
        transfers, {transfer.record.track_id: classification for transfer in transfers}, POLICY, checks
    )
    ends = (
        [decided.chunk_transition[0]]
        if decided.chunk_transition
        else [change.after for step in decided.steps for change in step]
    )
    assert ends
    assert all(is_allowed_transition(TransferState.SENDING, after) for after in ends)
    refused = {Verdict.NOT_SENT, Verdict.AUTH, Verdict.SUSPENDED, Verdict.FUNDS, Verdict.REJECTED}
    if TransferState.PLANNED in ends:
        assert verdict in refused
    if verdict is Verdict.AMBIGUOUS:
        assert ends == [TransferState.UNKNOWN]
    if TransferState.FAILED in ends:
        assert verdict is Verdict.REJECTED
        assert count == 1
        assert not ambiguous_attempts


@given(st.lists(reported_classifications, min_size=1, max_size=4), st.integers(0, 2))
def test_decide_after_send_each_transition_is_allowed(reports: list[Classification], ambiguous_attempts: int) -> None:
    transfers = [
        stored_transfer(number, TransferState.SENDING, ambiguous_attempts=ambiguous_attempts)
        for number in range(len(reports))
    ]
    decided = decide_after_send(
        transfers, {f"t{number}": classification for number, classification in enumerate(reports)}, POLICY, 0
    )
    ends: list[TransferState | None] = [change.after for step in decided.steps for change in step]
    ends = ends or [decided.chunk_transition[0] if decided.chunk_transition else None] * len(reports)
    for after in ends:
        assert after is not None
        assert after is not TransferState.PLANNED
        assert is_allowed_transition(TransferState.SENDING, after)
        assert after is not TransferState.FAILED
    assert (decided.phase == "check") is (TransferState.UNKNOWN in ends or TransferState.PENDING in ends)
    assert (decided.pause is None) is (decided.phase == "none")


@given(
    st.lists(
        st.tuples(
            check_results,
            st.sampled_from([TransferState.UNKNOWN, TransferState.PENDING]),
            st.integers(0, REQUIRED_NOT_FOUNDS - 1),
        ),
        min_size=1,
        max_size=4,
    ),
    st.floats(SINCE, SINCE + 1000),
    st.booleans(),
    st.integers(0, 50),
)
def test_decide_after_check_transitions_are_allowed(
    cases: list[tuple[Classification | None, TransferState, int]], at: float, resend: bool, checks: int
) -> None:
    transfers = [stored_transfer(number, state, not_founds=counted) for number, (_, state, counted) in enumerate(cases)]
    classifications = {
        f"t{number}": classification
        for number, (classification, _, _) in enumerate(cases)
        if classification is not None
    }
    decided = decide_after_check(transfers, classifications, evolve(POLICY, resend=resend), at, checks)
    states = {transfer.record.track_id: transfer.record.state for transfer in transfers}
    for step in decided.steps:
        for change in step:
            assert change.record.state is states[change.record.track_id]
            assert change.is_allowed
            states[change.record.track_id] = change.after
    for number, (classification, before, counted) in enumerate(cases):
        after = states[f"t{number}"]
        if after in (TransferState.NEEDS_REVIEW, TransferState.PLANNED) and (
            classification is None or classification.verdict is not Verdict.CONTRADICTION
        ):
            assert classification is ABSENT
            assert before is TransferState.UNKNOWN
            assert at >= SINCE + QUIET
            assert counted == REQUIRED_NOT_FOUNDS - 1
            assert (after is TransferState.PLANNED) is resend
        if after is TransferState.FAILED:
            assert classification is not None
            assert classification.settlement is not None
    waits = any(state in (TransferState.UNKNOWN, TransferState.PENDING) for state in states.values())
    assert (decided.phase == "check") is waits
    assert (decided.pause is not None) is waits
    assert decided.split is (TransferState.PLANNED in states.values())
