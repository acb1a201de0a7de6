"""What a payment of a stored order is worth: the gateway is asked, and nothing else is believed.

The callback brings the card and the receipt that verify signs, no more; where it is forged, late or lost, the inquiry
brings them.
"""

from collections.abc import Awaitable, Callable

from attrs import field, frozen

from paystar_async.errors import (
    AlreadyVerified,
    InvalidRequest,
    NotSent,
    NotVerifiable,
    ParameterMismatch,
    PaymentFailed,
    PaystarError,
    UnknownRefNum,
    VerificationFailed,
)
from paystar_async.events import logger
from paystar_async.models.gateway import GatewayStatus, GatewayTransaction
from paystar_async.payments.amounts import judge_amount
from paystar_async.payments.callback import Callback
from paystar_async.payments.confirm import is_passing
from paystar_async.payments.outcomes import (
    AmountMismatch,
    Cancelled,
    Declined,
    Expired,
    PaymentOutcome,
    Undecided,
    Verified,
)
from paystar_async.payments.verification_models import VerificationResult
from paystar_async.services import GatewayCalls
from paystar_async.values.mask import scrub

CALL_SECONDS = 20.0
"""What one verify or inquiry may take: a browser waits for up to four, and ``order.QUIET`` is well above one."""

Claim = Callable[[], Awaitable[PaymentOutcome | None]]
"""Binds the order to the payment; what it gives instead of None keeps the payment from being verified."""

_OF_THE_PAYMENT = (
    NotVerifiable,
    ParameterMismatch,
    UnknownRefNum,
    PaymentFailed,
    VerificationFailed,
    InvalidRequest,
)
"""Refusals that a wrong card or receipt brings about as well: they decide nothing before the inquiry has spoken."""


@frozen(kw_only=True)
class Receipt:
    """What verify signs beside the order's own: the payer's card, masked, and the receipt number."""

    card_number: str = field(default="", repr=False)
    tracking_code: str = ""
    hashed_card_number: str | None = field(default=None, repr=False, eq=False)

    def verified(self, card_number: str | None = None) -> Verified:
        """The outcome that names it."""
        return Verified(
            tracking_code=self.tracking_code or None,
            card_number=card_number or self.card_number or None,
            hashed_card_number=self.hashed_card_number,
        )


@frozen(kw_only=True)
class VerificationRequest:
    """A payment to be judged, as the store has it.

    Attributes:
        order_id: the order it was started for.
        ref_num: the gateway's transaction.
        amount: Rial the order asks for.
        payment_amount: Rial the payer pays, as create said, if it did.
        callback: what the payer came back with, if they did.
        in_time: whether it can surely be verified; if not, the inquiry alone proves it.
        closed: whether its time is over for us: it is not verified any more.
        is_only_one: whether no other payment of the order is open.
        at: the store's time.
        on_request: called right before each request to the gateway.
    """

    order_id: str
    ref_num: str
    amount: int
    payment_amount: int | None
    callback: Callback | None
    is_verifiable: bool
    is_expired: bool
    is_only_open_attempt: bool
    now: float
    on_request: Callable[[], object] = field(default=lambda: None, repr=False, eq=False)

    @property
    def claimed_receipt(self) -> Receipt | None:
        """What the callback claims to have been paid with."""
        if self.callback is None or not self.callback.says_paid:
            return None
        return Receipt(
            card_number=self.callback.card_number or "",
            tracking_code=self.callback.tracking_code or "",
            hashed_card_number=self.callback.hashed_card_number,
        )


