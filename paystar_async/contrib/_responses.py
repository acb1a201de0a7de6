"""HTTP responses: pages for payers, and JSON for errors of the SDK in a shop's own API."""

import math
from collections.abc import Mapping
from html import escape
from typing import assert_never

from attrs import field, frozen

from paystar_async.errors import (
    ConfigurationError,
    InvalidResponse,
    InvalidValue,
    NoResponse,
    NotSent,
    OrderConflict,
    PaystarError,
    StatusError,
    StorageError,
    TrackIdConflict,
    UnknownOrder,
)
from paystar_async.payments import AmountMismatch, Cancelled, Declined, Expired, Payment, Undecided, Verified
from paystar_async.runtime.events import logger


@frozen(kw_only=True)
class Page:
    """A page for the payer's browser where the shop has no page of its own.

    Attributes:
        status: the HTTP status.
        fa: the text in Persian.
        en: the text in English.
    """

    status: int
    fa: str
    en: str

    @property
    def html(self) -> str:
        """The page as HTML; it needs no script and shows nothing of the request."""
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
    en="The result of the payment is not known yet: open this page again in a moment. Nothing is lost.",
)
SHOP_FAILED = Page(
    status=503,
    fa="فروشگاه نتوانست کار را تمام کند؛ پرداخت شما محفوظ است. چند لحظهٔ دیگر این صفحه را دوباره باز کنید.",
    en="The shop could not finish the order. Your payment is safe: open this page again in a moment.",
)
_PAID = Page(status=200, fa="پرداخت انجام شد.", en="The payment was made.")
_NOT_PAID = Page(status=200, fa="پرداخت انجام نشد.", en="The payment was not made.")
_LATE = Page(
    status=200,
    fa="زمان پرداخت گذشت؛ مبلغ پرداخت‌شده به حساب شما بازمی‌گردد.",
    en="The time to pay is over; your money goes back to you.",
)


def result_page(payment: Payment) -> Page:
    """Return the page for a payment's outcome."""
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


_ERROR_RESPONSES: tuple[tuple[type[PaystarError], int, str], ...] = (
    (OrderConflict, 409, "This order is paid, or was created with another amount"),
    (UnknownOrder, 404, "There is no such order"),
    (InvalidValue, 422, "A value is not valid"),
    (TrackIdConflict, 409, "This transfer was requested before with other contents"),
    (ConfigurationError, 500, "The payment service is not set up"),
    (StorageError, 503, "The payment service is not available now"),
    (NotSent, 503, "The payment service cannot be reached"),
    (NoResponse, 504, "The payment service did not respond"),
    (InvalidResponse, 502, "The payment service sent an invalid response"),
    (StatusError, 502, "The payment service refused the request"),
)


@frozen
class ErrorResponse:
    """An HTTP response in JSON.

    Attributes:
        status: the HTTP status.
        body: the JSON object.
        headers: further headers.
    """

    status: int
    body: Mapping[str, object]
    headers: dict[str, str] = field(factory=dict[str, str])


def error_response(error: Exception, route: str) -> ErrorResponse:
    """Return the response to an error, and log the error.

    Args:
        error: the error.
        route: the shop's own method and path, for the log.

    Returns:
        ``{"detail", "executed"}`` and for a wrong value its ``field`` and what was ``expected``; ``executed`` is
        ``"maybe"`` if the status must be checked before anything is repeated. The response contains neither Paystar's
        message nor any value.
    """
    status, detail = next(
        ((http, text) for kind, http, text in _ERROR_RESPONSES if isinstance(error, kind)), (500, "Error")
    )
    executed = error.executed if isinstance(error, PaystarError) else "maybe"
    body: dict[str, object] = {"detail": detail, "executed": executed}
    if isinstance(error, InvalidValue):
        body |= {"field": error.field, "expected": error.expected}
        logger.info("%s: %s", route, error)
    else:
        logger.error("%s: %s: %s", route, type(error).__name__, error)
    seconds = getattr(error, "retry_after", None)
    return ErrorResponse(status, body, {} if seconds is None else {"retry-after": str(math.ceil(seconds))})
