"""What a payer reads where the shop has no page: never that a payment was made when it is not known to be."""

from html.parser import HTMLParser

import pytest

from paystar_async.contrib.pages import LATER, SHOP_FAILED, UNKNOWN_ORDER, UNREADABLE, Page, result
from paystar_async.payments import (
    AmountMismatch,
    Cancelled,
    Declined,
    Expired,
    Payment,
    PaymentOutcome,
    Undecided,
    Verified,
)

SAID: dict[PaymentOutcome, tuple[int, str]] = {
    Verified(): (200, "The payment was made"),
    Cancelled(): (200, "was not made"),
    Declined(reason="<b>"): (200, "was not made"),
    Expired(): (200, "goes back to you"),
    AmountMismatch(expected=2, got=1): (200, "goes back to you"),
    Undecided(reason="no answer"): (503, "not known yet"),
}


@pytest.mark.parametrize("outcome", SAID, ids=lambda one: type(one).__name__)
def test_a_payer_reads_what_became_of_the_payment(outcome: PaymentOutcome) -> None:
    page = result(Payment(outcome=outcome, order_id="ORD-1", ref_num="r-1", amount=50_000))
    status, words = SAID[outcome]

    assert page.status == status
    assert words in page.en
    assert ("was made" in page.en) is isinstance(outcome, Verified)
    assert not [one for one in ("ORD-1", "r-1", "<b>", "no answer") if one in page.html]


@pytest.mark.parametrize("page", [UNREADABLE, UNKNOWN_ORDER, LATER, SHOP_FAILED])
def test_a_page_is_in_both_languages_each_in_its_direction_and_without_scripts(page: Page) -> None:
    seen: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Reader().feed(page.html)

    assert ("html", {"lang": "fa", "dir": "rtl"}) in seen
    assert ("p", {"lang": "en", "dir": "ltr"}) in seen
    assert "script" not in [tag for tag, _ in seen]
    assert page.fa in page.html
