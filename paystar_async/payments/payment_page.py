"""Started payments, whose payer is sent to the payment page by a redirect or by a form."""

from html import escape
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from attrs import field, frozen

SCRIPT = "document.forms[0].submit()"
SCRIPT_SOURCE = "'sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE='"
"""Hash of the form's script for a Content-Security-Policy: add it to ``script-src``."""
_STYLE = (
    "body{font:1rem/1.6 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem;text-align:center}"
    "button{font:inherit;padding:.7rem 1.5rem;cursor:pointer}"
)


@frozen(kw_only=True)
class StartedPayment:
    """A payment that was created and stored, and waits for its payer.

    Attributes:
        url: the payment page; redirect the payer's browser to it with 303. The page opens once.
        order_id: your order.
        ref_num: the gateway's transaction.
        amount: Rial you asked for.
        payment_amount: Rial the payer pays; more than ``amount`` if the payer pays the fee, None if unknown.
    """

    url: str = field(repr=False)
    order_id: str
    ref_num: str
    amount: int
    payment_amount: int | None = None

    @property
    def form_html(self) -> str:
        """Return a page with a form that posts itself to the payment page, as the response to the payer's browser.

        Without scripts the page redirects by itself. Where a Content-Security-Policy blocks the script, there is a
        button, or ``SCRIPT_SOURCE`` to add to the policy.
        """
        parts = urlsplit(self.url)
        action = urlunsplit(parts._replace(query=""))
        fields = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(text)}">'
            for name, text in parse_qsl(parts.query)
        )
        return (
            '<!doctype html><html lang="fa" dir="rtl"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><meta name="referrer" content="origin">'
            "<title>انتقال به درگاه پرداخت</title>"
            f'<noscript><meta http-equiv="refresh" content="0;url={escape(self.url)}"></noscript>'
            f"<style>{_STYLE}</style></head><body><main><h1>انتقال به درگاه پرداخت</h1>"
            f'<form method="post" action="{escape(action)}">{fields}'
            '<button type="submit">ادامه و پرداخت · <span lang="en" dir="ltr">Continue to payment</span></button>'
            f"</form></main><script>{SCRIPT}</script></body></html>"
        )
