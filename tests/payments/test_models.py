"""Orders and payment attempts: results, check schedule, reservations, notifications."""

import pytest
from attrs import evolve

from paystar_async.payments import AmountMismatch, Cancelled, Declined, Expired, Undecided, Verified
from paystar_async.payments.models import (
    CHECK_SCHEDULE_SECONDS,
    MAX_CHECK_INTERVAL_SECONDS,
    MAX_RETRY_SECONDS,
    ORDER_LIFETIME_SECONDS,
    RECHECK_SECONDS,
    RETRY_SECONDS,
    VERIFY_MARGIN_SECONDS,
    VERIFY_WINDOW_SECONDS,
    Order,
    OrderStatus,
    PaymentAttempt,
)
from paystar_async.payments.verification_models import VerificationResult
from tests.payments.shop import Shop


def make_order(*ref_nums: str) -> Order:
    """Return an order of 50,000 Rial with open payments."""
    order = Order(order_id="o-1", amount=50_000, now=1000.0)
    for ref_num in ref_nums:
        order = order.add_attempt(ref_num, None)
    return order


def apply(order: Order, ref_num: str, result: VerificationResult) -> Order:
    return order.apply_result(ref_num, result, scheduled=True, notify_after_seconds=7.0)


@pytest.mark.parametrize(
    ("age", "next_check_in"),
    [
        (0.0, CHECK_SCHEDULE_SECONDS[0]),
        (60.0, 60.0),
        (539.0, 1.0),
        (540.0, RECHECK_SECONDS),
        (ORDER_LIFETIME_SECONDS + 3600, 1800.0),
        (30 * 86_400.0, MAX_CHECK_INTERVAL_SECONDS),
    ],
)
def test_next_check_after_backs_off_with_age(age: float, next_check_in: float) -> None:
    attempt = PaymentAttempt(ref_num="ref-1", created_at=1000.0)

    assert attempt.next_check_after(1000.0 + age) == pytest.approx(1000.0 + age + next_check_in)


def test_is_verifiable_ends_before_the_window() -> None:
    attempt = PaymentAttempt(ref_num="ref-1", last_unpaid_at=1000.0)
    end = 1000.0 + VERIFY_WINDOW_SECONDS - VERIFY_MARGIN_SECONDS

    assert attempt.is_verifiable(end - 1)
    assert not attempt.is_verifiable(end)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Cancelled(), OrderStatus.CANCELLED),
        (Declined(reason="why"), OrderStatus.DECLINED),
        (Expired(reason="why"), OrderStatus.EXPIRED),
        (AmountMismatch(expected=50_000, got=1), OrderStatus.MISMATCH),
    ],
)
def test_apply_result_settled_ends_attempt_and_frees_order(
    outcome: Cancelled | Declined | Expired | AmountMismatch, state: OrderStatus
) -> None:
    order = apply(make_order("ref-1").reserve("ref-1"), "ref-1", VerificationResult(outcome=outcome, settled=True))

    assert (order.state, order.reserved_ref_num, order.next_check_at) == (state, None, None)
    assert order.outcome("ref-1") == outcome


def test_apply_result_verified_declines_other_attempts() -> None:
    order = make_order("ref-1", "ref-2").reserve("ref-1")
    order = apply(order, "ref-1", VerificationResult(outcome=Verified(), settled=True))

    assert (order.state, order.verified_at, order.next_check_at) == (OrderStatus.VERIFIED, 1000.0, 1007.0)
    assert isinstance(order.outcome("ref-2"), Declined)
    assert order.due_attempts == []


def test_apply_result_verified_while_reserved_for_other_is_open() -> None:
    order = make_order("ref-1", "ref-2").reserve("ref-1")
    order = apply(order, "ref-2", VerificationResult(outcome=Verified(), settled=True))

    assert order.verified is None
    assert isinstance(order.outcome("ref-2"), Undecided)


def test_apply_result_after_mismatch_is_noop() -> None:
    mismatch = VerificationResult(outcome=AmountMismatch(expected=50_000, got=1), settled=True)
    order = apply(make_order("ref-1").reserve("ref-1"), "ref-1", mismatch)

    assert apply(order, "ref-1", VerificationResult(outcome=Verified(), settled=True)) is order


def test_notification_failed_backs_off_exponentially() -> None:
    order, delays = make_order("ref-1"), list[float]()
    for _ in range(8):
        order = order.notification_failed()
        delays.append(order.notify_at - order.now)

    assert delays[:3] == [RETRY_SECONDS, RETRY_SECONDS * 2, RETRY_SECONDS * 4]
    assert delays[-1] == MAX_RETRY_SECONDS
    assert order.notify_attempts == 8


async def test_due_attempts_use_store_time(shop: Shop) -> None:
    """A worker whose clock is an hour ahead does not give up open payments."""
    await shop.start()
    order = await shop.order()

    assert evolve(order, now=order.now + 1).due_attempts == []
