"""The ledger's values: bounds of a policy, and nothing personal in what they show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.errors import InvalidValue, StorageCorrupt
from paystar_async.outcomes import Failed, Pending, Succeeded, Unknown
from paystar_async.payouts.models import (
    AWAITING_BANK,
    AWAITING_USER,
    FINAL,
    TRANSITIONS,
    AccountHold,
    Policy,
    TransferRecord,
    TransferState,
    is_allowed_transition,
)

STATES = st.sampled_from(list(TransferState))


def record(state: TransferState, reason: str = "") -> TransferRecord:
    return TransferRecord(
        product="bank",
        account="app-1",
        track_id="t",
        version=1,
        state=state,
        attempt=0,
        amount=1,
        deposit="d",
        destination="IR**",
        batch_id="b",
        chunk_id="c",
        reason=reason,
    )


def test_every_state_has_its_line() -> None:
    assert set(TRANSITIONS) == set(TransferState)


def test_only_what_is_planned_is_sent() -> None:
    assert {before for before in TransferState if is_allowed_transition(before, TransferState.SENDING)} == {
        TransferState.PLANNED
    }


def test_what_may_have_left_is_planned_again_only_once_it_was_not_found_or_a_person_said_so() -> None:
    again = {before for before in TransferState if is_allowed_transition(before, TransferState.PLANNED)}
    assert again == {
        TransferState.SENDING,
        TransferState.NOT_ACCEPTED,
        TransferState.NEEDS_REVIEW,
        TransferState.PAUSED_FUNDS,
    }
    assert TransferState.UNKNOWN not in again


def test_pending_never_becomes_unknown_and_never_fails_but_by_the_banks_word() -> None:
    assert TRANSITIONS[TransferState.PENDING] == {
        TransferState.SUCCESS,
        TransferState.FAILED,
        TransferState.NEEDS_REVIEW,
    }


def test_success_is_only_ever_reversed_and_a_failure_never_becomes_one_by_itself() -> None:
    assert TRANSITIONS[TransferState.SUCCESS] == {TransferState.REVERSED}
    assert TRANSITIONS[TransferState.FAILED] == {TransferState.NEEDS_REVIEW}
    assert not TRANSITIONS[TransferState.REVERSED]


@given(st.lists(STATES, min_size=1, max_size=30))
def test_no_walk_along_the_table_sends_twice_what_may_have_left(walk: list[TransferState]) -> None:
    """Between two sendings there is an answer, a "not there" or a person."""
    state, since_sent = TransferState.PLANNED, set[TransferState]()
    for wanted in walk:
        if not is_allowed_transition(state, wanted):
            continue
        if wanted is TransferState.SENDING and TransferState.UNKNOWN in since_sent:
            assert since_sent & {TransferState.NOT_ACCEPTED, TransferState.NEEDS_REVIEW}
        since_sent = {wanted} if wanted is TransferState.SENDING else since_sent | {wanted}
        state = wanted


@given(STATES)
def test_a_state_is_decided_or_asked_about_or_waits_for_something(state: TransferState) -> None:
    waits = {TransferState.PLANNED, TransferState.SENDING, TransferState.NOT_ACCEPTED}
    assert sum(state in group for group in (FINAL, AWAITING_BANK, AWAITING_USER, waits)) == 1


@pytest.mark.parametrize("state", list(TransferState))
def test_a_caller_is_told_an_outcome_whatever_the_state(state: TransferState) -> None:
    told = record(state, "because").outcome
    kind = {
        TransferState.SUCCESS: Succeeded,
        TransferState.FAILED: Failed,
        TransferState.REVERSED: Failed,
        TransferState.UNKNOWN: Unknown,
        TransferState.NOT_ACCEPTED: Unknown,
        TransferState.NEEDS_REVIEW: Unknown,
    }.get(state, Pending)
    assert type(told) is kind
    if isinstance(told, Failed):
        assert told.reversed is (state is TransferState.REVERSED)
    if not isinstance(told, Succeeded):
        assert "because" in told.reason
        quiet = record(state).outcome
        assert not isinstance(quiet, Succeeded)
        assert quiet.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chunk", 0),
        ("chunk", 101),
        ("chunk", True),
        ("chunk", 2.0),
        ("concurrency", 0),
        ("concurrency", "4"),
        ("rate", 0),
        ("rate", float("inf")),
        ("rate", float("nan")),
        ("rate", True),
        ("quiet_window", -1.0),
        ("quiet_window", None),
        ("resend", "yes"),
        ("resend", 1),
    ],
)
def test_a_policy_out_of_its_bounds_is_refused_and_names_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidValue) as refusal:
        Policy(**{field: value})  # type: ignore[arg-type]
    assert refusal.value.field == field


@pytest.mark.parametrize("policy", [Policy(), Policy(chunk=100, concurrency=1, rate=0.1, quiet_window=5, resend=True)])
def test_a_policy_comes_back_as_it_went(policy: Policy) -> None:
    assert Policy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize("text", ["", "[]", "null", '{"chunk": 0}', '{"speed": 1}', '{"chunk": '])
def test_a_policy_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(StorageCorrupt):
        Policy.from_json(text)


def test_not_founds_are_spaced_by_a_tenth_of_the_quiet_window_and_a_minute_at_the_most() -> None:
    assert Policy(quiet_window=5.0).not_found_interval == 0.5
    assert Policy().not_found_interval == 60


def test_a_gate_is_closed_by_any_of_three() -> None:
    def gate(halted: str | None = None, short: str | None = None, *, held: bool = False) -> AccountHold:
        return AccountHold(
            product="bank",
            account="a",
            deposit="",
            suspended_reason=halted,
            insufficient_funds_reason=short,
            paused=held,
        )

    assert not gate().is_active
    assert gate("inactive").is_active
    assert gate(None, "no money").is_active
    assert gate(held=True).is_active
