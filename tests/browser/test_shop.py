"""A shop, the sandbox and a browser, each in its own process: from order to delivery."""

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import SandboxProcess

pytestmark = pytest.mark.browser


def buy(page: Page, shop: str) -> str:
    """Place an order, open its payment page and return the order id."""
    page.goto(shop)
    page.locator("#buy").click()
    expect(page.locator("button[value=pay]")).to_be_visible()
    return page.locator("dd").first.inner_text()


def newest_order(sandbox: SandboxProcess) -> Any:
    """Return the newest order of the sandbox."""
    return sandbox.get("orders")["orders"][0]


def expect_order(page: Page, state: str, deliveries: int) -> None:
    """Expect the state and the number of deliveries on the order's page."""
    expect(page.locator("#state")).to_have_text(state)
    expect(page.locator("#handed-over")).to_have_text(str(deliveries))


@pytest.mark.parametrize("kind", ["shop", "posting_shop"])
def test_shop_paid_order_is_verified_and_delivered(
    page: Page, kind: str, sandbox: SandboxProcess, request: pytest.FixtureRequest
) -> None:
    buy(page, request.getfixturevalue(kind))
    expect(page.locator(".amount")).to_contain_text("50,000")
    expect(page.locator(".toman")).to_contain_text("5,000 Toman")

    page.locator("button[value=pay]").click()

    expect_order(page, "verified", 1)
    assert newest_order(sandbox)["status"] == "SUCCEED"


@pytest.mark.parametrize("kind", ["shop", "posting_shop"])
@pytest.mark.parametrize(
    ("choice", "state", "gateway_status"),
    [
        ("cancel", "cancelled", "CANCELLED"),
        ("fail", "declined", "FAILED"),
        ("expire", "expired", "REVERSED"),
    ],
)
def test_shop_unpaid_order_is_not_delivered(
    page: Page,
    kind: str,
    choice: str,
    state: str,
    gateway_status: str,
    sandbox: SandboxProcess,
    request: pytest.FixtureRequest,
) -> None:
    buy(page, request.getfixturevalue(kind))
    page.locator(f"button[value={choice}]").click()
    expect_order(page, state, 0)
    assert newest_order(sandbox)["status"] == gateway_status


@pytest.mark.parametrize("kind", ["shop", "posting_shop"])
def test_payment_page_second_press_leads_back_to_shop(
    scriptless: BrowserContext, kind: str, sandbox: SandboxProcess, request: pytest.FixtureRequest
) -> None:
    page = scriptless.new_page()
    buy(page, request.getfixturevalue(kind))
    token = page.locator("input[name=token]").first.get_attribute("value")
    sandbox.post("pay", token=token)  # the first press; the second press discards its response
    page.locator("button[value=pay]").click()
    expect(page.locator("main")).to_contain_text("(-3)")
    page.get_by_text("Back to the shop").click()
    expect_order(page, "verified", 1)


def test_payment_page_without_scripts_returns_by_get_and_post(
    scriptless: BrowserContext, shop: str, posting_shop: str, sandbox: SandboxProcess
) -> None:
    page = scriptless.new_page()
    buy(page, shop)
    page.locator("button[value=pay]").click()
    expect_order(page, "verified", 1)
    buy(page, posting_shop)
    page.locator("button[value=pay]").click()
    page.get_by_role("button", name="Back to the shop").click()
    expect_order(page, "verified", 1)


WAIT_FOR_TEXT = """async (text) => {
    for (let left = 300; left; left--) {
        if ((await (await fetch(location.href)).text()).includes(text)) return;
        await new Promise((next) => setTimeout(next, 100));
    }
}"""
"""Fetch the page until it contains a text or the attempts are used up; the test then checks the page."""


def test_shop_missing_callback_is_decided_by_inquiry(
    scriptless: BrowserContext, page: Page, posting_shop: str, sandbox: SandboxProcess
) -> None:
    payer = scriptless.new_page()
    order_id = buy(payer, posting_shop)
    payer.locator("button[value=pay]").click()
    expect(payer.get_by_role("heading")).to_have_text("Paid")
    payer.close()  # the payer does not return
    page.goto(f"{posting_shop}/orders/{order_id}")
    expect_order(page, "waiting", 0)

    httpx.post(f"{posting_shop}/test/clock?seconds=61", trust_env=False).raise_for_status()

    page.evaluate(WAIT_FOR_TEXT, 'state">verified<')
    page.reload()
    expect_order(page, "verified", 1)
    assert newest_order(sandbox)["status"] == "SUCCEED"


def test_shop_concurrent_callbacks_deliver_once(
    scriptless: BrowserContext, page: Page, posting_shop: str, sandbox: SandboxProcess
) -> None:
    payer = scriptless.new_page()
    order_id = buy(payer, posting_shop)
    payer.locator("button[value=pay]").click()
    form = payer.locator("form[action]")
    action = form.get_attribute("action")
    hidden = form.locator("input").all()
    fields = {element.get_attribute("name"): element.get_attribute("value") for element in hidden}
    page.goto(posting_shop)

    urls = page.evaluate(
        """async ([url, fields]) => {
            const send = () => fetch(url, {method: "POST", body: new URLSearchParams(fields)});
            return (await Promise.all([send(), send(), send()])).map((response) => response.url);
        }""",
        [action, fields],
    )

    assert urls == [f"{posting_shop}/orders/{order_id}?result=verified"] * 3
    page.goto(urls[0])
    expect_order(page, "verified", 1)
    form.locator("button").click()  # a fourth callback, by the payer
    expect_order(payer, "verified", 1)


def test_shop_forged_callback_delivers_nothing(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    order_id = buy(page, shop)
    ref_num = newest_order(sandbox)["ref_num"]
    forger = page.context.new_page()
    forged = {"status": "1", "order_id": order_id, "ref_num": ref_num, "transaction_id": "1"}
    card_fields = {"card_number": "603799******0006", "tracking_code": "123456", "hashed_card_number": "A" * 64}
    for fields in (forged | card_fields, forged | {"ref_num": "another"} | card_fields, forged | {"status": "-98"}):
        forger.goto(str(httpx.URL(f"{shop}/pay/callback", params=fields)))
        expect(forger.locator("body")).not_to_contain_text("verified")
        assert newest_order(sandbox)["status"] == "INIT"
    forger.goto(f"{shop}/orders/{order_id}")
    expect_order(forger, "waiting", 0)

    page.locator("button[value=pay]").click()

    expect_order(page, "verified", 1)
    assert re.search(r"/orders/[0-9a-f]{32}\?result=verified$", page.url)
