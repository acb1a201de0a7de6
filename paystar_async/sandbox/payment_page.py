"""The pages a payer sees: they work without scripts, and everything that is not ours is escaped."""

from html import escape

from paystar_async.sandbox.envelope import Refusal
from paystar_async.sandbox.payments import Callback, Choice, Payment

_LABELS = {
    Choice.PAY: "پرداخت · Pay",
    Choice.CANCEL: "انصراف · Cancel",
    Choice.FAIL: "پرداخت ناموفق · Be declined",
    Choice.EXPIRE: "پرداخت و بازگشت دیرهنگام · Pay, and come back too late",
}
_STYLE = (
    "body{font:1rem/1.6 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem;text-align:center}"
    "button{display:block;width:100%;margin:.6rem 0;padding:.7rem;font:inherit;cursor:pointer}"
    "dl{display:grid;grid-template-columns:auto auto;gap:.3rem 1rem}dt{text-align:start}dd{margin:0;text-align:end}"
)


def _page(title: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="fa" dir="rtl"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )


def choice_page(payment: Payment) -> str:
    """What is to be paid, and what a payer can do."""
    asked = payment.asked
    shown = {
        "مبلغ · Amount (Rial)": f"{payment.payment_amount:,}",
        "سفارش · Order": asked.order_id,
        "شرح · Description": asked.description,
    }
    facts = "".join(f"<dt>{label}</dt><dd>{escape(text)}</dd>" for label, text in shown.items() if text)
    buttons = "".join(f'<button name="choice" value="{choice}">{label}</button>' for choice, label in _LABELS.items())
    token = escape(payment.token)
    form = f'<form method="post"><input type="hidden" name="token" value="{token}">{buttons}</form>'
    return _page("درگاه پرداخت آزمایشی · Play payment", f"<dl>{facts}</dl>{form}")


def return_page(callback: Callback) -> str:
    """The way back by POST: sends itself where scripts run, and has a button where they do not."""
    inputs = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in callback.fields.items()
    )
    form = f'<form method="post" action="{escape(callback.url)}">{inputs}<button>بازگشت · Continue</button></form>'
    return _page("بازگشت به پذیرنده · Back to the shop", f"{form}<script>document.forms[0].submit()</script>")


def refusal_page(refusal: Refusal) -> str:
    """Why there is nothing to pay."""
    return _page("پرداخت ممکن نیست · No payment", f"<p>{escape(refusal.message)} ({escape(str(refusal.status))})</p>")
