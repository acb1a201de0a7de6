"""Responses: pages for payers, and errors with a status that a client of the shop can act on, without details."""

import logging
from html.parser import HTMLParser

import pytest

from paystar_async.contrib._responses import (
    LATER,
    SHOP_FAILED,
    UNKNOWN_ORDER,
    UNREADABLE,
    Page,
    error_response,
    result_page,
)
from paystar_async.errors import (
    ConfigurationError,
    InsufficientBalance,
    InvalidResponse,
    InvalidValue,
    NoResponse,
    NotSent,
    OrderPaid,
    PaystarError,
    ServerFault,
    StorageUnavailable,
    TrackIdConflict,
    UnknownOrder,
)
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

PAGES: dict[PaymentOutcome, tuple[int, str]] = {
    Verified(): (200, "The payment was made"),
    Cancelled(): (200, "was not made"),
    Declined(reason="<b>"): (200, "was not made"),
    Expired(): (200, "goes back to you"),
    AmountMismatch(expected=2, got=1): (200, "goes back to you"),
    Undecided(reason="no answer"): (503, "not known yet"),
}


@pytest.mark.parametrize("outcome", PAGES, ids=lambda value: type(value).__name__)
def test_result_page_shows_outcome(outcome: PaymentOutcome) -> None:
    page = result_page(Payment(outcome=outcome, order_id="ORD-1", ref_num="r-1", amount=50_000))
    status, words = PAGES[outcome]

    assert page.status == status
    assert words in page.en
    assert ("was made" in page.en) is isinstance(outcome, Verified)
    assert not [value for value in ("ORD-1", "r-1", "<b>", "no answer") if value in page.html]


@pytest.mark.parametrize("page", [UNREADABLE, UNKNOWN_ORDER, LATER, SHOP_FAILED])
def test_page_html_is_bilingual_without_scripts(page: Page) -> None:
    start_tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            start_tags.append((tag, dict(attrs)))

    Reader().feed(page.html)

    assert ("html", {"lang": "fa", "dir": "rtl"}) in start_tags
    assert ("p", {"lang": "en", "dir": "ltr"}) in start_tags
    assert "script" not in [tag for tag, _ in start_tags]
    assert page.fa in page.html


SECRET = "0012345679"
ERRORS: list[tuple[PaystarError, int, str]] = [
    (InvalidValue("iban", expected="IR and 24 digits", got="text"), 422, "no"),
    (OrderPaid("order_id", expected="an open order", got="a paid one"), 409, "no"),
    (UnknownOrder("order_id", expected="an order of yours", got="another"), 404, "no"),
    (TrackIdConflict("t-1 is on record"), 409, "no"),
    (ConfigurationError("set PAYSTAR_GATEWAY_ID"), 500, "no"),
    (StorageUnavailable("disk full"), 503, "no"),
    (NotSent("no connection"), 503, "no"),
    (NoResponse("no answer"), 504, "maybe"),
    (InvalidResponse("$", "html"), 502, "maybe"),
    (InsufficientBalance(9, f"account {SECRET} is empty"), 502, "no"),
    (ServerFault(0, "down"), 502, "maybe"),
]


@pytest.mark.parametrize(("error", "status", "executed"), ERRORS, ids=lambda value: type(value).__name__)
def test_error_response_has_status_and_no_details(
    error: PaystarError, status: int, executed: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = error_response(error, "POST /pay")

    assert (response.status, response.body["executed"]) == (status, executed)
    assert str(error.args[0]) not in str(response.body)
    assert len(caplog.records) == 1
    assert "POST /pay" in caplog.text


def test_error_response_invalid_value_names_field() -> None:
    body = error_response(ERRORS[0][0], "POST /pay").body

    assert (body["field"], body["expected"]) == ("iban", "IR and 24 digits")


def test_error_response_passes_retry_after() -> None:
    assert error_response(InvalidResponse("$", "busy", retry_after=7.2), "GET /").headers == {"retry-after": "8"}
    assert error_response(InvalidResponse("$", "busy"), "GET /").headers == {}
