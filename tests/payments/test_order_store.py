"""The order store: one suite for every database."""

import asyncio

import pytest
from attrs import evolve

from paystar_async.errors import ForeignRecord, SchemaMismatch, StorageCorrupt, StorageError
from paystar_async.payments import AmountMismatch, Cancelled, Declined, Expired, Undecided, Verified
from paystar_async.payments.models import CHECK_SCHEDULE_SECONDS, Order, OrderStatus
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.verification_models import VerificationResult
from tests.payments.backends import Backend

AMOUNT = 50_000
RECEIPT = Verified(tracking_code="123456", card_number="502229******6708", hashed_card_number="ABC")


async def change(store: OrderStore, before: Order, after: Order) -> Order:
    stored = await store.update(before, after)
    assert stored is not None
    return stored


async def stored_order_with(store: OrderStore, order_id: str = "o-1", *ref_nums: str) -> Order:
    """Store an order with open payments and return the order."""
    order = await store.get_or_create(order_id, AMOUNT)
    for ref_num in ref_nums or (f"ref-{order_id}",):
        order = await change(store, order, order.add_attempt(ref_num, AMOUNT + 1))
    return order


def apply(order: Order, ref_num: str, result: VerificationResult) -> Order:
    return order.apply_result(ref_num, result, scheduled=False, notify_after_seconds=0.0)


async def test_find_unknown_order_returns_none(store: OrderStore) -> None:
    assert await store.find("o-1") is None
    assert await store.due_order_ids(OrderStatus.OPEN, 10) == []


async def test_get_or_create_keeps_first_amount(backend: Backend, store: OrderStore) -> None:
    order = await store.get_or_create("o-1", AMOUNT)
    second = await store.get_or_create("o-1", AMOUNT * 10)

    assert (order.amount, order.version, order.state, order.attempts) == (AMOUNT, 1, OrderStatus.OPEN, ())
    assert order.created_at == pytest.approx(backend.now(), abs=2)
    assert order.now == pytest.approx(backend.now(), abs=2)
    assert evolve(second, now=order.now) == order


@pytest.mark.parametrize("order_id", ["1", "ORD-45245", "سفارش ۱۲", "o\"\\'%:;--", "x" * 255])
async def test_find_returns_order_as_stored(store: OrderStore, order_id: str) -> None:
    order = await stored_order_with(store, order_id, "ref-1", "ref-2")
    reserved = await change(store, order, order.reserve("ref-2"))

    stored_order = await store.find(order_id)

    assert stored_order is not None
    assert evolve(stored_order, now=reserved.now) == reserved
    assert [attempt.ref_num for attempt in stored_order.attempts] == ["ref-1", "ref-2"]
    assert stored_order.reserved_ref_num == "ref-2"
    assert stored_order.attempts[0].next_check_at == stored_order.attempts[0].created_at + CHECK_SCHEDULE_SECONDS[0]


async def test_find_verified_order_has_receipt(store: OrderStore) -> None:
    order = await stored_order_with(store, "o-1", "ref-1", "ref-2")
    order = await change(store, order, order.reserve("ref-1"))
    order = await change(store, order, apply(order, "ref-1", VerificationResult(outcome=RECEIPT, settled=True)))

    stored_order = await store.find("o-1")

    assert stored_order is not None
    assert stored_order.verified == RECEIPT
    assert stored_order.outcome("ref-1") == RECEIPT
    assert isinstance(stored_order.outcome("ref-2"), Declined)
    assert isinstance(stored_order.outcome("ref-3"), Declined)
    assert [attempt.next_check_at for attempt in stored_order.attempts] == [None, None]
    assert await store.due_order_ids(OrderStatus.VERIFIED, 10) == ["o-1"]
    await change(store, stored_order, stored_order.notified())
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
async def test_find_ended_order_has_reason(
    store: OrderStore, outcome: Cancelled | Declined | Expired | AmountMismatch, state: OrderStatus
) -> None:
    order = await stored_order_with(store)
    assert isinstance(order.outcome("ref-o-1"), Undecided)
    order = await change(store, order, order.reserve("ref-o-1"))
    await change(store, order, apply(order, "ref-o-1", VerificationResult(outcome=outcome, settled=True)))

    stored_order = await store.find("o-1")

    assert stored_order is not None
    assert (stored_order.state, stored_order.next_check_at, stored_order.reserved_ref_num) == (state, None, None)
    assert stored_order.reason == getattr(outcome, "reason", "")
    assert stored_order.outcome("ref-o-1") == outcome
    assert await store.due_order_ids(OrderStatus.OPEN, 10) == []


async def test_update_stale_version_is_refused(store: OrderStore) -> None:
    order = await stored_order_with(store)
    reserved = await change(store, order, order.reserve("ref-o-1"))

    assert await store.update(order, order.add_attempt("ref-2", None)) is None
    assert await store.update(order, order.reserve("ref-o-1")) is None

    stored_order = await store.find("o-1")
    assert stored_order is not None
    assert evolve(stored_order, now=reserved.now) == reserved


async def test_update_without_change_is_noop(store: OrderStore) -> None:
    order = await stored_order_with(store)

    assert await store.update(order, order) is order
    assert (await store.get_or_create("o-1", AMOUNT)).version == order.version


