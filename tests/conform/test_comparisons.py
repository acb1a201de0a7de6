"""Comparisons between the calls of a process: what a refused, sent or listed transfer shows, and when."""

import pytest

from paystar_async.conform.comparisons import LISTED_SECONDS, MAX_REMEMBERED, PAYABLE_SECONDS, Comparisons
from paystar_async.errors import ExpiredToken, NoResponse, StatusError
from paystar_async.models.gateway import (
    Created,
    CreatePayment,
    GatewayStatus,
    GatewayTransaction,
    InquirePayment,
    Verified,
    VerifyPayment,
)
from paystar_async.models.transfers import FindTransfers, Settle, Settlement
from paystar_async.payments.models import ORDER_LIFETIME_SECONDS
from paystar_async.runtime.clock import ManualClock
from tests.support import request, transfer

HOUR = 3_600.0


def settle(comparisons: Comparisons, error: BaseException, track_id: str = "t-1") -> None:
    comparisons.compare(request(Settle(transfers=[transfer(track_id)])), None, error)


def look_up(comparisons: Comparisons, *items: Settlement) -> dict[str, str]:
    return comparisons.compare(request(FindTransfers(track_id="t-1")), [*items], None)


def entry(**changes: object) -> Settlement:
    return Settlement(**({"hashid": "h1", "track_id": "t-1", "status": "success"} | changes))  # type: ignore[arg-type]


def refusal(kind: type[StatusError] = StatusError) -> StatusError:
    return kind(9, "x", endpoint="transfers.settle", http_status=400)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def comparisons(clock: ManualClock) -> Comparisons:
    return Comparisons(clock)


@pytest.mark.parametrize(("kind", "name"), [(StatusError, "after refusal"), (ExpiredToken, "after key refusal")])
def test_compare_refused_transfer_is_absent_after_a_minute(
    comparisons: Comparisons, clock: ManualClock, kind: type[StatusError], name: str
) -> None:
    settle(comparisons, refusal(kind))
    clock.advance(LISTED_SECONDS)
    assert look_up(comparisons) == {}, "it may be listed a moment later"
    clock.advance(1)
    assert look_up(comparisons) == {name: "absent"}


def test_compare_refused_transfer_is_found_at_once(comparisons: Comparisons) -> None:
    settle(comparisons, refusal())
    assert look_up(comparisons, entry()) == {"after refusal": "found", "track_id": "as sent"}


def test_compare_lost_response_proves_nothing_of_a_refusal(comparisons: Comparisons, clock: ManualClock) -> None:
    settle(comparisons, refusal())
    settle(comparisons, NoResponse("x"))
    clock.advance(LISTED_SECONDS + 1)
    assert look_up(comparisons) == {}


def test_compare_forgets_oldest_transfer(comparisons: Comparisons) -> None:
    for number in range(1, MAX_REMEMBERED + 2):
        settle(comparisons, refusal(), f"t-{number}")
    assert look_up(comparisons, entry()) == {"track_id": "as sent"}


def listed(*times: str | None) -> list[Settlement]:
    return [
        entry(hashid=f"h{number}", extra={"label": "x", "created_at": time} if time else {})
        for number, time in enumerate(times)
    ]


@pytest.mark.parametrize(
    ("seconds", "order"),
    [
        ((3, 2, 1), "newest first"),
        ((1, 2, 2), "oldest first"),
        ((1, 3, 2), "no order"),
        ((3, None, 1), "newest first"),
        ((1, 1), None),
        ((1,), None),
        ((None, None), None),
        (range(50, 10, -1), "newest first"),
        (range(10, 50), "oldest first"),
    ],
)
def test_compare_list_shows_order(comparisons: Comparisons, seconds: list[int | None], order: str | None) -> None:
    times = [None if second is None else f"2026-01-01 00:00:{second:02d}" for second in seconds]
    facts = comparisons.compare(request(FindTransfers()), listed(*times), None)
    assert facts == ({} if order is None else {"order": order})


CREATE = CreatePayment(amount=50_000, order_id="o-1", callback="https://shop.example/back")
VERIFY = VerifyPayment(ref_num="r-1", amount=50_000, card_number="603799******2346", tracking_code="1")


@pytest.mark.parametrize(
    ("status", "seconds", "paid"),
    [("INIT", PAYABLE_SECONDS, None), ("INIT", PAYABLE_SECONDS + 1, "late"), ("FAILED", PAYABLE_SECONDS + 1, None)],
)
def test_compare_payment_made_after_page_lifetime_is_late(
    comparisons: Comparisons, clock: ManualClock, status: str, seconds: float, paid: str | None
) -> None:
    assert PAYABLE_SECONDS == ORDER_LIFETIME_SECONDS
    comparisons.compare(request(CREATE), Created(token="t", ref_num="r-1", order_id="o-1"), None)
    clock.advance(seconds)
    comparisons.compare(
        request(InquirePayment(ref_num="r-1")), GatewayTransaction(status=GatewayStatus(status), ref_num="r-1"), None
    )
    clock.advance(HOUR)
    facts = comparisons.compare(request(VERIFY), Verified(price=50_000, ref_num="r-1"), None)
    assert facts.get("paid") == paid
