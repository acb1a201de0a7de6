"""From a callback to an outcome: verify proves it; where verify leaves a doubt, inquiry decides."""

from typing import Literal, cast

from paystar_async.errors import (
    AlreadyVerified,
    BadAnswer,
    ConfigurationError,
    InvalidValue,
    NotSent,
    NotVerifiable,
    ParameterMismatch,
    PaymentFailed,
    PaystarError,
    StatusError,
    UnknownRefNum,
    VerificationFailed,
    http_may_have_executed,
)
from paystar_async.middleware.retry import is_transient
from paystar_async.models.gateway import GatewayStatus, GatewayTransaction
from paystar_async.payments.amounts import judge_amount
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


class Confirming:
    """What a callback is worth."""

    def __init__(self, gateway: GatewayCalls) -> None:
        self._gateway = gateway

    async def confirm(self, callback: Callback, *, amount: int | None = None, order_id: str | None = None) -> Payment:
        """Find out what a payment is worth; may be called again and again with the same callback.

        Args:
            callback: what the payer came back with.
            amount: Rial your order asked for, from your own store – never from the callback.
            order_id: your order, from your own store.

        Returns:
            The payment with its outcome; fulfil the order on Verified alone, and once: who confirms twice, or in two
            places at once, is told Verified each time.

        Raises:
            ConfigurationError: amount or order_id is missing, or no gateway is configured.
            InvalidValue: the amount is no amount, or the callback holds a full card number; nothing was asked.
            GatewayError: the gateway refuses you (its id, its signature); the payment is as it was.

        Source: POST /pardakht/verify, POST /pardakht/inquiry
        """
        given = cast("object", callback)
        if not isinstance(given, Callback):
            raise InvalidValue(
                "callback",
                expected="a Callback",
                got=f"a {type(given).__name__}",
                hint="Callback.parse(fields) makes one",
            )
        if amount is None or order_id is None:
            raise ConfigurationError(
                "confirm needs amount and order_id of the order you stored",
                hint="confirm(callback, amount=, order_id=)",
            )
        order_id = str(order_id)
        outcome = await self._outcome(callback, amount, order_id)
        return Payment(outcome=outcome, order_id=order_id, ref_num=callback.ref_num, amount=amount)

    async def _outcome(self, callback: Callback, amount: int, order_id: str) -> PaymentOutcome:
        if callback.order_id != order_id:
            return Declined(reason="the callback is another order's")
        if callback.says_cancelled:
            return Cancelled()
        if not callback.says_paid:
            return Declined(reason=f"the callback's status is {callback.status[:20]}")
        return await self._proved(callback, amount, order_id)

    async def _proved(self, callback: Callback, amount: int, order_id: str, *, again: bool = True) -> PaymentOutcome:
        said, price = await self._verify(callback, amount)
        if not isinstance(said, Verified | Undecided):
            return said
        # After a verify that went well, too: it proves a payment of this amount, not whose. Without this a payer
        # could pay one order, and bring its ref_num back for another of the same price as well.
        try:
            found = await self._inquiry(callback, amount)
        except PaystarError as error:
            return _without_inquiry(error, said, amount, price)
        if (
            again
            and found.status == GatewayStatus.UNVERIFIED
            and isinstance(said, Undecided)
            and said.error is not None
        ):
            # The inquiry says that verify had no effect, so it may be sent once more.
            return await self._proved(callback, amount, order_id, again=False)
        return _decided(found, said, price, callback, amount, order_id)

    async def _verify(self, callback: Callback, amount: int) -> tuple[PaymentOutcome, int | None]:
        """Return what verify says, Undecided where the inquiry has to decide, and the price it names, in Rial."""
        try:
            answer = await self._gateway.verify(
                ref_num=callback.ref_num,
                amount=amount,
                card_number=callback.card_number or "",
                tracking_code=callback.tracking_code or "",
            )
        except AlreadyVerified:
            return Undecided(reason="it was verified before"), None
        except VerificationFailed as error:
            return Undecided(reason="the verification failed", error=error), None
        except NotVerifiable as error:
            return Expired(reason=error.message), None
        except ParameterMismatch:
            return AmountMismatch(expected=amount), None
        except (UnknownRefNum, PaymentFailed) as error:
            return Declined(reason=str(error.args[0])), None
        except PaystarError as error:
            if error.executed == "no" and not isinstance(error, NotSent):
                raise
            return Undecided(reason=f"verify is unanswered: {error.args[0]}", error=error), None
        if answer.ref_num not in (None, callback.ref_num):
            return Undecided(reason="the answer is about another transaction"), None
        if judge_amount(amount, price=answer.price) is not True:
            return Undecided(reason="verify names another amount"), answer.price
        verified = Verified(
            tracking_code=callback.tracking_code,
            card_number=callback.card_number,
            hashed_card_number=callback.hashed_card_number,
        )
        return verified, answer.price

    async def _inquiry(self, callback: Callback, amount: int) -> GatewayTransaction:
        return await self._gateway.inquiry(
            ref_num=callback.ref_num,
            amount=amount,
            card_number=callback.card_number or "",
            tracking_code=callback.tracking_code or "",
        )


