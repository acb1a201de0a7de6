import pytest

import paystar_async.outcomes as transfer_outcomes
import paystar_async.payments as payments
from paystar_async.errors import NoResponse
from paystar_async.payments.outcomes import PaymentOutcome


def test_verified_repr_shows_no_card() -> None:
    verified = payments.Verified(tracking_code="1", card_number="502229******6708", hashed_card_number="ABC")

    assert "502229" not in repr(verified)
    assert "ABC" not in repr(verified)


def test_outcomes_equality_ignores_error() -> None:
    assert payments.Undecided(reason="x", error=NoResponse("a")) == payments.Undecided(reason="x")
    assert transfer_outcomes.Unknown(track_id="t", reason="x", error=NoResponse("a")) == transfer_outcomes.Unknown(
        track_id="t", reason="x"
    )


@pytest.mark.parametrize("outcome", transfer_outcomes.Outcome.__args__)
def test_transfer_outcomes_have_track_id(outcome: type) -> None:
    needed = {"track_id": "t", "reason": "r"} if outcome is not transfer_outcomes.Succeeded else {"track_id": "t"}

    assert outcome(**needed).track_id == "t"


def test_payment_outcomes_are_distinct_classes() -> None:
    outcomes = [
        payments.Verified(),
        payments.Cancelled(),
        payments.Declined(reason="x"),
        payments.Expired(),
        payments.AmountMismatch(expected=1),
        payments.Undecided(reason="x"),
    ]

    assert {type(outcome) for outcome in outcomes} == set(PaymentOutcome.__args__)