class PaymentVerifier:
    """Finds out what one payment is worth.

    Args:
        gateway: who is asked.
        timeout: seconds one call may take.
        case: the payment.
        claim: called before it is verified.
    """

    def __init__(self, gateway: GatewayCalls, timeout: float, case: VerificationRequest, claim: Claim) -> None:
        self._gateway, self._case, self._claim = gateway, case, claim
        self._timeout = min(timeout, CALL_SECONDS)
        self._refusal: PaystarError | None = None
        """What verify was refused with, when it was last tried."""
        self._doubt: PaystarError | None = None
        """What came instead of an answer to verify."""
        self._proof: Verified | None = None
        """What verify said when it was too late, or of another price, to take its word for it."""
        self._price: int | None = None
        """Rial that verify named, if it was answered."""
        self._tried: Receipt | None = None

    async def check(self) -> VerificationResult:
        """Ask verify, the inquiry, or both.

        Raises:
            GatewayError: the gateway refuses us, not the payment.
        """
        case, brought = self._case, self._case.claimed_receipt
        may_verify = brought if case.is_verifiable and not case.is_expired else None
        # While another payment of the order is open the inquiry goes first: verify binds the order, and a callback
        # that somebody made up for one payment would keep the one from being verified that is paid.
        if may_verify is not None and case.is_only_open_attempt:
            finding = await self._verify(may_verify)
            if finding is not None:
                return finding
        for last in (False, True):
            try:
                found = await self._inquiry()
            except PaystarError as error:
                if may_verify is not None and self._tried is None and not is_passing(error):
                    finding = await self._verify(may_verify)
                    if finding is not None:
                        return finding
                return self._unanswered(error)
            if not self._is_ours(found):
                logger.error("payments: the inquiry answers for another payment than was asked about")
                return VerificationResult(outcome=Undecided(reason="the inquiry answers for another payment"))
            if found.status != GatewayStatus.UNVERIFIED or self._proof is not None or case.is_expired:
                return await self._read(found)
            receipt = _receipt(found, brought)
            if receipt == self._tried and self._refusal is not None:
                by_receipt = receipt != _receipt(found, None)
                return self._refused(self._refusal, found.payment_amount, by_receipt=by_receipt)
            finding = None if last else await self._verify(receipt)
            if finding is not None:
                return finding
        return self._undecided("the inquiry says UNVERIFIED")

    async def _verify(self, receipt: Receipt) -> VerificationResult | None:
        """What verify says; None where the inquiry has to decide."""
        kept = await self._claim()
        if kept is not None:
            return VerificationResult(outcome=kept)
        case, self._tried, self._refusal = self._case, receipt, None
        case.on_request()
        try:
            answer = await self._gateway.verify(
                ref_num=case.ref_num,
                amount=case.amount,
                card_number=receipt.card_number,
                tracking_code=receipt.tracking_code,
                timeout=self._timeout,
            )
        except AlreadyVerified:
            return None
        except _OF_THE_PAYMENT as error:
            self._refusal = error
            return None
        except PaystarError as error:
            if error.executed == "no" and not isinstance(error, NotSent):
                raise
            self._doubt = error
            return None
        if answer.ref_num not in (None, case.ref_num):
            return None
        self._price, proof = answer.price, receipt.verified(answer.card_number)
        if judge_amount(case.amount, price=answer.price) is not True:
            logger.warning("payments: verify answered with another amount than was asked for; the inquiry decides")
        elif case.is_verifiable and not isinstance(
            judge_amount(case.amount, payment_amount=case.payment_amount), AmountMismatch
        ):
            return VerificationResult(outcome=proof, settled=True)
        self._proof = proof
        return None

    async def _inquiry(self) -> GatewayTransaction:
        case = self._case
        case.on_request()
        try:
            # Not signed: the signature would be over a card and a receipt that may be forged, or not known yet.
            return await self._gateway.inquiry(ref_num=case.ref_num, timeout=self._timeout)
        except InvalidRequest:
            receipt = case.claimed_receipt or Receipt()
            return await self._gateway.inquiry(
                ref_num=case.ref_num,
                amount=case.amount,
                card_number=receipt.card_number,
                tracking_code=receipt.tracking_code,
                timeout=self._timeout,
            )

    async def _read(self, found: GatewayTransaction) -> VerificationResult:
        case, receipt = self._case, _receipt(found, self._case.claimed_receipt)
        match found.status:
            case GatewayStatus.SUCCEED:
                return await self._succeeded(found, receipt)
            case GatewayStatus.CANCELLED | GatewayStatus.FAILED | GatewayStatus.REVERSED if self._proof is not None:
                return self._undecided(f"verify went well, and the inquiry says {found.status.value}")
            case GatewayStatus.CANCELLED:
                return VerificationResult(outcome=Cancelled(), settled=True)
            case GatewayStatus.FAILED:
                return VerificationResult(outcome=Declined(reason="the payment failed"), settled=True)
            case GatewayStatus.REVERSED:
                return VerificationResult(outcome=Expired(reason="it went back to the payer"), settled=True)
            case GatewayStatus.INIT:
                return VerificationResult(
                    outcome=not_paid(case.callback), unpaid=True, may_expire=True, checked_at=case.now
                )
            case GatewayStatus.UNVERIFIED if self._proof is None:
                return VerificationResult(outcome=Expired(reason="it was paid when its time was over"), may_expire=True)
            case _:
                return self._undecided(f"the inquiry says {scrub(found.status.value)[:40]}")

    async def _succeeded(self, found: GatewayTransaction, receipt: Receipt) -> VerificationResult:
        if found.order_id is None and found.ref_num is None:
            return self._undecided("the inquiry names neither order nor ref_num")
        verdict = judge_amount(self._case.amount, price=self._price, payment_amount=found.payment_amount)
        if verdict is None:
            return self._undecided("the inquiry names no amount")
        if isinstance(verdict, AmountMismatch):
            # Captured, and not what was asked for: it needs manual review.
            logger.error("payments: another amount was paid than was asked for; nothing is fulfilled")
            return VerificationResult(outcome=verdict, settled=True)
        kept = await self._claim()
        if kept is not None:
            if isinstance(kept, Declined):
                logger.error("payments: two payments of one order are verified; one has to be given back by hand")
            return VerificationResult(outcome=kept)
        return VerificationResult(outcome=receipt.verified(), settled=True)

    def _is_ours(self, found: GatewayTransaction) -> bool:
        case = self._case
        return found.order_id in (None, case.order_id) and found.ref_num in (None, case.ref_num)

    def _refused(self, error: PaystarError, paid: int | None = None, *, by_receipt: bool) -> VerificationResult:
        """Verify refuses it, with the card and the receipt that the inquiry names, or there is no inquiry for us."""
        match error:
            case InvalidRequest():
                raise error  # our signature, then
            case NotVerifiable():
                outcome: PaymentOutcome = Expired(reason=error.message)
            case ParameterMismatch():
                outcome = AmountMismatch(expected=self._case.amount, got=paid)
            case _:
                outcome = Declined(reason=str(error.args[0]))
        return VerificationResult(outcome=outcome, may_expire=True, depends_on_receipt=by_receipt)

    def _unanswered(self, error: PaystarError) -> VerificationResult:
        """Without an inquiry nothing is known, whatever verify refused."""
        mismatch = judge_amount(self._case.amount, price=self._price)
        if isinstance(mismatch, AmountMismatch) and not is_passing(error):
            return VerificationResult(outcome=mismatch, settled=True)  # no other figure will ever be known
        if isinstance(error, UnknownRefNum):
            return VerificationResult(outcome=Declined(reason=str(error.args[0])), settled=True)
        if not is_passing(error) and self._doubt is None:
            if self._refusal is not None:
                return self._refused(self._refusal, by_receipt=True)
            if self._tried is None:
                raise error
        return self._undecided(f"the inquiry is unanswered: {error.args[0]}", error)

    def _undecided(self, reason: str, error: PaystarError | None = None) -> VerificationResult:
        error = self._doubt or error
        before = f"verify is unanswered: {self._doubt.args[0]}; " if self._doubt is not None else ""
        return VerificationResult(outcome=Undecided(reason=before + reason, error=error))


def not_paid(callback: Callback | None) -> PaymentOutcome:
    """Return the outcome of a callback while the gateway knows of no payment."""
    if callback is None or callback.says_paid:
        return Undecided(reason="it is not paid yet")
    if callback.says_cancelled:
        return Cancelled()
    return Declined(reason=f"the callback's status is {scrub(callback.status)[:20]}")


def _receipt(found: GatewayTransaction, brought: Receipt | None) -> Receipt:
    """The card and the receipt as the inquiry names them; what it leaves out, as the callback does."""
    claimed = brought or Receipt()
    return Receipt(
        card_number=found.card_number or claimed.card_number,
        tracking_code=found.tracking_code or claimed.tracking_code,
        hashed_card_number=found.hashed_card_number or claimed.hashed_card_number,
    )