def _without_inquiry(error: PaystarError, said: Verified | Undecided, amount: int, price: int | None) -> PaymentOutcome:
    """Return what is known where the inquiry brought no answer."""
    if price is not None and not is_passing(error):
        # The service cannot say more, now or later.
        verdict = judge_amount(amount, price=price)
        return verdict if isinstance(verdict, AmountMismatch) else said
    if isinstance(error, ParameterMismatch):
        return AmountMismatch(expected=amount)
    if isinstance(error, UnknownRefNum):
        return Declined(reason=str(error.args[0]))
    before = "verified" if isinstance(said, Verified) else said.reason
    return Undecided(reason=f"{before}; the inquiry is unanswered: {error.args[0]}", error=error)


def is_passing(error: PaystarError) -> bool:
    """Whether the inquiry may well be answered when it is asked again."""
    if isinstance(error, BadAnswer) or (isinstance(error, StatusError) and error.status == error.http_status):
        return error.http_status is None or http_may_have_executed(error.http_status)
    return is_transient(error) or type(error).executed == "maybe"


def _decided(
    found: GatewayTransaction,
    said: Verified | Undecided,
    price: int | None,
    callback: Callback,
    amount: int,
    order_id: str,
) -> PaymentOutcome:
    if found.order_id not in (None, order_id) or found.ref_num not in (None, callback.ref_num):
        return Declined(reason="the transaction is another order's")
    doubt = said.error if isinstance(said, Undecided) else None
    verdict = judge_amount(amount, price=price, payment_amount=found.payment_amount)
    match found.status:
        case GatewayStatus.CANCELLED | GatewayStatus.FAILED | GatewayStatus.REVERSED if price is not None:
            return Undecided(reason=f"verify went well, and the inquiry says {found.status.value}")
        case _ if isinstance(said, Verified):
            return verdict if isinstance(verdict, AmountMismatch) else said
        case GatewayStatus.SUCCEED:
            return _succeeded(found, verdict, callback)
        case GatewayStatus.CANCELLED:
            return Cancelled()
        case GatewayStatus.FAILED:
            return Declined(reason="the payment failed")
        case GatewayStatus.REVERSED:
            return Expired(reason="it went back to the payer")
        case GatewayStatus.UNVERIFIED if isinstance(doubt, VerificationFailed):
            return Declined(reason=str(doubt.args[0]))
        case _:
            return Undecided(reason=f"{said.reason}; the inquiry says {found.status.value}", error=doubt)


def _succeeded(
    found: GatewayTransaction, verdict: AmountMismatch | Literal[True] | None, callback: Callback
) -> PaymentOutcome:
    """Return the outcome where the inquiry alone has to prove whose payment it is, and how much was paid."""
    # Its ref_num came with the callback, which anybody can write: only order_id says for what it was paid.
    if found.order_id is None or verdict is None:
        return Undecided(reason="the inquiry names no order or no amount")
    if isinstance(verdict, AmountMismatch):
        return verdict
    return Verified(
        tracking_code=found.tracking_code or callback.tracking_code,
        card_number=found.card_number or callback.card_number,
        hashed_card_number=found.hashed_card_number or callback.hashed_card_number,
    )
