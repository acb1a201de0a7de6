"""Errors of ours as answers to a shop's own client: what happened, whether it may be repeated, and no more."""

import math
from collections.abc import Mapping
from html import escape
from typing import assert_never

from attrs import field, frozen

from paystar_async.errors import (
    BadAnswer,
    ConfigurationError,
    InvalidValue,
    NotSent,
    OrderConflict,
    PaystarError,
    StatusError,
    StorageError,
    TrackIdConflict,
    Unanswered,
    UnknownOrder,
)
from paystar_async.events import logger
from paystar_async.payments import AmountMismatch, Cancelled, Declined, Expired, Payment, Undecided, Verified


@frozen(kw_only=True)
class Page:
    """What the payer's browser is shown where there is nowhere to send it.

    Attributes:
        status: the HTTP status.
        fa: what is said, in Persian.
        en: the same in English.
    """

    status: int
    fa: str
    en: str

    @property
    def html(self) -> str:
        """The whole page; it needs no script and shows nothing of what was sent."""
        return (
            '<!doctype html><html lang="fa" dir="rtl"><head><meta charset="utf-8">'
            f'<title>{escape(self.fa)}</title><meta name="viewport" content="width=device-width"><style>'
            "body{font:1.1rem/1.8 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;"
            "text-align:center;color-scheme:light dark}</style></head><body><main>"
            f'<h1>{escape(self.fa)}</h1><p lang="en" dir="ltr">{escape(self.en)}</p></main></body></html>'
        )


UNREADABLE = Page(
    status=400,
    fa="این نشانی، بازگشت از درگاه پرداخت نیست.",
    en="This is not a return from the payment page. Nothing was changed.",
)
UNKNOWN_ORDER = Page(
    status=400, fa="سفارشی با این مشخصات پیدا نشد.", en="There is no such order here. Nothing was changed."
)
LATER = Page(
    status=503,
    fa="نتیجهٔ پرداخت هنوز روشن نیست؛ چند لحظهٔ دیگر این صفحه را دوباره باز کنید.",
    en="What became of the payment is not known yet: open this page again in a moment. Nothing is lost.",
)
SHOP_FAILED = Page(
    status=503,
    fa="فروشگاه نتوانست کار را تمام کند؛ پرداخت شما محفوظ است. چند لحظهٔ دیگر این صفحه را دوباره باز کنید.",
    en="The shop could not finish this. What you paid is safe: open this page again in a moment. Nothing is lost.",
)
_PAID = Page(status=200, fa="پرداخت انجام شد.", en="The payment was made.")
_NOT_PAID = Page(status=200, fa="پرداخت انجام نشد.", en="The payment was not made.")
_LATE = Page(
    status=200,
    fa="زمان پرداخت گذشت؛ مبلغ پرداخت‌شده به حساب شما بازمی‌گردد.",
    en="The time to pay is over; what was paid goes back to you.",
)


def result(payment: Payment) -> Page:
    """What became of a payment, in a sentence."""
    match payment.outcome:
        case Verified():
            return _PAID
        case Cancelled() | Declined():
            return _NOT_PAID
        case Expired() | AmountMismatch():
            return _LATE
        case Undecided():
            return LATER
        case _:
            assert_never(payment.outcome)


_ANSWERS: tuple[tuple[type[PaystarError], int, str], ...] = (
    (OrderConflict, 409, "This order is paid, or was made with another amount"),
    (UnknownOrder, 404, "There is no such order"),
    (InvalidValue, 422, "A value has not the shape it must have"),
    (TrackIdConflict, 409, "This was asked for before, with other contents"),
    (ConfigurationError, 500, "The payment service is not set up"),
    (StorageError, 503, "The payment service cannot work now"),
    (NotSent, 503, "The payment service cannot be reached"),
    (Unanswered, 504, "The payment service did not answer"),
    (BadAnswer, 502, "The payment service gave no clear answer"),
    (StatusError, 502, "The payment service refused"),
)


@frozen
class Answer:
    """An HTTP answer in JSON."""

    status: int
    body: Mapping[str, object]
    headers: dict[str, str] = field(factory=dict[str, str])


def answer_to(error: Exception, where: str) -> Answer:
    """The answer to an error, which is logged here.

    Args:
        error: what was raised.
        where: the shop's own method and path, for the log.

    Returns:
        ``{"detail", "executed"}`` and for a wrong value its ``field`` and what was ``expected``; ``executed`` is
        ``"maybe"`` where somebody must ask before anything is done again. Neither Paystar's message nor any value is
        in it.
    """
    status, detail = next(((http, text) for kind, http, text in _ANSWERS if isinstance(error, kind)), (500, "Error"))
    executed = error.executed if isinstance(error, PaystarError) else "maybe"
    body: dict[str, object] = {"detail": detail, "executed": executed}
    if isinstance(error, InvalidValue):
        body |= {"field": error.field, "expected": error.expected}
        logger.info("%s: %s", where, error)
    else:
        logger.error("%s: %s: %s", where, type(error).__name__, error)
    seconds = getattr(error, "retry_after", None)
    return Answer(status, body, {} if seconds is None else {"retry-after": str(math.ceil(seconds))})
