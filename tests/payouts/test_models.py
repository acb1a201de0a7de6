"""Test the ledger's models: transitions, outcomes and policies."""

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
    TransferState,
    is_allowed_transition,
)
from tests.payouts.bank import transfer_record

STATES = st.sampled_from(list(TransferState))


def test_transitions_cover_every_state() -> None:
    assert set(TRANSITIONS) == set(TransferState)


def test_transitions_only_planned_leads_to_sending() -> None:
    assert {before for before in TransferState if is_allowed_transition(before, TransferState.SENDING)} == {
        TransferState.PLANNED
    }


def test_transitions_to_planned_exclude_unknown() -> None:
    sources = {before for before in TransferState if is_allowed_transition(before, TransferState.PLANNED)}
    assert sources == {
        TransferState.SENDING,
        TransferState.NOT_ACCEPTED,
        TransferState.NEEDS_REVIEW,
        TransferState.PAUSED_FUNDS,
    }
    assert TransferState.UNKNOWN not in sources


def test_transitions_from_pending_are_bank_decisions() -> None:
    assert TRANSITIONS[TransferState.PENDING] == {
        TransferState.SUCCESS,
        TransferState.FAILED,
        TransferState.NEEDS_REVIEW,
    }


def test_transitions_from_final_states_are_limited() -> None:
    assert TRANSITIONS[TransferState.SUCCESS] == {TransferState.REVERSED}
    assert TRANSITIONS[TransferState.FAILED] == {TransferState.NEEDS_REVIEW}
    assert not TRANSITIONS[TransferState.REVERSED]


@given(st.lists(STATES, min_size=1, max_size=30))
def test_transitions_never_resend_unknown_directly(walk: list[TransferState]) -> None:
    """Between two sends there is a response, a "not found" or a user's decision."""
    state, since_sent = TransferState.PLANNED, set[TransferState]()
    for next_state in walk:
        if not is_allowed_transition(state, next_state):
            continue
        if next_state is TransferState.SENDING and TransferState.UNKNOWN in since_sent:
            assert since_sent & {TransferState.NOT_ACCEPTED, TransferState.NEEDS_REVIEW}
        since_sent = {next_state} if next_state is TransferState.SENDING else since_sent | {next_state}
        state = next_state


@given(STATES)
def test_transfer_state_is_in_exactly_one_group(state: TransferState) -> None:
    in_progress = {TransferState.PLANNED, TransferState.SENDING, TransferState.NOT_ACCEPTED}
    assert sum(state in group for group in (FINAL, AWAITING_BANK, AWAITING_USER, in_progress)) == 1


@pytest.mark.parametrize("state", list(TransferState))
def test_outcome_covers_every_state(state: TransferState) -> None:
    result = transfer_record(state, reason="because").outcome
    kind = {
        TransferState.SUCCESS: Succeeded,
        TransferState.FAILED: Failed,
        TransferState.REVERSED: Failed,
        TransferState.UNKNOWN: Unknown,
        TransferState.NOT_ACCEPTED: Unknown,
        TransferState.NEEDS_REVIEW: Unknown,
    }.get(state, Pending)
    assert type(result) is kind
    if isinstance(result, Failed):
        assert result.reversed is (state is TransferState.REVERSED)
    if not isinstance(result, Succeeded):
        assert "because" in result.reason
        quiet = transfer_record(state).outcome
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
def test_policy_out_of_bounds_names_field(field: str, value: object) -> None:
    with pytest.raises(InvalidValue) as refusal:
        Policy(**{field: value})  # type: ignore[arg-type]
    assert refusal.value.field == field


@pytest.mark.parametrize("policy", [Policy(), Policy(chunk=100, concurrency=1, rate=0.1, quiet_window=5, resend=True)])
def test_policy_json_round_trip(policy: Policy) -> None:
    assert Policy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize("text", ["", "[]", "null", '{"chunk": 0}', '{"speed": 1}', '{"chunk": '])
def test_policy_from_json_invalid_is_corrupt(text: str) -> None:
    with pytest.raises(StorageCorrupt):
        Policy.from_json(text)


def test_policy_not_found_interval_is_bounded() -> None:
    assert Policy(quiet_window=5.0).not_found_interval == 0.5
    assert Policy().not_found_interval == 60


def test_account_hold_is_active_for_each_reason() -> None:
    def hold(suspended: str | None = None, no_funds: str | None = None, *, paused: bool = False) -> AccountHold:
        return AccountHold(
            product="bank",
            account="a",
            deposit="",
            suspended_reason=suspended,
            insufficient_funds_reason=no_funds,
            paused=paused,
        )

    assert not hold().is_active
    assert hold("inactive").is_active
    assert hold(None, "no money").is_active
    assert hold(paused=True).is_active
