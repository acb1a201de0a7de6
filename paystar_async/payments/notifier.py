"""Notifies handlers of verified payments: at least once, concurrently, and none of them for ever."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import anyio
import anyio.to_thread
from attrs import frozen

from paystar_async.background import Job
from paystar_async.clock import Clock
from paystar_async.errors import StorageError
from paystar_async.events import logger
from paystar_async.payments.models import Order
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.outcomes import Payment
from paystar_async.values.mask import scrub

Handler = Callable[[Payment], Awaitable[object] | object]
"""Notified of a verified payment; a coroutine function, or a plain function, which runs in a thread."""

DEFAULT_TIMEOUT_SECONDS = 60.0
MAX_TIMEOUT_SECONDS = 3600.0
MAX_NOTIFICATIONS = 64
"""Notifications under way at once in one event loop; the others wait for one of them to end."""
CLOSE_TIMEOUT_SECONDS = 10.0
"""Seconds that handlers have left when their client closes."""
MIN_LEASE_SECONDS = 180.0
LEASE_MARGIN_SECONDS = 60.0


@frozen(kw_only=True)
class Subscriber:
    """A handler and the seconds it may take."""

    handler: Handler
    timeout: float


class Notifier:
    """Notifies handlers in one event loop.

    Args:
        store: where an order is noted as notified.
        subscribers: the handlers; more may be added later.
        start: starts work in the background of the event loop.
        clock: the client's clock.
    """

    def __init__(
        self,
        store: OrderStore,
        subscribers: list[Subscriber],
        start: Callable[[Callable[[], Awaitable[None]]], Job[None]],
        clock: Clock,
    ) -> None:
        self._store, self._subscribers, self._start, self._clock = store, subscribers, start, clock
        self._slots = anyio.Semaphore(MAX_NOTIFICATIONS)
        self._threads = anyio.CapacityLimiter(MAX_NOTIFICATIONS)
        self._deadlines: dict[anyio.CancelScope, float] = {}
        """The handlers at work, and when their time is over by the client's clock."""
        self._under_way = 0
        self._ended = anyio.Event()
        """Set, and replaced, whenever a notification has ended."""
        self._closing = False

    @property
    def is_idle(self) -> bool:
        """Whether there is no handler to notify."""
        return not self._subscribers

    @property
    def is_full(self) -> bool:
        """Whether a further notification would have to wait."""
        return self._under_way >= MAX_NOTIFICATIONS

    @property
    def lease_seconds(self) -> float:
        """Seconds after which a process that notifies is taken for dead."""
        longest = max((one.timeout for one in self._subscribers), default=0.0)
        return max(MIN_LEASE_SECONDS, longest + LEASE_MARGIN_SECONDS)

    def notify(self, order: Order) -> Job[None]:
        """Notify all handlers of a verified order in the background.

        Args:
            order: as it was stored; this process has just taken the lease, for ``lease_seconds``.
        """
        self._under_way += 1
        return self._start(lambda: self._notify(order))

    async def wait(self, notifications: Iterable[Job[None]]) -> None:
        """Wait until notifications have ended, or the handlers have had their time."""
        with anyio.move_on_after(max((one.timeout for one in self._subscribers), default=0.0)):
            for notification in notifications:
                await notification.ended()

    async def wait_for_room(self) -> None:
        """Wait until a further notification would begin at once."""
        while self.is_full:
            await self._ended.wait()

    def cancel_overdue(self) -> None:
        """Cancel handlers whose time is over by the client's clock, which a test may move by hand."""
        for scope, deadline in tuple(self._deadlines.items()):
            if deadline <= self._clock.monotonic():
                scope.cancel()

    def close(self) -> None:
        """Leave handlers only ``CLOSE_TIMEOUT_SECONDS`` to end; what they do not end is notified again."""
        self._closing = True
        for scope in self._deadlines:
            scope.deadline = min(scope.deadline, anyio.current_time() + CLOSE_TIMEOUT_SECONDS)

    async def _notify(self, order: Order) -> None:
        has_waited = self._slots.value == 0
        try:
            async with self._slots:
                leased = await self._lease_again(order) if has_waited else order
                if leased is None or leased.reserved_ref_num is None or leased.verified is None:
                    return
                succeeded = await self._call_all(leased.payment(leased.reserved_ref_num, leased.verified))
            await self._note(leased, succeeded=succeeded)
        except StorageError as error:
            logger.warning(
                "payments: whether order %s was notified is not stored, so it is again: %s",
                scrub(order.order_id),
                error,
            )
        finally:
            self._under_way -= 1
            self._ended.set()
            self._ended = anyio.Event()

    async def _note(self, leased: Order, *, succeeded: bool) -> None:
        """Store how a notification ended, by the time it is now: a handler may have taken long."""
        while True:
            found = await self._store.find(leased.order_id)
            if found is None or found.notified_at is not None:
                return
            if not succeeded and found.notify_at != leased.notify_at:
                return  # somebody else notifies by now
            if (
                await self._store.update(found, found.notified() if succeeded else found.notification_failed())
                is not None
            ):
                return

    async def _lease_again(self, order: Order) -> Order | None:
        """Return the order with a fresh lease, or None if somebody else notifies by now."""
        found = await self._store.find(order.order_id)
        if found is None or found.notified_at is not None or found.notify_at != order.notify_at:
            return None
        return await self._store.update(found, found.claim_notification(self.lease_seconds))

    async def _call_all(self, payment: Payment) -> bool:
        """Call every handler, all at once; return whether all of them succeeded."""
        subscribers = tuple(self._subscribers)
        succeeded = dict.fromkeys(range(len(subscribers)), False)

        async def call(number: int, subscriber: Subscriber) -> None:
            succeeded[number] = await self._call(subscriber, payment)

        async with anyio.create_task_group() as group:
            for number, subscriber in enumerate(subscribers):
                group.start_soon(call, number, subscriber)
        return all(succeeded.values())

    async def _call(self, subscriber: Subscriber, payment: Payment) -> bool:
        seconds = min(subscriber.timeout, CLOSE_TIMEOUT_SECONDS) if self._closing else subscriber.timeout
        scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
        self._deadlines[scope] = self._clock.monotonic() + seconds
        try:
            with scope:
                await self._invoke(subscriber.handler, payment)
        except Exception:
            logger.exception("on_verified raised on payment %s; it is told again", scrub(payment.id))
            return False
        finally:
            del self._deadlines[scope]
        if scope.cancelled_caught:
            logger.error(
                "on_verified took more than %g s on payment %s and was cancelled; it is told again",
                seconds,
                scrub(payment.id),
            )
            return False
        return True

    async def _invoke(self, handler: Handler, payment: Payment) -> None:
        if _is_async(handler):
            await cast("Awaitable[object]", handler(payment))
            return
        # In a thread, so that a function that blocks stops neither the event loop nor its own deadline. A thread
        # cannot be cancelled: past the deadline it is left alone.
        returned = await anyio.to_thread.run_sync(handler, payment, abandon_on_cancel=True, limiter=self._threads)
        if inspect.isawaitable(returned):
            await returned


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)
