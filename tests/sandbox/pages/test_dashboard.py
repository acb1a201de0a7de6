"""The dashboard, as HTML; what a browser makes of it is tested in tests/browser."""

import re
from html import unescape

import pytest

from paystar_async.accounts import Accounts
from paystar_async.clock import SystemClock
from paystar_async.sandbox import Sandbox
from tests.sandbox.merchant import Merchant

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def dashboard(merchant: Merchant, lang: str = "en", **headers: str) -> str:
    answer = await merchant.http.get(f"http://localhost/_sandbox/?lang={lang}", headers={**BROWSER, **headers})
    assert answer.status_code == 200
    return answer.text


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


async def test_browsers_get_the_page_and_all_else_the_index(merchant: Merchant) -> None:
    for path in ("/_sandbox", "/_sandbox/"):
        page = await merchant.http.get(f"http://localhost{path}", headers=BROWSER)
        index = await merchant.http.get(f"http://localhost{path}")
        assert page.headers["content-type"].startswith("text/html")
        assert index.headers["content-type"] == "application/json"
        assert page.headers["vary"] == index.headers["vary"] == "accept"


async def test_whoever_comes_to_the_bare_address_is_led_to_it(merchant: Merchant) -> None:
    answer = await merchant.http.get("http://localhost/", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (307, "/_sandbox/")


async def test_an_empty_sandbox_says_so(merchant: Merchant) -> None:
    said = text_of(await dashboard(merchant))
    for text in ("No request yet", "No transfer yet", "No order yet", "everything works"):
        assert text in said


async def test_it_shows_orders_and_where_they_stand(merchant: Merchant) -> None:
    for number, choice in enumerate(("pay", "cancel", "fail", "expire")):
        created = await merchant.created(1_500_000, f"ORD-{number}")
        callback = merchant.sandbox.pay(created["token"], choice)
        if choice == "pay":
            await merchant.verify(callback, 1_500_000)
    token = (await merchant.created(order_id="<b>ORD-5"))["token"]
    await merchant.created(order_id="ORD-6")
    await merchant.http.get("/pardakht/payment", params={"token": token})
    html = await dashboard(merchant)
    rows = re.findall(r"<tr><td>.*?</tr>", html)
    states = [re.findall(r'class="chip[^"]*">([^<]+)<', row)[0] for row in rows]
    waiting = ["waiting for the payer", "page open"]
    assert states == [*waiting, "gone back", "declined", "cancelled", "verified"]
    assert "1,500,000" in rows[-1]
    assert "150,000" in rows[-1]
    assert "shop.example" in rows[-1]
    assert "<b>ORD-5" not in html
    assert "1 verified" in text_of(html)


async def test_it_shows_transfers_and_raises_the_alarm_when_one_was_paid_twice(merchant: Merchant) -> None:
    merchant.sandbox.settings.repeats_execute = True
    await merchant.settle(merchant.transfer("t-1", 5_000))
    await merchant.data("wallet.settle", transfers=[merchant.payout("w-1")])
    assert "none twice" in text_of(await dashboard(merchant))
    await merchant.settle(merchant.transfer("t-1", 5_000))
    merchant.clock.advance(60)
    html = await dashboard(merchant)
    assert "1 track_id paid more than once" in text_of(html)
    rows = [text_of(row) for row in re.findall(r"<tr><td>.*?</tr>", html)]
    assert len(rows) == 3
    assert sum("2 times" in row for row in rows) == 2
    assert all("success" in row for row in rows)
    assert not re.search(r"IR\d{24}", html)


async def test_it_shows_the_last_requests_with_secrets_masked(merchant: Merchant) -> None:
    person = merchant.sandbox.people[0]
    await merchant.data("identity.match_mobile", national_id=person.national_id, mobile_number=person.mobile)
    owner = (await merchant.data("inquiry.iban", iban=person.iban))["owners"][0]
    await merchant.data("keys.refresh_application_key")
    merchant.sandbox.fail("transfers.settle", "reset_after", times=1)
    with pytest.raises(ConnectionResetError):
        await merchant.settle(merchant.transfer("t-1", 5_000))
    created = await merchant.created()
    await merchant.verify(merchant.sandbox.pay(created["token"]))
    merchant.sandbox.fail("wallet.balance", "html", times=1)
    await merchant.send("wallet.balance")
    html = unescape(await dashboard(merchant))
    assert '"chip bad" dir="ltr">502<' in html
    listed = re.findall(r'class="verb">\w+</span> ([\w.]+)', html)
    calls = [
        "wallet.balance",
        "gateway.verify",
        "gateway.create",
        "transfers.settle",
        "keys.refresh_application_key",
        "inquiry.iban",
        "identity.match_mobile",
    ]
    assert listed == calls
    assert "no answer" in html
    assert "reset_after" in html
    everybody = [getattr(one, name) for one in merchant.sandbox.people for name in ("card", "iban", "mobile")]
    for secret in (*secrets(merchant), created["token"], person.national_id, *owner.values(), *everybody):
        assert secret not in html


def secrets(merchant: Merchant) -> list[str]:
    sandbox = merchant.sandbox
    accounts = Accounts(application=sandbox.application, gateway=sandbox.gateway, wallet=sandbox.wallet)
    return [one.reveal() for one in accounts.secrets()]


async def test_it_shows_keys_and_their_clocks(merchant: Merchant) -> None:
    assert text_of(await dashboard(merchant)).count("1 d left") == 3
    merchant.clock.advance(86_400)
    assert text_of(await dashboard(merchant)).count("expired") >= 3
    await merchant.data("keys.refresh_wallet_key")
    said = text_of(await dashboard(merchant))
    assert "1 d left · renewals: 1" in said


async def test_it_shows_balances_and_a_look_opens_no_account(merchant: Merchant) -> None:
    await dashboard(merchant)
    merchant.sandbox.settings.wallet_opening = 7_654_321
    assert "7,654,321" in await dashboard(merchant)
    assert (await merchant.data("wallet.balance"))["total_amount"] == "7,654,321"
    merchant.sandbox.set_balance("0111234567890", 1_234_000)
    assert "1,234,000" in await dashboard(merchant)


async def test_it_shows_which_faults_are_on(merchant: Merchant) -> None:
    merchant.sandbox.fail(kind="html")
    merchant.sandbox.fail("wallet.settle", "latency", rate=0.5, times=3, seconds=2)
    html = await dashboard(merchant)
    on = re.findall(r'id="switch-(\w+)" aria-checked="true"', html)
    assert on == ["html"]
    said = text_of(html)
    assert "wallet.settle 3 more · chance 0.5 · 2 s" in said


async def test_it_is_persian_where_that_is_asked_for_or_liked_best(merchant: Merchant) -> None:
    await merchant.created(1_500_000)
    for html in (
        await dashboard(merchant, "fa"),
        await dashboard(merchant, "", **{"accept-language": "fa-IR,en;q=0.1"}),
    ):
        assert '<html lang="fa" dir="rtl">' in html
        assert "۱٬۵۰۰٬۰۰۰" in html
        assert "۱۴۰۴/۱۰/۱۱" in html
    assert '<html lang="en" dir="ltr">' in await dashboard(merchant, "xx")


async def test_a_clock_that_cannot_be_moved_has_no_buttons() -> None:
    merchant = Merchant(Sandbox(clock=SystemClock()))
    async with merchant.http:
        html = await dashboard(merchant)
    assert "This clock cannot be moved" in html
    assert 'data-post="clock"' not in html


async def test_nothing_runs_in_it_that_is_not_ours(merchant: Merchant) -> None:
    answer = await merchant.http.get("http://localhost/_sandbox/", headers=BROWSER)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|<style|https?://", answer.text)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:81"])
async def test_a_page_elsewhere_steers_nothing_whatever_server_it_runs_on(merchant: Merchant, origin: str) -> None:
    before = merchant.clock.time()
    for method, name in (("POST", "clock"), ("POST", "faults"), ("POST", "reset"), ("DELETE", "faults")):
        answer = await merchant.http.request(
            method, f"http://localhost/_sandbox/{name}", content=b'{"advance": 5}', headers={"origin": origin}
        )
        assert answer.status_code == 403
    assert merchant.clock.time() == before
    mine = {"origin": "http://localhost"}
    answer = await merchant.http.post("http://localhost/_sandbox/clock", content=b'{"advance": 5}', headers=mine)
    assert answer.status_code == 200
