"""From a callback to an outcome: verify proves it; where verify leaves a doubt, inquiry decides."""

from paystar_async.errors import (
    AlreadyVerified,
    ConfigurationError,
    NotSent,
    NotVerifiable,
    ParameterMismatch,
    PaymentFailed,
    PaystarError,
    StatusError,
    UnknownRefNum,
    VerificationFailed,
)
from paystar_async.models.gateway import GatewayStatus, GatewayTransaction
from paystar_async.payments.callback import Callback
from paystar_async.payments.outcomes import (
    AmountMismatch,
    Cancelled,
    Declined,
    Expired,
    Payment,
    PaymentOutcome,
    Undecided,
    Verified,
)
from paystar_async.services import GatewayCalls


class Payments:
    """Payments, above the gateway's rows."""

    def __init__(self, gateway: GatewayCalls) -> None:
        self._gateway = gateway

    async def confirm(self, callback: Callback, *, amount: int | None = None, order_id: str | None = None) -> Payment:
        """Find out what a payment is worth; may be called again and again with the same callback.

        Args:
            callback: what the payer came back with.
            amount: Rial your order asked for, from your own store – never from the callback.
            order_id: your order, from your own store.

        Returns:
            The payment with its outcome; fulfil the order on Verified alone.

        Raises:
            ConfigurationError: amount or order_id is missing, or no gateway is configured.
            GatewayError: the gateway refuses you (its id, its signature); the payment is as it was.

        Source: POST /pardakht/verify, POST /pardakht/inquiry
        """
        if amount is None or order_id is None:
            raise ConfigurationError(
                "confirm needs amount and order_id of the order you stored",
                hint="confirm(callback, amount=, order_id=)",
            )
        outcome = await self._outcome(callback, amount, order_id)
        return Payment(outcome=outcome, order_id=order_id, ref_num=callback.ref_num, amount=amount)

    async def _outcome(self, callback: Callback, amount: int, order_id: str) -> PaymentOutcome:
        if callback.order_id != order_id:
            return Declined(reason="the callback is another order's")
        if callback.says_cancelled:
            return Cancelled()
        if not callback.says_paid:
            return Declined(reason=f"the callback's status is {callback.status[:20]}")
        try:
            return await self._verify(callback, amount)
        except AlreadyVerified:
            doubt = None
        except NotVerifiable as error:
            return Expired(reason=error.message)
        except ParameterMismatch:
            return AmountMismatch(expected=amount)
        except (UnknownRefNum, VerificationFailed, PaymentFailed) as error:
            return Declined(reason=str(error.args[0]))
        except PaystarError as error:
            if error.executed == "no" and not isinstance(error, NotSent):
                raise
            doubt = error
        return await self._ask(callback, amount, order_id, doubt)

    async def _verify(self, callback: Callback, amount: int) -> PaymentOutcome:
        answer = await self._gateway.verify(
            ref_num=callback.ref_num,
            amount=amount,
            card_number=callback.card_number or "",
            tracking_code=callback.tracking_code or "",
        )
        if answer.price != amount:
            return AmountMismatch(expected=amount, got=answer.price)
        if answer.ref_num not in (None, callback.ref_num):
            return Undecided(reason="the answer is about another transaction")
        return _verified(callback)

    async def _ask(self, callback: Callback, amount: int, order_id: str, doubt: PaystarError | None) -> PaymentOutcome:
        try:
            found = await self._gateway.inquiry(
                ref_num=callback.ref_num,
                amount=amount,
                card_number=callback.card_number,
                tracking_code=callback.tracking_code,
            )
        except ParameterMismatch:
            return AmountMismatch(expected=amount)
        except (StatusError, PaystarError) as error:
            return Undecided(reason=f"verify and inquiry are both unanswered: {error.args[0]}", error=error)
        if found.status == GatewayStatus.UNVERIFIED and doubt is not None:
            return await self._verify_again(callback, amount, doubt)
        return _decided(found, callback, amount, order_id, doubt)

    async def _verify_again(self, callback: Callback, amount: int, doubt: PaystarError) -> PaymentOutcome:
        """The inquiry says that verify had no effect, so it may be sent once more."""
        try:
            return await self._verify(callback, amount)
        except PaystarError as error:
            return Undecided(reason=f"verify is still unanswered: {error.args[0]}", error=doubt)


def _verified(callback: Callback) -> Verified:
    return Verified(
        tracking_code=callback.tracking_code,
        card_number=callback.card_number,
        hashed_card_number=callback.hashed_card_number,
    )


def _decided(
    found: GatewayTransaction, callback: Callback, amount: int, order_id: str, doubt: PaystarError | None
) -> PaymentOutcome:
    if found.order_id not in (None, order_id) or found.ref_num not in (None, callback.ref_num):
        return Declined(reason="the transaction is another order's")
    match found.status:
        case GatewayStatus.SUCCEED:
            # A fee on the payer makes it more than the amount, never less.
            if found.payment_amount is not None and found.payment_amount < amount:
                return AmountMismatch(expected=amount, got=found.payment_amount)
            return _verified(callback)
        case GatewayStatus.CANCELLED:
            return Cancelled()
        case GatewayStatus.FAILED:
            return Declined(reason="the payment failed")
        case GatewayStatus.REVERSED:
            return Expired(reason="it went back to the payer")
        case _:
            return Undecided(reason=f"the inquiry says {found.status.value}", error=doubt)
