"""Checks of callbacks, one at a time for each order, whose results are shared by the callbacks that wait for them.

Anyone can forge callbacks, in any number. Each callback waits for the checks before it. If one of those sent its last
request to the gateway after the callback arrived, the callback shares the result of that check, without a request. A
result that depends on what one callback claims is never shared with a callback that claims something else.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import anyio
from attrs import define, field, frozen

from paystar_async.errors import InvalidRequest
from paystar_async.payments.callback import Callback
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.outcomes import Payment, PaymentOutcome
from paystar_async.payments.processor import PaymentProcessor, ProcessingResult
from paystar_async.payments.verification import unpaid_outcome
from paystar_async.runtime.tasks import BackgroundTask

MAX_CHECKS = 32
"""Concurrent checks in one event loop, over all orders; the others wait, and their timeouts have not begun."""


@frozen(kw_only=True)
class SharedResult:
    """The result of one check, to be shared.

    Attributes:
        callback: the callback that was checked.
        as_of: number of the last arrival before the last request to the gateway.
        result: the result, or the error that was raised.
    """

    callback: Callback
    as_of: int
    result: ProcessingResult | Exception

    @property
    def key(self) -> Callback | str:
        """Return the key of the callbacks that share the result: their ref_num, or the whole callback."""
        if isinstance(self.result, Exception):
            depends_on_receipt = isinstance(self.result, InvalidRequest)  # a signature may be refused for a forged card
        else:
            depends_on_receipt = self.result.depends_on_receipt
        return self.callback if depends_on_receipt else self.callback.ref_num

    def serves(self, callback: Callback, arrival: int) -> bool:
        """Return True if another callback shares the result.

        Args:
            callback: the other callback.
            arrival: the number of its arrival.
        """
        return arrival <= self.as_of and self.key in (callback, callback.ref_num)

    def outcome_for(self, callback: Callback) -> PaymentOutcome:
        """Return the outcome for a callback that shares the result; raise the error of the check, if any."""
        if isinstance(self.result, Exception):
            raise self.result.with_traceback(None)
        return unpaid_outcome(callback) if self.result.unpaid else self.result.outcome


@define(eq=False)
class CallbackQueue:
    """The callbacks of one order that are being checked, or wait.

    Attributes:
        order_id: the order.
        waiting: number of callbacks.
        lock: held for a check; first come, first served.
        results: results of the checks, by their keys.
        unstored: queues for an order that is not stored, by everything the result depends on.
    """

    order_id: str
    waiting: int = 0
    lock: anyio.Lock = field(factory=anyio.Lock)
    results: dict[Callback | str, SharedResult] = field(factory=dict[Callback | str, SharedResult])
    unstored: "dict[object, UnstoredQueue]" = field(factory=dict[object, "UnstoredQueue"])


@define(eq=False)
class UnstoredQueue:
    """Repetitions of one callback for an order that is not stored.

    Attributes:
        lock: held for a check.
        as_of: number of the last arrival before the last check.
        result: the result of that check, or the error that was raised; set by the first check.
    """

    lock: anyio.Lock = field(factory=anyio.Lock)
    as_of: int = 0
    result: Payment | Exception = field(init=False)


@frozen(kw_only=True)
class Arrival:
    """The arrival of a callback.

    Attributes:
        number: position among all arrivals in the event loop.
        queue: the callbacks of the same order.
    """

    number: int
    queue: CallbackQueue


class OrderChecks:
    """The checks of callbacks in one event loop."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._queues: dict[str, CallbackQueue] = {}
        self._slots = anyio.Semaphore(MAX_CHECKS)

    def __len__(self) -> int:
        """Return the number of orders whose callbacks are being checked."""
        return len(self._queues)

    @contextmanager
    def arrive(self, order_id: str) -> Generator[Arrival, None, None]:
        """Assign a number to a callback on arrival; it shares the results of checks from now on.

        Args:
            order_id: the order that the callback names.
        """
        self._arrivals += 1
        queue = self._queues.setdefault(order_id, CallbackQueue(order_id))
        with self._waiting(queue):
            yield Arrival(number=self._arrivals, queue=queue)

    async def check(self, processor: PaymentProcessor, callback: Callback, arrival: Arrival) -> PaymentOutcome:
        """Check a callback of a stored order after the callbacks before it, or share the result of one of those.

        Args:
            processor: processes the orders.
            callback: the callback.
            arrival: its arrival.
        """
        queue = arrival.queue
        with self._waiting(queue):
            async with queue.lock:
                for key in (callback.ref_num, callback):
                    result = queue.results.get(key)
                    if result is not None and result.serves(callback, arrival.number):
                        return result.outcome_for(callback)
                async with self._slots:
                    result, notifications = await self._check(processor, callback)
                queue.results[result.key] = result
        # Outside of the lock: handlers keep no callback waiting, not even a callback that a handler confirms.
        await processor.notifier.wait(notifications)
        return result.outcome_for(callback)

    async def check_unstored(self, key: object, confirm: Callable[[], Awaitable[Payment]], arrival: Arrival) -> Payment:
        """Check a callback of an order that is not stored, or share the result of a check of the same callback.

        Args:
            key: everything the result depends on.
            confirm: makes the check.
            arrival: the arrival of the callback.
        """
        queue = arrival.queue.unstored.setdefault(key, UnstoredQueue())
        with self._waiting(arrival.queue):
            async with queue.lock:
                if arrival.number > queue.as_of:
                    async with self._slots:
                        as_of = self._arrivals
                        try:
                            queue.result = await confirm()
                        except Exception as error:
                            queue.result = error
                        queue.as_of = as_of
                result = queue.result
        if isinstance(result, Exception):
            raise result.with_traceback(None)
        return result

    async def _check(
        self, processor: PaymentProcessor, callback: Callback
    ) -> tuple[SharedResult, tuple[BackgroundTask[None], ...]]:
        """Check a callback; return the result, and the notifications that the check began."""
        as_of = self._arrivals

        def note_request() -> None:
            nonlocal as_of
            as_of = self._arrivals

        ref_num = callback.ref_num
        try:
            order = await processor.load(callback.order_id)
            attempt = order.attempt(ref_num)
            if order.verified is not None:
                processed = ProcessingResult(
                    outcome=order.outcome(ref_num), notifications=await processor.notify(order)
                )
            elif attempt is not None and (callback.claims_paid or attempt.state is OrderStatus.OPEN):
                processed = await processor.process(order, ref_num, callback, on_request=note_request)
            else:
                processed = ProcessingResult(outcome=order.outcome(ref_num))
        except Exception as error:
            return SharedResult(callback=callback, as_of=as_of, result=error), ()
        return SharedResult(callback=callback, as_of=as_of, result=processed), processed.notifications

    @contextmanager
    def _waiting(self, queue: CallbackQueue) -> Generator[None, None, None]:
        """Keep the queue for one more callback, or for the check that continues after its caller was cancelled."""
        queue.waiting += 1
        try:
            yield
        finally:
            queue.waiting -= 1
            if not queue.waiting and self._queues.get(queue.order_id) is queue:
                del self._queues[queue.order_id]
