"""A shop, the sandbox and a browser, each a process of its own: from the order to what is handed over."""

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import SandboxProcess

pytestmark = pytest.mark.browser


def buy(page: Page, shop: str) -> str:
    """Order, and go to the payment page; gives the order's id."""
    page.goto(shop)
    page.locator("#buy").click()
    expect(page.locator("button[value=pay]")).to_be_visible()
    return page.locator("dd").first.inner_text()


def newest(sandbox: SandboxProcess) -> Any:
    """The last order, as the sandbox has it."""
    return sandbox.told("orders")["orders"][0]


def states(page: Page, state: str, handed_over: int) -> None:
    """The order's page says so."""
    expect(page.locator("#state")).to_have_text(state)
    expect(page.locator("#handed-over")).to_have_text(str(handed_over))


@pytest.mark.parametrize("kind", ["shop", "posting_shop"])
def test_a_payer_orders_pays_and_gets_what_they_paid_for(
    page: Page, kind: str, sandbox: SandboxProcess, request: pytest.FixtureRequest
) -> None:
    buy(page, request.getfixturevalue(kind))
    expect(page.locator(".amount")).to_contain_text("۵۰٬۰۰۰")
    expect(page.locator(".toman")).to_contain_text("۵٬۰۰۰ تومان")

    page.locator("button[value=pay]").click()

    states(page, "verified", 1)
    assert newest(sandbox)["status"] == "SUCCEED"


@pytest.mark.parametrize("kind", ["shop", "posting_shop"])
@pytest.mark.parametrize(
    ("choice", "state", "known"),
    [
        ("cancel", "cancelled", "CANCELLED"),
        ("fail", "declined", "FAILED"),
        ("expire", "expired", "REVERSED"),
    ],
)
def test_who_does_not_pay_in_time_gets_nothing(
    page: Page, kind: str, choice: str, state: str, known: str, sandbox: SandboxProcess, request: pytest.FixtureRequest
) -> None:
    buy(page, request.getfixturevalue(kind))
    page.locator(f"button[value={choice}]").click()
    states(page, state, 0)
    assert newest(sandbox)["status"] == known


@pytest.mark.parametrize("kind", ["shop", "posting_shop"])
def test_who_presses_twice_finds_the_way_back(
    scriptless: BrowserContext, kind: str, sandbox: SandboxProcess, request: pytest.FixtureRequest
) -> None:
    page = scriptless.new_page()
    buy(page, request.getfixturevalue(kind))
    token = page.locator("input[name=token]").first.get_attribute("value")
    sandbox.tell("pay", token=token)  # the first press, whose answer the second one cuts off
    page.locator("button[value=pay]").click()
    expect(page.locator("main")).to_contain_text("(-3)")
    page.get_by_text("بازگشت به پذیرنده").click()
    states(page, "verified", 1)


def test_without_scripts_a_payer_comes_back_by_get_and_by_the_button_of_the_form(
    scriptless: BrowserContext, shop: str, posting_shop: str, sandbox: SandboxProcess
) -> None:
    page = scriptless.new_page()
    buy(page, shop)
    page.locator("button[value=pay]").click()
    states(page, "verified", 1)
    buy(page, posting_shop)
    page.locator("button[value=pay]").click()
    page.get_by_role("button", name="بازگشت به پذیرنده").click()
    states(page, "verified", 1)


UNTIL = """async (text) => {
    for (let left = 300; left; left--) {
        if ((await (await fetch(location.href)).text()).includes(text)) return;
        await new Promise((next) => setTimeout(next, 100));
    }
}"""
"""Ask for this page again and again, until it says so; what it says in the end, a test finds out itself."""


def test_when_the_payer_never_comes_back_inquiry_decides(
    scriptless: BrowserContext, page: Page, posting_shop: str, sandbox: SandboxProcess
) -> None:
    payer = scriptless.new_page()
    order_id = buy(payer, posting_shop)
    payer.locator("button[value=pay]").click()
    expect(payer.get_by_role("heading")).to_have_text("پرداخت انجام شد")
    payer.close()  # the way back is never taken
    page.goto(f"{posting_shop}/orders/{order_id}")
    states(page, "waiting", 0)

    httpx.post(f"{posting_shop}/test/clock?seconds=61", trust_env=False).raise_for_status()

    page.evaluate(UNTIL, 'state">verified<')
    page.reload()
    states(page, "verified", 1)
    assert newest(sandbox)["status"] == "SUCCEED"


def test_a_callback_that_comes_twice_at_once_hands_over_once(
    scriptless: BrowserContext, page: Page, posting_shop: str, sandbox: SandboxProcess
) -> None:
    payer = scriptless.new_page()
    order_id = buy(payer, posting_shop)
    payer.locator("button[value=pay]").click()
    form = payer.locator("form[action]")
    action = form.get_attribute("action")
    hidden = form.locator("input").all()
    fields = {one.get_attribute("name"): one.get_attribute("value") for one in hidden}
    page.goto(posting_shop)

    answers = page.evaluate(
        """async ([url, fields]) => {
            const send = () => fetch(url, {method: "POST", body: new URLSearchParams(fields)});
            return (await Promise.all([send(), send(), send()])).map((answer) => answer.url);
        }""",
        [action, fields],
    )

    assert answers == [f"{posting_shop}/orders/{order_id}?said=verified"] * 3
    page.goto(answers[0])
    states(page, "verified", 1)
    form.locator("button").click()  # and once more, by the payer
    states(payer, "verified", 1)


def test_a_forged_callback_hands_over_nothing_and_spoils_nothing(
    page: Page, shop: str, sandbox: SandboxProcess
) -> None:
    order_id = buy(page, shop)
    ref_num = newest(sandbox)["ref_num"]
    forger = page.context.new_page()
    forged = {"status": "1", "order_id": order_id, "ref_num": ref_num, "transaction_id": "1"}
    brought = {"card_number": "603799******0006", "tracking_code": "123456", "hashed_card_number": "A" * 64}
    for fields in (forged | brought, forged | {"ref_num": "another"} | brought, forged | {"status": "-98"}):
        forger.goto(str(httpx.URL(f"{shop}/pay/callback", params=fields)))
        expect(forger.locator("body")).not_to_contain_text("verified")
        assert newest(sandbox)["status"] == "INIT"
    forger.goto(f"{shop}/orders/{order_id}")
    states(forger, "waiting", 0)

    page.locator("button[value=pay]").click()

    states(page, "verified", 1)
    assert re.search(r"/orders/[0-9a-f]{32}\?said=verified$", page.url)
