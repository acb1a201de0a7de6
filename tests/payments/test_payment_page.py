"""The payment page: the URL and the form that send the payer there."""

import base64
import hashlib
from html.parser import HTMLParser

from paystar_async.payments.payment_page import SCRIPT, SCRIPT_SOURCE, StartedPayment

TOKEN = 'a"><script>alert(1)</script>&=+ ت'
URL = (
    "https://core.paystar.ir/api/pardakht/payment?token=a%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%26%3D%2B+%D8%AA"
)
STARTED = StartedPayment(url=URL, order_id="o-1", ref_num="ref-1", amount=50_000)


class Page(HTMLParser):
    """The tags of a page, each with its attributes, and the text of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


PAGE = Page(STARTED.form_html)


def test_form_html_posts_token_to_page() -> None:
    assert PAGE.all("form") == [{"method": "post", "action": "https://core.paystar.ir/api/pardakht/payment"}]
    assert PAGE.all("input") == [{"type": "hidden", "name": "token", "value": TOKEN}]
    assert PAGE.all("button") == [{"type": "submit"}]


def test_form_html_runs_only_its_script() -> None:
    assert "".join(PAGE.scripts) == SCRIPT == "document.forms[0].submit()"


def test_script_source_is_hash_of_script() -> None:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()

    assert f"'sha256-{digest}'" == SCRIPT_SOURCE


def test_form_html_without_scripts_redirects() -> None:
    assert "<noscript><meta" in STARTED.form_html
    assert {"http-equiv": "refresh", "content": f"0;url={URL}"} in PAGE.all("meta")


def test_form_html_is_persian_and_rtl() -> None:
    assert STARTED.form_html.startswith("<!doctype html>")
    assert PAGE.all("html") == [{"lang": "fa", "dir": "rtl"}]


def test_started_payment_repr_hides_url() -> None:
    assert "core.paystar.ir" not in repr(STARTED)
    assert "script" not in repr(STARTED)
