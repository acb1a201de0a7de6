"""Notifications of verified payments: handlers are called at least once, concurrently, each with a timeout."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import anyio
import anyio.to_thread
from attrs import frozen

from paystar_async.errors import StorageError
from paystar_async.payments.models import Order
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.outcomes import Payment
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import logger
from paystar_async.runtime.tasks import BackgroundTask
from paystar_async.values.masking import mask_text

Handler = Callable[[Payment], Awaitable[object] | object]
"""A handler of verified payments: a coroutine function, or a plain function, which runs in a thread."""

DEFAULT_TIMEOUT_SECONDS = 60.0
MAX_TIMEOUT_SECONDS = 3600.0
MAX_NOTIFICATIONS = 64
"""Concurrent notifications in one event loop; the others wait for one of them to end."""
CLOSE_TIMEOUT_SECONDS = 10.0
"""Time that handlers have left when their client closes."""
MIN_LEASE_SECONDS = 180.0
LEASE_MARGIN_SECONDS = 60.0


@frozen(kw_only=True)
class Subscriber:
    """A handler with its timeout in seconds."""

    handler: Handler
    timeout: float


class Notifier:
    """The notification of handlers in one event loop.

    Args:
        store: records that an order was notified.
        subscribers: the handlers; more may be added later.
        start: starts work in the background of the event loop.
        clock: the client's clock.
    """

    def __init__(
        self,
        store: OrderStore,
        subscribers: list[Subscriber],
        start: Callable[[Callable[[], Awaitable[None]]], BackgroundTask[None]],
        clock: Clock,
    ) -> None:
        self._store, self._subscribers, self._start, self._clock = store, subscribers, start, clock
        self._slots = anyio.Semaphore(MAX_NOTIFICATIONS)
        self._threads = anyio.CapacityLimiter(MAX_NOTIFICATIONS)
        self._deadlines: dict[anyio.CancelScope, float] = {}
        """The running handlers, and their deadlines by the client's clock."""
        self._running = 0
        self._ended = anyio.Event()
        """Set and replaced when a notification ends."""
        self._closing = False

    @property
    def is_idle(self) -> bool:
        """Return True if there is no handler to notify."""
        return not self._subscribers

    @property
    def is_full(self) -> bool:
        """Return True if another notification would have to wait."""
        return self._running >= MAX_NOTIFICATIONS

    @property
    def lease_seconds(self) -> float:
        """Return the seconds after which a process that notifies is regarded as dead."""
        longest = max((subscriber.timeout for subscriber in self._subscribers), default=0.0)
        return max(MIN_LEASE_SECONDS, longest + LEASE_MARGIN_SECONDS)

    def notify(self, order: Order) -> BackgroundTask[None]:
        """Notify all handlers of a verified order in the background.

        Args:
            order: the order as it was stored; this process has just leased its notification, for ``lease_seconds``.
        """
        self._running += 1
        return self._start(lambda: self._notify(order))

    async def wait(self, notifications: Iterable[BackgroundTask[None]]) -> None:
        """Wait until notifications have ended, or the longest timeout of a handler has passed."""
        with anyio.move_on_after(max((subscriber.timeout for subscriber in self._subscribers), default=0.0)):
            for notification in notifications:
                await notification.wait_ended()

    async def wait_for_slot(self) -> None:
        """Wait until a notification slot is free."""
        while self.is_full:
            await self._ended.wait()

    def cancel_overdue(self) -> None:
        """Cancel handlers that are overdue by the client's clock, which a test may advance by hand."""
        for scope, deadline in tuple(self._deadlines.items()):
            if deadline <= self._clock.monotonic():
                scope.cancel()

    def close(self) -> None:
        """Leave handlers ``CLOSE_TIMEOUT_SECONDS`` to end; a cancelled notification is repeated later."""
        self._closing = True
        for scope in self._deadlines:
            scope.deadline = min(scope.deadline, anyio.current_time() + CLOSE_TIMEOUT_SECONDS)

    async def _notify(self, order: Order) -> None:
        """Call the handlers once a slot is free, and record the result."""
        has_waited = self._slots.value == 0
        try:
            async with self._slots:
                leased = await self._lease_again(order) if has_waited else order
                if leased is None or leased.reserved_ref_num is None or leased.verified is None:
                    return
                succeeded = await self._call_all(leased.payment(leased.reserved_ref_num, leased.verified))
            await self._record(leased, succeeded=succeeded)
        except StorageError as error:
            logger.warning(
                "payments: the notification of order %s cannot be recorded, so it is repeated: %s",
                mask_text(order.order_id),
                error,
            )
        finally:
            self._running -= 1
            self._ended.set()
            self._ended = anyio.Event()

    async def _record(self, leased: Order, *, succeeded: bool) -> None:
        """Record the result of a notification in the order as it is now: a handler may have taken long."""
        while True:
            order = await self._store.find(leased.order_id)
            if order is None or order.notified_at is not None:
                return
            if not succeeded and order.notify_at != leased.notify_at:
                return  # another process has leased the notification
            after = order.notified() if succeeded else order.notification_failed()
            if await self._store.update(order, after) is not None:
                return

    async def _lease_again(self, order: Order) -> Order | None:
        """Lease the notification again and return the order, or None if another process notifies by now."""
        current = await self._store.find(order.order_id)
        if current is None or current.notified_at is not None or current.notify_at != order.notify_at:
            return None
        return await self._store.update(current, current.claim_notification(self.lease_seconds))

    async def _call_all(self, payment: Payment) -> bool:
        """Call all handlers concurrently; return True if all succeeded."""
        subscribers = tuple(self._subscribers)
        succeeded = dict.fromkeys(range(len(subscribers)), False)

        async def call(number: int, subscriber: Subscriber) -> None:
            succeeded[number] = await self._call(subscriber, payment)

        async with anyio.create_task_group() as group:
            for number, subscriber in enumerate(subscribers):
                group.start_soon(call, number, subscriber)
        return all(succeeded.values())

    async def _call(self, subscriber: Subscriber, payment: Payment) -> bool:
        """Call a handler within its timeout; return True if it succeeded, else log why not."""
        seconds = min(subscriber.timeout, CLOSE_TIMEOUT_SECONDS) if self._closing else subscriber.timeout
        scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
        self._deadlines[scope] = self._clock.monotonic() + seconds
        try:
            with scope:
                await self._invoke(subscriber.handler, payment)
        except Exception:
            logger.exception("on_verified raised on payment %s; it is called again later", mask_text(payment.id))
            return False
        finally:
            del self._deadlines[scope]
        if scope.cancelled_caught:
            logger.error(
                "on_verified took more than %g s on payment %s and was cancelled; it is called again later",
                seconds,
                mask_text(payment.id),
            )
            return False
        return True

    async def _invoke(self, handler: Handler, payment: Payment) -> None:
        """Call a coroutine function, or a plain function in a thread."""
        if _is_async(handler):
            await cast("Awaitable[object]", handler(payment))
            return
        # In a thread, because a blocking function would stop the event loop and its own deadline. A thread cannot be
        # cancelled: past the deadline it is abandoned.
        returned = await anyio.to_thread.run_sync(handler, payment, abandon_on_cancel=True, limiter=self._threads)
        if inspect.isawaitable(returned):
            await returned


def _is_async(handler: Handler) -> bool:
    """Return True for a coroutine function, or an object whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)