async def test_update_other_orders_payment_stores_nothing(store: OrderStore) -> None:
    await stored_order_with(store, "o-1", "ref-1")
    other = await store.get_or_create("o-2", AMOUNT)

    with pytest.raises(ForeignRecord):
        await store.update(other, other.add_attempt("ref-1", None))

    stored_order = await store.find("o-2")
    assert stored_order is not None
    assert (stored_order.version, stored_order.attempts) == (other.version, ())


async def test_update_repeated_ref_num_is_one_payment(store: OrderStore) -> None:
    order = await stored_order_with(store, "o-1", "ref-1")
    updated = await change(store, order, order.add_attempt("ref-1", None))

    assert len(updated.attempts) == 1
    stored_order = await store.find("o-1")
    assert stored_order is not None
    assert stored_order.attempts == updated.attempts


async def test_find_separates_gateways(backend: Backend, store: OrderStore) -> None:
    other = backend.store("gateway-2")
    await stored_order_with(store, "o-1", "ref-1")

    assert await other.find("o-1") is None
    await stored_order_with(other, "o-1", "ref-1")
    assert (await other.get_or_create("o-1", 1)).amount == AMOUNT


async def test_due_order_ids_longest_overdue_first(backend: Backend, store: OrderStore) -> None:
    for number, overdue in enumerate([10.0, 500.0, 100.0, -1000.0]):
        order = await stored_order_with(store, f"o-{number}")
        attempts = tuple(evolve(attempt, next_check_at=order.now - overdue) for attempt in order.attempts)
        await change(store, order, evolve(order, attempts=attempts))

    assert await store.due_order_ids(OrderStatus.OPEN, 10) == ["o-1", "o-2", "o-0"]
    assert await store.due_order_ids(OrderStatus.OPEN, 2) == ["o-1", "o-2"]
    assert await store.due_order_ids(OrderStatus.VERIFIED, 10) == []
    assert await backend.store("gateway-2").due_order_ids(OrderStatus.OPEN, 10) == []


async def test_update_concurrently_succeeds_once(backend: Backend, store: OrderStore) -> None:
    stores = [store, *(backend.store() for _ in range(3))]
    order = await stored_order_with(store, "o-1", "ref-1", "ref-2")

    results = await asyncio.gather(
        *(store.update(order, order.reserve(f"ref-{1 + number % 2}")) for number, store in enumerate(stores * 4))
    )

    [winner] = [result for result in results if result is not None]
    stored_order = await store.find("o-1")
    assert stored_order is not None
    assert (stored_order.version, stored_order.reserved_ref_num) == (winner.version, winner.reserved_ref_num)


async def test_get_or_create_concurrently_creates_once(backend: Backend, store: OrderStore) -> None:
    stores = [store, *(backend.store() for _ in range(3))]

    orders = await asyncio.gather(
        *(store.get_or_create("o-1", AMOUNT + number) for number, store in enumerate(stores * 4))
    )

    assert len({order.amount for order in orders}) == 1
    assert {order.version for order in orders} == {1}


async def test_find_unknown_state_is_corrupt(backend: Backend, store: OrderStore) -> None:
    await stored_order_with(store)
    backend.sql("UPDATE paystar_orders SET state = 'paid'")

    with pytest.raises(StorageCorrupt):
        await store.find("o-1")


@pytest.mark.parametrize("column", ["created_at", "reserved_at", "verified_at", "notify_at", "notified_at"])
async def test_find_order_with_invalid_time_is_corrupt(backend: Backend, store: OrderStore, column: str) -> None:
    await stored_order_with(store)
    backend.sql(f"UPDATE paystar_orders SET {column} = 'Infinity'")

    with pytest.raises(StorageCorrupt, match=f"the stored order has an invalid {column}"):
        await store.find("o-1")


@pytest.mark.parametrize("column", ["created_at", "last_unpaid_at", "next_check_at"])
async def test_find_payment_with_invalid_time_is_corrupt(backend: Backend, store: OrderStore, column: str) -> None:
    await stored_order_with(store)
    backend.sql(f"UPDATE paystar_payments SET {column} = 'Infinity'")

    with pytest.raises(StorageCorrupt, match=f"the stored payment has an invalid {column}"):
        await store.find("o-1")


async def test_find_newer_schema_is_refused(backend: Backend, store: OrderStore) -> None:
    await stored_order_with(store)
    backend.sql("UPDATE paystar_schema SET version = 99 WHERE name = 'orders'")

    with pytest.raises(SchemaMismatch):
        await backend.store().find("o-1")


async def test_find_dropped_table_is_storage_error(backend: Backend, store: OrderStore) -> None:
    await stored_order_with(store)
    backend.sql("DROP TABLE paystar_payments")

    with pytest.raises(StorageError):
        await store.find("o-1")


async def test_get_or_create_deleted_order_is_storage_error(store: OrderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find_nothing(_: str) -> None:
        return None

    monkeypatch.setattr(store, "find", find_nothing)
    with pytest.raises(StorageError, match="gone"):
        await store.get_or_create("o-1", AMOUNT)
