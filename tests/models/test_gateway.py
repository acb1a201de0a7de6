"""Gateway models: signed fields that are not sent, and invalid values."""

from typing import Any

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.models.base import fields_of
from paystar_async.models.gateway import Allotment, CreatePayment, InquirePayment, VerifyPayment
from tests.describe.endpoints import example_values


def error_of(model: Any, **changes: object) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        model(**(example_values(model) | changes))
    return caught.value


@pytest.mark.parametrize("model", [VerifyPayment, InquirePayment])
def test_verify_payment_signs_two_unsent_fields(model: Any) -> None:
    assert [field.name for field in fields_of(model) if not field.sent] == ["card_number", "tracking_code"]


@pytest.mark.parametrize("model", [VerifyPayment, InquirePayment])
def test_verify_payment_full_card_is_explained(model: Any) -> None:
    error = error_of(model, card_number="6037990000000006")

    assert error.field == "card_number"
    assert "masked" in error.hint
    assert "6037990000000006" not in str(error)


def test_verify_payment_requires_signed_fields() -> None:
    with pytest.raises(TypeError, match="card_number"):
        VerifyPayment(ref_num="r", amount=5_000)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("amount", [4_999, 0, -1, 5_000.0, "5000", True, None, 2**63])
@pytest.mark.parametrize("model", [CreatePayment, VerifyPayment])
def test_payment_amount_below_5000_or_not_int_is_rejected(model: Any, amount: object) -> None:
    assert error_of(model, amount=amount).field == "amount"


def test_create_payment_invalid_allotment_names_index() -> None:
    parts = [Allotment(id=1, sheba_id="s", share=50), {"id": 2, "sheba_id": "s", "amount": 0.5}]

    assert error_of(CreatePayment, allotment=parts).field == "allotment[1].amount"
    assert error_of(CreatePayment, allotment=[]).field == "allotment"
