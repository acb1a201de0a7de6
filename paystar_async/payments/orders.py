"""Stored orders: look one up, list and count them. No request is made."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from paystar_async.errors import InvalidValue
from paystar_async.payments.models import Order, OrderStatus
from paystar_async.payments.processor import PaymentProcessor
from paystar_async.values.field_type import short_repr
from paystar_async.values.numbers import LIMIT


class StoredOrders(ABC):
    """The stored orders of a gateway."""

    @abstractmethod
    def _processor(self) -> PaymentProcessor:
        """Return the processor of the running event loop; raise ConfigurationError if orders are not stored."""

    async def find(self, *, order_id: str) -> Order | None:
        """Look up a stored order with its status and payments, without a request.

        Args:
            order_id: your order.

        Returns:
            The order, or None if no such order was started.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``order_id`` is not a valid order_id.
            StorageError: the store cannot be used.
        """
        return await self._processor().find(order_id)

    async def orders(self, limit: int = 100, *, state: OrderStatus | None = None) -> Sequence[Order]:
        """Return the stored orders with their payments, newest first, without a request.

        Args:
            limit: maximum number of orders.
            state: only orders with this status; all by default.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``limit`` is below 1, or ``state`` is not a status.
            StorageError: the store cannot be used.
        """
        limit = LIMIT.convert(limit, "limit")
        if state is not None and state not in tuple(OrderStatus):
            raise InvalidValue("state", expected=f"one of {', '.join(OrderStatus)}", got=short_repr(state))
        return await self._processor().store.newest(limit, state)

    async def totals(self) -> Mapping[OrderStatus, int]:
        """Return the number of stored orders with each status, without a request.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            StorageError: the store cannot be used.
        """
        return await self._processor().store.totals()
