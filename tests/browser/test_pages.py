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
from tests.browser.test_shop import buy, expect_order, newest_order

pytestmark = pytest.mark.browser
MAX_PHONE_PIXELS = 3_000
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1300, "height": 900}


def expect_language(page: Page, language: str, direction: str) -> None:
    """Expect the page in this language, and wait until it has loaded."""
    expect(page.locator(f"html[lang={language}][dir={direction}]")).to_have_count(1)
    page.wait_for_load_state()


def test_payment_page_has_both_languages_and_directions(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    order_id = buy(page, shop)
    expect_language(page, "en", "ltr")
    label, amount = page.locator("dt").first, page.locator("dd").first
    assert center_x(label) < center_x(amount)

    page.get_by_role("button", name="فارسی").click()

    expect_language(page, "fa", "rtl")
    assert center_x(label) > center_x(amount)
    page.get_by_role("button", name="English").click()
    expect_language(page, "en", "ltr")
    expect(page.locator("main")).to_contain_text("50,000 Rial")
    expect(page.locator("main")).to_contain_text("5,000 Toman")
    expect(page.locator("main")).to_contain_text(order_id)
    page.get_by_role("button", name="فارسی").click()
    page.get_by_role("button", name="پرداخت ۵۰٬۰۰۰ ریال").click()
    expect_order(page, "verified", 1)


def center_x(locator: Any) -> float:
    box = locator.bounding_box()
    return float(box["x"] + box["width"] / 2)


def test_payment_page_pay_by_keyboard_only(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    page.goto(shop)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#card")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="فارسی")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#card")).to_be_focused()
    page.keyboard.type("6037990000000006")
    page.keyboard.press("Tab")
    expect(page.locator("button[name=fill]")).to_be_focused()
    for choice in ("pay", "cancel", "fail", "expire"):
        page.keyboard.press("Tab")
        expect(page.locator(f"button[value={choice}]")).to_be_focused()
    page.locator("#card").focus()
    page.keyboard.press("Enter")  # Enter presses a form's first button
    expect_order(page, "verified", 1)


def test_payment_page_invalid_card_alerts_and_can_be_retried(
    scriptless: BrowserContext, shop: str, sandbox: SandboxProcess
) -> None:
    page = scriptless.new_page()
    buy(page, shop)
    page.get_by_label("Card number").fill("6037 9900 0000 0007")
    page.locator("button[value=pay]").click()
    expect(page.get_by_role("alert")).to_have_text("This is not a valid card number. Check its 16 digits.")
    expect(page.get_by_label("Card number")).to_have_value("6037 9900 0000 0007")
    page.get_by_label("Card number").fill("۶۰۳۷ ۹۹۰۰ ۰۰۰۰ ۰۰۰۶")
    page.get_by_role("button", name="فارسی").click()
    expect(page.locator("#card")).to_have_value("۶۰۳۷ ۹۹۰۰ ۰۰۰۰ ۰۰۰۶")
    page.locator("#card").press("Enter")  # pays, and does not switch the language
    expect_order(page, "verified", 1)


def test_payment_page_test_card_fills_and_pays(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    buy(page, shop)
    page.get_by_role("button", name="Fill in a test card").click()
    card = sandbox.get("people")["people"][0]["card"]
    expect(page.get_by_label("Card number")).to_have_value(" ".join(re.findall("....", card)))
    expect(page.locator("button[value=pay]")).to_be_focused()
    page.keyboard.press("Enter")
    expect_order(page, "verified", 1)


@pytest.mark.parametrize(("locale", "minute_left"), [("en-US", "01:00"), ("fa-IR", "۰۱:۰۰")])
def test_payment_page_time_up_leads_back_to_shop(
    chromium: Browser, locale: str, minute_left: str, shop: str, sandbox: SandboxProcess
) -> None:
    page = chromium.new_context(locale=locale).new_page()
    page.clock.install(time=0)
    page.clock.pause_at(1_000)
    buy(page, shop)
    timer = page.get_by_role("timer")
    page.clock.fast_forward(60_000 * 14)
    expect(timer).to_have_text(minute_left)
    expect(timer).to_have_class("wrong")
    assert_fits_with_contrast(page)
    sandbox.post("clock", advance=900)
    page.clock.fast_forward(60_000)
    expect(page.locator("main")).to_contain_text("-98")
    expect(page.locator("html")).to_have_attribute("lang", locale[:2])
    page.locator("a.button").click()
    expect_order(page, "cancelled", 0)
    page.context.close()


LOADED_FONTS = (
    "async () => (await document.fonts.ready, [...document.fonts].map((font) => `${font.family} ${font.status}`))"
)


def test_payment_page_uses_shipped_font(chromium: Browser, shop: str, sandbox: SandboxProcess) -> None:
    page = chromium.new_context(locale="fa-IR").new_page()
    buy(page, shop)
    expect_language(page, "fa", "rtl")
    assert page.evaluate(LOADED_FONTS) == ["Vazirmatn loaded"]
    page.context.close()


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_pages_fit_viewport_and_have_contrast(
    chromium: Browser, size: Any, scheme: Any, language: str, shop: str, sandbox: SandboxProcess
) -> None:
    context = chromium.new_context(viewport=size, color_scheme=scheme, locale=language)
    page = context.new_page()
    page.goto(f"{sandbox.home}/_sandbox/?lang={language}")
    assert_fits_with_contrast(page)
    buy(page, shop)
    expect_language(page, language, "ltr" if language == "en" else "rtl")
    assert_fits_with_contrast(page)
    page.locator("#card").fill("1")
    page.locator("#card").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert_fits_with_contrast(page)
    page.goto(f"{sandbox.home}/_sandbox/orders/{newest_order(sandbox)['ref_num']}?lang={language}")
    expect_language(page, language, "ltr" if language == "en" else "rtl")
    assert_fits_with_contrast(page)
    page.goto(f"{sandbox.home}/_sandbox/?lang={language}&q=gateway.create")
    page.locator("#requests summary").first.click()
    assert_fits_with_contrast(page)
    widths = page.locator("#requests pre").evaluate_all("all => all.map((e) => e.scrollWidth - e.clientWidth)")
    assert max(widths) <= 0  # the beginning of a Persian message would be out of sight
    search, result = (page.locator(f"#requests [name={name}]").bounding_box() for name in ("q", "result"))
    assert search
    assert result
    assert search["y"] == result["y"] or search["width"] == result["width"]
    context.close()


def assert_fits_with_contrast(page: Page) -> None:
    """Assert that the page has no horizontal overflow and every text a contrast of 4.5 to 1 (WCAG AA)."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    low_contrast: list[object] = page.evaluate(CONTRAST)
    assert not low_contrast


CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length === 3 ? [...n, 1] : n; };
  const background = (element) => {
    for (; element; element = element.parentElement) {
      const c = parse(getComputedStyle(element).backgroundColor);
      if (c[3]) return c;
    }
    return [255, 255, 255, 1];
  };
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const lowContrast = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || !element.checkVisibility() || element.closest("option, .sr")) continue;
    const colors = [parse(getComputedStyle(element).color), background(element)];
    const [a, b] = colors.map(luminance).sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) lowContrast.push(element.textContent.trim().slice(0, 40));
  }
  return lowContrast;
}"""


def test_dashboard_updates_without_reload(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    expect(page.locator("#pulse")).to_have_text("Live")
    page.evaluate("window.notReloaded = true")
    payer = page.context.new_page()
    order_id = buy(payer, shop)
    row = page.locator("#orders tr", has_text=order_id)
    expect(row).to_contain_text("page open")
    expect(row).to_contain_text("50,000")

    payer.locator("button[value=pay]").click()
    expect_order(payer, "verified", 1)

    expect(row).to_contain_text("verified")
    expect(page.locator("#requests summary").first).to_contain_text("gateway.verify")
    assert page.evaluate("window.notReloaded")


def test_dashboard_update_keeps_open_request_and_focus(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    payer = page.context.new_page()
    buy(payer, shop)
    page.goto(sandbox.dashboard)
    opened = page.locator("#requests details").first
    name = opened.get_attribute("id")
    opened.locator("summary").click()
    count = page.locator("#requests details").count()
    buy(payer, shop)
    if count < 50:
        expect(page.locator("#requests details")).to_have_count(count + 1)
    expect(page.locator("#requests details").first).not_to_have_id(str(name))
    expect(page.locator(f"#{name} pre").first).to_be_visible()
    expect(page.locator(f"#{name} summary")).to_be_focused()


def test_dashboard_search_follows_typing_and_stays(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    order_id = buy(page.context.new_page(), shop)
    buy(page.context.new_page(), shop)
    page.goto(sandbox.dashboard)
    calls = page.locator("#requests summary")
    page.get_by_label("Search").press_sequentially(order_id)
    expect(calls).to_have_count(1)
    expect(calls).to_contain_text("gateway.create")
    page.get_by_label("Search").press("Enter")  # neither reloads the page nor posts
    page.get_by_label("Result").select_option("failed")
    expect(calls).to_have_count(0)
    expect(page.locator("#requests-live")).to_contain_text(re.compile("^\\s*0 of the last"))
    expect(page.locator("#switch")).to_have_attribute("href", re.compile("result=failed"))
    page.reload()
    expect(page.get_by_label("Search")).to_have_value(order_id)
    expect(page.get_by_label("Result")).to_have_value("failed")
    page.get_by_label("Result").select_option("")
    expect(calls).to_have_count(1)
    assert "result" not in page.url


def test_dashboard_search_works_without_scripts(scriptless: BrowserContext, shop: str, sandbox: SandboxProcess) -> None:
    page = scriptless.new_page()
    order_id = buy(page, shop)
    page.goto(sandbox.dashboard)
    page.get_by_label("Search").fill(order_id)
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#requests summary")).to_have_count(1)
    expect_language(page, "en", "ltr")


def test_order_page_opens_payment_page_again(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    order_id = buy(page, shop)
    page.goto(sandbox.dashboard)
    link = page.get_by_role("link", name=order_id)
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_contain_text(f"{order_id} page open")
    page.get_by_role("button", name="Open the payment page").click()
    page.locator("button[value=pay]").click()
    expect_order(page, "verified", 1)


def test_dashboard_card_of_person_pays(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    page.goto(f"{sandbox.dashboard}#people")
    card = page.locator("#people li", has_text=sandbox.get("people")["people"][3]["iban"]).locator(".code").first
    number = card.inner_text()
    buy(page, shop)
    page.locator("#card").fill(number)
    page.locator("#card").press("Enter")
    expect_order(page, "verified", 1)


SECTIONS = ("requests", "orders", "transfers", "people", "faults", "clock", "keys", "accounts", "settings")


@pytest.mark.parametrize("language", ["fa", "en"])
@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "scriptless"])
def test_dashboard_on_phone_shows_one_section_at_a_time(
    chromium: Browser, language: str, has_scripts: bool, shop: str, sandbox: SandboxProcess
) -> None:
    context = chromium.new_context(viewport={"width": 375, "height": 740}, java_script_enabled=has_scripts)
    page = context.new_page()
    buy(page, shop)
    page.goto(f"{sandbox.home}/_sandbox/?lang={language}")
    visible = page.locator(".sheet:visible")
    expect(visible).to_have_id("requests")
    for name in SECTIONS:
        page.locator(f"nav a[href='#{name}']").click()
        expect(visible).to_have_id(name)
        expect(visible.locator("h2")).to_be_in_viewport()
        expect(page.locator("nav")).to_be_in_viewport()
        if has_scripts:
            expect(page.locator("nav a[aria-current]")).to_have_attribute("href", f"#{name}")
            assert page.evaluate("document.documentElement.scrollHeight") < MAX_PHONE_PIXELS
            assert_fits_with_contrast(page)
    context.close()


def test_dashboard_switch_adds_and_removes_fault(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    switch = page.get_by_role("switch", name="status_11", exact=True)
    switch.focus()
    page.keyboard.press("Space")
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(switch).to_be_focused()
    assert [fault["kind"] for fault in sandbox.get("faults")["faults"]] == ["status_11"]
    payer = page.context.new_page()
    payer.goto(shop)
    payer.locator("#buy").click()
    expect(payer.locator("body")).not_to_contain_text("Tea house")
    expect(page.locator("#requests summary").first).to_contain_text("status_11")

    switch.press("Space")

    expect(switch).to_have_attribute("aria-checked", "false")
    assert sandbox.get("faults")["faults"] == []
    buy(payer, shop)


def test_dashboard_form_adds_custom_fault(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    form = page.locator("#faults form")
    form.get_by_label("Kind").select_option("latency")
    form.get_by_label("Call").select_option("wallet.settle")
    form.get_by_label("How many times").fill("3")
    form.get_by_label("Seconds").fill("2.5")
    form.get_by_role("button").click()
    expect(page.locator("#notice")).to_have_text("Done")
    (fault,) = sandbox.get("faults")["faults"]
    assert {name: fault[name] for name in ("kind", "endpoint", "times", "seconds")} == {
        "kind": "latency",
        "endpoint": "wallet.settle",
        "times": 3,
        "seconds": 2.5,
    }
    expect(page.locator(".active li")).to_contain_text("wallet.settle")
    page.get_by_role("button", name="Turn off all").click()
    expect(page.locator(".active")).to_have_count(0)
    assert sandbox.get("faults")["faults"] == []


def test_dashboard_clock_button_expires_keys(page: Page, sandbox: SandboxProcess) -> None:
    sandbox.post("reset")
    page.goto(sandbox.dashboard)
    expect(page.locator("#keys-live")).to_contain_text("left")
    page.get_by_role("button", name="+1 d").click()
    expect(page.locator("#keys-live li").first).to_contain_text("expired")
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Delete everything").click()
    expect(page.locator("#keys-live li").first).to_contain_text("left")


def test_dashboard_changes_settings_and_balances(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    settle = page.get_by_label("Seconds a transfer stays pending")
    settle.fill("7")
    page.get_by_label("A refresh ends the old key at once").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_have_text("Done")
    settings = sandbox.get("settings")
    assert (settings["settle_seconds"], settings["refresh_ends_old_key"]) == (7, True)
    sandbox.post("settings", settle_seconds=2, refresh_ends_old_key=False)
    expect(settle).to_have_value("2")  # another client changed the setting
    page.get_by_label("The HTTP status of a refusal").select_option("200")
    page.get_by_label("How the payer returns").select_option("POST")
    tag = page.get_by_label("The tag in an unauthenticated response")
    tag.fill("custom")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_have_text("Done")
    settings = sandbox.get("settings")
    assert (settings["failure_http"], settings["default_callback_method"]) == (200, "POST")
    assert settings["unauthenticated_tag"] == "custom"
    defaults = {"failure_http": 400, "default_callback_method": "GET", "unauthenticated_tag": "unauthenticated"}
    sandbox.post("settings", **defaults)
    expect(tag).to_have_value("unauthenticated")
    tag.fill("x" * 101)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_contain_text("unauthenticated_tag is a text of up to 100")
    page.locator("#accounts form").get_by_label("Amount").fill("1234000")
    page.get_by_role("button", name="Set balance").click()
    expect(page.locator("#accounts-live")).to_contain_text("1,234,000")


def test_dashboard_contains_no_secret(page: Page, shop: str, sandbox: SandboxProcess) -> None:
    payer = page.context.new_page()
    buy(payer, shop)
    token = payer.locator("input[name=token]").first.get_attribute("value")
    payer.locator("#card").fill("6037990000000006")
    payer.locator("button[value=pay]").click()
    expect_order(payer, "verified", 1)
    page.goto(sandbox.dashboard)
    expect(page.locator("#requests summary").first).to_contain_text("gateway.verify")
    accounts = sandbox.get("accounts")
    public = {accounts["application"]["id"], accounts["wallet"]["hashid"]}
    secrets = {value for account in accounts.values() for value in account.values()} - public
    html = page.content()
    for secret in (*secrets, token, "6037990000000006"):
        assert str(secret) not in html


@contextmanager
def other_origin(html: str) -> Generator[str]:
    """Serve a page of another origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pages_cross_origin_cannot_pay_control_or_frame(chromium: Browser, shop: str, sandbox: SandboxProcess) -> None:
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    buy(page, shop)
    url = page.url
    token = page.locator("input[name=token]").first.get_attribute("value")
    evil_form = f"""<form method="post" action="{url.partition("?")[0]}"><input name="token" value="{token}">
        <button name="choice" value="pay">win a prize</button></form>
        <iframe src="{sandbox.home}/_sandbox/"></iframe>"""
    with other_origin(evil_form) as address:
        page.goto(address)
        expect(page.frame_locator("iframe").locator("#pulse")).to_have_count(0)
        types: list[str] = page.evaluate(
            """(home) => Promise.all(
                [["faults", '{"kind": "html"}'], ["reset", "{}"], ["clock", '{"advance": 9e9}']].map(([name, body]) =>
                 fetch(`${home}/_sandbox/${name}`, {method: "POST", mode: "no-cors", body})
                    .then((response) => response.type)))""",
            sandbox.home,
        )
        assert types == ["opaque"] * 3  # the requests arrived
        page.get_by_role("button").click()
        expect(page.get_by_role("heading")).to_have_text("Payment is not possible")
    assert sandbox.get("faults")["faults"] == []
    assert newest_order(sandbox)["status"] == "INIT"
    context.close()


def test_dashboard_without_scripts_shows_state(scriptless: BrowserContext, sandbox: SandboxProcess) -> None:
    page = scriptless.new_page()
    page.goto(sandbox.dashboard)
    expect(page.locator(".noscript")).to_be_visible()
    expect(page.locator("#tiles")).to_contain_text("Requests")


def test_dashboard_reports_lost_and_restored_connection(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    expect(page.locator("#pulse")).to_have_text("Live")
    page.context.set_offline(True)
    expect(page.locator("#pulse")).to_have_text(re.compile("Connection lost"))
    page.context.set_offline(False)
    expect(page.locator("#pulse")).to_have_text("Live")


def test_dashboard_is_usable_by_keyboard(page: Page, sandbox: SandboxProcess) -> None:
    page.goto(sandbox.dashboard)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    visible_focus: list[bool] = []
    names: list[str] = []
    for _ in range(14):
        page.keyboard.press("Tab")
        visible_focus.append(page.evaluate("document.activeElement.matches(':focus-visible')"))
        names.append(page.evaluate("document.activeElement.name || document.activeElement.hash || ''"))
    assert all(visible_focus)
    assert [name for name in names if name] == [*(f"#{name}" for name in SECTIONS), "q", "result"]
    unnamed: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([type=hidden]), select")].filter((element) =>
            !element.textContent.trim() && !element.labels?.length && !element.ariaLabel)
            .map((element) => element.outerHTML)"""
    )
    assert not unnamed
