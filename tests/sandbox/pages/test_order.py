"""The page of an order: what it shows, and how it opens the payment page."""

import re
from html import unescape

import httpx
import pytest

from tests.sandbox.pages.test_dashboard import dashboard, text_of
from tests.sandbox.raw_client import RawClient, open_page, press


def order_url(ref_num: str, lang: str = "en") -> str:
    return f"http://localhost/_sandbox/orders/{ref_num}?lang={lang}"


async def test_dashboard_links_each_order_to_its_page(raw_client: RawClient) -> None:
    created = await raw_client.create_payment(1_500_000, "<ORD-1>", description="two books")
    html = await dashboard(raw_client)
    (link,) = re.findall(r'href="(/_sandbox/orders/[^"]+)"', html)
    response = await raw_client.http.get(f"http://localhost{link}")
    text = text_of(response.text)
    for shown in ("<ORD-1>", "waiting for the payer", "shop.example", "1,500,000", "150,000", "two books"):
        assert shown in text
    assert created["ref_num"] in text
    assert created["token"] not in response.text
    assert "script-src" not in response.headers["content-security-policy"]


async def test_order_page_shows_paid_order_without_button(raw_client: RawClient) -> None:
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"])
    response = await raw_client.http.get(order_url(created["ref_num"]))
    text = text_of(response.text)
    assert "paid, not verified" in text
    assert callback["card_number"] in text
    assert callback["tracking_code"] in text
    assert callback["hashed_card_number"] not in text
    assert "<button" not in response.text
    persian = await raw_client.http.get(order_url(created["ref_num"], "fa"))
    assert '<html lang="fa" dir="rtl">' in persian.text


async def test_order_page_link_finds_requests_of_order(raw_client: RawClient) -> None:
    await raw_client.create_payment(order_id="other")
    created = await raw_client.create_payment()
    await raw_client.data("gateway.inquiry", ref_num=created["ref_num"])
    response = await raw_client.http.get(order_url(created["ref_num"]))
    (query,) = re.findall(r'href="/_sandbox/[?]lang=(en&[^"#]+)#requests"', unescape(response.text))
    html = await dashboard(raw_client, query)
    assert re.findall(r'class="verb">\w+</span> ([\w.]+)', html) == ["gateway.inquiry", "gateway.create"]


@pytest.mark.parametrize("is_opened", [False, True])
async def test_order_page_button_opens_payment_page(raw_client: RawClient, is_opened: bool) -> None:
    created = await raw_client.create_payment()
    if is_opened:
        await open_page(raw_client, created["token"])
        raw_client.clock.advance(890)
    response = await raw_client.http.post(order_url(created["ref_num"], "fa"))
    assert response.status_code == 303
    page = await raw_client.http.get(f"http://localhost{response.headers['location']}")
    assert page.status_code == 200
    assert "۱۵:۰۰" in page.text
    assert (await open_page(raw_client, created["token"])).status_code == 400
    assert (await press(raw_client, created["token"], choice="pay")).status_code == 303


async def test_order_page_refuses_unknown_paid_and_cross_origin(raw_client: RawClient) -> None:
    created = await raw_client.create_payment()
    url = order_url(created["ref_num"])
    foreign = await raw_client.http.post(url, headers={"origin": "https://evil.example"})
    assert (foreign.status_code, "location" in foreign.headers) == (403, False)
    raw_client.sandbox.pay(created["token"])
    paid = await raw_client.http.post(url)
    assert (paid.status_code, "(-3)" in paid.text) == (400, True)
    for response in (await raw_client.http.get(order_url("none")), await raw_client.http.post(order_url("none"))):
        assert isinstance(response, httpx.Response)
        assert "There is no such payment." in text_of(response.text)
