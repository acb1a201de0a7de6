"""One suite for the order store on every database; each test says a thing the flows build on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from attrs import evolve

from paystar_async.errors import ForeignRecord, SchemaMismatch, StorageCorrupt, StorageError
from paystar_async.payments import AmountMismatch, Cancelled, Declined, Expired, Undecided, Verified
from paystar_async.payments.models import CHECK_SCHEDULE_SECONDS, Order, OrderStatus
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.verification_models import VerificationResult
from tests.payments.places import PLACES, Place, make_place

AMOUNT = 50_000
RECEIPT = Verified(tracking_code="123456", card_number="502229******6708", hashed_card_number="ABC")


@pytest_asyncio.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = make_place(request, tmp_path)
    yield place
    await place.aclose()


@pytest.fixture
def store(place: Place) -> OrderStore:
    return place.store()


async def change(store: OrderStore, before: Order, after: Order) -> Order:
    stored = await store.update(before, after)
    assert stored is not None
    return stored


async def started(store: OrderStore, order_id: str = "o-1", *refs: str) -> Order:
    order = await store.get_or_create(order_id, AMOUNT)
    for ref_num in refs or (f"ref-{order_id}",):
        order = await change(store, order, order.add_attempt(ref_num, AMOUNT + 1))
    return order


def learnt(order: Order, ref_num: str, finding: VerificationResult) -> Order:
    return order.apply_result(ref_num, finding, scheduled=False, notify_after_seconds=0.0)


async def test_what_was_never_stored_is_not_there(store: OrderStore) -> None:
    assert await store.find("o-1") is None
    assert await store.due_order_ids(OrderStatus.OPEN, 10) == []


async def test_an_order_is_stored_once_with_its_first_amount(place: Place, store: OrderStore) -> None:
    order = await store.get_or_create("o-1", AMOUNT)
    again = await store.get_or_create("o-1", AMOUNT * 10)

    assert (order.amount, order.version, order.state, order.attempts) == (AMOUNT, 1, OrderStatus.OPEN, ())
    assert order.created_at == pytest.approx(place.now(), abs=2)
    assert order.now == pytest.approx(place.now(), abs=2)
    assert evolve(again, now=order.now) == order


@pytest.mark.parametrize("order_id", ["1", "ORD-45245", "سفارش ۱۲", "o\"\\'%:;--", "x" * 255])
async def test_an_order_comes_back_as_it_went(store: OrderStore, order_id: str) -> None:
    order = await started(store, order_id, "ref-1", "ref-2")
    bound = await change(store, order, order.reserve("ref-2"))

    found = await store.find(order_id)

    assert found is not None
    assert evolve(found, now=bound.now) == bound
    assert [one.ref_num for one in found.attempts] == ["ref-1", "ref-2"]
    assert found.reserved_ref_num == "ref-2"
    assert found.attempts[0].next_check_at == found.attempts[0].created_at + CHECK_SCHEDULE_SECONDS[0]


async def test_a_verified_order_comes_back_with_its_receipt(store: OrderStore) -> None:
    order = await started(store, "o-1", "ref-1", "ref-2")
    order = await change(store, order, order.reserve("ref-1"))
    order = await change(store, order, learnt(order, "ref-1", VerificationResult(outcome=RECEIPT, settled=True)))

    found = await store.find("o-1")

    assert found is not None
    assert found.verified == RECEIPT
    assert found.outcome("ref-1") == RECEIPT
    assert isinstance(found.outcome("ref-2"), Declined)
    assert isinstance(found.outcome("ref-3"), Declined)
    assert [one.next_check_at for one in found.attempts] == [None, None]
    assert await store.due_order_ids(OrderStatus.VERIFIED, 10) == ["o-1"]
    await change(store, found, found.notified())
    assert await store.due_order_ids(OrderStatus.VERIFIED, 10) == []


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Cancelled(), OrderStatus.CANCELLED),
        (Declined(reason="why"), OrderStatus.DECLINED),
        (Expired(reason="why"), OrderStatus.EXPIRED),
        (AmountMismatch(expected=AMOUNT, got=1), OrderStatus.MISMATCH),
    ],
)
async def test_what_came_to_nothing_comes_back_with_its_reason(
    store: OrderStore, outcome: Cancelled | Declined | Expired | AmountMismatch, state: OrderStatus
) -> None:
    order = await started(store)
    assert isinstance(order.outcome("ref-o-1"), Undecided)
    order = await change(store, order, order.reserve("ref-o-1"))
    await change(store, order, learnt(order, "ref-o-1", VerificationResult(outcome=outcome, settled=True)))

    found = await store.find("o-1")

    assert found is not None
    assert (found.state, found.next_check_at, found.reserved_ref_num) == (state, None, None)
    assert found.reason == getattr(outcome, "reason", "")
    assert found.outcome("ref-o-1") == outcome
    assert await store.due_order_ids(OrderStatus.OPEN, 10) == []


async def test_only_the_latest_version_can_be_changed(store: OrderStore) -> None:
    order = await started(store)
    bound = await change(store, order, order.reserve("ref-o-1"))

    assert await store.update(order, order.add_attempt("ref-2", None)) is None
    assert await store.update(order, order.reserve("ref-o-1")) is None

    found = await store.find("o-1")
    assert found is not None
    assert evolve(found, now=bound.now) == bound


async def test_what_does_not_change_is_not_stored(store: OrderStore) -> None:
    order = await started(store)

    assert await store.update(order, order) is order
    assert (await store.get_or_create("o-1", AMOUNT)).version == order.version


async def test_a_payment_belongs_to_one_order_and_nothing_of_a_change_that_is_refused_stays(store: OrderStore) -> None:
    await started(store, "o-1", "ref-1")
    other = await store.get_or_create("o-2", AMOUNT)

    with pytest.raises(ForeignRecord):
        await store.update(other, other.add_attempt("ref-1", None))

    found = await store.find("o-2")
    assert found is not None
    assert (found.version, found.attempts) == (other.version, ())


async def test_a_payment_the_gateway_names_again_is_the_same_payment(store: OrderStore) -> None:
    order = await started(store, "o-1", "ref-1")
    again = await change(store, order, order.add_attempt("ref-1", None))

    assert len(again.attempts) == 1
    found = await store.find("o-1")
    assert found is not None
    assert found.attempts == again.attempts


async def test_each_gateway_has_orders_of_its_own(place: Place, store: OrderStore) -> None:
    other = place.store("gateway-2")
    await started(store, "o-1", "ref-1")

    assert await other.find("o-1") is None
    await started(other, "o-1", "ref-1")
    assert (await other.get_or_create("o-1", 1)).amount == AMOUNT


async def test_what_is_due_comes_the_longest_overdue_first(place: Place, store: OrderStore) -> None:
    for number, ago in enumerate([10.0, 500.0, 100.0, -1000.0]):
        order = await started(store, f"o-{number}")
        moved = tuple(evolve(one, next_check_at=order.now - ago) for one in order.attempts)
        await change(store, order, evolve(order, attempts=moved))

    assert await store.due_order_ids(OrderStatus.OPEN, 10) == ["o-1", "o-2", "o-0"]
    assert await store.due_order_ids(OrderStatus.OPEN, 2) == ["o-1", "o-2"]
    assert await store.due_order_ids(OrderStatus.VERIFIED, 10) == []
    assert await place.store("gateway-2").due_order_ids(OrderStatus.OPEN, 10) == []


async def test_of_many_that_change_one_wins(place: Place, store: OrderStore) -> None:
    others = [place.store() for _ in range(3)]
    order = await started(store, "o-1", "ref-1", "ref-2")

    answers = await asyncio.gather(
        *(one.update(order, order.reserve(f"ref-{1 + number % 2}")) for number, one in enumerate((store, *others) * 4))
    )

    [won] = [one for one in answers if one is not None]
    found = await store.find("o-1")
    assert found is not None
    assert (found.version, found.reserved_ref_num) == (won.version, won.reserved_ref_num)


async def test_of_many_that_store_an_order_first_one_does(place: Place, store: OrderStore) -> None:
    stores = [store, *(place.store() for _ in range(3))]

    orders = await asyncio.gather(*(one.get_or_create("o-1", AMOUNT + number) for number, one in enumerate(stores * 4)))

    assert len({one.amount for one in orders}) == 1
    assert {one.version for one in orders} == {1}


async def test_a_state_that_is_none_is_damage_and_is_not_touched(place: Place, store: OrderStore) -> None:
    await started(store)
    place.spoil("UPDATE paystar_orders SET state = 'paid'")

    with pytest.raises(StorageCorrupt):
        await store.find("o-1")


async def test_tables_of_a_newer_version_are_left_alone(place: Place, store: OrderStore) -> None:
    await started(store)
    place.spoil("UPDATE paystar_schema SET version = 99 WHERE name = 'orders'")

    with pytest.raises(SchemaMismatch):
        await place.store().find("o-1")


async def test_tables_that_are_dropped_under_way_are_an_error_of_the_store(place: Place, store: OrderStore) -> None:
    await started(store)
    place.spoil("DROP TABLE paystar_payments")

    with pytest.raises(StorageError):
        await store.find("o-1")


async def test_an_order_that_somebody_deletes_is_an_error_of_the_store(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: str) -> None:
        return None

    monkeypatch.setattr(store, "find", gone)
    with pytest.raises(StorageError, match="gone"):
        await store.get_or_create("o-1", AMOUNT)
