"""Checks of payments, one at a time for each order, whose results are shared by the callbacks that waited for them.

Anybody can write a callback, and as many of them as they like. A callback waits for its turn; where a check that was
under way has asked the gateway after the callback came, the result of that check is its result as well, and no request
is made. Whatever depends on what one callback claims is never shared with a callback that claims something else.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import anyio
from attrs import define, field, frozen

from paystar_async.background import Job
from paystar_async.errors import InvalidRequest
from paystar_async.payments.callback import Callback
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.outcomes import Payment, PaymentOutcome
from paystar_async.payments.processor import PaymentProcessor, ProcessingResult
from paystar_async.payments.verification import not_paid

MAX_CHECKS = 32
"""Checks under way at once in one event loop, whatever their orders; the others wait without a deadline of theirs."""


@frozen(kw_only=True)
class SharedResult:
    """What one check brought.

    Attributes:
        callback: the callback it was made for.
        as_of: the last arrival before the gateway was last asked.
        examined: what is known since; None where an error was raised instead.
        error: the error.
    """

    callback: Callback
    as_of: int
    examined: ProcessingResult | None = None
    error: Exception | None = field(default=None, eq=False)

    @property
    def key(self) -> Callback | str:
        """What a callback it serves has in common with the one it was made for: the ref_num, or everything."""
        # A signature that is refused may be over a card that somebody made up.
        by_receipt = (
            isinstance(self.error, InvalidRequest) if self.examined is None else self.examined.depends_on_receipt
        )
        return self.callback if by_receipt else self.callback.ref_num

    def serves(self, callback: Callback, arrival: int) -> bool:
        """Return True if it is the result of another callback as well.

        Args:
            callback: the other callback.
            arrival: its number, as ``OrderChecks.arrive`` gave it.
        """
        return arrival <= self.as_of and self.key in (callback, callback.ref_num)

    def outcome_for(self, callback: Callback) -> PaymentOutcome:
        """Return the outcome for a callback that it serves; raise the error of the check, if it ended in one."""
        if self.examined is None:
            raise (self.error or RuntimeError("a check brought nothing")).with_traceback(None)
        return not_paid(callback) if self.examined.unpaid else self.examined.outcome


@define(eq=False)
class CallbackQueue:
    """The callbacks of one order that are being checked, or wait for it.

    Attributes:
        order_id: the order.
        waiting: how many there are.
        lock: held for a check; first come, first served.
        results: what the checks brought, by their keys.
        unstored: the same for an order that is not stored, by everything the result depends on.
    """

    order_id: str
    waiting: int = 0
    lock: anyio.Lock = field(factory=anyio.Lock)
    results: dict[Callback | str, SharedResult] = field(factory=dict[Callback | str, SharedResult])
    unstored: "dict[object, UnstoredQueue]" = field(factory=dict[object, "UnstoredQueue"])


@define(eq=False)
class UnstoredQueue:
    """The same callback, several times, for an order that is not stored."""

    lock: anyio.Lock = field(factory=anyio.Lock)
    as_of: int = 0
    payment: Payment | None = None
    error: Exception | None = None


@frozen(kw_only=True)
class Arrival:
    """A callback that has come: its number, and those it shares results with."""

    number: int
    queue: CallbackQueue


class OrderChecks:
    """The checks of callbacks in one event loop."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._turns: dict[str, CallbackQueue] = {}
        self._slots = anyio.Semaphore(MAX_CHECKS)

    def __len__(self) -> int:
        """Return the number of orders whose callbacks are being checked."""
        return len(self._turns)

    @contextmanager
    def arrive(self, order_id: str) -> Generator[Arrival, None, None]:
        """Number a callback that has just come; what is found out from now on is its result as well.

        Args:
            order_id: the order the callback names.
        """
        self._arrivals += 1
        turn = self._turns.setdefault(order_id, CallbackQueue(order_id))
        with self._waiting(turn):
            yield Arrival(number=self._arrivals, queue=turn)

    async def check(self, desk: PaymentProcessor, callback: Callback, arrival: Arrival) -> PaymentOutcome:
        """Check a callback of a stored order when its turn has come, unless a check meanwhile served it.

        Args:
            desk: the orders.
            callback: what the payer came back with.
            arrival: what ``arrive`` gave.
        """
        turn = arrival.queue
        with self._waiting(turn):
            async with turn.lock:
                for key in (callback.ref_num, callback):
                    result = turn.results.get(key)
                    if result is not None and result.serves(callback, arrival.number):
                        return result.outcome_for(callback)
                async with self._slots:
                    result, notifications = await self._check(desk, callback)
                turn.results[result.key] = result
        # After the turn: handlers keep no callback waiting, not even one that a handler itself confirms.
        await desk.notifier.wait(notifications)
        return result.outcome_for(callback)

    async def check_unstored(self, key: object, confirm: Callable[[], Awaitable[Payment]], arrival: Arrival) -> Payment:
        """Check a callback of an order that is not stored, unless a check of the same callback meanwhile served it.

        Args:
            key: everything the result depends on.
            confirm: makes the check.
            arrival: what ``arrive`` gave.
        """
        turn = arrival.queue.unstored.setdefault(key, UnstoredQueue())
        with self._waiting(arrival.queue):
            async with turn.lock:
                if arrival.number > turn.as_of:
                    async with self._slots:
                        as_of, turn.payment, turn.error = self._arrivals, None, None
                        try:
                            turn.payment = await confirm()
                        except Exception as error:
                            turn.error = error
                        turn.as_of = as_of
        if turn.payment is None:
            raise (turn.error or RuntimeError("a check brought nothing")).with_traceback(None)
        return turn.payment

    async def _check(self, desk: PaymentProcessor, callback: Callback) -> tuple[SharedResult, tuple[Job[None], ...]]:
        as_of = self._arrivals

        def note_request() -> None:
            nonlocal as_of
            as_of = self._arrivals

        ref_num = callback.ref_num
        try:
            order = await desk.load(callback.order_id)
            attempt = order.attempt(ref_num)
            if order.verified is not None:
                examined = ProcessingResult(outcome=order.outcome(ref_num), notifications=await desk.notify(order))
            elif attempt is not None and (callback.says_paid or attempt.state is OrderStatus.OPEN):
                examined = await desk.process(order, ref_num, callback, on_request=note_request)
            else:
                examined = ProcessingResult(outcome=order.outcome(ref_num))
        except Exception as error:
            return SharedResult(callback=callback, as_of=as_of, error=error), ()
        return SharedResult(callback=callback, as_of=as_of, examined=examined), examined.notifications

    @contextmanager
    def _waiting(self, turn: CallbackQueue) -> Generator[None, None, None]:
        """Keep what is found out for one more callback, or for the work that goes on for it when it has left."""
        turn.waiting += 1
        try:
            yield
        finally:
            turn.waiting -= 1
            if not turn.waiting and self._turns.get(turn.order_id) is turn:
                del self._turns[turn.order_id]
