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
    VERIFY_IN_FLIGHT_SECONDS,
    VERIFY_MARGIN_SECONDS,
    VERIFY_WINDOW_SECONDS,
    Order,
    OrderStatus,
    PaymentAttempt,
)
from paystar_async.payments.outcomes import PaymentOutcome
from paystar_async.payments.verification_models import VerificationResult
from tests.payments.shop import Shop

UNPAID = VerificationResult(outcome=Undecided(reason="unpaid"), unpaid=True, may_expire=True)
UNKNOWN = VerificationResult(outcome=Undecided(reason="no response"))


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


def test_apply_result_settled_keeps_order_reserved_for_other() -> None:
    order = make_order("ref-1", "ref-2").reserve("ref-1")
    order = apply(order, "ref-2", VerificationResult(outcome=Cancelled(), settled=True))

    assert (order.state, order.reserved_ref_num) == (OrderStatus.OPEN, "ref-1")


def test_apply_result_verified_without_reservation_is_verified() -> None:
    order = apply(make_order("ref-1"), "ref-1", VerificationResult(outcome=Verified(), settled=True))

    assert (order.state, order.reserved_ref_num) == (OrderStatus.VERIFIED, "ref-1")


def test_apply_result_unpaid_opens_the_verify_window_again() -> None:
    order = evolve(make_order("ref-1"), now=1000.0 + VERIFY_WINDOW_SECONDS)
    for checked_at, last_unpaid_at in ((1500.0, 1500.0), (1400.0, 1500.0)):
        order = apply(order, "ref-1", evolve(UNPAID, checked_at=checked_at))
        assert [attempt.last_unpaid_at for attempt in order.attempts] == [last_unpaid_at]
    order = apply(order, "ref-1", evolve(UNKNOWN, checked_at=1600.0))
    assert [attempt.last_unpaid_at for attempt in order.attempts] == [1500.0]


def test_add_attempt_of_same_ref_num_replaces_it() -> None:
    assert [attempt.ref_num for attempt in make_order("ref-1", "ref-2", "ref-1").attempts] == ["ref-2", "ref-1"]


def test_claim_notification_postpones_it() -> None:
    assert make_order("ref-1").claim_notification(5.0).notify_at == 1005.0


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


@pytest.mark.parametrize("ref_num", ["ref-1", "ref-2", "unknown"])
@pytest.mark.parametrize("outcome", [Verified(), Declined(reason="why"), Undecided(reason="why")])
def test_apply_result_to_verified_order_is_noop(ref_num: str, outcome: PaymentOutcome) -> None:
    order = make_order("ref-1", "ref-2").reserve("ref-1")
    order = apply(order, "ref-1", VerificationResult(outcome=Verified(), settled=True))

    assert apply(order, ref_num, VerificationResult(outcome=outcome, settled=True)) is order


def test_apply_result_of_unknown_payment_is_noop() -> None:
    order = make_order("ref-1")

    assert apply(order, "unknown", VerificationResult(outcome=Verified(), settled=True)) is order


@pytest.mark.parametrize(
    ("ref_num", "result", "seconds", "reserved"),
    [
        ("ref-1", UNPAID, VERIFY_IN_FLIGHT_SECONDS, "ref-1"),
        ("ref-1", UNPAID, VERIFY_IN_FLIGHT_SECONDS + 1, None),
        ("ref-1", UNKNOWN, VERIFY_IN_FLIGHT_SECONDS + 1, "ref-1"),
        ("ref-2", UNPAID, VERIFY_IN_FLIGHT_SECONDS + 1, "ref-1"),
    ],
)
def test_apply_result_unpaid_frees_order_after_its_verify(
    ref_num: str, result: VerificationResult, seconds: float, reserved: str | None
) -> None:
    """An order that is freed too early can be paid twice."""
    order = make_order("ref-1", "ref-2").reserve("ref-1")

    assert apply(evolve(order, now=order.now + seconds), ref_num, result).reserved_ref_num == reserved


@pytest.mark.parametrize(
    ("result", "scheduled", "age", "reserved", "state"),
    [
        (UNPAID, True, ORDER_LIFETIME_SECONDS, None, OrderStatus.EXPIRED),
        (UNPAID, True, ORDER_LIFETIME_SECONDS, "ref-2", OrderStatus.EXPIRED),
        (UNPAID, True, ORDER_LIFETIME_SECONDS, "ref-1", OrderStatus.OPEN),
        (UNPAID, True, ORDER_LIFETIME_SECONDS - 1, None, OrderStatus.OPEN),
        (UNPAID, False, ORDER_LIFETIME_SECONDS, None, OrderStatus.OPEN),
        (UNKNOWN, True, 10 * ORDER_LIFETIME_SECONDS, None, OrderStatus.OPEN),
    ],
)
def test_apply_result_gives_up_only_old_unpaid_payments(
    result: VerificationResult, scheduled: bool, age: float, reserved: str | None, state: OrderStatus
) -> None:
    order = make_order("ref-1", "ref-2")
    order = evolve(order, now=order.now + age)
    order = order if reserved is None else order.reserve(reserved)

    attempt = order.apply_result("ref-1", result, scheduled=scheduled, notify_after_seconds=7.0).attempt("ref-1")

    assert attempt is not None
    assert attempt.state is state
    assert (attempt.next_check_at is None) is (state is OrderStatus.EXPIRED)


def test_apply_result_without_success_of_verify_is_checked_soon() -> None:
    order = make_order("ref-1")
    order = evolve(order, now=order.now + CHECK_SCHEDULE_SECONDS[1])

    assert apply(order.reserve("ref-1"), "ref-1", UNKNOWN).next_check_at == order.now + RETRY_SECONDS
    for relaxed in (apply(order, "ref-1", UNKNOWN), apply(order.reserve("ref-1"), "ref-1", UNPAID)):
        assert relaxed.next_check_at == 1000.0 + CHECK_SCHEDULE_SECONDS[2]
    late = evolve(order, now=1000.0 + VERIFY_WINDOW_SECONDS).reserve("ref-1")
    assert apply(late, "ref-1", UNKNOWN).next_check_at == late.now + RECHECK_SECONDS


def test_lease_checks_postpones_due_payments() -> None:
    order = make_order("ref-1")
    order = evolve(order, now=order.now + CHECK_SCHEDULE_SECONDS[0]).add_attempt("ref-2", None)
    assert [attempt.ref_num for attempt in order.due_attempts] == ["ref-1"]

    leased = order.lease_checks(180.0)

    assert leased.due_attempts == []
    times = [attempt.next_check_at for attempt in leased.attempts]
    assert times == [order.now + 180.0, order.now + CHECK_SCHEDULE_SECONDS[0]]


def test_reserve_ended_payment_opens_it_again() -> None:
    ended = VerificationResult(outcome=Expired(reason="why"), settled=True)
    order = apply(make_order("ref-1"), "ref-1", ended).reserve("ref-1")

    assert (order.state, order.reason, order.next_check_at) == (OrderStatus.OPEN, "", order.now + RETRY_SECONDS)
    due = evolve(make_order("ref-1"), now=1001.0 + CHECK_SCHEDULE_SECONDS[0]).reserve("ref-1")
    assert [attempt.ref_num for attempt in due.due_attempts] == ["ref-1"]


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
