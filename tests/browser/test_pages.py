"""The payment page and the dashboard in a real browser."""

import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import SandboxProcess
from tests.browser.test_shop import buy, newest, states

pytestmark = pytest.mark.browser
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1300, "height": 900}


def is_in(page: Page, language: str, direction: str) -> None:
    """The page has come, with its style, in this language."""
    expect(page.locator(f"html[lang={language}][dir={direction}]")).to_have_count(1)
    page.wait_for_load_state()


def test_the_payment_page_speaks_both_languages_and_each_runs_its_own_way(
    page: Page, shop: str, sandbox: SandboxProcess
) -> None:
    order_id = buy(page, shop)
    is_in(page, "fa", "rtl")
    label, amount = page.locator("dt").first, page.locator("dd").first
    assert middle(label) > middle(amount)

    page.get_by_role("button", name="English").click()

    is_in(page, "en", "ltr")
    assert middle(label) < middle(amount)
    expect(page.locator("main")).to_contain_text("50,000 Rial")
    expect(page.locator("main")).to_contain_text("5,000 Toman")
    expect(page.locator("main")).to_contain_text(order_id)
    page.get_by_role("button", name="فارسی").click()
    page.get_by_role("button", name="پرداخت ۵۰٬۰۰۰ ریال").click()
    states(page, "verified", 1)


def middle(locator: Any) -> float:
    box = locator.bounding_box()
    return float(box["x"] + box["width"] / 2)


