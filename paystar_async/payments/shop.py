"""Payments from the order to its fulfilment: what a shop calls."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from paystar_async.models.gateway import Allotment
from paystar_async.payments.confirm import Confirming
from paystar_async.payments.outcomes import Payment
from paystar_async.payments.started import StartedPayment

Handler = Callable[[Payment], Awaitable[object] | object]
"""Told of a verified payment; a plain function or a coroutine function."""
H = TypeVar("H", bound=Handler)

SWEEP_SECONDS = 15.0


class Payments(Confirming):
    """Payments, above the gateway's rows: ``start``, ``confirm``, ``on_verified``, ``sweep``."""

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
        timeout: float | None = None,
    ) -> StartedPayment:
        """Store an order, create a payment for it, and get the page to send the payer to.

        The order is stored before anything is sent, and the payment before its page is given out. The same order may
        be started again and again – a double click, a payer who comes back, an answer that was lost: each time there
        is a fresh page, any of them may be paid, and one payment at the most is verified for an order.

        Args:
            amount: whole Rial, 5000 or more.
            order_id: your order, a text of 1 to 255 characters; unique within the gateway.
            callback: where the payer comes back to; a URL of the domain registered for the gateway.
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
        raise NotImplementedError

    def on_verified(self, handler: H, /) -> H:
        """Have a function told of every payment that is verified: ``@paystar.payments.on_verified``.

        It is called with the Payment, from ``confirm`` before that returns, from ``start`` or from the sweeper –
        whoever finds it out – and only for payments of stored orders. At least once: if it raises, or the process
        ends meanwhile, it is called again at a later sweep, maybe in another process that has a handler. Make its work
        unique by ``payment.id``, in the transaction that fulfils the order.

        Args:
            handler: takes a Payment whose outcome is Verified; a plain function or a coroutine function.

        Returns:
            The handler itself, so that it can be used as a decorator.
        """
        raise NotImplementedError

    async def sweep(self, *, limit: int = 100) -> list[Payment]:
        """Look once after every stored payment that is due, and tell of verified ones nobody was told of.

        For payers who paid and never came back: an open payment is due 1, 2, 4, 6, 8 and 9 minutes after it was
        started, then ever more rarely for half an hour. May run in any number of processes at once.

        Args:
            limit: how many orders are looked after at the most.

        Returns:
            The payments that were decided in this pass, with their outcomes.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            StorageError: the store cannot be used; nothing was decided.

        Source: POST /pardakht/inquiry, POST /pardakht/verify
        """
        raise NotImplementedError

    async def run(self, *, every: float = SWEEP_SECONDS) -> None:
        """Sweep again and again until cancelled, or until the client closes.

        Args:
            every: seconds between two passes.
        """
        raise NotImplementedError

    @asynccontextmanager
    async def sweeping(self, *, every: float = SWEEP_SECONDS) -> AsyncGenerator[None, None]:  # noqa: ARG002
        """Sweep in the background for the length of an ``async with``.

        Args:
            every: seconds between two passes.
        """
        raise NotImplementedError
        yield
