"""Where orders are kept, with the payments that were started for them."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Self

from attrs import evolve

from paystar_async.accounts import Accounts, Gateway
from paystar_async.endpoint import Realm
from paystar_async.errors import ConfigurationError, ForeignRecord, StorageCorrupt, StorageError
from paystar_async.payments.models import Order, OrderStatus, PaymentAttempt
from paystar_async.payments.outcomes import Verified
from paystar_async.storage.database import Database, Parameters, Row, Transaction
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
        next_look DOUBLE PRECISION,
        chosen TEXT,
        chosen_at DOUBLE PRECISION NOT NULL,
        verified_at DOUBLE PRECISION NOT NULL,
        tracking_code TEXT,
        card_number TEXT,
        hashed_card_number TEXT,
        told_at DOUBLE PRECISION,
        tell_at DOUBLE PRECISION NOT NULL,
        tries BIGINT NOT NULL,
        PRIMARY KEY (gateway, order_id)
    )
    """,
    "CREATE INDEX paystar_orders_due ON paystar_orders (gateway, state, next_look)",
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
        unpaid_at DOUBLE PRECISION NOT NULL,
        next_look DOUBLE PRECISION,
        PRIMARY KEY (gateway, ref_num)
    )
    """,
    "CREATE INDEX paystar_payments_of ON paystar_payments (gateway, order_id)",
)
_BEGIN = """
INSERT INTO paystar_orders (gateway, order_id, amount, version, state, reason, created_at,
    chosen_at, verified_at, tell_at, tries)
VALUES (:gateway, :order_id, :amount, 1, 'open', '', :now, 0, 0, 0, 0)
ON CONFLICT (gateway, order_id) DO NOTHING
"""
# In one statement, so that an order and its payments are those of one moment.
_FIND = """
SELECT o.*, CAST(:now AS DOUBLE PRECISION) AS now,
    p.ref_num AS p_ref_num, p.payment_amount AS p_payment_amount, p.paid_amount AS p_paid_amount,
    p.state AS p_state, p.reason AS p_reason,
    p.created_at AS p_created_at, p.unpaid_at AS p_unpaid_at, p.next_look AS p_next_look
FROM paystar_orders o
LEFT JOIN paystar_payments p ON p.gateway = o.gateway AND p.order_id = o.order_id
WHERE o.gateway = :gateway AND o.order_id = :order_id
ORDER BY p.created_at, p.ref_num
"""
_CHANGE = """
UPDATE paystar_orders SET version = version + 1, state = :state, reason = :reason, next_look = :next_look,
    chosen = :chosen, chosen_at = :chosen_at, verified_at = :verified_at, tracking_code = :tracking_code,
    card_number = :card_number, hashed_card_number = :hashed_card_number, told_at = :told_at, tell_at = :tell_at,
    tries = :tries
WHERE gateway = :gateway AND order_id = :order_id AND version = :version
"""
_KEEP = """
INSERT INTO paystar_payments (gateway, ref_num, order_id, payment_amount, paid_amount, state, reason, created_at,
    unpaid_at, next_look)
VALUES (:gateway, :ref_num, :order_id, :payment_amount, :paid_amount, :state, :reason, :created_at, :unpaid_at,
    :next_look)
ON CONFLICT (gateway, ref_num) DO UPDATE SET payment_amount = excluded.payment_amount,
    paid_amount = excluded.paid_amount, state = excluded.state, reason = excluded.reason,
    created_at = excluded.created_at, unpaid_at = excluded.unpaid_at, next_look = excluded.next_look
