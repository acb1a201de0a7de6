"""Payments at the gateway: from the token to the callback, and what verify and inquiry find."""

import hashlib
import random
import string
from collections.abc import Iterator, Mapping
from enum import StrEnum
from urllib.parse import urlencode, urlsplit, urlunsplit

from attrs import define, field

from paystar_async.clock import Clock
from paystar_async.models.gateway import CreatePayment, GatewayStatus
from paystar_async.sandbox.ledger import short_name
from paystar_async.sandbox.responses import Refusal
from paystar_async.sandbox.settings import Settings
from paystar_async.sandbox.test_data import Person
from paystar_async.values.mask import mask_card

TOKEN_USED, ABOVE_CEILING, UNKNOWN_REF_NUM, ALREADY_VERIFIED, MISMATCH, NOT_VERIFIABLE = -3, -4, -5, -6, -7, -8
PAID, NOT_PAID = 1, -98
BY_GET = 1


class Choice(StrEnum):
    """What the payer does on the payment page."""

    PAY = "pay"
    CANCEL = "cancel"
    """Turns back. Paystar tells this and ``fail`` alike: status -98, and nothing of a card."""
    FAIL = "fail"
    """Is declined by the bank; to the shop no different from ``cancel``."""
    EXPIRE = "expire"
    """Pays, and comes back when the time to verify is over: the money goes back."""


@define(kw_only=True, eq=False)
class Payment:
    """One payment: what was asked for, and what its payer did."""

    asked: CreatePayment
    token: str
    ref_num: str
    payment_amount: int
    opened: bool = False
    choice: Choice | None = None
    created_at: float = 0.0
    """Seconds since 1970."""
    paid_at: float = 0.0
    """On the monotonic clock; what time it was then is in ``payment_time``."""
    payment_time: float = 0.0
    verified: bool = False
    transaction_id: str = ""
    card_number: str = ""
    hashed_card_number: str = ""
    tracking_code: str = ""
    ref_id: str = ""

    @property
    def paid(self) -> bool:
        """Whether its payer paid."""
        return self.choice in (Choice.PAY, Choice.EXPIRE)


@define
class Callback:
    """How the payer's browser comes back: which fields, by which method, to which address."""

    fields: Mapping[str, str]
    by_get: bool
    url: str = field(repr=False)

    @property
    def location(self) -> str:
        """The address with the fields in its query, behind what the merchant put there."""
        parts = urlsplit(self.url)
        query = "&".join(filter(None, (parts.query, urlencode(self.fields))))
        return urlunsplit(parts._replace(query=query))