def test_one_pays_by_keyboard_alone(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    page.goto(shop)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#card")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="English")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#card")).to_be_focused()
    page.keyboard.type("6037990000000006")
    for choice in ("pay", "cancel", "fail", "expire"):
        page.keyboard.press("Tab")
        expect(page.locator(f"button[value={choice}]")).to_be_focused()
    page.locator("#card").focus()
    page.keyboard.press("Enter")  # as in any form: its first button
    states(page, "verified", 1)


def test_a_wrong_card_is_said_beside_the_field_and_the_payer_may_try_again(
    scriptless: BrowserContext, shop: str, sandbox: SandboxProcess
) -> None:
    page = scriptless.new_page()
    buy(page, shop)
    page.get_by_role("button", name="English").click()
    page.get_by_label("Card number").fill("6037 9900 0000 0007")
    page.locator("button[value=pay]").click()
    expect(page.get_by_role("alert")).to_have_text("This is no card number. Check its 16 digits.")
    expect(page.get_by_label("Card number")).to_have_value("")
    page.get_by_label("Card number").fill("۶۰۳۷ ۹۹۰۰ ۰۰۰۰ ۰۰۰۶")
    page.locator("button[value=pay]").click()
    states(page, "verified", 1)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_everything_fits_and_can_be_read(
    chromium: Browser, size: Any, scheme: Any, language: str, shop: str, sandbox: SandboxProcess
) -> None:
    context = chromium.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{sandbox.home}/_sandbox/?lang={language}")
    assert_fits_and_can_be_read(page)
    buy(page, shop)
    if language == "en":
        page.get_by_role("button", name="English").click()
    is_in(page, language, "ltr" if language == "en" else "rtl")
    assert_fits_and_can_be_read(page)
    context.close()


def assert_fits_and_can_be_read(page: Page) -> None:
    """Nothing sticks out sideways, and every text stands out from its ground (WCAG AA: 4.5 to 1)."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    faint: list[object] = page.evaluate(CONTRAST)
    assert not faint


CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length === 3 ? [...n, 1] : n; };
  const ground = (one) => {
    for (; one; one = one.parentElement) { const c = parse(getComputedStyle(one).backgroundColor); if (c[3]) return c; }
    return [255, 255, 255, 1];
  };
  const light = (c) => {
    const [r, g, b] = c.map((one) => (one /= 255) <= .03928 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const faint = [];
  for (const one of document.querySelectorAll("body *")) {
    const said = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!said || !one.checkVisibility() || one.closest("option, .sr")) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push(one.textContent.trim().slice(0, 40));
  }
  return faint;
}"""


def test_the_dashboard_shows_what_happens_without_being_loaded_again(
    page: Page, shop: str, sandbox: SandboxProcess
) -> None:
    page.goto(sandbox.dashboard)
    expect(page.locator("#pulse")).to_have_text("Live")
    page.evaluate("window.stayed = true")
    payer = page.context.new_page()
    order_id = buy(payer, shop)
    row = page.locator("#orders tr", has_text=order_id)
    expect(row).to_contain_text("page open")
    expect(row).to_contain_text("50,000")

    payer.locator("button[value=pay]").click()
    states(payer, "verified", 1)

    expect(row).to_contain_text("verified")
    expect(page.locator("#requests summary").first).to_contain_text("gateway.verify")
    assert page.evaluate("window.stayed")


def test_what_one_opened_stays_open_and_focused_while_new_things_come(
    page: Page, shop: str, sandbox: SandboxProcess
) -> None:
    payer = page.context.new_page()
    buy(payer, shop)
    page.goto(sandbox.dashboard)
    opened = page.locator("#requests details").first
    name = opened.get_attribute("id")
    opened.locator("summary").click()
    seen = page.locator("#requests details").count()
    buy(payer, shop)
    if seen < 50:
        expect(page.locator("#requests details")).to_have_count(seen + 1)
    expect(page.locator("#requests details").first).not_to_have_id(str(name))
    expect(page.locator(f"#{name} pre").first).to_be_visible()
    expect(page.locator(f"#{name} summary")).to_be_focused()


def test_a_fault_is_switched_on_and_off(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    switch = page.get_by_role("switch", name="status_11", exact=True)
    switch.focus()
    page.keyboard.press("Space")
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(switch).to_be_focused()
    assert [one["kind"] for one in sandbox.told("faults")["faults"]] == ["status_11"]
    payer = page.context.new_page()
    payer.goto(shop)
    payer.locator("#buy").click()
    expect(payer.locator("body")).not_to_contain_text("Tea house")
    expect(page.locator("#requests summary").first).to_contain_text("status_11")

    switch.press("Space")

    expect(switch).to_have_attribute("aria-checked", "false")
    assert sandbox.told("faults")["faults"] == []
    buy(payer, shop)


def test_a_fault_of_ones_own_is_ordered_and_healed(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    form = page.locator("#faults form")
    form.get_by_label("Kind").select_option("latency")
    form.get_by_label("Call").select_option("wallet.settle")
    form.get_by_label("How often").fill("3")
    form.get_by_label("Seconds").fill("2.5")
    form.get_by_role("button").click()
    expect(page.locator("#said")).to_have_text("Done")
    (fault,) = sandbox.told("faults")["faults"]
    assert {name: fault[name] for name in ("kind", "endpoint", "times", "seconds")} == {
        "kind": "latency",
        "endpoint": "wallet.settle",
        "times": 3,
        "seconds": 2.5,
    }
    expect(page.locator(".active li")).to_contain_text("wallet.settle")
    page.get_by_role("button", name="Turn all off").click()
    expect(page.locator(".active")).to_have_count(0)
    assert sandbox.told("faults")["faults"] == []


def test_the_clock_is_put_forward_and_keys_expire(page: Page, sandbox: SandboxProcess) -> None:
    sandbox.tell("reset")
    page.goto(sandbox.dashboard)
    expect(page.locator("#keys-live")).to_contain_text("left")
    page.get_by_role("button", name="+1 d").click()
    expect(page.locator("#keys-live li").first).to_contain_text("expired")
    page.get_by_role("button", name="Start over").click()
    page.get_by_role("button", name="Forget everything").click()
    expect(page.locator("#keys-live li").first).to_contain_text("left")


def test_settings_and_balances_are_set_and_what_is_wrong_is_said(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    settle = page.get_by_label("Seconds a transfer stays pending")
    settle.fill("7")
    page.get_by_label("A refresh ends the old key at once").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#said")).to_have_text("Done")
    settings = sandbox.told("settings")
    assert (settings["settle_seconds"], settings["renewal_ends_old_key"]) == (7, True)
    sandbox.tell("settings", settle_seconds=2, renewal_ends_old_key=False)
    expect(settle).to_have_value("2")  # somebody else set it meanwhile
    page.get_by_label("The HTTP status of a refusal").select_option("200")
    page.get_by_label("How the payer comes back").select_option("POST")
    tag = page.get_by_label("The tag in an unauthenticated response")
    tag.fill("nobody")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#said")).to_have_text("Done")
    settings = sandbox.told("settings")
    assert (settings["failure_http"], settings["default_callback_method"]) == (200, "POST")
    assert settings["unauthenticated_tag"] == "nobody"
    usual = {"failure_http": 400, "default_callback_method": "GET", "unauthenticated_tag": "unauthenticated"}
    sandbox.tell("settings", **usual)
    expect(tag).to_have_value("unauthenticated")
    tag.fill("x" * 101)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#said")).to_contain_text("unauthenticated_tag is a text of up to 100")
    page.locator("#accounts form").get_by_label("Amount").fill("1234000")
    page.get_by_role("button", name="Set the balance").click()
    expect(page.locator("#accounts-live")).to_contain_text("1,234,000")


def test_no_secret_is_in_the_dashboard(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    payer = page.context.new_page()
    buy(payer, shop)
    token = payer.locator("input[name=token]").first.get_attribute("value")
    payer.locator("#card").fill("6037990000000006")
    payer.locator("button[value=pay]").click()
    states(payer, "verified", 1)
    page.goto(sandbox.dashboard)
    expect(page.locator("#requests summary").first).to_contain_text("gateway.verify")
    accounts = sandbox.told("accounts")
    public = {accounts["application"]["id"], accounts["wallet"]["hashid"]}
    secrets = {value for account in accounts.values() for value in account.values()} - public
    html = page.content()
    for secret in (*secrets, token, "6037990000000006"):
        assert str(secret) not in html


@contextmanager
def elsewhere(html: str) -> Generator[str]:
    """A page of another origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_page_elsewhere_neither_pays_nor_steers_nor_frames(
    chromium: Browser, shop: str, sandbox: SandboxProcess
) -> None:
    context = chromium.new_context()
    page = context.new_page()
    buy(page, shop)
    url = page.url
    token = page.locator("input[name=token]").first.get_attribute("value")
    evil = f"""<form method="post" action="{url.partition("?")[0]}"><input name="token" value="{token}">
        <button name="choice" value="pay">win a prize</button></form>
        <iframe src="{sandbox.home}/_sandbox/"></iframe>"""
    with elsewhere(evil) as address:
        page.goto(address)
        expect(page.frame_locator("iframe").locator("#pulse")).to_have_count(0)
        answers: list[str] = page.evaluate(
            """(home) => Promise.all(
                [["faults", '{"kind": "html"}'], ["reset", "{}"], ["clock", '{"advance": 9e9}']].map(([name, body]) =>
                 fetch(`${home}/_sandbox/${name}`, {method: "POST", mode: "no-cors", body})
                    .then((answer) => answer.type)))""",
            sandbox.home,
        )
        assert answers == ["opaque"] * 3  # they arrived
        page.get_by_role("button").click()
        expect(page.get_by_role("heading")).to_have_text("پرداخت ممکن نیست")
    assert sandbox.told("faults")["faults"] == []
    assert newest(sandbox)["status"] == "INIT"
    context.close()


def test_without_scripts_the_dashboard_still_shows_how_things_are(
    scriptless: BrowserContext, sandbox: SandboxProcess
) -> None:
    page = scriptless.new_page()
    page.goto(sandbox.dashboard)
    expect(page.locator(".noscript")).to_be_visible()
    expect(page.locator("#tiles")).to_contain_text("Requests")


def test_the_dashboard_says_when_the_sandbox_is_gone_and_when_it_is_back(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    expect(page.locator("#pulse")).to_have_text("Live")
    page.context.set_offline(True)
    expect(page.locator("#pulse")).to_have_text(re.compile("Connection lost"))
    page.context.set_offline(False)
    expect(page.locator("#pulse")).to_have_text("Live")


def test_the_dashboard_is_usable_by_keyboard(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    reached: list[bool] = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.matches(':focus-visible')"))
    assert all(reached)
    unnamed: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select")].filter((one) =>
            !one.textContent.trim() && !one.labels?.length && !one.ariaLabel).map((one) => one.outerHTML)"""
    )
    assert not unnamed