WHERE paystar_payments.order_id = excluded.order_id
"""
_DUE = """
SELECT order_id FROM paystar_orders WHERE gateway = :gateway AND state = :state AND next_look <= :now
ORDER BY next_look LIMIT :limit
"""


class OrderStore:
    """The orders of one gateway, in a database that others may share.

    Args:
        database: where; never closed here.
        gateway: whose; its id is a key, so only its hash is stored.
    """

    def __init__(self, database: Database, gateway: Secret) -> None:
        self._database = database
        self._gateway = hashlib.sha256(f"paystar gateway {gateway.reveal()}".encode()).hexdigest()[:32]
        self._laid_out = False

    @classmethod
    def of(cls, database: Database | None, gateway: Gateway | None) -> Self:
        """The store a client was configured with; raises ConfigurationError naming what is missing."""
        Accounts(gateway=gateway).id(Realm.GATEWAY)
        if database is None or gateway is None:
            raise ConfigurationError(
                "payments.start, and confirm without amount and order_id of the order you stored, keep orders in a "
                "database",
                hint='give Paystar(database="paystar.db") or set PAYSTAR_DATABASE',
            )
        return cls(database, gateway.id)

    async def begin(self, order_id: str, amount: int) -> Order:
        """The order as it is stored; stored with this amount if it was not there yet."""
        async with self._tables() as database:
            await database.execute(_BEGIN, self._key(order_id, amount=amount))
        order = await self.find(order_id)
        if order is None:
            raise StorageError("an order that was just stored is gone", hint="does somebody delete them?")
        return order

    async def find(self, order_id: str) -> Order | None:
        """The order as it is stored."""
        async with self._tables() as database:
            rows = await database.fetch(_FIND, self._key(order_id))
        return _order(rows) if rows else None

    async def put(self, before: Order, after: Order) -> Order | None:
        """Store what became of an order; None if it changed meanwhile, and nothing was stored.

        Raises:
            ForeignRecord: a payment of it is stored as another order's; nothing was stored.
        """
        if after == before:
            return before
        async with self._tables() as database, database.transaction() as transaction:
            if not await transaction.execute(_CHANGE, self._key(after.order_id, **_columns(after))):
                return None
            for one in set(after.attempts) - set(before.attempts):
                await self._keep(transaction, after.order_id, one)
        return evolve(after, version=after.version + 1)

    async def due(self, state: OrderStatus, limit: int) -> list[str]:
        """The order_ids of those in a state for which it is time, the longest overdue first."""
        async with self._tables() as database:
            parameters: Parameters = {"gateway": self._gateway, "state": state.value, "limit": limit}
            return [row["order_id"] for row in await database.fetch(_DUE, parameters)]

    async def _keep(self, transaction: Transaction, order_id: str, one: PaymentAttempt) -> None:
        columns = self._key(
            order_id,
            ref_num=one.ref_num,
            payment_amount=one.payment_amount,
            paid_amount=one.paid_amount,
            state=one.state.value,
            reason=one.reason,
            created_at=one.created_at,
            unpaid_at=one.unpaid_at,
            next_look=one.next_look,
        )
        if not await transaction.execute(_KEEP, columns):
            raise ForeignRecord("this ref_num is stored as another order's payment")

    def _key(self, order_id: str, **more: str | float | None) -> Parameters:
        return {"gateway": self._gateway, "order_id": order_id, **more}

    @asynccontextmanager
    async def _tables(self) -> AsyncGenerator[Database, None]:
        try:
            if not self._laid_out:
                await self._database.migrate("orders", SCHEMA)
                self._laid_out = True
            yield self._database
        except StorageError:
            self._laid_out = False  # the file may be another by now, or the server restored
            raise


def _columns(order: Order) -> dict[str, Any]:
    receipt = order.verified or Verified()
    return {
        "version": order.version,
        "state": order.state.value,
        "reason": order.reason,
        "next_look": order.next_look,
        "chosen": order.reserved_ref_num,
        "chosen_at": order.chosen_at,
        "verified_at": order.verified_at,
        "tracking_code": receipt.tracking_code,
        "card_number": receipt.card_number,
        "hashed_card_number": receipt.hashed_card_number,
        "told_at": order.told_at,
        "tell_at": order.tell_at,
        "tries": order.tries,
    }


def _order(rows: list[Row]) -> Order:
    row = rows[0]
    try:
        verified = OrderStatus(row["state"]) is OrderStatus.VERIFIED
        return Order(
            order_id=row["order_id"],
            amount=row["amount"],
            version=row["version"],
            now=row["now"],
            created_at=row["created_at"],
            reserved_ref_num=row["chosen"],
            chosen_at=row["chosen_at"],
            verified=Verified(
                tracking_code=row["tracking_code"],
                card_number=row["card_number"],
                hashed_card_number=row["hashed_card_number"],
            )
            if verified
            else None,
            verified_at=row["verified_at"],
            told_at=row["told_at"],
            tell_at=row["tell_at"],
            tries=row["tries"],
            attempts=tuple(_attempt(one) for one in rows if one["p_ref_num"] is not None),
        )
    except ValueError:
        raise StorageCorrupt("an order is stored with a state that is none") from None


def _attempt(row: Row) -> PaymentAttempt:
    return PaymentAttempt(
        ref_num=row["p_ref_num"],
        payment_amount=row["p_payment_amount"],
        paid_amount=row["p_paid_amount"],
        state=OrderStatus(row["p_state"]),
        reason=row["p_reason"],
        created_at=row["p_created_at"],
        unpaid_at=row["p_unpaid_at"],
        next_look=row["p_next_look"],
    )