class Payments:
    """Every payment of the gateway.

    Args:
        clock: what the time to verify is measured by.
        settings: the payer's fee, the ceiling, the time to verify.
        dice: where tokens and numbers come from.
        people: whose cards pay.
    """

    def __init__(self, clock: Clock, settings: Settings, dice: random.Random, people: tuple[Person, ...]) -> None:
        self._clock, self._settings, self._dice, self._people = clock, settings, dice, people
        self._by_token: dict[str, Payment] = {}
        self._by_ref_num: dict[str, Payment] = {}

    def create(self, asked: CreatePayment) -> Payment:
        """A new payment; raises Refusal above the ceiling."""
        if asked.amount > self._settings.gateway_ceiling:
            raise Refusal(ABOVE_CEILING)
        payment = Payment(
            asked=asked,
            token=short_name(self._dice, 40),
            ref_num=short_name(self._dice, 12),
            payment_amount=asked.amount + self._settings.payer_fee,
            created_at=self._clock.time(),
        )
        self._by_token[payment.token] = self._by_ref_num[payment.ref_num] = payment
        return payment

    def find(self, ref_num: object) -> Payment:
        """The payment of a ref_num; raises Refusal when there is none."""
        payment = self._by_ref_num.get(ref_num) if isinstance(ref_num, str) else None
        if payment is None:
            raise Refusal(UNKNOWN_REF_NUM)
        return payment

    def newest(self) -> Iterator[Payment]:
        """Every payment, the last one first."""
        return reversed(self._by_ref_num.values())

    def open(self, token: str, *, again: bool = False) -> Payment:
        """Show the payment page; raises Refusal for an unknown token and one that was used.

        Args:
            token: what create answered with.
            again: whether it is the page itself that asks, which may be shown again until its payer has chosen.
        """
        payment = self._of_token(token)
        if payment.choice or (payment.opened and not again):
            raise Refusal(TOKEN_USED)
        payment.opened = True
        return payment

    def choose(self, token: str, choice: Choice, card: str | None = None) -> Callback:
        """Let the payer choose, once; raises Refusal when they chose before.

        Args:
            token: what create answered with.
            choice: what the payer does.
            card: the number of the card that pays; somebody's of the sandbox by default.
        """
        payment = self._of_token(token)
        if payment.choice:
            raise Refusal(TOKEN_USED)
        payment.opened, payment.choice, payment.transaction_id = True, choice, self._digits(9)
        if payment.paid:
            self._pay(payment, card)
        return self._way_back(payment)

    def way_back(self, token: str) -> Callback | None:
        """How the payer of a token comes back who has chosen already; None for everybody else."""
        payment = self._by_token.get(token)
        return self._way_back(payment) if payment and payment.choice else None

    def status(self, payment: Payment) -> GatewayStatus:
        """Where a payment stands."""
        match payment.choice:
            case None:
                return GatewayStatus.INIT
            case Choice.CANCEL:
                return GatewayStatus.CANCELLED
            case Choice.FAIL:
                return GatewayStatus.FAILED
            case _ if payment.verified:
                return GatewayStatus.SUCCEED
            case _:
                return GatewayStatus.UNVERIFIED if self._in_time(payment) else GatewayStatus.REVERSED

    def verify(self, payment: Payment, amount: int) -> int:
        """Mark a payment as verified and return its price in Rial; raise Refusal when it cannot be verified."""
        if amount != payment.asked.amount:
            raise Refusal(MISMATCH)
        if payment.verified:
            raise Refusal(ALREADY_VERIFIED)
        if not self._in_time(payment):
            raise Refusal(NOT_VERIFIABLE)
        payment.verified = True
        return payment.asked.amount + self._settings.price_fee

    def _of_token(self, token: str) -> Payment:
        payment = self._by_token.get(token)
        if payment is None:
            raise Refusal(UNKNOWN_REF_NUM)
        return payment

    def _in_time(self, payment: Payment) -> bool:
        return self._clock.monotonic() - payment.paid_at <= self._settings.verify_seconds

    def _pay(self, payment: Payment, card: str | None) -> None:
        late = self._settings.verify_seconds + 1 if payment.choice is Choice.EXPIRE else 0
        payment.paid_at, payment.payment_time = self._clock.monotonic() - late, self._clock.time() - late
        card = payment.asked.card_number or card or self._dice.choice(self._people).card
        payment.card_number = mask_card(card)
        payment.hashed_card_number = hashlib.sha256(card.encode()).hexdigest().upper()
        payment.tracking_code, payment.ref_id = self._digits(6), self._digits(12)

    def _way_back(self, payment: Payment) -> Callback:
        method = payment.asked.callback_method
        by_get = self._settings.default_callback_method == "GET" if method is None else method == BY_GET
        return Callback(fields=callback_fields(payment), by_get=by_get, url=payment.asked.callback)

    def _digits(self, count: int) -> str:
        return self._dice.choice("123456789") + "".join(self._dice.choices(string.digits, k=count - 1))


def callback_fields(payment: Payment) -> dict[str, str]:
    """What the payer's browser brings back, every value a text."""
    fields = {
        "status": str(PAID if payment.paid else NOT_PAID),
        "order_id": payment.asked.order_id,
        "ref_num": payment.ref_num,
        "transaction_id": payment.transaction_id,
    }
    if payment.paid:
        fields |= {
            "card_number": payment.card_number,
            "hashed_card_number": payment.hashed_card_number,
            "tracking_code": payment.tracking_code,
        }
    return fields
