"""Payments: what signs without travelling, and what is refused before a byte leaves."""

from typing import Any

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.models.base import fields_of
from paystar_async.models.gateway import Allotment, CreatePayment, InquirePayment, VerifyPayment
from tests.describe.endpoints import example_values


def refusal(kind: Any, **changes: object) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        kind(**(example_values(kind) | changes))
    return caught.value


@pytest.mark.parametrize("kind", [VerifyPayment, InquirePayment])
def test_two_fields_sign_and_do_not_travel(kind: Any) -> None:
    assert [one.name for one in fields_of(kind) if not one.sent] == ["card_number", "tracking_code"]


@pytest.mark.parametrize("kind", [VerifyPayment, InquirePayment])
def test_a_full_card_in_a_signature_is_refused_with_an_explanation(kind: Any) -> None:
    error = refusal(kind, card_number="6037990000000006")

    assert error.field == "card_number"
    assert "masked" in error.hint
    assert "6037990000000006" not in str(error)


def test_a_verification_needs_all_that_it_signs() -> None:
    with pytest.raises(TypeError, match="card_number"):
        VerifyPayment(ref_num="r", amount=5_000)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("amount", [4_999, 0, -1, 5_000.0, "5000", True, None, 2**63])
@pytest.mark.parametrize("kind", [CreatePayment, VerifyPayment])
def test_an_amount_is_whole_rial_from_5000_up(kind: Any, amount: object) -> None:
    assert refusal(kind, amount=amount).field == "amount"


def test_parts_are_named_by_their_place() -> None:
    parts = [Allotment(id=1, sheba_id="s", share=50), {"id": 2, "sheba_id": "s", "amount": 0.5}]

    assert refusal(CreatePayment, allotment=parts).field == "allotment[1].amount"
    assert refusal(CreatePayment, allotment=[]).field == "allotment"
