"""Payments from the order to its fulfilment: what a shop calls."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar, cast, overload
from weakref import WeakKeyDictionary

import anyio
from attrs import define, field

from paystar_async.background import Background, Job
from paystar_async.clock import Clock, checked_seconds
from paystar_async.errors import (
    ConfigurationError,
    InvalidValue,
    PaystarError,
    UnknownOrder,
)
from paystar_async.events import logger
from paystar_async.models.gateway import Allotment, CreatePayment, VerifyPayment
from paystar_async.payments.callback import Callback
from paystar_async.payments.checks import Arrival, OrderChecks
from paystar_async.payments.confirm import Confirming
from paystar_async.payments.models import Order
from paystar_async.payments.notifier import (
    DEFAULT_TIMEOUT_SECONDS,
    MAX_TIMEOUT_SECONDS,
    Handler,
    Notifier,
    Subscriber,
)
from paystar_async.payments.order_store import OrderStore
from paystar_async.payments.outcomes import Payment
from paystar_async.payments.payment_page import StartedPayment
from paystar_async.payments.processor import (
    PaymentProcessor,
    find_contradiction,
    log_refused_callback,
    masked_order_id,
    start_payment,
)
from paystar_async.services import GatewayCalls
from paystar_async.values.sealed import private_async
from paystar_async.wake_event import WakeEvent


@define(eq=False)
class PeriodicTask:
    """One sweeper at work.

    Attributes:
        background: the jobs of the event loop it belongs to.
        clock: how to wait.
        stopped: whether it is to end.
    """

    background: Background
    clock: Clock
    stopped: bool = False
    _wake: WakeEvent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wake = WakeEvent(self.clock)

    async def run(self, once: Callable[[], Awaitable[bool]], every: float) -> None:
        """Make rounds; ``once`` says whether there is more to do at once."""
        while not self.stopped:
            try:
                more = await once()
            except PaystarError as error:
                logger.warning("payments: a sweep broke off: %s", error)
                more = False
            if not more and not self.stopped:
                await self._wake.sleep(every)

    def stop(self) -> None:
        """End: at once if it sleeps, else after the order it is at."""
        self.stopped = True
        self._wake.set()


H = TypeVar("H", bound=Handler)

SWEEP_SECONDS = 15.0
SWEEP_LIMIT = 100


class Payments(Confirming):
    """Payments, above the gateway's rows: ``start``, ``confirm``, ``on_verified``, ``sweep``."""

    def __init__(
        self,
        gateway: GatewayCalls,
        stored: Callable[[], OrderStore],
        flows: Callable[[], tuple[Background, object]],
        clock: Clock,
        timeout: float,
    ) -> None:
        super().__init__(gateway)
        self._stored, self._flows, self._clock, self._timeout = stored, flows, clock, timeout
        self._subscribers: list[Subscriber] = []
        self._store: OrderStore | None = None
        # By event loop: what waits in one cannot be woken from another, which may be closed by now.
        self._processors: WeakKeyDictionary[Background, PaymentProcessor] = WeakKeyDictionary()
        self._checks: WeakKeyDictionary[Background, OrderChecks] = WeakKeyDictionary()
        self._rounds: set[PeriodicTask] = set()

    @private_async
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
        """Store an order, create a payment for it, and get the page to send the payer to.

        The order is stored before anything is sent, and the payment before its page is given out. The same order may
        be started again and again – a double click, a payer who comes back, an answer that was lost: each time there
        is a fresh page, any of them may be paid, and one payment at the most is verified for an order.

        Args:
            amount: whole Rial, 5000 or more.
            order_id: your order, a text of 1 to 255 characters; unique within the gateway.
            callback: where the payer comes back to; a URL of the domain registered for the gateway, with no
                fragment and no parameter named like a field Paystar adds.
            name: the payer's name; a text of 1 to 255 characters.
            phone: the payer's mobile number; 09 and 9 digits.
            mail: the payer's mail address; a text of 1 to 255 characters.
            description: what is paid for; a text of 1 to 255 characters.
            allotment: who gets which part of the payment.
            callback_method: how the payer comes back; 1 for GET, another whole number for POST.
            wallet_hashid: the wallet the payment goes to.
            national_code: only this person may pay; 10 digits.
            card_number: only this card may pay; 16 digits.
            referer_id: who referred the payer.
            extra: further fields that a gateway wants, such as ``products``, sent as they are; JSON values under names
                that are none of these. Like all but amount and order_id, they are not stored: a start that repeats an
                order sends its own.
            timeout: seconds creating may take; the client's own by default.

        Returns:
            The payment page's address and an auto-submitting form, and the payment's ref_num.

        Raises:
            OrderPaid: a payment of this order is verified; nothing was sent.
            OrderConflict: this order is stored with another amount; nothing was sent.
            InvalidValue: a value does not have its shape; nothing was sent.
            ConfigurationError: no ``database=`` or no gateway is configured; nothing was sent.
            StorageError: the order could not be stored; nobody can pay, start it again.
            NotSent: it never left; start it again.
            Unanswered: no answer came; nobody has the page, so nobody can pay: start it again.
            BadAnswer: the answer cannot be read; start it again.
            StatusError: Paystar refused; the class says why.

        Source: POST /pardakht/create
        """
        asked = CreatePayment(
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
        return await start_payment(self._processor(), self._gateway, asked, timeout)

    async def confirm(self, callback: Callback, *, amount: int | None = None, order_id: str | None = None) -> Payment:
        """Find out what a payment is worth; may be called again and again with the same callback.

        An order that ``start`` stored is judged by what is stored: its amount, and that the payment is one of its own;
        it becomes verified once, whoever asks how often and where. Any other order needs ``amount`` and ``order_id``.

        Args:
            callback: what the payer came back with.
            amount: Rial your order asked for, from your own store – never from the callback; left out, the stored one.
            order_id: your order, from your own store; left out, the stored one.

        Returns:
            The payment with its outcome. Fulfil the order on Verified alone, and once: who confirms twice, or in two
            places at once, is told Verified each time; ``on_verified`` tells of it.

        Raises:
            UnknownOrder: no such order is stored, and amount and order_id were not given; answer with 400.
            ConfigurationError: no gateway, or neither a ``database=`` nor amount and order_id.
            InvalidValue: the amount is no amount, or the callback holds a full card number; nothing was asked.
            GatewayError: the gateway refuses you (its id, its signature); the payment is as it was.
            StorageError: the store cannot be used; confirm again.

        Source: POST /pardakht/verify, POST /pardakht/inquiry
        """
        if not isinstance(cast("object", callback), Callback):
            return await super().confirm(callback, amount=amount, order_id=order_id)
        checks = self._checks.setdefault(self._flows()[0], OrderChecks())
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

        It is called with the Payment, from ``confirm`` before that returns, from ``start`` or from the sweeper –
        whoever finds it out – and only for payments of stored orders. At least once: if it raises or takes longer than
        ``timeout``, or the process ends meanwhile, it is called again at a later sweep, maybe in another process that
        has a handler. Make its work unique by ``payment.id``, in the transaction that fulfils the order.

        A handler keeps no other payment waiting. A coroutine function is cancelled at its timeout. A plain function
        runs in a thread, outside of the event loop; a thread cannot be cancelled, so past its timeout it goes on
        beside the call that follows, and the process does not end before it does.

        Args:
            handler: takes a Payment whose outcome is Verified; a plain function or a coroutine function.
            timeout: seconds one call of the handler may take, at most 3600.

        Returns:
            The handler itself, or without one a decorator.

        Raises:
            ConfigurationError: the handler is not callable.
            InvalidValue: ``timeout`` is not above 0 and at most 3600.
        """
        seconds = checked_seconds("timeout", timeout)
        if seconds > MAX_TIMEOUT_SECONDS:
            raise InvalidValue("timeout", expected=f"at most {MAX_TIMEOUT_SECONDS:g} seconds", got=f"{seconds:g}")
        if handler is None:
            return lambda handler: self.on_verified(handler, timeout=seconds)
        if not callable(handler):
            raise ConfigurationError("on_verified takes a function of a Payment")
        # A client may be opened, and so be set up, more than once.
        self._subscribers[:] = [one for one in self._subscribers if one.handler != handler]
        self._subscribers.append(Subscriber(handler=handler, timeout=seconds))
        return handler

    async def find(self, *, order_id: str) -> Order | None:
        """Look up a stored order: where it stands, and the payments that were started for it. Nothing is asked.

        Args:
            order_id: your order.

        Returns:
            The order, or None where none was started.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``order_id`` is none that an order could have.
            StorageError: the store cannot be used.
        """
        return await self._processor().find(order_id)

    async def sweep(self, *, limit: int = SWEEP_LIMIT) -> list[Payment]:
        """Look once after every stored payment that is due, and tell of verified ones nobody was told of.

        For payers who paid and never came back: an open payment is due 1, 2, 4, 6, 8 and 9 minutes after it was
        started, then every five minutes for half an hour. May run in any number of processes at once.

        Args:
            limit: how many orders are looked after at the most.

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
        """Sweep again and again until cancelled, or until the client closes.

        Args:
            every: seconds between two passes.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``every`` is not above 0.
        """
        await self._sweep_on(self._round(), checked_seconds("every", every))

    @asynccontextmanager
    async def sweeping(self, *, every: float = SWEEP_SECONDS) -> AsyncGenerator[None, None]:
        """Sweep in the background for the length of an ``async with``, or until the client closes.

        Args:
            every: seconds between two passes.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``every`` is not above 0.
        """
        rounds, every = self._round(), checked_seconds("every", every)
        job = rounds.background.start(lambda: self._sweep_on(rounds, every))
        try:
            yield
        finally:
            rounds.stop()
            with anyio.CancelScope(shield=True):
                await job.ended()

    def close(self, background: Background) -> None:
        """End the sweepers of one event loop, and hurry its handlers; the client calls it when it closes."""
        for rounds in tuple(self._rounds):
            if rounds.background is background:
                rounds.stop()
        if (desk := self._processors.pop(background, None)) is not None:
            desk.notifier.close()

    def _processor(self) -> PaymentProcessor:
        if self._store is None:
            self._store = self._stored()
        background, _ = self._flows()
        desk = self._processors.get(background)
        if desk is None:
            notifier = Notifier(self._store, self._subscribers, self._start, self._clock)
            desk = self._processors[background] = PaymentProcessor(self._store, self._gateway, self._timeout, notifier)
        return desk

    def _start(self, work: Callable[[], Awaitable[None]]) -> Job[None]:
        return self._flows()[0].start(work)

    def _keeps_orders(self) -> bool:
        try:
            self._processor()
        except ConfigurationError:
            return False
        return True

    def _round(self) -> PeriodicTask:
        self._processor()
        return PeriodicTask(self._flows()[0], self._clock)

    async def _sweep_on(self, rounds: PeriodicTask, every: float) -> None:
        async def once() -> bool:
            count, _ = await self._processor().sweep(SWEEP_LIMIT, lambda: rounds.stopped, wait=False)
            return count >= SWEEP_LIMIT

        self._rounds.add(rounds)
        try:
            await rounds.run(once, every)
        finally:
            self._rounds.discard(rounds)

    async def _confirm(
        self, callback: Callback, amount: int | None, order_id: str | None, checks: OrderChecks, arrival: Arrival
    ) -> Payment:
        background, _ = self._flows()
        is_own = amount is not None and order_id is not None
        desk = None if is_own and not self._keeps_orders() else self._processor()
        order = None if desk is None else await desk.store.find(callback.order_id)
        if desk is None or order is None:
            if not is_own:
                log_refused_callback(callback, "no such order is stored")
                raise UnknownOrder(
                    "order_id", expected="an order that was started", got=masked_order_id(callback.order_id)
                )
            confirm = partial(super().confirm, callback, amount=amount, order_id=order_id)
            key = callback, repr(amount), str(order_id)  # 50000.0 and True are no amounts, and equal to some
            return await background.start(lambda: checks.check_unstored(key, confirm, arrival)).wait()
        VerifyPayment(  # refuses what could not be asked about
            ref_num=callback.ref_num,
            amount=order.amount if amount is None else amount,
            card_number=callback.card_number or "",
            tracking_code=callback.tracking_code or "",
        )
        outcome = find_contradiction(order, callback, amount, order_id)
        if outcome is None:
            outcome = await background.start(lambda: checks.check(desk, callback, arrival)).wait()
        return order.payment(callback.ref_num, outcome)
