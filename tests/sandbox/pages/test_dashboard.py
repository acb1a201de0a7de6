"""The dashboard as HTML; tests/browser tests the page in a browser."""

import re
from html import unescape

import attrs
import pytest

from paystar_async.credentials import Credentials
from paystar_async.runtime.clock import SystemClock
from paystar_async.sandbox import Sandbox
from tests.sandbox.raw_client import BROWSER_HEADERS, RawClient


async def dashboard(raw_client: RawClient, lang: str = "en", **headers: str) -> str:
    response = await raw_client.http.get(
        f"http://localhost/_sandbox/?lang={lang}", headers={**BROWSER_HEADERS, **headers}
    )
    assert response.status_code == 200
    return response.text


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


async def test_home_sends_dashboard_to_browsers_and_index_to_others(raw_client: RawClient) -> None:
    for path in ("/_sandbox", "/_sandbox/"):
        page = await raw_client.http.get(f"http://localhost{path}", headers=BROWSER_HEADERS)
        index = await raw_client.http.get(f"http://localhost{path}")
        assert page.headers["content-type"].startswith("text/html")
        assert index.headers["content-type"] == "application/json"
        assert page.headers["vary"] == index.headers["vary"] == "accept"


async def test_root_redirects_to_dashboard(raw_client: RawClient) -> None:
    response = await raw_client.http.get("http://localhost/", headers=BROWSER_HEADERS)
    assert (response.status_code, response.headers["location"]) == (307, "/_sandbox/")


async def test_dashboard_of_empty_sandbox_has_placeholders(raw_client: RawClient) -> None:
    text = text_of(await dashboard(raw_client))
    for placeholder in ("No requests yet", "No transfers yet", "No orders yet", "no faults"):
        assert placeholder in text


async def test_dashboard_lists_orders_with_status(raw_client: RawClient) -> None:
    for number, choice in enumerate(("pay", "cancel", "fail", "expire")):
        created = await raw_client.create_payment(1_500_000, f"ORD-{number}")
        callback = raw_client.sandbox.pay(created["token"], choice)
        if choice == "pay":
            await raw_client.verify(callback, 1_500_000)
    token = (await raw_client.create_payment(order_id="<b>ORD-5"))["token"]
    await raw_client.create_payment(order_id="ORD-6")
    await raw_client.http.get("/pardakht/payment", params={"token": token})
    html = await dashboard(raw_client)
    rows = re.findall(r"<tr><td .*?</tr>", html)
    states = [re.findall(r'class="chip[^"]*">([^<]+)<', row)[0] for row in rows]
    waiting = ["waiting for the payer", "page open"]
    assert states == [*waiting, "refunded", "declined", "cancelled", "verified"]
    assert "1,500,000" in rows[-1]
    assert "150,000" in rows[-1]
    assert "shop.example" in rows[-1]
    assert "<b>ORD-5" not in html
    assert "1 verified" in text_of(html)


