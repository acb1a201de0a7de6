"""Values of a verification: claimed receipts, policies of the two flows, results."""

import pytest

from paystar_async import Callback
from paystar_async.payments import Cancelled, Expired, Verified
from paystar_async.payments.verification_models import (
    CALLER_ORDER,
    STORED_ORDER,
    Receipt,
    VerificationRequest,
    VerificationResult,
)


def make_request(callback: Callback | None) -> VerificationRequest:
    return VerificationRequest(order_id="o-1", ref_num="ref-1", amount=50_000, callback=callback)


def test_claimed_receipt_of_paid_callback_has_card_and_code() -> None:
    callback = Callback(
        status="1", order_id="o-1", ref_num="ref-1", card_number="502229******6708", tracking_code="123456"
    )

    assert make_request(callback).claimed_receipt == Receipt(card_number="502229******6708", tracking_code="123456")


@pytest.mark.parametrize("callback", [None, Callback(status="-98", order_id="o-1", ref_num="ref-1")])
def test_claimed_receipt_without_payment_is_missing(callback: Callback | None) -> None:
    assert make_request(callback).claimed_receipt is None


def test_receipt_verified_prefers_card_of_verify_response() -> None:
    receipt = Receipt(card_number="111111******1111", tracking_code="")

    assert receipt.verified() == Verified(card_number="111111******1111")
    assert receipt.verified("502229******6708") == Verified(card_number="502229******6708")


def test_receipt_repr_shows_no_card() -> None:
    assert "502229" not in repr(Receipt(card_number="502229******6708", hashed_card_number="ABC"))


def test_policies_differ_in_every_flag() -> None:
    assert (STORED_ORDER.trusts_cancelled, CALLER_ORDER.trusts_cancelled) == (False, True)
    assert (STORED_ORDER.signs_inquiry, CALLER_ORDER.signs_inquiry) == (False, True)
    assert (STORED_ORDER.always_inquires, CALLER_ORDER.always_inquires) == (False, True)
    assert (STORED_ORDER.is_final, CALLER_ORDER.is_final) == (False, True)


def test_result_reason_is_that_of_its_outcome() -> None:
    assert VerificationResult(outcome=Expired(reason="late")).reason == "late"
    assert VerificationResult(outcome=Cancelled()).reason == ""
