"""Outcomes of a payment."""

import paystar_async.payments as payments
from paystar_async.errors import NoResponse
from paystar_async.payments.outcomes import PaymentOutcome


def test_verified_repr_shows_no_card() -> None:
    verified = payments.Verified(tracking_code="1", card_number="502229******6708", hashed_card_number="ABC")

    assert "502229" not in repr(verified)
    assert "ABC" not in repr(verified)


def test_outcomes_equality_ignores_error() -> None:
    assert payments.Undecided(reason="x", error=NoResponse("a")) == payments.Undecided(reason="x")


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
