"""Verification: decide the outcome of one payment by verify and inquiry.

Only the gateway's responses count as proof. A callback only contributes the card and the tracking code that verify
signs; where a callback is forged, late or lost, the inquiry supplies both.
"""

from collections.abc import Awaitable, Callable

from attrs import evolve

from paystar_async.errors import (
    AlreadyVerified,
    InvalidRequest,
    InvalidResponse,
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
from paystar_async.errors.transient import is_transient
from paystar_async.models.gateway import GatewayStatus, GatewayTransaction
from paystar_async.payments.amounts import judge_amount
from paystar_async.payments.callback import Callback
from paystar_async.payments.outcomes import (
    AmountMismatch,
    Cancelled,
    Declined,
    Expired,
    PaymentOutcome,
    Undecided,
    Verified,
)
from paystar_async.payments.verification_models import (
    CALLER_ORDER,
    Receipt,
    VerificationPolicy,
    VerificationRequest,
    VerificationResult,
)
from paystar_async.runtime.events import logger
from paystar_async.services import GatewayCalls
from paystar_async.values.masking import mask_text

MAX_CALL_SECONDS = 20.0
"""Limit of one verify or inquiry: a browser waits for up to four; ``models.VERIFY_IN_FLIGHT_SECONDS`` exceeds one."""

Reserve = Callable[[], Awaitable[PaymentOutcome | None]]
"""Reserves the order for the payment; an outcome instead of None keeps the payment from being verified."""

_PAYMENT_REFUSALS = (
    NotVerifiable,
    ParameterMismatch,
    UnknownRefNum,
    PaymentFailed,
    VerificationFailed,
    InvalidRequest,
)
"""Refusals by verify that concern the payment, or the card and tracking code sent with it."""


async def _reserve_nothing() -> None:
    """Reserve nothing, so that every payment is verified: the caller stores the order."""


class PaymentVerifier:
    """The verification of one payment by verify, inquiry, or both.

    Args:
        gateway: the gateway's endpoints.
        request: the payment.
        policy: the policy of the payment's flow.
        timeout: seconds one call may take; the client's own if None.
        reserve: called before the payment is verified.
    """

    def __init__(
        self,
        gateway: GatewayCalls,
        request: VerificationRequest,
        policy: VerificationPolicy,
        *,
        timeout: float | None = None,
        reserve: Reserve = _reserve_nothing,
    ) -> None:
        self._gateway, self._request, self._policy, self._reserve = gateway, request, policy, reserve
        self._timeout = None if timeout is None else min(timeout, MAX_CALL_SECONDS)
        self._sent_receipt: Receipt | None = None
        """The receipt of the last verify."""
        self._refusal: PaystarError | None = None
        """The refusal of the last verify, if the inquiry has yet to confirm it."""
        self._doubt: PaystarError | None = None
        """The error after which it is unknown whether verify had an effect."""
        self._accepted: Verified | None = None
        """The outcome after a successful verify that the inquiry has yet to confirm."""
        self._is_proven = False
        """True if verify succeeded in time and for the amount asked: the inquiry can only contradict it."""
        self._price: int | None = None
        """Rial that the verify response named."""

    async def check(self) -> VerificationResult:
        """Send verify, the inquiry, or both, and return the result.

        Raises:
            GatewayError: the gateway refuses the merchant, not the payment.
        """
        request, receipt = self._request, self._request.claimed_receipt
        if self._policy.trusts_cancelled and receipt is None:
            return VerificationResult(outcome=unpaid_outcome(request.callback), settled=True)
        if not request.is_verifiable or request.is_expired:
            receipt = None
        # While another payment of the order is open the inquiry goes first: verify reserves the order, and a forged
        # callback for one payment would keep the payment that was made from being verified.
        if receipt is not None and request.is_only_open_attempt:
            result = await self._verify(receipt)
            if result is not None:
                return result
        for is_last in (False, True):
            try:
                transaction = await self._inquire()
            except PaystarError as error:
                if receipt is not None and self._sent_receipt is None and not is_temporary(error):
                    result = await self._verify(receipt)
                    if result is not None:
                        return result
                return self._decide_without_inquiry(error)
            if not self._is_own(transaction):
                return self._other_payment()
            is_unverified = transaction.status == GatewayStatus.UNVERIFIED
            if not is_unverified or self._accepted is not None or request.is_expired:
                return await self._decide(transaction)
            result = await self._verify_again(transaction, is_last=is_last)
            if result is not None:
                return result
        return self._undecided("the inquiry says UNVERIFIED")

    async def _verify(self, receipt: Receipt) -> VerificationResult | None:
        """Send verify and return its result, or None where the inquiry has to decide."""
        prior_outcome = await self._reserve()
        if prior_outcome is not None:
            return VerificationResult(outcome=prior_outcome)
        request, self._sent_receipt, self._refusal = self._request, receipt, None
        request.on_request()
        try:
            response = await self._gateway.verify(
                ref_num=request.ref_num,
                amount=request.amount,
                card_number=receipt.card_number,
                tracking_code=receipt.tracking_code,
                timeout=self._timeout,
            )
        except AlreadyVerified:
            return None
        except _PAYMENT_REFUSALS as error:
            if not self._policy.is_final:
                self._refusal = error
                return None
            if not isinstance(error, VerificationFailed):
                return self._refused(error)
            self._doubt = error
            return None
        except PaystarError as error:
            if error.executed == "no" and not isinstance(error, NotSent):
                raise
            self._doubt = error
            return None
        if response.ref_num not in (None, request.ref_num):
            return None
        self._price, self._accepted = response.price, receipt.verified(response.card_number)
        created_amount = judge_amount(request.amount, payment_amount=request.payment_amount)
        if judge_amount(request.amount, price=response.price) is not True:
            logger.warning("payments: verify named another amount than the order asks for; the inquiry decides")
        elif request.is_verifiable and not isinstance(created_amount, AmountMismatch):
            self._is_proven = True
            if not self._policy.always_inquires:
                return VerificationResult(outcome=self._accepted, settled=True)
        return None

    async def _verify_again(self, transaction: GatewayTransaction, *, is_last: bool) -> VerificationResult | None:
        """Return the result for an UNVERIFIED payment, or None where the next inquiry has to decide."""
        if self._policy.is_final:
            if isinstance(self._doubt, VerificationFailed) and is_last:
                return self._refused(self._doubt)
            if self._sent_receipt is None or self._doubt is None or is_last:
                return self._undecided("the inquiry says UNVERIFIED")
            self._doubt = None  # the inquiry says that the first verify had no effect
            return await self._verify(self._sent_receipt)
        receipt = _merge_receipts(transaction, self._request.claimed_receipt)
        if receipt == self._sent_receipt and self._refusal is not None:
            depends_on_receipt = receipt != _merge_receipts(transaction, None)
            return self._refused(self._refusal, transaction.payment_amount, depends_on_receipt=depends_on_receipt)
        return None if is_last else await self._verify(receipt)

    async def _inquire(self) -> GatewayTransaction:
        """Look up the payment at the gateway."""
        request = self._request
        request.on_request()
        if not self._policy.signs_inquiry:
            try:
                return await self._gateway.inquiry(ref_num=request.ref_num, timeout=self._timeout)
            except InvalidRequest:
                pass  # this gateway insists on a signature
        receipt = request.claimed_receipt or Receipt()
        return await self._gateway.inquiry(
            ref_num=request.ref_num,
            amount=request.amount,
            card_number=receipt.card_number,
            tracking_code=receipt.tracking_code,
            timeout=self._timeout,
        )

    async def _decide(self, transaction: GatewayTransaction) -> VerificationResult:
        """Return the result that the inquiry's status means."""
        request, status = self._request, transaction.status
        match status:
            case GatewayStatus.CANCELLED | GatewayStatus.FAILED | GatewayStatus.REVERSED if self._accepted is not None:
                return self._undecided(f"the inquiry says {status.value}")
            case _ if self._is_proven and self._accepted is not None:
                verdict = judge_amount(request.amount, price=self._price, payment_amount=transaction.payment_amount)
                outcome = verdict if isinstance(verdict, AmountMismatch) else self._accepted
                return VerificationResult(outcome=outcome, settled=True)
            case GatewayStatus.SUCCEED:
                return await self._decide_succeeded(transaction)
            case GatewayStatus.CANCELLED:
                return VerificationResult(outcome=Cancelled(), settled=True)
            case GatewayStatus.FAILED:
                return VerificationResult(outcome=Declined(reason="the payment failed"), settled=True)
            case GatewayStatus.REVERSED:
                return VerificationResult(outcome=Expired(reason="the money went back to the payer"), settled=True)
            case GatewayStatus.INIT:
                unpaid = unpaid_outcome(request.callback)
                if isinstance(unpaid, Undecided):
                    unpaid = evolve(unpaid, error=self._doubt)
                return VerificationResult(outcome=unpaid, unpaid=True, may_expire=True, checked_at=request.now)
            case GatewayStatus.UNVERIFIED if self._accepted is None:
                return VerificationResult(
                    outcome=Expired(reason="the payment was made after the order had expired"), may_expire=True
                )
            case _:
                return self._undecided(f"the inquiry says {mask_text(status.value)[:40]}")

    async def _decide_succeeded(self, transaction: GatewayTransaction) -> VerificationResult:
        """Return the result where the inquiry has to prove for which order, and how much, was paid."""
        if transaction.order_id is None and (transaction.ref_num is None or self._policy.always_inquires):
            return self._undecided("the inquiry names no order")
        verdict = judge_amount(self._request.amount, price=self._price, payment_amount=transaction.payment_amount)
        if verdict is None:
            return self._undecided("the inquiry names no amount")
        if isinstance(verdict, AmountMismatch):
            # Captured, and not what the order asks for.
            logger.error("payments: another amount was paid than the order asks for; it needs manual review")
            return VerificationResult(outcome=verdict, settled=True)
        prior_outcome = await self._reserve()
        if prior_outcome is not None:
            if isinstance(prior_outcome, Declined):
                logger.error("payments: two payments of one order are verified; one needs a manual refund")
            return VerificationResult(outcome=prior_outcome)
        receipt = _merge_receipts(transaction, self._request.claimed_receipt)
        return VerificationResult(outcome=receipt.verified(), settled=True)

    def _is_own(self, transaction: GatewayTransaction) -> bool:
        """Return True if the inquiry names no other order and no other payment."""
        request = self._request
        is_own_order = transaction.order_id in (None, request.order_id)
        return is_own_order and transaction.ref_num in (None, request.ref_num)

    def _other_payment(self) -> VerificationResult:
        """Return the result where the inquiry names another order or payment."""
        if self._policy.always_inquires:
            return VerificationResult(outcome=Declined(reason="the transaction is another order's"), settled=True)
        logger.error("payments: the inquiry response is about another payment than the request")
        return VerificationResult(outcome=Undecided(reason="the inquiry response is about another payment"))

    def _refused(
        self, error: PaystarError, paid: int | None = None, *, depends_on_receipt: bool = True
    ) -> VerificationResult:
        """Return the result of a refusal by verify that nothing else corrects.

        Args:
            error: the refusal.
            paid: Rial that the inquiry named, if it named any.
            depends_on_receipt: True if another card and tracking code might not be refused.
        """
        match error:
            case InvalidRequest():
                raise error  # the client's own signature is wrong
            case NotVerifiable():
                outcome: PaymentOutcome = Expired(reason=error.message)
            case ParameterMismatch():
                outcome = AmountMismatch(expected=self._request.amount, got=paid)
            case _:
                outcome = Declined(reason=str(error.args[0]))
        return VerificationResult(outcome=outcome, may_expire=True, depends_on_receipt=depends_on_receipt)

    def _decide_without_inquiry(self, error: PaystarError) -> VerificationResult:
        """Return the result where the inquiry failed: Undecided, unless verify decided the payment for good."""
        if not is_temporary(error):
            # No other amount will ever be known.
            verdict = judge_amount(self._request.amount, price=self._price)
            if isinstance(verdict, AmountMismatch):
                return VerificationResult(outcome=verdict, settled=True)
            if self._is_proven and self._accepted is not None:
                return VerificationResult(outcome=self._accepted, settled=True)
        if self._policy.signs_inquiry and isinstance(error, ParameterMismatch):
            return VerificationResult(outcome=AmountMismatch(expected=self._request.amount), settled=True)
        if isinstance(error, UnknownRefNum):
            return VerificationResult(outcome=Declined(reason=str(error.args[0])), settled=True)
        if not is_temporary(error) and self._doubt is None:
            if self._refusal is not None:
                return self._refused(self._refusal)
            if self._sent_receipt is None:
                raise error
        return self._undecided(f"the inquiry failed: {error.args[0]}", error)

    def _undecided(self, reason: str, error: PaystarError | None = None) -> VerificationResult:
        """Return Undecided, with the results of verify and inquiry as its reason."""
        parts = [] if self._doubt is None else [f"verify failed: {self._doubt.args[0]}"]
        if self._accepted is not None:
            parts.append("verify succeeded")
        return VerificationResult(outcome=Undecided(reason="; ".join([*parts, reason]), error=self._doubt or error))


async def verify_caller_order(
    gateway: GatewayCalls, callback: Callback, *, amount: int, order_id: str
) -> PaymentOutcome:
    """Return the outcome of a callback for an order that the caller stores.

    Args:
        gateway: the gateway's endpoints.
        callback: the callback that the payer came back with.
        amount: Rial the order asks for.
        order_id: the order.
    """
    if callback.order_id != order_id:
        return Declined(reason="the callback is another order's")
    request = VerificationRequest(order_id=order_id, ref_num=callback.ref_num, amount=amount, callback=callback)
    return (await PaymentVerifier(gateway, request, CALLER_ORDER).check()).outcome


def is_temporary(error: PaystarError) -> bool:
    """Return True if a later inquiry may well get a response."""
    if isinstance(error, InvalidResponse) or (isinstance(error, StatusError) and error.status == error.http_status):
        return error.http_status is None or http_may_have_executed(error.http_status)
    return is_transient(error) or type(error).executed == "maybe"


def unpaid_outcome(callback: Callback | None) -> PaymentOutcome:
    """Return the outcome of a callback while the gateway knows of no payment."""
    if callback is None or callback.claims_paid:
        return Undecided(reason="the order is not paid yet")
    if callback.claims_cancelled:
        return Cancelled()
    return Declined(reason=f"the callback's status is {mask_text(callback.status)[:20]}")


def _merge_receipts(transaction: GatewayTransaction, claimed: Receipt | None) -> Receipt:
    """Return the receipt that the inquiry names, completed by the claimed receipt."""
    claimed = claimed or Receipt()
    return Receipt(
        card_number=transaction.card_number or claimed.card_number,
        tracking_code=transaction.tracking_code or claimed.tracking_code,
        hashed_card_number=transaction.hashed_card_number or claimed.hashed_card_number,
    )