async def test_dashboard_reports_transfer_paid_twice(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.repeats_execute = True
    await raw_client.settle(raw_client.transfer("t-1", 5_000))
    await raw_client.data("wallet.settle", transfers=[raw_client.wallet_transfer("w-1")])
    assert "none paid twice" in text_of(await dashboard(raw_client))
    await raw_client.settle(raw_client.transfer("t-1", 5_000))
    raw_client.clock.advance(60)
    html = await dashboard(raw_client)
    assert "1 track_id paid more than once" in text_of(html)
    rows = [text_of(row) for row in re.findall(r"<tr><td .*?</tr>", html)]
    assert len(rows) == 3
    assert sum("2 times" in row for row in rows) == 2
    assert all("success" in row for row in rows)
    assert not re.search(r"IR\d{24}", section(html, "transfers"))


async def test_dashboard_lists_requests_with_secrets_masked(raw_client: RawClient) -> None:
    person = raw_client.sandbox.people[0]
    await raw_client.data("identity.match_mobile", national_id=person.national_id, mobile_number=person.mobile)
    owner = (await raw_client.data("inquiry.iban", iban=person.iban))["owners"][0]
    await raw_client.data("keys.refresh_application_key")
    raw_client.sandbox.fail("transfers.settle", "reset_after", times=1)
    with pytest.raises(ConnectionResetError):
        await raw_client.settle(raw_client.transfer("t-1", 5_000))
    created = await raw_client.create_payment()
    await raw_client.verify(raw_client.sandbox.pay(created["token"]))
    raw_client.sandbox.fail("wallet.balance", "html", times=1)
    await raw_client.send("wallet.balance")
    html = unescape(await dashboard(raw_client))
    assert '"chip bad" dir="ltr">502<' in html
    listed_calls = re.findall(r'class="verb">\w+</span> ([\w.]+)', html)
    calls = [
        "wallet.balance",
        "gateway.verify",
        "gateway.create",
        "transfers.settle",
        "keys.refresh_application_key",
        "inquiry.iban",
        "identity.match_mobile",
    ]
    assert listed_calls == calls
    assert "no response" in html
    assert "reset_after" in html
    numbers = [getattr(person, name) for person in raw_client.sandbox.people for name in ("card", "iban", "mobile")]
    for secret in (*account_secrets(raw_client), created["token"]):
        assert secret not in html
    requests = section(html, "requests")
    for personal in (person.national_id, *owner.values(), *numbers):
        assert personal not in requests


def section(html: str, name: str) -> str:
    (content,) = re.findall(f'<section id="{name}".*?</section>', html, re.DOTALL)
    return str(content)


async def test_dashboard_shows_search_escaped(raw_client: RawClient) -> None:
    await raw_client.data("wallet.balance")
    html = await dashboard(raw_client, "en&q=%22><b>")
    assert "0 of the last 1 requests" in text_of(html)
    assert 'value="&#34;&gt;&lt;b&gt;"' in html
    assert "?lang=fa&amp;q=%22%3E%3Cb%3E" in html
    listed_calls = re.findall(r'class="verb">\w+</span> ([\w.]+)', await dashboard(raw_client, "en&result=succeeded"))
    assert listed_calls == ["wallet.balance"]


async def test_dashboard_lists_people_with_cards(raw_client: RawClient) -> None:
    people = section(await dashboard(raw_client), "people")
    for person in raw_client.sandbox.people:
        for value in attrs.asdict(person).values():
            assert value == person.bank_id or f">{value}<" in people or value in (person.first_name, person.last_name)
        assert f"<h3>{person.first_name} {person.last_name}</h3>" in people
    assert "Bank" in text_of(people)
    persian = section(await dashboard(raw_client, "fa"), "people")
    assert re.search("<dt>بانک</dt><dd>(بانک|موسسه|پست)", persian)


def account_secrets(raw_client: RawClient) -> list[str]:
    sandbox = raw_client.sandbox
    accounts = Credentials(application=sandbox.application, gateway=sandbox.gateway, wallet=sandbox.wallet)
    return [secret.reveal() for secret in accounts.secrets()]


async def test_dashboard_shows_key_expiry_and_refreshes(raw_client: RawClient) -> None:
    assert text_of(await dashboard(raw_client)).count("1 d left") == 3
    raw_client.clock.advance(86_400)
    assert text_of(await dashboard(raw_client)).count("expired") >= 3
    await raw_client.data("keys.refresh_wallet_key")
    text = text_of(await dashboard(raw_client))
    assert "1 d left · refreshes: 1" in text


async def test_dashboard_shows_balances_without_opening_accounts(raw_client: RawClient) -> None:
    await dashboard(raw_client)
    raw_client.sandbox.settings.wallet_opening = 7_654_321
    assert "7,654,321" in await dashboard(raw_client)
    assert (await raw_client.data("wallet.balance"))["total_amount"] == "7,654,321"
    raw_client.sandbox.set_balance("0111234567890", 1_234_000)
    assert "1,234,000" in await dashboard(raw_client)


async def test_dashboard_shows_active_faults(raw_client: RawClient) -> None:
    raw_client.sandbox.fail(kind="html")
    raw_client.sandbox.fail("wallet.settle", "latency", rate=0.5, times=3, seconds=2)
    html = await dashboard(raw_client)
    on = re.findall(r'id="switch-(\w+)" aria-checked="true"', html)
    assert on == ["html"]
    text = text_of(html)
    assert "wallet.settle 3 more · probability 0.5 · 2 s" in text


async def test_dashboard_language_follows_query_then_browser(raw_client: RawClient) -> None:
    await raw_client.create_payment(1_500_000)
    for html in (
        await dashboard(raw_client, "fa"),
        await dashboard(raw_client, "", **{"accept-language": "fa-IR,en;q=0.1"}),
    ):
        assert '<html lang="fa" dir="rtl">' in html
        assert "۱٬۵۰۰٬۰۰۰" in html
        assert "۱۴۰۴/۱۰/۱۱" in html
    assert '<html lang="en" dir="ltr">' in await dashboard(raw_client, "xx")


async def test_dashboard_fixed_clock_has_no_buttons() -> None:
    raw_client = RawClient(Sandbox(clock=SystemClock()))
    async with raw_client.http:
        html = await dashboard(raw_client)
    assert "This clock cannot be moved" in html
    assert 'data-post="clock"' not in html
