"""What a payer's browser is shown where the shop has no page of its own: in Persian and English, without scripts."""

from html import escape
from typing import assert_never

from attrs import frozen

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
