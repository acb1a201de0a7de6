"""Order store: the orders of one gateway and their payments, in a database."""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, Self

from attrs import evolve

from paystar_async.credentials import Credentials, Gateway, Realm
from paystar_async.errors import ConfigurationError, ForeignRecord, StorageCorrupt, StorageError
from paystar_async.payments.models import Order, OrderStatus, PaymentAttempt
from paystar_async.payments.outcomes import Verified
from paystar_async.storage.database import Database, Parameters, Row, Transaction
from paystar_async.storage.record_types import require_types
from paystar_async.values.secret import Secret

SCHEMA = (
    """
    CREATE TABLE paystar_orders (
        gateway TEXT NOT NULL,
        order_id TEXT NOT NULL,
        amount BIGINT NOT NULL,
        version BIGINT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        next_check_at DOUBLE PRECISION,
        reserved_ref_num TEXT,
        reserved_at DOUBLE PRECISION NOT NULL,
        verified_at DOUBLE PRECISION NOT NULL,
        tracking_code TEXT,
        card_number TEXT,
        hashed_card_number TEXT,
        notified_at DOUBLE PRECISION,
        notify_at DOUBLE PRECISION NOT NULL,
        notify_attempts BIGINT NOT NULL,
        PRIMARY KEY (gateway, order_id)
    )
    """,
    "CREATE INDEX paystar_orders_due ON paystar_orders (gateway, state, next_check_at)",
    """
    CREATE TABLE paystar_payments (
        gateway TEXT NOT NULL,
        ref_num TEXT NOT NULL,
        order_id TEXT NOT NULL,
        payment_amount BIGINT,
        paid_amount BIGINT,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        last_unpaid_at DOUBLE PRECISION NOT NULL,
        next_check_at DOUBLE PRECISION,
        PRIMARY KEY (gateway, ref_num)
    )
    """,
    "CREATE INDEX paystar_payments_order ON paystar_payments (gateway, order_id)",
    "CREATE INDEX paystar_orders_created ON paystar_orders (gateway, created_at)",
)
INSERT_ORDER = """
INSERT INTO paystar_orders (gateway, order_id, amount, version, state, reason, created_at,
    reserved_at, verified_at, notify_at, notify_attempts)
VALUES (:gateway, :order_id, :amount, 1, 'open', '', :now, 0, 0, 0, 0)
ON CONFLICT (gateway, order_id) DO NOTHING
"""
# A single statement reads an order and its payments at the same time.
_SELECT_ORDERS = """
SELECT o.*, CAST(:now AS DOUBLE PRECISION) AS now,
    p.ref_num AS p_ref_num, p.payment_amount AS p_payment_amount, p.paid_amount AS p_paid_amount,
    p.state AS p_state, p.reason AS p_reason,
    p.created_at AS p_created_at, p.last_unpaid_at AS p_last_unpaid_at, p.next_check_at AS p_next_check_at
FROM paystar_orders o
LEFT JOIN paystar_payments p ON p.gateway = o.gateway AND p.order_id = o.order_id
WHERE o.gateway = :gateway AND o.order_id {condition}
ORDER BY o.created_at DESC, o.order_id, p.created_at, p.ref_num
"""
SELECT_ORDER = _SELECT_ORDERS.format(condition="= :order_id")
_SELECT_NEWEST = _SELECT_ORDERS.format(
    condition="""IN (
    SELECT order_id FROM paystar_orders WHERE gateway = :gateway AND state = COALESCE(CAST(:state AS TEXT), state)
    ORDER BY created_at DESC, order_id LIMIT :limit
)"""
)
_COUNT_ORDERS = "SELECT state, COUNT(*) AS count FROM paystar_orders WHERE gateway = :gateway GROUP BY state"
UPDATE_ORDER = """
UPDATE paystar_orders SET version = version + 1, state = :state, reason = :reason, next_check_at = :next_check_at,
    reserved_ref_num = :reserved_ref_num, reserved_at = :reserved_at, verified_at = :verified_at,
    tracking_code = :tracking_code, card_number = :card_number, hashed_card_number = :hashed_card_number,
    notified_at = :notified_at, notify_at = :notify_at, notify_attempts = :notify_attempts
WHERE gateway = :gateway AND order_id = :order_id AND version = :version
"""
UPSERT_PAYMENT = """
INSERT INTO paystar_payments (gateway, ref_num, order_id, payment_amount, paid_amount, state, reason, created_at,
    last_unpaid_at, next_check_at)
VALUES (:gateway, :ref_num, :order_id, :payment_amount, :paid_amount, :state, :reason, :created_at, :last_unpaid_at,
    :next_check_at)
ON CONFLICT (gateway, ref_num) DO UPDATE SET payment_amount = excluded.payment_amount,
    paid_amount = excluded.paid_amount, state = excluded.state, reason = excluded.reason,
    created_at = excluded.created_at, last_unpaid_at = excluded.last_unpaid_at, next_check_at = excluded.next_check_at
WHERE paystar_payments.order_id = excluded.order_id
"""
SELECT_DUE = """
SELECT order_id FROM paystar_orders WHERE gateway = :gateway AND state = :state AND next_check_at <= :now
ORDER BY next_check_at LIMIT :limit
"""


