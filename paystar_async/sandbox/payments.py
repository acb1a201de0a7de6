"""Payments of the sandbox's gateway: creation, the payer's choice, the callback, verification and status."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from enum import StrEnum
from urllib.parse import urlencode, urlsplit, urlunsplit

from attrs import define, field

from paystar_async.models.gateway import CreatePayment, GatewayStatus
from paystar_async.runtime.clock import Clock
from paystar_async.sandbox.ledger import random_id
from paystar_async.sandbox.responses import Refusal
from paystar_async.sandbox.settings import Settings
from paystar_async.sandbox.test_data import Person, random_digits
from paystar_async.values.masking import mask_card

TOKEN_USED, ABOVE_CEILING, UNKNOWN_REF_NUM, ALREADY_VERIFIED, PARAMETER_MISMATCH, NOT_VERIFIABLE = (
    -3,
    -4,
    -5,
    -6,
    -7,
    -8,
)
STATUS_PAID, STATUS_NOT_PAID = 1, -98
NEWEST = "newest"
"""Names the newest unpaid payment."""
METHOD_GET = 1


class PayerChoice(StrEnum):
    """A payer's action on the payment page."""

    PAY = "pay"
    CANCEL = "cancel"
    """Turn back. Paystar reports this and ``fail`` alike: status -98, without card fields."""
    FAIL = "fail"
    """The bank declines the card; the shop cannot tell this from ``cancel``."""
    EXPIRE = "expire"
    """Pay, and come back after the time to verify: the money is returned."""


@define(kw_only=True, eq=False)
class Payment:
    """A payment: the request that created it, and the payer's choice."""

    request: CreatePayment
    token: str
    ref_num: str
    payment_amount: int
    opened: bool = False
    opened_at: float = 0.0
    """Seconds on the monotonic clock."""
    choice: PayerChoice | None = None
    created_at: float = 0.0
    """Seconds since 1970."""
    paid_at: float = 0.0
    """Seconds on the monotonic clock; ``payment_time`` holds the time of day."""
    payment_time: float = 0.0
    verified: bool = False
    transaction_id: str = ""
    card_number: str = ""
    hashed_card_number: str = ""
    tracking_code: str = ""
    ref_id: str = ""

    @property
    def is_paid(self) -> bool:
        """True if the payer paid, in time or too late."""
        return self.choice in (PayerChoice.PAY, PayerChoice.EXPIRE)


@define
class CallbackRequest:
    """The request with which the payer's browser returns to the shop."""

    fields: Mapping[str, str]
    uses_get: bool
    url: str = field(repr=False)

    @property
    def redirect_url(self) -> str:
        """The callback URL with the fields appended to its query."""
        parts = urlsplit(self.url)
        query = "&".join(filter(None, (parts.query, urlencode(self.fields))))
        return urlunsplit(parts._replace(query=query))


