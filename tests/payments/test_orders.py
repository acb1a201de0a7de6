"""Stored orders, listed and counted: the same with every database."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from paystar_async import Gateway, Paystar
from paystar_async.errors import InvalidValue
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.order_store import OrderStore
from tests.payments.backends import Backend


async def test_newest_returns_orders_with_payments(backend: Backend, store: OrderStore) -> None:
    for number in range(4):
        order = await store.get_or_create(f"o-{number}", 50_000 + number)
        for attempt in range(number):
            order = order.add_attempt(f"ref-{number}-{attempt}", None)
        await store.update(await store.get_or_create(order.order_id, order.amount), order)
        backend.sql(f"UPDATE paystar_orders SET created_at = {number} WHERE order_id = 'o-{number}'")

    orders = await store.newest(3, None)

    assert [order.order_id for order in orders] == ["o-3", "o-2", "o-1"]
    stored = await store.find("o-3")
    assert stored is not None
    assert orders[0] == evolve(stored, now=orders[0].now)
    assert [len(order.attempts) for order in orders] == [3, 2, 1]
    assert await store.newest(3, OrderStatus.VERIFIED) == []
    assert len(await store.newest(9, OrderStatus.OPEN)) == 4


async def test_totals_count_orders_by_status(store: OrderStore) -> None:
    assert await store.totals() == dict.fromkeys(OrderStatus, 0)
    for number in range(3):
        await store.get_or_create(f"o-{number}", 50_000)
    assert await store.totals() == {**dict.fromkeys(OrderStatus, 0), OrderStatus.OPEN: 3}


@pytest.mark.parametrize(("limit", "state", "field"), [(0, None, "limit"), (10, "paid", "state")])
async def test_orders_invalid_value_is_refused(limit: int, state: Any, field: str, tmp_path: Path) -> None:
    async with Paystar(gateway=Gateway(id="g", sign_key="k"), database=tmp_path / "a.db") as paystar:
        with pytest.raises(InvalidValue) as raised:
            await paystar.payments.orders(limit, state=state)
    assert raised.value.field == field