class OrderStore:
    """The orders of one gateway, in a database that other processes may share.

    Args:
        database: the database; never closed here.
        gateway: the gateway's id; the id is a key, so only its hash is stored.
    """

    def __init__(self, database: Database, gateway: Secret) -> None:
        self._database = database
        self._gateway = hashlib.sha256(f"paystar gateway {gateway.reveal()}".encode()).hexdigest()[:32]
        self._is_migrated = False

    @classmethod
    def create(cls, database: Database | None, gateway: Gateway | None) -> Self:
        """Return the store of a client's configuration; raise ConfigurationError naming the missing setting."""
        Credentials(gateway=gateway).account_id(Realm.GATEWAY)  # raises without a gateway
        if database is None or gateway is None:
            raise ConfigurationError(
                "payments.start, and confirm without amount and order_id of the order you stored, need a database",
                hint='give Paystar(database="paystar.db") or set PAYSTAR_DATABASE',
            )
        return cls(database, gateway.id)

    async def get_or_create(self, order_id: str, amount: int) -> Order:
        """Return a stored order; a new order is stored with this amount first."""
        async with self._migrated_database() as database:
            await database.execute(INSERT_ORDER, self._params(order_id, amount=amount))
        order = await self.find(order_id)
        if order is None:
            raise StorageError("an order that was just stored is gone", hint="is something deleting orders?")
        return order

    async def find(self, order_id: str) -> Order | None:
        """Return a stored order, or None."""
        async with self._migrated_database() as database:
            rows = await database.fetch(SELECT_ORDER, self._params(order_id))
        return _read_order(rows) if rows else None

    async def update(self, before: Order, after: Order) -> Order | None:
        """Replace an order if no worker has changed it since ``before`` was read.

        Args:
            before: the order as it was read.
            after: the changed order.

        Returns:
            The stored order, or None if another worker has changed it: then nothing was stored.

        Raises:
            ForeignRecord: a payment of the order is stored as another order's; nothing was stored.
        """
        if after == before:
            return before
        async with self._migrated_database() as database, database.transaction() as transaction:
            if not await transaction.execute(UPDATE_ORDER, self._params(after.order_id, **_columns(after))):
                return None
            for attempt in set(after.attempts) - set(before.attempts):
                await self._upsert_payment(transaction, after.order_id, attempt)
        return evolve(after, version=after.version + 1)

    async def due_order_ids(self, state: OrderStatus, limit: int) -> list[str]:
        """Return the order_ids of at most ``limit`` orders of a status that are due, the longest overdue first."""
        async with self._migrated_database() as database:
            params: Parameters = {"gateway": self._gateway, "state": state.value, "limit": limit}
            return [row["order_id"] for row in await database.fetch(SELECT_DUE, params)]

    async def newest(self, limit: int, state: OrderStatus | None) -> list[Order]:
        """Return at most ``limit`` orders, of one status or of all, the newest first."""
        params: Parameters = {"gateway": self._gateway, "limit": limit, "state": None if state is None else str(state)}
        async with self._migrated_database() as database:
            rows = await database.fetch(_SELECT_NEWEST, params)
        return [_read_order(list(group)) for _, group in groupby(rows, key=lambda row: row["order_id"])]

    async def totals(self) -> Mapping[OrderStatus, int]:
        """Return the number of orders with each status."""
        async with self._migrated_database() as database:
            rows = await database.fetch(_COUNT_ORDERS, {"gateway": self._gateway})
        counts = {row["state"]: int(row["count"]) for row in rows}
        return {status: counts.get(status.value, 0) for status in OrderStatus}

    async def _upsert_payment(self, transaction: Transaction, order_id: str, attempt: PaymentAttempt) -> None:
        """Insert or update a payment; raise ForeignRecord if the payment is stored as another order's."""
        params = self._params(
            order_id,
            ref_num=attempt.ref_num,
            payment_amount=attempt.payment_amount,
            paid_amount=attempt.paid_amount,
            state=attempt.state.value,
            reason=attempt.reason,
            created_at=attempt.created_at,
            last_unpaid_at=attempt.last_unpaid_at,
            next_check_at=attempt.next_check_at,
        )
        if not await transaction.execute(UPSERT_PAYMENT, params):
            raise ForeignRecord("this ref_num is stored as another order's payment")

    def _params(self, order_id: str, **columns: str | float | None) -> Parameters:
        """Return SQL parameters: the primary key of an order, and further columns."""
        return {"gateway": self._gateway, "order_id": order_id, **columns}

    @asynccontextmanager
    async def _migrated_database(self) -> AsyncGenerator[Database, None]:
        """Yield the database after its migration; migrate again after an error of the store."""
        try:
            if not self._is_migrated:
                await self._database.migrate("orders", SCHEMA)
                self._is_migrated = True
            yield self._database
        except StorageError:
            self._is_migrated = False  # the file may have been replaced, or the server restored
            raise