class GatewayPayments:
    """Every payment of the gateway.

    Args:
        clock: clock for the times to pay and to verify.
        settings: the payer's fee, the ceiling, the times to pay and to verify.
        rng: source of tokens and numbers.
        people: owners of the cards that pay.
    """

    def __init__(self, clock: Clock, settings: Settings, rng: random.Random, people: tuple[Person, ...]) -> None:
        self._clock, self._settings, self._rng, self._people = clock, settings, rng, people
        self._by_token: dict[str, Payment] = {}
        self._by_ref_num: dict[str, Payment] = {}

    def create(self, request: CreatePayment) -> Payment:
        """Create a payment.

        Raises:
            Refusal: the amount is above the ceiling.
        """
        if request.amount > self._settings.gateway_ceiling:
            raise Refusal(ABOVE_CEILING)
        payment = Payment(
            request=request,
            token=random_id(self._rng, 40),
            ref_num=random_id(self._rng, 12),
            payment_amount=request.amount + self._settings.payer_fee,
            created_at=self._clock.time(),
        )
        self._by_token[payment.token] = self._by_ref_num[payment.ref_num] = payment
        return payment

    def find(self, ref_num: object) -> Payment:
        """Return the payment with a ref_num.

        Raises:
            Refusal: no payment has this ref_num.
        """
        payment = self._by_ref_num.get(ref_num) if isinstance(ref_num, str) else None
        if payment is None:
            raise Refusal(UNKNOWN_REF_NUM)
        return payment

    def newest(self) -> Iterator[Payment]:
        """Return an iterator over every payment, newest first."""
        return reversed(self._by_ref_num.values())

    def open_page(self, token: str, *, reopen: bool = False) -> Payment:
        """Return the payment for its payment page and mark its token as used.

        Args:
            token: the token from the ``create`` response.
            reopen: True for a request of the page itself, which may be shown again until its payer has chosen.

        Raises:
            Refusal: the token is unknown or was used before.
        """
        payment = self._find_by_token(token)
        if payment.choice or (payment.opened and not reopen):
            raise Refusal(TOKEN_USED)
        if not payment.opened:
            payment.opened, payment.opened_at = True, self._clock.monotonic()
        return payment

    def allow_opening(self, ref_num: str) -> Payment:
        """Let the page of an unpaid payment be opened once more, with its whole time, and return the payment.

        Raises:
            Refusal: the ref_num is unknown, or the payer has chosen.
        """
        payment = self.find(ref_num)
        if payment.choice:
            raise Refusal(TOKEN_USED)
        payment.opened = False
        return payment

    def page_seconds_left(self, payment: Payment) -> float:
        """Return the seconds that the payer has left on the payment page."""
        return max(0.0, payment.opened_at + self._settings.page_seconds - self._clock.monotonic())

    def cancel_if_overdue(self, token: str) -> CallbackRequest | None:
        """Cancel a payment whose page was open for too long and return its callback; None if it was not cancelled.

        Raises:
            Refusal: the token is unknown.
        """
        payment = self._find_by_token(token)
        if payment.choice or not payment.opened or self.page_seconds_left(payment):
            return None
        return self.apply_choice(token, PayerChoice.CANCEL)

    def test_card(self, payment: Payment) -> str | None:
        """Return a test card that may pay, or None if the payment is bound to a card that no test person has."""
        cards = [person.card for person in self._people]
        card = payment.request.card_number
        return cards[0] if card is None else card if card in cards else None

    def apply_choice(self, token: str, choice: PayerChoice, card: str | None = None) -> CallbackRequest:
        """Record the payer's choice and return the callback.

        Args:
            token: the token from the ``create`` response.
            choice: the payer's action.
            card: number of the paying card; by default a card of one of the sandbox's people.

        Raises:
            Refusal: the token is unknown, or the payer has chosen before.
        """
        payment = self._find_by_token(token)
        if payment.choice:
            raise Refusal(TOKEN_USED)
        payment.opened, payment.choice, payment.transaction_id = True, choice, self._random_number(9)
        if payment.is_paid:
            self._record_payment(payment, card)
        return self._callback(payment)

    def find_callback(self, token: str) -> CallbackRequest | None:
        """Return the callback of a token whose payer has chosen, or None."""
        payment = self._by_token.get(token)
        return self._callback(payment) if payment and payment.choice else None

    def find_token(self, name: str) -> str:
        """Return the token of a payment.

        Args:
            name: a token; or the order_id or ref_num of a payment, the newest unpaid one of an order; or ``newest``,
                the newest unpaid payment.

        Raises:
            Refusal: there is no such payment.
        """
        if name in self._by_token:
            return name
        payments = [
            payment
            for payment in self.newest()
            if (payment.choice is None if name == NEWEST else name in (payment.request.order_id, payment.ref_num))
        ]
        if not payments:
            raise Refusal(UNKNOWN_REF_NUM)
        return min(payments, key=lambda payment: payment.choice is not None).token

    def status(self, payment: Payment) -> GatewayStatus:
        """Return a payment's status."""
        match payment.choice:
            case None:
                return GatewayStatus.INIT
            case PayerChoice.CANCEL:
                return GatewayStatus.CANCELLED
            case PayerChoice.FAIL:
                return GatewayStatus.FAILED
            case _ if payment.verified:
                return GatewayStatus.SUCCEED
            case _:
                return GatewayStatus.UNVERIFIED if self._is_in_time(payment) else GatewayStatus.REVERSED

    def verify(self, payment: Payment, amount: int) -> int:
        """Mark a payment as verified and return its price in Rial.

        Raises:
            Refusal: the amount differs, or the payment was verified before or is too old.
        """
        if amount != payment.request.amount:
            raise Refusal(PARAMETER_MISMATCH)
        if payment.verified:
            raise Refusal(ALREADY_VERIFIED)
        if not self._is_in_time(payment):
            raise Refusal(NOT_VERIFIABLE)
        payment.verified = True
        return payment.request.amount + self._settings.price_fee

    def _find_by_token(self, token: str) -> Payment:
        payment = self._by_token.get(token)
        if payment is None:
            raise Refusal(UNKNOWN_REF_NUM)
        return payment

    def _is_in_time(self, payment: Payment) -> bool:
        return self._clock.monotonic() - payment.paid_at <= self._settings.verify_seconds

    def _record_payment(self, payment: Payment, card: str | None) -> None:
        seconds_ago = self._settings.verify_seconds + 1 if payment.choice is PayerChoice.EXPIRE else 0
        payment.paid_at = self._clock.monotonic() - seconds_ago
        payment.payment_time = self._clock.time() - seconds_ago
        card = payment.request.card_number or card or self._rng.choice(self._people).card
        payment.card_number = mask_card(card)
        payment.hashed_card_number = hashlib.sha256(card.encode()).hexdigest().upper()
        payment.tracking_code, payment.ref_id = self._random_number(6), self._random_number(12)

    def _callback(self, payment: Payment) -> CallbackRequest:
        method = payment.request.callback_method
        uses_get = self._settings.default_callback_method == "GET" if method is None else method == METHOD_GET
        return CallbackRequest(fields=callback_fields(payment), uses_get=uses_get, url=payment.request.callback)

    def _random_number(self, digits: int) -> str:
        return random_digits(self._rng, digits, first="123456789")


def callback_fields(payment: Payment) -> dict[str, str]:
    """Return the fields of the callback, every value a text."""
    fields = {
        "status": str(STATUS_PAID if payment.is_paid else STATUS_NOT_PAID),
        "order_id": payment.request.order_id,
        "ref_num": payment.ref_num,
        "transaction_id": payment.transaction_id,
    }
    if payment.is_paid:
        fields |= {
            "card_number": payment.card_number,
            "hashed_card_number": payment.hashed_card_number,
            "tracking_code": payment.tracking_code,
        }
    return fields
