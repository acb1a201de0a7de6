"""The payments service: start, confirm, on_verified, find, sweep."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar, cast, overload
from weakref import WeakKeyDictionary

import anyio

from paystar_async.errors import (
    ConfigurationError,
    InvalidValue,
    UnknownOrder,
)
from paystar_async.models.gateway import Allotment, CreatePayment, VerifyPayment
from paystar_async.payments.callback import Callback
from paystar_async.payments.checks import Arrival, OrderChecks
from paystar_async.payments.notifier import (
    DEFAULT_TIMEOUT_SECONDS,
    MAX_TIMEOUT_SECONDS,
    Handler,
    Notifier,
    Subscriber,
)
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.orders import StoredOrders
from paystar_async.payments.outcomes import Payment
from paystar_async.payments.payment_page import StartedPayment
from paystar_async.payments.processor import (
    PaymentProcessor,
    find_contradiction,
    log_refused_callback,
    masked_order_id,
    start_payment,
)
from paystar_async.payments.sweeper import PeriodicTask
from paystar_async.payments.verification import verify_caller_order
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.services import GatewayCalls
from paystar_async.values.arguments import require_function, require_instance
from paystar_async.values.field_type import FieldType, find_field_type
from paystar_async.values.numbers import MAX_INT64, GatewayAmount, require_seconds
from paystar_async.values.secret import hide_arguments_async
from paystar_async.values.text import OrderId

H = TypeVar("H", bound=Handler)

_AMOUNT = cast("FieldType", find_field_type(GatewayAmount))
_ORDER_ID = cast("FieldType", find_field_type(OrderId))

SWEEP_SECONDS = 15.0
SWEEP_LIMIT = 100


class Payments(StoredOrders):
    """The payments of a shop, above the gateway's endpoints.

    Args:
        gateway: the gateway's endpoints.
        create_store: returns the order store, or raises ConfigurationError.
        background: returns the background tasks of the running event loop.
        clock: the client's clock.
        timeout: seconds one call may take.
        client: the client that these payments belong to, shown by ``repr``.
    """

    def __init__(
        self,
        gateway: GatewayCalls,
        create_store: Callable[[], OrderStore],
        background: Callable[[], BackgroundTasks],
        clock: Clock,
        timeout: float,
        client: object = None,
    ) -> None:
        self._client = client
        self._gateway, self._create_store, self._background = gateway, create_store, background
        self._clock, self._timeout = clock, timeout
        self._subscribers: list[Subscriber] = []
        self._store: OrderStore | None = None
        # By event loop: a task that waits in one loop cannot be woken from another, which may be closed by now.
        self._processors: WeakKeyDictionary[BackgroundTasks, PaymentProcessor] = WeakKeyDictionary()
        self._checks: WeakKeyDictionary[BackgroundTasks, OrderChecks] = WeakKeyDictionary()
        self._sweepers: set[PeriodicTask] = set()

    def __repr__(self) -> str:
        return f"<Payments of {self._client!r}>"

    @hide_arguments_async
    async def start(
        self,
        *,
        amount: int,
        order_id: str,
        callback: str,
        name: str | None = None,
        phone: str | None = None,
        mail: str | None = None,
        description: str | None = None,
        allotment: Sequence[Allotment] | None = None,
        callback_method: int | None = None,
        wallet_hashid: str | None = None,
        national_code: str | None = None,
        card_number: str | None = None,
        referer_id: str | None = None,
        extra: Mapping[str, object] = {},
        timeout: float | None = None,
    ) -> StartedPayment:
        """Store an order, create a payment for it, and return the page to send the payer to.

        The order is stored before anything is sent, and the payment before its page is given out. The same order may
        be started again and again – a double click, a payer who comes back, a lost response: each call returns a new
        page, any of the pages may be paid, and at most one payment of an order is verified.

        Args:
            amount: whole Rial, 5000 or more.
            order_id: your order, a text of 1 to 255 characters; unique within the gateway.
            callback: the page the payer comes back to; a URL of the domain registered for the gateway, with no
                fragment and no parameter named like a field Paystar adds.
            name: the payer's name; a text of 1 to 255 characters.
            phone: the payer's mobile number; 09 and 9 digits.
            mail: the payer's mail address; a text of 1 to 255 characters.
            description: description of the purchase; a text of 1 to 255 characters.
            allotment: the parts of the payment and their recipients.
            callback_method: HTTP method of the callback; 1 for GET, another whole number for POST.
            wallet_hashid: the wallet the payment goes to.
            national_code: only this person may pay; 10 digits.
            card_number: only this card may pay; 16 digits.
            referer_id: id of the referrer.
            extra: further fields that a gateway wants, such as ``products``, sent as they are; JSON values under other
                names than those above. Like all but amount and order_id, they are not stored: each start of an order
                sends its own.
            timeout: seconds creating may take; the client's own by default.

        Returns:
            The payment page's address and an auto-submitting form, and the payment's ref_num.

        Raises:
            OrderPaid: a payment of this order is verified; nothing was sent.
            OrderConflict: this order is stored with another amount; nothing was sent.
            InvalidValue: a value does not have its shape; nothing was sent.
            ConfigurationError: no ``database=`` or no gateway is configured; nothing was sent.
            StorageError: the order could not be stored; it cannot be paid, start it again.
            NotSent: nothing was sent; start the order again.
            NoResponse: no response came; without its page the payment cannot be paid: start the order again.
            InvalidResponse: the response cannot be read; start the order again.
            StatusError: Paystar refused the request; the class names the reason.

        Source: POST /pardakht/create
        """
        request = CreatePayment(
            amount=amount,
            order_id=order_id,
            callback=callback,
            name=name,
            phone=phone,
            mail=mail,
            description=description,
            allotment=allotment,
            callback_method=callback_method,
            wallet_hashid=wallet_hashid,
            national_code=national_code,
            card_number=card_number,
            referer_id=referer_id,
            extra=extra,
        )
        if timeout is not None:
            require_seconds("timeout", timeout)  # before the order is stored
        return await start_payment(self._processor(), self._gateway, request, timeout)

    async def confirm(self, callback: Callback, *, amount: int | None = None, order_id: str | None = None) -> Payment:
        """Verify the payment of a callback; may be called again and again with the same callback.

        An order that ``start`` stored is compared with the stored amount and payments, and becomes verified once,
        however often and in however many processes it is confirmed. Any other order needs ``amount`` and ``order_id``.

        Args:
            callback: the callback that the payer came back with.
            amount: Rial of your order, from your own store, never from the callback; default: the stored amount.
            order_id: your order, from your own store; default: the stored order.

        Returns:
            The payment with its outcome. Fulfil the order on Verified only, and once: confirming twice, or in two
            places at once, returns Verified each time; ``on_verified`` is notified as well.

        Raises:
            UnknownOrder: no such order is stored, and amount and order_id were not given; respond with 400.
            ConfigurationError: no gateway, or neither a ``database=`` nor amount and order_id.
            InvalidValue: a value is not valid, or the callback has a full card number; nothing was sent.
            GatewayError: the gateway refuses the merchant (its id, its signature); the payment is unchanged.
            StorageError: the store cannot be used; confirm again.

        Source: POST /pardakht/verify, POST /pardakht/inquiry
        """
        require_instance("callback", callback, Callback, hint="pass the result of Callback.parse(fields)")
        amount = None if amount is None else _AMOUNT.convert(amount, "amount")
        if order_id is not None:  # a shop's own ids may be numbers
            number = cast("object", order_id)
            is_id = isinstance(number, int) and not isinstance(number, bool) and number <= MAX_INT64
            order_id = _ORDER_ID.convert(str(number) if is_id else number, "order_id")
        checks = self._checks.setdefault(self._background(), OrderChecks())
        with checks.arrive(callback.order_id) as arrival:
            return await self._confirm(callback, amount, order_id, checks, arrival)

    @overload
    def on_verified(self, handler: H, /, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> H: ...
    @overload
    def on_verified(self, /, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Callable[[H], H]: ...
    def on_verified(
        self, handler: H | None = None, /, *, timeout: float = DEFAULT_TIMEOUT_SECONDS
    ) -> H | Callable[[H], H]:
        """Notify a function of every verified payment: ``@payments.on_verified``, or with ``(timeout=)`` behind it.

        The handler is called with the Payment, by ``confirm`` before it returns, by ``start`` or by the sweeper, and
        only for payments of stored orders. It is called at least once: if it raises or takes longer than ``timeout``,
        or the process ends before it returns, it is called again by a later sweep, maybe in another process that has a
        handler. Make its work unique by ``payment.id``, in the transaction that fulfils the order.

        A handler keeps no other payment waiting. A coroutine function is cancelled at its timeout. A plain function
        runs in a thread, outside of the event loop; a thread cannot be cancelled, so past its timeout it continues
        beside the next call, and the process does not end before it does.

        Args:
            handler: takes a Payment whose outcome is Verified; a plain function or a coroutine function.
            timeout: seconds one call of the handler may take, at most 3600.

        Returns:
            The handler itself, or without one a decorator.

        Raises:
            ConfigurationError: the handler cannot be called with a payment.
            InvalidValue: ``timeout`` is not above 0 and at most 3600.
        """
        seconds = require_seconds("timeout", timeout)
        if seconds > MAX_TIMEOUT_SECONDS:
            raise InvalidValue("timeout", expected=f"at most {MAX_TIMEOUT_SECONDS:g} seconds", got=f"{seconds:g}")
        if handler is None:
            return lambda handler: self.on_verified(handler, timeout=seconds)
        require_function("handler", handler, "a payment", hint="on_verified takes a function of a Payment")
        # A client may be opened, and so be set up, more than once.
        self._subscribers[:] = [subscriber for subscriber in self._subscribers if subscriber.handler != handler]
        self._subscribers.append(Subscriber(handler=handler, timeout=seconds))
        return handler

    async def sweep(self, *, limit: int = SWEEP_LIMIT) -> list[Payment]:
        """Check every stored payment that is due once, and notify handlers of verified payments not yet notified.

        For payers who paid and never came back: an open payment is due 1, 2, 4, 6, 8 and 9 minutes after it was
        started, then every five minutes for half an hour. May run in any number of processes at once.

        Args:
            limit: maximum of orders to check.

        Returns:
            The payments that were decided in this pass, with their outcomes.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``limit`` is below 1.
            StorageError: the store cannot be used; sweep again.

        Source: POST /pardakht/inquiry, POST /pardakht/verify
        """
        return (await self._processor().sweep(limit, lambda: False))[1]

    async def run(self, *, every: float = SWEEP_SECONDS) -> None:
        """Sweep until cancelled, or until the client closes.

        Args:
            every: seconds between two passes.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``every`` is not above 0.
        """
        await self._run_sweeper(self._new_sweeper(), require_seconds("every", every))

    @asynccontextmanager
    async def sweeping(self, *, every: float = SWEEP_SECONDS) -> AsyncGenerator[None, None]:
        """Sweep in the background for the length of an ``async with``, or until the client closes.

        Args:
            every: seconds between two passes.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``every`` is not above 0.
        """
        sweeper, every = self._new_sweeper(), require_seconds("every", every)
        task = sweeper.background.start(lambda: self._run_sweeper(sweeper, every))
        try:
            yield
        finally:
            sweeper.stop()
            with anyio.CancelScope(shield=True):
                await task.wait_ended()

    def close(self, background: BackgroundTasks) -> None:
        """Stop the sweepers of one event loop and shorten the time of its handlers; called when the client closes."""
        for sweeper in tuple(self._sweepers):
            if sweeper.background is background:
                sweeper.stop()
        if (processor := self._processors.pop(background, None)) is not None:
            processor.notifier.close()

    def _processor(self) -> PaymentProcessor:
        """Return the processor of the running event loop; raise ConfigurationError if orders are not stored."""
        if self._store is None:
            self._store = self._create_store()
        background = self._background()
        processor = self._processors.get(background)
        if processor is None:
            notifier = Notifier(self._store, self._subscribers, self._start_task, self._clock)
            processor = PaymentProcessor(self._store, self._gateway, self._timeout, notifier)
            self._processors[background] = processor
        return processor

    def _start_task(self, work: Callable[[], Awaitable[None]]) -> BackgroundTask[None]:
        """Start work in the background of the running event loop.

        Not its bound method: a value of ``_processors`` that refers to its key would keep both for ever.
        """
        return self._background().start(work)

    def _stores_orders(self) -> bool:
        """Return True if an order store is configured."""
        try:
            self._processor()
        except ConfigurationError:
            return False
        return True

    def _new_sweeper(self) -> PeriodicTask:
        self._processor()  # raises if orders are not stored
        return PeriodicTask(self._background(), self._clock)

    async def _run_sweeper(self, sweeper: PeriodicTask, every: float) -> None:
        async def sweep() -> bool:
            count, _ = await self._processor().sweep(SWEEP_LIMIT, lambda: sweeper.stopped, wait=False)
            return count >= SWEEP_LIMIT

        self._sweepers.add(sweeper)
        try:
            await sweeper.run(sweep, every)
        finally:
            self._sweepers.discard(sweeper)

    async def _confirm(
        self, callback: Callback, amount: int | None, order_id: str | None, checks: OrderChecks, arrival: Arrival
    ) -> Payment:
        """Confirm a callback: by the stored order if there is one, else by the given amount and order_id."""
        has_caller_order = amount is not None and order_id is not None
        processor = None if has_caller_order and not self._stores_orders() else self._processor()
        order = None if processor is None else await processor.store.find(callback.order_id)
        if processor is None or order is None:
            if amount is None or order_id is None:
                log_refused_callback(callback, "no such order is stored")
                got = masked_order_id(callback.order_id)
                hint = "respond with 400; for an order of yours, use its database, or pass amount and order_id"
                raise UnknownOrder("order_id", expected="an order that was started", got=got, hint=hint)
            return await self._confirm_caller_order(callback, amount, order_id, checks, arrival)
        VerifyPayment(  # raises InvalidValue for values that cannot be sent
            ref_num=callback.ref_num,
            amount=order.amount if amount is None else amount,
            card_number=callback.card_number or "",
            tracking_code=callback.tracking_code or "",
        )
        outcome = find_contradiction(order, callback, amount, order_id)
        if outcome is None:
            outcome = await self._background().start(lambda: checks.check(processor, callback, arrival)).wait()
        return order.payment(callback.ref_num, outcome)

    async def _confirm_caller_order(
        self, callback: Callback, amount: int, order_id: str, checks: OrderChecks, arrival: Arrival
    ) -> Payment:
        """Confirm a callback for an order that the caller stores."""

        async def confirm() -> Payment:
            outcome = await verify_caller_order(self._gateway, callback, amount=amount, order_id=order_id)
            return Payment(outcome=outcome, order_id=order_id, ref_num=callback.ref_num, amount=amount)

        key = callback, amount, order_id
        return await self._background().start(lambda: checks.check_unstored(key, confirm, arrival)).wait()