def _columns(order: Order) -> dict[str, Any]:
    """Return the columns of an order that may change."""
    receipt = order.verified or Verified()
    return {
        "version": order.version,
        "state": order.state.value,
        "reason": order.reason,
        "next_check_at": order.next_check_at,
        "reserved_ref_num": order.reserved_ref_num,
        "reserved_at": order.reserved_at,
        "verified_at": order.verified_at,
        "tracking_code": receipt.tracking_code,
        "card_number": receipt.card_number,
        "hashed_card_number": receipt.hashed_card_number,
        "notified_at": order.notified_at,
        "notify_at": order.notify_at,
        "notify_attempts": order.notify_attempts,
    }


def _read_order(rows: list[Row]) -> Order:
    """Return the order of the rows of SELECT_ORDER, one for each payment."""
    row = rows[0]
    try:
        is_verified = OrderStatus(row["state"]) is OrderStatus.VERIFIED
        order = Order(
            order_id=row["order_id"],
            amount=row["amount"],
            version=row["version"],
            now=row["now"],
            created_at=row["created_at"],
            reserved_ref_num=row["reserved_ref_num"],
            reserved_at=row["reserved_at"],
            verified=Verified(
                tracking_code=row["tracking_code"],
                card_number=row["card_number"],
                hashed_card_number=row["hashed_card_number"],
            )
            if is_verified
            else None,
            verified_at=row["verified_at"],
            notified_at=row["notified_at"],
            notify_at=row["notify_at"],
            notify_attempts=row["notify_attempts"],
            attempts=tuple(_read_attempt(row) for row in rows if row["p_ref_num"] is not None),
        )
        if order.verified is not None:
            require_types(order.verified, "receipt")
        return require_types(order, "order")
    except ValueError:
        raise StorageCorrupt("an order is stored with an unknown state") from None


def _read_attempt(row: Row) -> PaymentAttempt:
    """Return the payment of a row of SELECT_ORDER."""
    attempt = PaymentAttempt(
        ref_num=row["p_ref_num"],
        payment_amount=row["p_payment_amount"],
        paid_amount=row["p_paid_amount"],
        state=OrderStatus(row["p_state"]),
        reason=row["p_reason"],
        created_at=row["p_created_at"],
        last_unpaid_at=row["p_last_unpaid_at"],
        next_check_at=row["p_next_check_at"],
    )
    return require_types(attempt, "payment")
